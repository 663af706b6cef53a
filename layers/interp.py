"""Interp, the bilinear resizing of DeepLab's, PSPNet's and ICNet's Caffe."""

import math

from .. import kernels
from .layer import Layer, register


@register("Interp")
class Interp(Layer):
    """Maps resized so that the middles of their corner pixels stay where they are.

    bottoms: x (N, C, H, W); optionally a blob whose height and width the top takes
    top:     y (N, C, H', W'): height x width, else those of the second bottom, else those that shrink_factor s, then zoom_factor z make:
             H' = (H - 1) / s + 1, rounded down, and H' + (H' - 1) (z - 1)
    pad_beg and pad_end below 0 leave out so many of x's first and last rows and columns. A value that lies at a pixel of x is that pixel's,
    so labels can be shrunk where s divides H - 1 and W - 1.
    """

    only_launches = True
    bottoms = (1, 2)
    without_gradient = (1,)

    def setup(self, bottom, top):
        param = self.param.interp_param
        if param.HasField("height") != param.HasField("width"):
            raise ValueError("give both height and width")
        factors = param.HasField("zoom_factor") or param.HasField("shrink_factor")
        if param.HasField("height") + factors + (len(bottom) > 1) != 1:
            raise ValueError(
                "give its size once: height and width, or zoom_factor or shrink_factor or both, or a second bottom"
            )
        for field in ("height", "width", "zoom_factor", "shrink_factor"):
            if param.HasField(field) and getattr(param, field) < 1:
                raise ValueError(f"{field} must be at least 1, not {getattr(param, field)}")
        if param.pad_beg > 0 or param.pad_end > 0:
            raise ValueError("pad_beg and pad_end leave rows and columns out: 0 or less is expected")
        self._made, self._taps = None, ()

    def reshape(self, bottom, top):
        param = self.param.interp_param
        for blob in bottom:
            if len(blob.shape) != 4:
                raise ValueError(f"needs bottoms of shape (N, C, H, W), not {blob.shape}")
        kept = [side + param.pad_beg + param.pad_end for side in bottom[0].shape[2:]]
        if min(kept) < 1:
            raise ValueError(
                f"pad_beg {param.pad_beg} and pad_end {param.pad_end} leave nothing of a map of {bottom[0].shape[2]}x{bottom[0].shape[3]}"
            )
        if param.HasField("height"):
            size = (param.height, param.width)
        elif len(bottom) > 1:
            size = bottom[1].shape[2:]
        else:
            shrunk = [(side - 1) // (param.shrink_factor or 1) + 1 for side in kept]
            size = [side + (side - 1) * ((param.zoom_factor or 1) - 1) for side in shrunk]
        top[0].reshape(*bottom[0].shape[:2], *size)

    def _tables(self, x, y):
        """How x is resized, and how its gradient is gathered."""
        made = (kernels.mode(), x.shape[2:], y.shape[2:])
        if made != self._made:
            param = self.param.interp_param
            self._taps = kernels.corner_taps(x.shape[2:], -param.pad_beg, -param.pad_end, y.shape[2:], x)
            self._made = made
        return self._taps

    def forward(self, bottom, top):
        self._resize(bottom[0].data, self._tables(bottom[0].data, top[0].data)[0], top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            self._resize(top[0].diff, self._tables(bottom[0].diff, top[0].diff)[1], bottom[0].diff)

    @staticmethod
    def _resize(x, taps, y):
        planes = math.prod(x.shape[:2])
        y[...] = 0
        if planes:
            kernels.merge_maps(x.reshape(1, planes, *x.shape[2:]), taps, y.reshape(planes, *y.shape[2:]))
