"""BN: the batch normalisation layer of the authors' Caffe, and the one of PSPNet's that bears the same name."""

from .. import kernels
from ..blob import Blob
from ..proto import caffe_pb2
from .layer import SAME_PLACES, Layer, register, require_channels
from .normalization import BatchNorm

EPSILON = 1e-9
# fields of PSPNet's BN, and of its first version alone
_RUNNING = ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "engine")
_FIRST_VERSION = ("moving_average", "decay", "var_eps")


def _fields(param, *names: str) -> list[str]:
    """Those of the fields that bn_param has."""
    return [name for name in names if param.bn_param.HasField(name)]


@register("BN")
class BN(Layer):
    """Normalise each channel by the batch, then scale and shift it (layer of the authors' Caffe; paper, section 4.1).

    bottom: x (N, C, H, W)
    tops:   y (N, C, H, W); in LEARN optionally the batch's mean and biased variance, (1, C, 1, 1) each, without gradients
    blobs:  scale (1, C, 1, 1), shift (1, C, 1, 1)
    kept:   in place, the values of x that y overwrites
    LEARN (default) uses the batch's own statistics in both phases; INFERENCE computes scale * x + shift.
    """

    only_launches = True
    tops = (1, 3)
    in_place = True

    def __new__(cls, param, **made_with):
        """A BN whose bn_param speaks of running statistics is PSPNet's."""
        return RunningBN(param, **made_with) if _fields(param, *_RUNNING, *_FIRST_VERSION) else super().__new__(cls)

    def setup(self, bottom, top):
        param = self.param.bn_param
        self.learns = param.bn_mode == caffe_pb2.BNParameter.LEARN
        if len(top) > 1 and not self.learns:
            raise ValueError("the mean and variance tops exist in bn_mode: LEARN only")
        require_channels(bottom[0])
        channels = bottom[0].shape[1]
        scale, shift = caffe_pb2.FillerParameter(value=1), caffe_pb2.FillerParameter()
        self.add_parameter((1, channels, 1, 1), param.scale_filler if param.HasField("scale_filler") else scale)
        self.add_parameter((1, channels, 1, 1), param.shift_filler if param.HasField("shift_filler") else shift)
        self.kept = Blob(dtype=self.dtype)
        self.mean = Blob((1, channels, 1, 1), self.dtype)
        self.variance = Blob((1, channels, 1, 1), self.dtype)

    def reshape(self, bottom, top):
        require_channels(bottom[0])
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

    def recompute(self, bottom, top, after=None):
        mean, variance, (scale, shift) = self.mean.data, self.variance.data, (blob.data for blob in self.blobs)
        rectified = after is not None and after.rectified
        kernels.normalize(bottom[0].data, mean, variance, EPSILON, scale, shift, top[0].data, rectified)

    @property
    def by_batch(self) -> bool:
        """Whether the batch's own statistics are taken."""
        return self.learns

    recomputes = by_batch

    @property
    def maps_channels(self) -> bool:
        """See Layer."""
        return not self.learns

    def channel_map(self, then=None):
        own = self.blobs[0].data.reshape(-1), self.blobs[1].data.reshape(-1)
        return own if then is None else kernels.compose_affine(own, then, own[0])

    def buffers(self):
        return [self.kept]

    def coordinate_map(self):
        return SAME_PLACES


