"""Pooling with switches, and Unpooling by them (paper, section 3.2.1), which SegNet calls Upsample."""

from .. import kernels
from ..blob import Blob
from ..kernels import Window
from ..proto import caffe_pb2
from .layer import Layer, pair, register, require_images


@register("Pooling")
class Pooling(Layer):
    """Maximum or average of windows (Caffe's Pooling).

    bottom: x (N, C, H, W)
    tops:   y (N, C, h, w), sizes rounded as `round_mode` says (default: up); for MAX optionally the switches (N, C, h, w), each
            maximum's flat index in its plane
    """

    only_launches = True
    needs_bottoms_backward = False
    tops = (1, 2)
    # of a global pooling, the bottom's size
    window: Window | None = None

    def setup(self, bottom, top):
        param = self.param.pooling_param
        methods = caffe_pb2.PoolingParameter
        if param.pool == methods.STOCHASTIC:
            raise ValueError("pool: STOCHASTIC is not supported; use MAX or AVE")
        self.takes_maximum = param.pool == methods.MAX
        if len(top) > 1 and not self.takes_maximum:
            raise ValueError("a second top, the switches, exists for pool: MAX only")
        require_images(bottom[0])
        self.whole = param.global_pooling
        self.rounds_down = param.round_mode == methods.FLOOR
        if self.whole:
            if any(param.HasField(name) for name in ("kernel_size", "kernel_h", "kernel_w")):
                raise ValueError(
                    "with global_pooling the kernel is the whole map: give no kernel_size, kernel_h or kernel_w"
                )
            self.window = Window(bottom[0].shape[2:])
            if pair(param, "pad", 0) != (0, 0) or pair(param, "stride", 1) != (1, 1):
                raise ValueError("global_pooling takes no pad and no stride")
        else:
            self.window = self._given_window()
            if any(p >= k for p, k in zip(self.window.pad, self.window.kernel, strict=True)):
                raise ValueError(f"pad {self.window.pad} must be smaller than the kernel {self.window.kernel}")
        self._switches = Blob(dtype=self.dtype)

    def _given_window(self) -> Window:
        """The window that the parameters give. Raises ValueError."""
        param = self.param.pooling_param
        return Window(pair(param, "kernel", None, fewest=1), pair(param, "stride", 1, fewest=1), pair(param, "pad", 0))

    def reshape(self, bottom, top):
        require_images(bottom[0])
        height, width = bottom[0].shape[2:]
        if self.whole:
            self.window = Window((height, width))
        size = self.window.output_size(height, width, self.rounds_down)
        if min(height, width, *size) < 1:
            raise ValueError(f"a window of {self.window.kernel} does not fit a map of {height}x{width}")
        for blob in (*top, self._switches):
            blob.reshape(*bottom[0].shape[:2], *size)

    def forward(self, bottom, top):
        if self.takes_maximum:
            kernels.max_pool(bottom[0].data, self.window, top[0].data, self._switches_of(top).data)
        else:
            kernels.average_pool(bottom[0].data, self.window, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        if self.takes_maximum:
            kernels.max_pool_backward(top[0].diff, self._switches_of(top).data, self.window, bottom[0].diff)
        else:
            kernels.average_pool_backward(top[0].diff, self.window, bottom[0].diff)

    def _switches_of(self, top):
        return top[1] if len(top) > 1 else self._switches

    def buffers(self):
        return [self._switches]

    def coordinate_map(self):
        if self.window is None and self.param.pooling_param.global_pooling:
            return None
        window = self.window or self._given_window()
        return tuple((s, (k - 1) / 2 - p) for k, s, p in zip(*window, strict=True))


@register("Unpooling")
class Unpooling(Layer):
    """Put each value back where its maximum came from (paper, section 3.2.1; layer of the authors' Caffe).

    bottoms: x (N, C, h, w); for MAX optionally the switches (N, C, h, w), the second top of the pooling layer
    top:     y (N, C, H, W). MAX: zero where no maximum was (without switches: at the top-left corner of each window);
             AVE and TILE: each value over its whole window, divided by its size or not
    H and W are unpool_size (or unpool_h, unpool_w), else those of the pooling layer's bottom, which the net hands down.
    """

    only_launches = True
    needs_bottoms_backward = False  # but for the switches
    recomputes = True
    bottoms = (1, 2)
    without_gradient = (1,)
    # the pooling layer that made the switches and the blob it pooled; set by the net
    pooling: Pooling | None = None
    pooled: Blob | None = None
    window: Window | None = None
    corners = False
    # the fields of its size, and whether it can do without
    _height, _width, _or_no_size = "unpool_h", "unpool_w", ", or no size"

    def setup(self, bottom, top):
        param = self.param.unpooling_param
        methods = caffe_pb2.UnpoolingParameter
        self.method = param.unpool
        if len(bottom) > 1 and self.method != methods.MAX:
            raise ValueError("switches, the second bottom, go with unpool: MAX only")
        if pair(param, "pad", 0) != (0, 0):
            raise ValueError("unpooling takes no pad")
        takes_pooling = not self._gives_kernel() and self.pooling is not None
        self.window = self.pooling.window if takes_pooling else self._given_window()
        self.size = self._given_size()
        if self.size is None and self.pooling is None:
            raise ValueError(
                "give unpool_size, or unpool_h and unpool_w: no pooling layer of this net made its second bottom"
            )
        self.shares = self.method == methods.AVE
        self.corners = self.method == methods.MAX

    def _gives_kernel(self) -> bool:
        return any(self.param.unpooling_param.HasField(name) for name in ("kernel_size", "kernel_h", "kernel_w"))

    def _given_window(self) -> Window:
        """The window that the parameters give. Raises ValueError."""
        param = self.param.unpooling_param
        return Window(pair(param, "kernel", None, fewest=1), pair(param, "stride", 1, fewest=1))

    def _given_size(self):
        param = self.param.unpooling_param
        if param.HasField("unpool_size"):
            if param.HasField("unpool_h") or param.HasField("unpool_w"):
                raise ValueError("give unpool_size, or unpool_h and unpool_w; not both")
            return (param.unpool_size, param.unpool_size)
        if param.HasField("unpool_h") != param.HasField("unpool_w"):
            raise ValueError("give both unpool_h and unpool_w")
        return (param.unpool_h, param.unpool_w) if param.HasField("unpool_h") else None

    def _size_of_top(self, bottom) -> tuple[int, int]:
        return self.size or self.pooled.shape[2:]

    def reshape(self, bottom, top):
        require_images(bottom[0])
        if len(bottom) > 1 and bottom[1].shape != bottom[0].shape:
            raise ValueError(
                f"its switches have the shape {bottom[1].shape}, its values {bottom[0].shape}: they must be the same"
            )
        size = self._size_of_top(bottom)
        if self.pooling is not None and size != self.pooled.shape[2:]:
            fits = self.pooled.shape[2:]
            raise ValueError(
                f"cannot unpool to {size[0]}x{size[1]} by switches into a map of {fits[0]}x{fits[1]}: "
                f"give {self._height}: {fits[0]} {self._width}: {fits[1]}{self._or_no_size}"
            )
        if len(bottom) == 1:
            last = [(n - 1) * s for n, s in zip(bottom[0].shape[2:], self.window.stride, strict=True)]
            if any(at >= n for at, n in zip(last, size, strict=True)):
                fits = [at + k for at, k in zip(last, self.window.kernel, strict=True)]
                raise ValueError(
                    f"{bottom[0].shape[2]}x{bottom[0].shape[3]} windows of stride {self.window.stride} do not fit "
                    f"{size[0]}x{size[1]}; unpool_h: {fits[0]} unpool_w: {fits[1]} would"
                )
        top[0].reshape(*bottom[0].shape[:2], *size)

    def forward(self, bottom, top):
        self._write(bottom, top, warns=True)

    def recompute(self, bottom, top):
        self._write(bottom, top, warns=False)

    def _write(self, bottom, top, warns: bool) -> None:
        if len(bottom) > 1:
            window = self.pooling.window if self.pooling is not None else None
            distinct = window is not None and not window.overlaps
            kernels.unpool(bottom[0].data, bottom[1].data, top[0].data, distinct, window, warns=warns)
        else:
            kernels.unpool_spread(bottom[0].data, self._spread_window(), top[0].data, self.shares)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        if len(bottom) > 1:
            kernels.unpool_backward(top[0].diff, bottom[1].data, bottom[0].diff)
        else:
            shares = self.shares or (self.param.unpooling_param.release_gradient and not self.corners)
            kernels.unpool_spread_backward(top[0].diff, self._spread_window(), bottom[0].diff, shares)

    def _spread_window(self):
        """A corner is a window of one place."""
        return Window((1, 1), self.window.stride) if self.corners else self.window

    def coordinate_map(self):
        if self.window is None and not self._gives_kernel():
            return None
        window = self.window or self._given_window()
        return tuple((1 / s, -((k - 1) / 2) / s) for k, s in zip(window.kernel, window.stride, strict=True))


@register("Upsample")
class Upsample(Unpooling):
    """Unpooling by switches as SegNet's and ENet's Caffe writes it.

    bottoms: x (N, C, h, w); the switches (N, C, h, w), the second top of the pooling layer
    top:     y (N, C, H, W), zero where no maximum was
    H and W are upsample_h and upsample_w, else h and w times scale (or scale_h, scale_w; 2 by default), less one where pad_out_h or
    pad_out_w says that the map that was pooled had an odd side.
    """

    bottoms = (2, 2)
    _height, _width, _or_no_size = "upsample_h", "upsample_w", ""

    def setup(self, bottom, top):
        param = self.param.upsample_param
        if param.HasField("upsample_h") != param.HasField("upsample_w"):
            raise ValueError("give both upsample_h and upsample_w")
        if param.HasField("scale_h") != param.HasField("scale_w") or (
            param.HasField("scale") and param.HasField("scale_h")
        ):
            raise ValueError("give scale, or scale_h and scale_w")
        self.size = (param.upsample_h, param.upsample_w) if param.HasField("upsample_h") else None
        self._scale = (param.scale_h, param.scale_w) if param.HasField("scale_h") else (param.scale, param.scale)
        self._less = (int(param.pad_out_h), int(param.pad_out_w))
        if self.size is None and any(
            s < 2 or (less and s != 2) for s, less in zip(self._scale, self._less, strict=True)
        ):
            raise ValueError("a scale must be at least 2, and 2 where pad_out_h or pad_out_w takes a row or column off")
        if self.pooling is not None:
            self.window = self.pooling.window

    def _gives_kernel(self):
        return False

    def _size_of_top(self, bottom):
        grown = zip(bottom[0].shape[2:], self._scale, self._less, strict=True)
        return self.size or tuple(n * scale - less for n, scale, less in grown)
