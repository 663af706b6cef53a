"""Our kernels over drawn arrays, for each case of gpu_cases.py: {name: function that makes arrays and returns the call over them}."""

from functools import partial

import measured_deconvnet as measured  # before NumPy: it imports deconvnet first
import numpy as np
from gpu_cases import CLASSES

from deconvnet.core import kernels

BASE = 1 << 24  # drawn values of which all arrays are made: drawing each anew would take minutes


class Arrays:
    """Drawn float32 arrays on the device of the mode."""

    def __init__(self):
        self._module = kernels.array_module()
        self._draw = np.random.default_rng(1)
        self._base = self._module.asarray(self._draw.standard_normal(BASE, np.float32))

    def __call__(self, *shape: int):
        array = self._module.empty(shape, np.float32)
        flat = array.reshape(-1)
        for first in range(0, flat.size, BASE):
            part = flat[first : first + BASE]
            part[...] = self._base[: part.size]
        return array

    def labels(self, *shape: int):
        """Numbers of classes."""
        return self._module.asarray(self._draw.integers(CLASSES, size=shape).astype(np.float32))


def map_makers(arrays: Arrays) -> dict:
    """Of what moves values: functions that make a call for a case."""
    window = kernels.Window((2, 2), (2, 2))

    def pooled(case):
        """x, its maxima and its switches."""
        x, half = arrays(*case.shape), (case.batch, case.channels, case.size // 2, case.size // 2)
        y, switches = arrays(*half), arrays(*half)
        kernels.max_pool(x, window, y, switches)
        return x, y, switches

    def normalised(case):
        """What batch norm takes: x, scale, shift, eps, y, mean, variance."""
        x, y = arrays(*case.shape), arrays(*case.shape)
        scale, shift, mean, variance = (arrays(case.channels) for _ in range(4))
        return x, scale, shift, 1e-5, y, mean, variance

    def relu(case):
        x, y = arrays(*case.shape), arrays(*case.shape)
        return partial(kernels.relu, x, 0.0, out=y)

    def relu_backward(case):
        y, dy = arrays(*case.shape), arrays(*case.shape)
        return partial(kernels.relu_backward, dy, y, 0.0, out=dy)

    def batch_norm(case):
        return partial(kernels.batch_norm_forward, *normalised(case))

    def batch_norm_backward(case, rectified=False):
        x, scale, shift, eps, dy, mean, variance = normalised(case)
        kernels.batch_norm_forward(x, scale, shift, eps, dy, mean, variance)
        gradients = arrays(case.channels), arrays(case.channels)
        given = (dy, x, scale, shift, mean, variance, eps, dy, *gradients)
        return partial(kernels.batch_norm_backward, *given, rectified=rectified)

    def batch_norm_relu(case, pool=False):
        given = normalised(case)
        y, switches = pooled(case)[1:] if pool else (None, None)

        def run():
            kernels.batch_norm_forward(*given, rectified=True)
            if pool:
                kernels.max_pool(given[4], window, y, switches)

        return run

    def max_pool(case):
        x, y, switches = pooled(case)
        return partial(kernels.max_pool, x, window, y, switches)

    def max_pool_backward(case):
        x, y, switches = pooled(case)
        return partial(kernels.max_pool_backward, y, switches, window, x)

    def unpool(case):
        x, y, switches = pooled(case)
        return partial(kernels.unpool, y, switches, out=x, distinct=True, window=window)

    def unpool_backward(case):
        x, y, switches = pooled(case)
        return partial(kernels.unpool_backward, x, switches, out=y)

    def dropout(case):
        x, y = arrays(*case.shape), arrays(*case.shape)
        return partial(kernels.dropout, x, 1, 0.5, y, 2.0)

    def bias(case):
        return partial(kernels.add_bias, arrays(case.channels), arrays(*case.shape))

    def bias_backward(case):
        return partial(kernels.bias_backward, arrays(*case.shape), arrays(case.channels))

    return {
        "relu": relu,
        "relu backward": relu_backward,
        "batch norm": batch_norm,
        "batch norm backward": batch_norm_backward,
        "batch norm + relu": batch_norm_relu,
        "batch norm + relu backward": partial(batch_norm_backward, rectified=True),
        "batch norm + relu + max pool": partial(batch_norm_relu, pool=True),
        "max pool with switches": max_pool,
        "max pool backward": max_pool_backward,
        "unpool": unpool,
        "unpool backward": unpool_backward,
        "dropout": dropout,
        "bias": bias,
        "bias backward": bias_backward,
    }


def product_makers(arrays: Arrays, precision: str) -> dict:
    """Of convolutions and deconvolutions in a precision."""
    chosen = {} if precision == "float32" else {"precision": precision.upper()}

    def parts(case, transposed):
        """x, weights, y, geometry of a convolution or deconvolution."""
        if case.level < 6:
            geometry = kernels.Geometry((3, 3), pad=(1, 1), **chosen)
            return arrays(*case.shape), arrays(case.channels, case.channels, 3, 3), arrays(*case.shape), geometry
        geometry = kernels.Geometry((case.size, case.size), **chosen)
        whole, point = arrays(*case.shape), arrays(case.batch, 4096, 1, 1)
        weights = arrays(4096, case.channels, case.size, case.size)
        return (point, weights, whole, geometry) if transposed else (whole, weights, point, geometry)

    def maker(transposed, way):
        forward = kernels.deconv_forward if transposed else kernels.conv_forward
        backward = kernels.deconv_backward if transposed else kernels.conv_backward

        def make(case):
            x, weights, y, geometry = parts(case, transposed)
            if way == "":
                return partial(forward, x, weights, None, geometry, out=y)
            wanted = {"dx": x} if way == " backward, data" else {"dweights": weights}
            return partial(backward, x, weights, y, geometry, **wanted)

        return make

    def unpool_and_transform(case):
        x, weights, y, geometry = parts(case, True)
        small = (case.batch, case.channels, case.size // 2, case.size // 2)
        values, switches = arrays(*small), arrays(*small)
        window = kernels.Window((2, 2), (2, 2))
        kernels.max_pool(x, window, values, switches)

        def run():
            kernels.unpool(values, switches, out=x, distinct=True, window=window)
            kernels.deconv_forward(x, weights, None, geometry, out=y)

        return run

    ways = ("", " backward, data", " backward, weights")
    made = {f"convolution{way}": maker(False, way) for way in ways}
    return (
        made
        | {f"deconvolution{way}": maker(True, way) for way in ways}
        | {"unpool + deconvolution": unpool_and_transform}
    )


def other_makers(arrays: Arrays, size: int) -> dict:
    """Of the loss, the accuracy, bilinear upsampling and the update of all parameters."""

    def labelled(case):
        return arrays(*case.shape), arrays.labels(case.batch, 1, case.size, case.size), arrays(*case.shape)

    def softmax_loss(case):
        scores, labels, probabilities = labelled(case)
        return partial(kernels.softmax_loss, scores, labels, 1, 255, probabilities)

    def softmax_loss_backward(case):
        probabilities, labels, out = labelled(case)
        return partial(kernels.softmax_loss_backward, probabilities, labels, 1, 255, 1.0, out=out)

    def accuracy(case):
        scores, labels, _ = labelled(case)
        return partial(kernels.rank_labels, scores, labels, 1, 1, 255, ties_are_errors=False)

    def upsampling(case, backward=False):
        geometry = kernels.Geometry((4, 4), (2, 2), (1, 1), group=CLASSES)
        x = arrays(case.batch, CLASSES, case.size // 2, case.size // 2)
        weights, y = arrays(CLASSES, 1, 4, 4), arrays(*case.shape)
        if backward:
            return partial(kernels.deconv_backward, x, weights, y, geometry, dx=x)
        return partial(kernels.deconv_forward, x, weights, None, geometry, out=y)

    def sgd_update(case):
        solver = measured.training_solver(1, size)
        for parameter in solver.net.learnable:
            for array in (parameter.blob.data, parameter.blob.diff):
                array[...] = arrays(*array.shape)
        return solver.apply_update

    return {
        "softmax loss": softmax_loss,
        "softmax loss backward": softmax_loss_backward,
        "accuracy": accuracy,
        "upsampling": upsampling,
        "upsampling backward, data": partial(upsampling, backward=True),
        "sgd update": sgd_update,
        "sgd update, fused": sgd_update,
    }
