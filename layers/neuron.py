"""Caffe's neurons beside ReLU: Sigmoid, TanH, AbsVal, Power, Exp, Log, ELU, BNLL, Clip, Swish, Threshold and PReLU."""

import math

from .. import kernels
from ..blob import Blob
from ..proto import caffe_pb2
from .activation import Elementwise
from .layer import register, require_channels


class _KeepsInput(Elementwise):
    """An element-wise layer that works in place: where its gradient needs the values that its top overwrites, it keeps a copy."""

    needs_input = True
    _kept: Blob | None = None

    def buffers(self):
        return [] if self._kept is None else [self._kept]

    def _keep(self, bottom, top):
        """The input of this forward, which backward may ask for."""
        x = bottom[0].data
        if self.needs_input and top[0] is bottom[0] and self.may_need_backward:
            if self._kept is None:
                self._kept = Blob(dtype=self.dtype)
            self._kept.reshape(*bottom[0].shape)
            self._kept.data[...] = x
        return x

    def _input(self, bottom, top):
        """What forward read."""
        if not self.needs_input or top[0] is not bottom[0]:
            return bottom[0].data
        self.require_kept()
        return self._kept.data


class _Neuron(_KeepsInput):
    """A map of kernels/neuron.cu. bottom and top: any shape, may be one blob."""

    kind: str

    def constants(self) -> tuple[float, ...]:
        """a, b, c of the map. Raises ValueError."""
        return ()

    def setup(self, bottom, top):
        self._constants = self.constants()

    def forward(self, bottom, top):
        kernels.neuron(self.kind, self._keep(bottom, top), top[0].data, *self._constants)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            x, y = self._input(bottom, top), top[0].data
            kernels.neuron_backward(self.kind, top[0].diff, x, y, bottom[0].diff, *self._constants)


@register("Sigmoid")
class Sigmoid(_Neuron):
    """y = 1 / (1 + e^-x) (Caffe's Sigmoid)."""

    kind = "sigmoid"
    needs_input = False


@register("TanH")
class TanH(_Neuron):
    """y = tanh x (Caffe's TanH)."""

    kind = "tanh"
    needs_input = False


@register("AbsVal")
class AbsVal(_Neuron):
    """y = |x| (Caffe's AbsVal)."""

    kind = "absolute"


@register("BNLL")
class BNLL(_Neuron):
    """y = ln(1 + e^x) (Caffe's BNLL)."""

    kind = "bnll"
    needs_input = False


@register("Power")
class Power(_Neuron):
    """y = (shift + scale * x)^power (Caffe's Power)."""

    kind = "power"

    def constants(self):
        param = self.param.power_param
        return param.power, param.scale, param.shift


def _log_base(base: float) -> float:
    """ln of a base field, whose -1 stands for e. Raises ValueError."""
    if base != -1 and not base > 0:
        raise ValueError(f"base must be positive, or -1 for e, not {base:g}")
    return 1.0 if base == -1 else math.log(base)


@register("Exp")
class Exp(_Neuron):
    """y = base^(shift + scale * x), base e by default (Caffe's Exp)."""

    kind = "exponential"
    needs_input = False

    def constants(self):
        param = self.param.exp_param
        base = _log_base(param.base)
        return base * param.scale, math.exp(base * param.shift)


@register("Log")
class Log(_Neuron):
    """y = log_base(shift + scale * x), base e by default (Caffe's Log)."""

    kind = "logarithm"

    def constants(self):
        param = self.param.log_param
        if param.base == 1:
            raise ValueError("there is no logarithm to base 1")
        return 1 / _log_base(param.base), param.scale, param.shift


@register("ELU")
class ELU(_Neuron):
    """y = x where positive, alpha * (e^x - 1) elsewhere (Caffe's ELU)."""

    kind = "elu"
    needs_input = False

    def constants(self):
        return (self.param.elu_param.alpha,)

    def setup(self, bottom, top):
        super().setup(bottom, top)
        if self.param.elu_param.alpha < 0 and top[0] is bottom[0]:
            raise ValueError("an alpha below 0 loses the sign in place: give the top a name of its own")


@register("Clip")
class Clip(_Neuron):
    """y = x held between min and max (Caffe's Clip)."""

    kind = "clip"

    def constants(self):
        param = self.param.clip_param
        if param.min > param.max:
            raise ValueError(f"clip_param.min {param.min:g} is above max {param.max:g}")
        return param.min, param.max


@register("ReLU6")
class ReLU6(Clip):
    """y = x held between 0 and 6 (MobileNet's forks)."""

    def constants(self):
        return 0.0, 6.0


@register("Swish")
class Swish(_Neuron):
    """y = x / (1 + e^(-beta x)) (Caffe's Swish)."""

    kind = "swish"

    def constants(self):
        return (self.param.swish_param.beta,)


@register("Threshold")
class Threshold(_Neuron):
    """y = 1 where x is above the threshold, 0 elsewhere (Caffe's Threshold); without a gradient."""

    kind = "threshold"
    without_gradient = (0,)

    def constants(self):
        return (self.param.threshold_param.threshold,)

    def backward(self, top, propagate_down, bottom):
        """Nothing flows through a step."""


@register("PReLU")
class PReLU(_KeepsInput):
    """y = x where positive, slope * x elsewhere, with slopes that are learned (Caffe's PReLU; He et al. 2015).

    bottom and top: (N, C, ...), may be one blob; blob: the slopes (C,), or one, (), with channel_shared; 0.25 by default.
    """

    def setup(self, bottom, top):
        param = self.param.prelu_param
        require_channels(bottom[0])
        filler = param.filler if param.HasField("filler") else caffe_pb2.FillerParameter(value=0.25)
        self.add_parameter(() if param.channel_shared else bottom[0].shape[1:2], filler)

    def reshape(self, bottom, top):
        require_channels(bottom[0])
        slopes = self.blobs[0]
        if slopes.shape and slopes.count != bottom[0].shape[1]:
            raise ValueError(f"was made for {slopes.count} channels; its bottom now has the shape {bottom[0].shape}")
        super().reshape(bottom, top)

    def forward(self, bottom, top):
        kernels.prelu(self._keep(bottom, top), self.blobs[0].data, top[0].data)

    def backward(self, top, propagate_down, bottom):
        dx = bottom[0].diff if propagate_down[0] else None
        kernels.prelu_backward(top[0].diff, self._input(bottom, top), self.blobs[0].data, dx, self.gradient_of(0))
