"""Element-wise activations: ReLU and Dropout."""

from .. import kernels
from ..blob import number
from ..proto import caffe_pb2
from .layer import SAME_PLACES, Layer, register


class Elementwise(Layer):
    """A layer whose top has its bottom's shape and may be its bottom."""

    in_place = True

    def reshape(self, bottom, top):
        if top[0] is not bottom[0]:
            top[0].reshape(*bottom[0].shape)

    def coordinate_map(self):
        return SAME_PLACES


@register("ReLU")
class ReLU(Elementwise):
    """y = x where positive, negative_slope * x elsewhere (Caffe's ReLU). bottom and top: any shape, may be one blob."""

    only_launches = True

    def setup(self, bottom, top):
        self.slope = self.param.relu_param.negative_slope
        if self.slope < 0 and top[0] is bottom[0]:
            raise ValueError("a negative_slope below 0 loses the sign in place: give the top a name of its own")

    def forward(self, bottom, top):
        kernels.relu(bottom[0].data, self.slope, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            kernels.relu_backward(top[0].diff, bottom[0].data, self.slope, bottom[0].diff)


@register("Dropout")
class Dropout(Elementwise):
    """In TRAIN, zero a share dropout_ratio of the values and scale up the rest (Caffe's Dropout); the identity in TEST.

    sample_weights_test (Bayesian SegNet): in TEST as in TRAIN. scale_train: false (Faster R-CNN): nothing is scaled in TRAIN, and all by
    1 - dropout_ratio in TEST. A ratio of 1 is taken in TEST only.
    bottom and top: any shape, may be one blob. What is dropped follows from (seed, layer name, number of forwards) alone.
    """

    only_launches = True
    needs_bottoms_backward = False
    position = 0

    def setup(self, bottom, top):
        param = self.param.dropout_param
        ratio, drawn = param.dropout_ratio, self.phase == caffe_pb2.TRAIN or param.sample_weights_test
        if not (0 <= ratio < 1 or ratio == 1 and not drawn):
            raise ValueError(f"dropout_ratio must be at least 0 and below 1, not {ratio:g}")
        self._share = ratio if drawn else 0
        self._gain = 1.0
        if drawn and param.scale_train:
            self._gain = 1 / (1 - ratio)
        elif not drawn and not param.scale_train:
            self._gain = 1 - ratio
        self.only_launches = not self._share  # each forward draws anew
        self._draw = 0

    def forward(self, bottom, top):
        if self._share:
            self._draw = number(self.seed, self.name, self.position)
            self.position += 1
        if self._share or self._gain != 1:
            kernels.dropout(bottom[0].data, self._draw, self._share, top[0].data, self._gain)
        elif top[0] is not bottom[0]:
            top[0].data[...] = bottom[0].data

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        if self._share or self._gain != 1:
            kernels.dropout(top[0].diff, self._draw, self._share, bottom[0].diff, self._gain)
        elif top[0] is not bottom[0]:
            bottom[0].diff[...] = top[0].diff
