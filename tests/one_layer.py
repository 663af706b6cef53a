"""One layer between blobs that the test fills: built from prototxt text, run forward and backward with plain arrays."""

import numpy as np

from deconvnet.core import proto
from deconvnet.core.blob import Blob
from deconvnet.core.layers import layer_type
from deconvnet.core.proto import caffe_pb2

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST


class OneLayer:
    """A layer of `text` (the inside of `layer { }`) over copies of the arrays `bottoms`.

    tops: how many; in_place: the top is the first bottom; parameters: arrays put into the layer's blobs;
    before_setup: attributes that the net would set, such as an unpooling layer's `pooling`.
    """

    def __init__(
        self,
        text,
        *bottoms,
        tops=1,
        in_place=False,
        phase=TRAIN,
        dtype=np.float64,
        parameters=(),
        seed=1,
        before_setup=None,
    ):
        param = proto.parse(text, caffe_pb2.LayerParameter())
        param.name = param.name or "layer"
        param.phase = phase
        self.layer = layer_type(param.type)(param, dtype=dtype, seed=seed)
        self.bottom = [Blob(array.shape, dtype) for array in bottoms]
        self.top = [self.bottom[0]] if in_place else [Blob(dtype=dtype) for _ in range(tops)]
        self.inputs = [np.array(array, dtype) for array in bottoms]
        for name, value in (before_setup or {}).items():
            setattr(self.layer, name, value)
        self._write_inputs()
        self.layer.check_counts(len(bottoms), tops)
        self.layer.check_places(self.bottom, self.top)
        self.layer.setup(self.bottom, self.top)
        self.layer.reshape(self.bottom, self.top)
        for blob, values in zip(self.layer.blobs, parameters, strict=False):
            blob.host_data[...] = values

    def _write_inputs(self):
        for blob, array in zip(self.bottom, self.inputs, strict=True):
            blob.host_data[...] = array

    def reshape(self, *bottoms):
        """New bottoms of other shapes."""
        self.inputs = [np.array(array, self.layer.dtype) for array in bottoms]
        for blob, array in zip(self.bottom, bottoms, strict=True):
            blob.reshape(*array.shape)
        self._write_inputs()
        self.layer.reshape(self.bottom, self.top)

    def forward(self):
        """Copies of the tops' data, from the inputs as they are."""
        self._write_inputs()
        self.layer.forward(self.bottom, self.top)
        return [np.array(blob.host_data) for blob in self.top]

    def backward(self, *top_diffs, propagate_down=None):
        """Copies of the bottoms' diffs after `forward`; gradients of parameters are added to `parameter_diffs`.

        A bottom whose gradient the layer does not write keeps the NaN that is put there before.
        """
        wanted = propagate_down or [number not in self.layer.without_gradient for number in range(len(self.bottom))]
        for blob in self.bottom:
            blob.host_diff[...] = np.nan
        for blob, diff in zip(self.top, top_diffs, strict=False):
            blob.host_diff[...] = diff
        self.layer.backward(self.top, wanted, self.bottom)
        return [np.array(blob.host_diff) for blob in self.bottom]

    @property
    def parameters(self):
        """The parameters' data, to read and write."""
        return [blob.host_data for blob in self.layer.blobs]

    @property
    def parameter_diffs(self):
        """The parameters' gradients, to read and write."""
        return [blob.host_diff for blob in self.layer.blobs]
