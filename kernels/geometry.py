"""How the window of a convolution moves."""

from typing import NamedTuple


class Geometry(NamedTuple):
    """How a window moves: a number for each spatial axis, mostly (vertical, horizontal), and the number of groups.

    precision: what operands are rounded to where the group is 1, one of PRECISIONS
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1)
    pad: tuple[int, ...] = (0, 0)
    dilation: tuple[int, ...] = (1, 1)
    group: int = 1
    precision: str = "FLOAT32"

    def output_size(self, *size: int) -> tuple[int, ...]:
        """Of a convolution over a map of that size; not positive where the window does not fit."""
        return tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(size, self.kernel, self.stride, self.pad, self.dilation, strict=True)
        )

    def transposed_size(self, *size: int) -> tuple[int, ...]:
        """Of a deconvolution over a map of that size."""
        return tuple(
            s * (n - 1) + d * (k - 1) + 1 - 2 * p
            for n, k, s, p, d in zip(size, self.kernel, self.stride, self.pad, self.dilation, strict=True)
        )

    @property
    def taps(self) -> tuple[int, ...]:
        """The window as the kernels take it."""
        return (*self.kernel, *self.stride, *self.pad, *self.dilation)

    @property
    def pointwise(self) -> bool:
        """Whether the columns are the image itself."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.pad == (0, 0)

    @property
    def of_planes(self) -> "Geometry":
        """The same with two axes at least: along those before its own there is one place."""
        missing = 2 - len(self.kernel)
        kernel, stride, dilation = ((1,) * missing + sizes for sizes in (self.kernel, self.stride, self.dilation))
        return self._replace(kernel=kernel, stride=stride, pad=(0,) * missing + self.pad, dilation=dilation)
