"""What nets have in common that are given images: an io.Transformer for their first input."""

import numpy as np

from . import io
from .core.net import Net
from .core.proto import caffe_pb2


class ImageNet(Net):
    """A net in TEST whose first input takes images (N, K, H, W), made by `transformer` from images (H, W, K).

    mean, input_scale, raw_scale, channel_swap: as io.Transformer's; net_options: as Net's. Raises what Net raises, and ValueError.
    """

    def __init__(self, model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap, **net_options):
        super().__init__(model_file, caffe_pb2.TEST, pretrained_file, **net_options)
        if not self.inputs:
            raise ValueError(
                f"{model_file}: a {type(self).__name__} is given images, and this net has no input: use its deploy form"
            )
        name = self.inputs[0]
        shape = self.blobs[name].shape
        self.transformer = io.Transformer({name: shape})
        self.transformer.set_transpose(name, (2, 0, 1))
        if mean is not None:
            self.transformer.set_mean(name, mean)
        if input_scale is not None:
            self.transformer.set_input_scale(name, input_scale)
        if raw_scale is not None:
            self.transformer.set_raw_scale(name, raw_scale)
        if channel_swap is not None:
            self.transformer.set_channel_swap(name, channel_swap)

    def predict_crops(self, crops) -> np.ndarray:
        """The net's first output for each image (H, W, K) of a list: (N, ...)."""
        name = self.inputs[0]
        data = np.array([self.transformer.preprocess(name, crop) for crop in crops])
        return self.forward_all(**{name: data})[self.outputs[0]]
