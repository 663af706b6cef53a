"""x W^T + b, the product of fully connected and recurrent layers: by the library, or on tensor cores where its operands are rounded."""

from .bias import add_bias, bias_backward
from .convolution import conv_backward, conv_forward, deconv_backward, deconv_forward
from .device import matrix_product
from .geometry import Geometry


def _maps(array):
    """How the tensor cores take it: the layer is a 1x1 convolution (transposed: a deconvolution) over maps of one place."""
    return None if array is None else array.reshape(*array.shape, 1, 1)


def linear(x, weights, bias, out, precision: str = "FLOAT32", transposed: bool = False) -> None:
    """out (M, O) = x (M, K) times weights (O, K), or (K, O) where `transposed`, plus bias (O,) or None; precision as in Geometry."""
    if precision == "FLOAT32":
        matrix_product(x, weights if transposed else weights.T, out)
        add_bias(bias, out)
        return
    forward = deconv_forward if transposed else conv_forward
    forward(_maps(x), _maps(weights), bias, Geometry((1, 1), precision=precision), _maps(out))


def linear_backward(
    x, weights, dy, dx=None, dweights=None, dbias=None, precision: str = "FLOAT32", transposed: bool = False
) -> None:
    """Gradients of `linear`: dx is written, dweights and dbias are added to; None for what is not wanted."""
    if precision == "FLOAT32":
        if dweights is not None:
            a, b = (x, dy) if transposed else (dy, x)
            matrix_product(a.T, b, dweights, add=True)
        if dbias is not None:
            bias_backward(dy, dbias)
        if dx is not None:
            matrix_product(dy, weights.T if transposed else weights, dx)
        return
    backward = deconv_backward if transposed else conv_backward
    geometry = Geometry((1, 1), precision=precision)
    backward(_maps(x), _maps(weights), _maps(dy), geometry, _maps(dx), _maps(dweights), dbias)