class RunningBN(BatchNorm):
    """Normalise each channel, then scale and shift it: BN of PSPNet's and ICNet's Caffe, which keeps running statistics.

    bottom: x (N, C, ...); top: as x, may be x
    blobs:  scale, shift, running mean, running variance, (1, C, 1, 1) each
    TEST takes the running statistics, and so does TRAIN if `frozen`, where nothing learns. Else TRAIN takes the batch's own mean and
    biased variance, and moves the running ones: momentum * itself + (1 - momentum) * the batch's.
    The first version's `decay` is 1 - momentum; its TEST takes the running statistics with `moving_average: true` only.
    """

    statistics = (2, 3)

    def setup(self, bottom, top):
        param = self.param.bn_param
        first, later = _fields(self.param, *_FIRST_VERSION), _fields(self.param, *_RUNNING)
        if _fields(self.param, "bn_mode"):
            raise ValueError(
                f"bn_mode is of the BN that keeps no running statistics, of which {(first + later)[0]} speaks"
            )
        if first and later:
            raise ValueError(
                f"{first[0]} is of the first version of this layer, {later[0]} of the next: write one of them"
            )
        self.frozen = param.frozen
        self._eps, self._keep = (param.var_eps, 1 - param.decay) if first else (param.eps, param.momentum)
        in_test = self.phase == caffe_pb2.TEST and (param.moving_average or not first)
        self.maps_channels = self.frozen or in_test
        self.channels = self._channels(bottom[0])
        for names, value in (
            (("slope_filler", "scale_filler"), 1),
            (("bias_filler", "shift_filler"), 0),
            ((), 0),
            ((), int(param.frozen)),
        ):
            given = _fields(self.param, *names)
            filler = getattr(param, given[0]) if given else caffe_pb2.FillerParameter(value=value)
            self.add_parameter((1, self.channels, 1, 1), filler)
        if self.frozen:
            self.statistics = (0, 1, 2, 3)
        for number in self.statistics:
            while len(self.param.param) <= number:
                self.param.param.add()
            self.param.param[number].lr_mult = self.param.param[number].decay_mult = 0
        self.kept = Blob(dtype=self.dtype)  # in place: the values that the top overwrites
        # of the batch: mean, variance; by running statistics, what the map takes: factor, summand
        self._mean, self._variance, self._factor, self._summand = (Blob((self.channels,), self.dtype) for _ in range(4))
        self._one = Blob((1,), self.dtype)
        self._one.host_data[...] = 1

    def channel_map(self, then=None):
        scale, shift, *running = (blob.data.reshape(-1) for blob in self.blobs)
        behind = (scale, shift) if then is None else kernels.compose_affine((scale, shift), then, scale)
        factor, summand = self._factor.data, self._summand.data
        kernels.running_affine(*running, self._one.data, self._eps, factor, summand, behind)
        return factor, summand

    def forward(self, bottom, top, after=None):
        if not bottom[0].count:  # no values have no mean: the statistics stay
            return
        x, y = bottom[0].data.reshape(self._sizes), top[0].data.reshape(self._sizes)
        kept = self._copy_in_place(bottom, top) if not self.frozen else None
        if self.maps_channels:
            if kept is not None:
                kept[...] = x
            kernels.channel_affine_forward(x, *self.channel_map(), y)
            return
        scale, shift, running_mean, running_variance = (blob.data.reshape(-1) for blob in self.blobs)
        mean, variance = self._mean.data, self._variance.data
        rectified = after is not None and after.rectified
        kernels.batch_norm_forward(x, scale, shift, self._eps, y, mean, variance, kept, rectified)
        if self.phase == caffe_pb2.TRAIN:
            for running, of_batch in ((running_mean, mean), (running_variance, variance)):
                share = of_batch.copy()
                share *= 1 - self._keep
                running *= self._keep
                running += share

    def recompute(self, bottom, top, after=None):
        self._normalize(bottom, top, [blob.data.reshape(-1) for blob in self.blobs[:2]], self._eps, after)

    def backward(self, top, propagate_down, bottom, after=None):
        dy = top[0].diff.reshape(self._sizes)
        dx = bottom[0].diff.reshape(self._sizes) if propagate_down[0] else None
        if self.frozen:
            if dx is not None:
                kernels.channel_affine_forward(dy, self._factor.data, None, dx)
            return
        x = self._input(bottom, top)
        scale, shift, running_mean, running_variance = (blob.data.reshape(-1) for blob in self.blobs)
        dscale, dshift = self.gradient_of(0), self.gradient_of(1)
        if not self.maps_channels:
            mean, variance = self._mean.data, self._variance.data
            rectified = after is not None and after.rectified
            kernels.batch_norm_backward(dy, x, scale, shift, mean, variance, self._eps, dx, dscale, dshift, rectified)
            return
        xp = kernels.array_module()
        products, sums = xp.zeros(self.channels, self.dtype), xp.zeros(self.channels, self.dtype)
        kernels.channel_affine_backward(dy, x, self._factor.data, dx, products, sums)
        if dshift is not None:
            dshift += sums.reshape(dshift.shape)
        if dscale is not None:  # the sum of dy times the normal values, inverse * x + offset
            inverse, offset = self._mean.data, self._variance.data
            kernels.running_affine(running_mean, running_variance, self._one.data, self._eps, inverse, offset)
            products *= inverse
            sums *= offset
            dscale += products.reshape(dscale.shape)
            dscale += sums.reshape(dscale.shape)
