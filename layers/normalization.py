"""BVLC Caffe's normalisations: BatchNorm with running statistics, LRN and MVN; SSD's Normalize."""

import math

from .. import kernels
from ..blob import Blob
from ..proto import caffe_pb2
from .layer import SAME_PLACES, Layer, register, require_channels, require_images


@register("BatchNorm")
class BatchNorm(Layer):
    """Normalise each channel by the batch, or by running statistics (Caffe's BatchNorm; a Scale layer often follows).

    bottom: x (N, C, ...) or (C,); top: as x, may be x
    blobs:  sums of means (C,) and variances (C,), and the weight (1,) to divide both by; forward changes them, a solver never does
    use_global_stats (by default in TEST) takes the running statistics. Otherwise the batch's own; each forward then multiplies the
    three by moving_average_fraction and adds the batch's mean, its variance (times m / (m - 1) for m values) and 1.
    kept: in place, the values of x that y overwrites
    """

    only_launches = True
    in_place = True
    statistics = (0, 1, 2)

    def setup(self, bottom, top):
        param = self.param.batch_norm_param
        given = param.HasField("use_global_stats")
        self.maps_channels = param.use_global_stats if given else self.phase == caffe_pb2.TEST
        self.channels = self._channels(bottom[0])
        for shape in ((self.channels,), (self.channels,), (1,)):
            self.add_parameter(shape, caffe_pb2.FillerParameter())
        self.kept = Blob(dtype=self.dtype)
        # of the batch: mean, variance; then what the map takes: factor, summand
        self._mean, self._variance, self._factor, self._summand = (Blob((self.channels,), self.dtype) for _ in range(4))
        if not self.maps_channels:
            self._factor.host_data[...] = 1

    @property
    def by_batch(self) -> bool:
        """Whether the batch's own statistics are taken."""
        return not self.maps_channels

    recomputes = by_batch

    def buffers(self):
        return [self.kept]

    @staticmethod
    def _channels(blob: Blob) -> int:
        if not blob.shape:
            raise ValueError("needs a bottom with channels, (N, C, ...), not a single value")
        return blob.shape[1] if len(blob.shape) > 1 else 1

    def reshape(self, bottom, top):
        if self._channels(bottom[0]) != self.channels:
            raise ValueError(f"was made for {self.channels} channels; its bottom now has the shape {bottom[0].shape}")
        if top[0] is not bottom[0]:
            top[0].reshape(*bottom[0].shape)
        self.kept.reshape(*bottom[0].shape)
        self._sizes = (bottom[0].shape[0], self.channels, math.prod(bottom[0].shape[2:]))

    def channel_map(self, then=None):
        factor, summand, eps = self._factor.data, self._summand.data, self.param.batch_norm_param.eps
        kernels.running_affine(*(blob.data for blob in self.blobs), eps, factor, summand, then or (None, None))
        return factor, summand

    def _copy_in_place(self, bottom, top):
        """Where x is copied to before y overwrites it, for backward; None where it is not."""
        return self.kept.data.reshape(self._sizes) if top[0] is bottom[0] and self.may_need_backward else None

    def _input(self, bottom, top):
        """What forward read."""
        if top[0] is bottom[0]:
            self.require_kept()
        return (self.kept if top[0] is bottom[0] else bottom[0]).data.reshape(self._sizes)

    def _scale_and_shift(self, after):
        """Of the normal values: 1 and 0, or those of a Scale layer whose work is done here."""
        factor, summand = self._factor.data, self._summand.data
        return (factor, summand) if after is None or after.gain is None else (after.gain, after.shift)

    def forward(self, bottom, top, after=None):
        """after (kernels.After): the work, by the batch's statistics, of a Scale and a ReLU that follow."""
        if not bottom[0].count:  # no values have no mean: the statistics stay
            return
        x, y = bottom[0].data.reshape(self._sizes), top[0].data.reshape(self._sizes)
        if self.maps_channels:
            kernels.channel_affine_forward(x, *self.channel_map(), y)
            return
        mean, variance, eps = self._mean.data, self._variance.data, self.param.batch_norm_param.eps
        kept, rectified = self._copy_in_place(bottom, top), after is not None and after.rectified
        kernels.batch_norm_forward(x, *self._scale_and_shift(after), eps, y, mean, variance, kept, rectified)
        values = bottom[0].count // max(1, self.channels)
        unbiased = values / (values - 1) if values > 1 else 1
        running = (blob.data for blob in self.blobs)
        keep = self.param.batch_norm_param.moving_average_fraction
        kernels.move_averages(mean, variance, *running, keep, unbiased)

    def recompute(self, bottom, top, after=None):
        self._normalize(bottom, top, self._scale_and_shift(after), self.param.batch_norm_param.eps, after)

    def _normalize(self, bottom, top, scale_and_shift, eps: float, after) -> None:
        """`recompute` by the scale and shift of the normal values."""
        x, y = bottom[0].data.reshape(self._sizes), top[0].data.reshape(self._sizes)
        rectified = after is not None and after.rectified
        kernels.normalize(x, self._mean.data, self._variance.data, eps, *scale_and_shift, y, rectified)

    def backward(self, top, propagate_down, bottom, after=None):
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff.reshape(self._sizes), bottom[0].diff.reshape(self._sizes)
        if self.maps_channels:
            kernels.channel_affine_forward(dy, self._factor.data, None, dx)
            return
        gradients = (None, None, False) if after is None else (after.dgain, after.dshift, after.rectified)
        of = (*self._scale_and_shift(after), self._mean.data, self._variance.data)
        eps = self.param.batch_norm_param.eps
        kernels.batch_norm_backward(dy, self._input(bottom, top), *of, eps, dx, *gradients)

    def coordinate_map(self):
        return SAME_PLACES


