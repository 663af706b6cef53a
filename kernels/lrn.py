"""Local response normalisation, across channels or within each plane."""

from .device import launch, launch_elementwise, workspace
from .elementwise import multiply


def _window_sums(x, radius: int, within: bool, out) -> None:
    n, c, height, width = x.shape
    if within:
        launch("sum_within_plane", n * c * height, width, x, out, radius, n * c, height, width)
    else:
        launch("sum_across_channels", n * c, height * width, x, out, radius, n, c, height * width)


def lrn(x, size: int, alpha: float, beta: float, k: float, within: bool, q, out) -> None:
    """q = k + alpha * (mean of x^2 over the window), out = x * q^-beta; all (N, C, H, W).

    The window is `size` (odd) channels, or size x size places `within` a plane; beyond the edge lie zeros.
    """
    squares = workspace(x, x.size, "lrn").reshape(x.shape)
    multiply(x, x, squares)
    _window_sums(squares, size // 2, within, q)
    launch_elementwise("lrn_forward", x.size, x, q, out, k, alpha / size ** (2 if within else 1), beta, x.size)


def lrn_backward(dy, x, q, size: int, alpha: float, beta: float, within: bool, out) -> None:
    """out = the gradient of `lrn` from dy, its x and its q; out is neither of them."""
    ratio = workspace(x, x.size, "lrn").reshape(x.shape)
    sums = workspace(x, x.size, "lrn sums").reshape(x.shape)
    launch_elementwise("lrn_ratio", x.size, dy, x, q, out, ratio, beta, x.size)
    _window_sums(ratio, size // 2, within, sums)
    launch_elementwise("lrn_backward", x.size, x, sums, out, 2 * alpha * beta / size ** (2 if within else 1), x.size)
