"""BN, the batch normalisation layer of the authors' Caffe."""

from .. import kernels
from ..blob import Blob
from ..proto import caffe_pb2
from .layer import Layer, register

EPSILON = 1e-9


@register("BN")
class BN(Layer):
    """Normalise each channel by the batch, then scale and shift it (layer of the authors' Caffe; paper, section 4.2.1).

    bottom: x (N, C, H, W)
    tops:   y (N, C, H, W); in LEARN optionally the batch's mean and biased variance, (1, C, 1, 1) each, without gradients
    blobs:  scale (1, C, 1, 1), shift (1, C, 1, 1)
    kept:   in place, the values of x that y overwrites
    LEARN (default) uses the batch's own statistics in both phases; INFERENCE computes scale * x + shift.
    """

    only_launches = True
    tops = (1, 3)
    in_place = True

    def setup(self, bottom, top):
        param = self.param.bn_param
        self.learns = param.bn_mode == caffe_pb2.BNParameter.LEARN
        if len(top) > 1 and not self.learns:
            raise ValueError("the mean and variance tops exist in bn_mode: LEARN only")
        if len(bottom[0].shape) < 2:
            raise ValueError(f"needs a bottom with channels, (N, C, ...), not {bottom[0].shape}")
        channels = bottom[0].shape[1]
        scale, shift = caffe_pb2.FillerParameter(value=1), caffe_pb2.FillerParameter()
        self.add_parameter((1, channels, 1, 1), param.scale_filler if param.HasField("scale_filler") else scale)
        self.add_parameter((1, channels, 1, 1), param.shift_filler if param.HasField("shift_filler") else shift)
        self.kept = Blob(dtype=self.dtype)
        self.mean = Blob((1, channels, 1, 1), self.dtype)
        self.variance = Blob((1, channels, 1, 1), self.dtype)

    def reshape(self, bottom, top):
        if bottom[0].shape[1] != self.blobs[0].count:
            raise ValueError(
                f"was made for {self.blobs[0].count} channels; its bottom now has the shape {bottom[0].shape}"
            )
        if top[0] is not bottom[0]:
            top[0].reshape(*bottom[0].shape)
        for blob in top[1:]:
            blob.reshape(*self.mean.shape)
        self.kept.reshape(*bottom[0].shape)

    def forward(self, bottom, top, after=None):
        """after (kernels.After): what the net lets it do to the results on behalf of the layer that follows: a ReLU's work in LEARN."""
        if not bottom[0].count:  # no values have no mean: the statistics stay
            return
        x, scale, shift = bottom[0].data, self.blobs[0].data, self.blobs[1].data
        kept = self.kept.data if top[0] is bottom[0] and self.may_need_backward else None
        if not self.learns:
            if kept is not None:
                kept[...] = x
            kernels.channel_affine_forward(x, scale, shift, top[0].data)
            return
        mean, variance = self.mean.data, self.variance.data
        rectified = after is not None and after.rectified
        kernels.batch_norm_forward(x, scale, shift, EPSILON, top[0].data, mean, variance, kept, rectified)
        for blob, values in zip(top[1:], (mean, variance), strict=False):
            blob.data[...] = values

    def backward(self, top, propagate_down, bottom, after=None):
        dx = bottom[0].diff if propagate_down[0] else None
        dscale, dshift = self.gradient_of(0), self.gradient_of(1)
        if top[0] is bottom[0]:
            self.require_kept()
        x = self.kept.data if top[0] is bottom[0] else bottom[0].data
        dy, scale, shift = top[0].diff, self.blobs[0].data, self.blobs[1].data
        if not self.learns:
            kernels.channel_affine_backward(dy, x, scale, dx, dscale, dshift)
            return
        mean, variance = self.mean.data, self.variance.data
        rectified = after is not None and after.rectified
        kernels.batch_norm_backward(dy, x, scale, shift, mean, variance, EPSILON, dx, dscale, dshift, rectified)

    def buffers(self):
        return [self.kept]

    def coordinate_map(self):
        return ((1, 0), (1, 0))