@register("LRN")
class LRN(Layer):
    """y = x * (k + alpha * mean of x^2 over the window)^-beta (Caffe's LRN; Krizhevsky et al. 2012).

    bottom and top: (N, C, H, W). norm_region ACROSS_CHANNELS: local_size channels; WITHIN_CHANNEL: local_size x local_size places, k is 1.
    """

    def setup(self, bottom, top):
        param = self.param.lrn_param
        if param.local_size % 2 == 0:
            raise ValueError(f"lrn_param.local_size must be odd, not {param.local_size}")
        self.within = param.norm_region == caffe_pb2.LRNParameter.WITHIN_CHANNEL
        self._q = Blob(dtype=self.dtype)

    def buffers(self):
        return [self._q]

    def reshape(self, bottom, top):
        require_images(bottom[0])
        top[0].reshape(*bottom[0].shape)
        self._q.reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        param = self.param.lrn_param
        k = 1 if self.within else param.k
        kernels.lrn(
            bottom[0].data, param.local_size, param.alpha, param.beta, k, self.within, self._q.data, top[0].data
        )

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            param, x = self.param.lrn_param, bottom[0].data
            dy, q, dx = top[0].diff, self._q.data, bottom[0].diff
            kernels.lrn_backward(dy, x, q, param.local_size, param.alpha, param.beta, self.within, dx)

    def coordinate_map(self):
        return SAME_PLACES


@register("MVN")
class MVN(Layer):
    """Each plane less its mean and, by default, over its deviation plus eps (Caffe's MVN); across_channels: each image as a whole.

    bottom and top: (N, C, ...), may be one blob.
    """

    in_place = True

    def setup(self, bottom, top):
        self._kept, self._spread = Blob(dtype=self.dtype), Blob(dtype=self.dtype)

    def buffers(self):
        return [self._kept, self._spread]

    def reshape(self, bottom, top):
        require_channels(bottom[0])
        rows = math.prod(bottom[0].shape[: 1 if self.param.mvn_param.across_channels else 2])
        self._sizes = (rows, bottom[0].count // max(1, rows))
        self._spread.reshape(rows)
        self._kept.reshape(*bottom[0].shape)
        if top[0] is not bottom[0]:
            top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        param, y = self.param.mvn_param, self._kept.data
        x = bottom[0].data.reshape(self._sizes)
        kernels.standardize_rows(x, param.eps, param.normalize_variance, y.reshape(self._sizes), self._spread.data)
        top[0].data[...] = y

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            dy, y, dx = (array.reshape(self._sizes) for array in (top[0].diff, self._kept.data, bottom[0].diff))
            kernels.standardize_rows_backward(dy, y, self._spread.data, self.param.mvn_param.normalize_variance, dx)


@register("Normalize")
class Normalize(Layer):
    """y = scale * x / length, length = sqrt(sum of x^2 + eps), with scales that are learned (SSD's Normalize; ParseNet, Liu et al. 2015).

    bottom: x (N, C, ...); top: as x; blob: the scale, (), or (C,) unless channel_shared; 1 by default
    across_spatial: the length of each image as a whole; else at each place, of its channels
    """

    only_launches = True

    def setup(self, bottom, top):
        param = self.param.norm_param
        require_channels(bottom[0])
        filler = param.scale_filler if param.HasField("scale_filler") else caffe_pb2.FillerParameter(value=1)
        self.add_parameter(() if param.channel_shared else bottom[0].shape[1:2], filler)
        self._squares = Blob(dtype=self.dtype)

    def buffers(self):
        return [self._squares]

    def reshape(self, bottom, top):
        require_channels(bottom[0])
        scales, shape = self.blobs[0], bottom[0].shape
        if scales.shape and scales.count != shape[1]:
            raise ValueError(f"was made for {scales.count} channels; its bottom now has the shape {shape}")
        self._squares.reshape(shape[0], *(() if self.param.norm_param.across_spatial else shape[2:]))
        top[0].reshape(*shape)

    def forward(self, bottom, top):
        param, arrays = self.param.norm_param, (self._squares.data, top[0].data)
        kernels.l2_normalize(bottom[0].data, self.blobs[0].data, param.eps, param.across_spatial, *arrays)

    def backward(self, top, propagate_down, bottom):
        param, arrays = self.param.norm_param, (bottom[0].data, self._squares.data, self.blobs[0].data)
        dx = bottom[0].diff if propagate_down[0] else None
        kernels.l2_normalize_backward(top[0].diff, *arrays, param.eps, param.across_spatial, dx, self.gradient_of(0))

    def coordinate_map(self):
        return SAME_PLACES
