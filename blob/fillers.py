"""Caffe's fillers: how a parameter starts."""

import math

import numpy as np

from ..proto import caffe_pb2, did_you_mean


def _fan(shape, filler) -> float:
    """What xavier and msra divide by: inputs of an output, outputs of an input, or their mean (variance_norm)."""
    count = math.prod(shape)
    fan_in, fan_out = count / shape[0], count / (shape[1] if len(shape) > 1 else 1)
    modes = caffe_pb2.FillerParameter
    return {modes.FAN_IN: fan_in, modes.FAN_OUT: fan_out, modes.AVERAGE: (fan_in + fan_out) / 2}[filler.variance_norm]


def _constant(values, filler, draw):
    values[...] = filler.value


def _spread(values, low, high, draw):
    draw.random(dtype=values.dtype, out=values)
    values *= high - low
    values += low


def _normal(values, mean, deviation, draw):
    draw.standard_normal(dtype=values.dtype, out=values)
    values *= deviation
    if mean:
        values += mean


def _uniform(values, filler, draw):
    _spread(values, filler.min, filler.max, draw)


def _gaussian(values, filler, draw):
    _normal(values, filler.mean, filler.std, draw)
    if filler.sparse >= 0:  # about `sparse` inputs of each output are kept
        values *= draw.random(values.shape) < filler.sparse / len(values)


def _xavier(values, filler, draw):
    limit = math.sqrt(3 / _fan(values.shape, filler))
    _spread(values, -limit, limit, draw)


def _msra(values, filler, draw):
    _normal(values, 0, math.sqrt(2 / _fan(values.shape, filler)), draw)


def _positive_unitball(values, filler, draw):
    draw.random(dtype=values.dtype, out=values)
    rows = values.reshape(len(values), -1)
    rows /= rows.sum(axis=1, keepdims=True)


def _bilinear(values, filler, draw):
    if values.ndim != 4 or values.shape[2] != values.shape[3]:
        raise ValueError(f"the bilinear filler is for square kernels (N, C, k, k), not {values.shape}")
    size = values.shape[3]
    half = math.ceil(size / 2)
    slope = 1 - np.abs(np.arange(size) - (size - 1) / 2) / half
    values[...] = np.outer(slope, slope)


def _bilinear_diagonal(values, filler, draw):
    """Ours: one channel to itself, as the FCN authors start a Deconvolution of one group."""
    if values.ndim != 4 or values.shape[0] != values.shape[1]:
        raise ValueError(
            f"the bilinear_diagonal filler is for as many outputs as inputs, (N, N, k, k), not {values.shape}"
        )
    _bilinear(values, filler, draw)
    values *= np.eye(len(values))[:, :, None, None]


FILLERS = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "xavier": _xavier,
    "msra": _msra,
    "positive_unitball": _positive_unitball,
    "bilinear": _bilinear,
    "bilinear_diagonal": _bilinear_diagonal,
}


def require_filler(filler) -> None:
    """Raise ValueError where the type of a FillerParameter is unknown."""
    if filler.type not in FILLERS:
        raise ValueError(
            f"unknown filler '{filler.type}'{did_you_mean(filler.type, FILLERS)}; known: {', '.join(sorted(FILLERS))}"
        )


def fill(values: np.ndarray, filler, draw: np.random.Generator) -> None:
    """Fill a contiguous float array in place by a FillerParameter, drawing from `draw`. Raises ValueError for an unknown type or a shape it does not fit."""
    require_filler(filler)
    if values.size:
        FILLERS[filler.type](values, filler, draw)
