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


def _constant(shape, filler, draw):
    return np.full(shape, filler.value)


def _uniform(shape, filler, draw):
    return draw.uniform(filler.min, filler.max, shape)


def _normal(shape, deviation, draw):
    values = draw.standard_normal(shape, np.float32)  # in float64 those of fc6 would take 0.8 GB
    values *= deviation
    return values


def _gaussian(shape, filler, draw):
    values = _normal(shape, filler.std, draw)
    values += filler.mean
    if filler.sparse >= 0:  # about `sparse` inputs of each output are kept
        values *= draw.random(shape) < filler.sparse / shape[0]
    return values


def _xavier(shape, filler, draw):
    limit = math.sqrt(3 / _fan(shape, filler))
    return draw.uniform(-limit, limit, shape)


def _msra(shape, filler, draw):
    return _normal(shape, math.sqrt(2 / _fan(shape, filler)), draw)


def _positive_unitball(shape, filler, draw):
    values = draw.random(shape).reshape(shape[0], -1)
    return (values / values.sum(axis=1, keepdims=True)).reshape(shape)


def _bilinear(shape, filler, draw):
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ValueError(f"the bilinear filler is for square kernels (N, C, k, k), not {tuple(shape)}")
    size = shape[3]
    half = math.ceil(size / 2)
    slope = 1 - np.abs(np.arange(size) - (size - 1) / 2) / half
    return np.broadcast_to(np.outer(slope, slope), shape)


FILLERS = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "xavier": _xavier,
    "msra": _msra,
    "positive_unitball": _positive_unitball,
    "bilinear": _bilinear,
}


def fill(values: np.ndarray, filler, draw: np.random.Generator) -> None:
    """Fill an array by a FillerParameter, drawing from `draw`. Raises ValueError for an unknown type or a shape it does not fit."""
    if filler.type not in FILLERS:
        raise ValueError(
            f"unknown filler '{filler.type}'{did_you_mean(filler.type, FILLERS)}; known: {', '.join(sorted(FILLERS))}"
        )
    if values.size:
        values[...] = FILLERS[filler.type](values.shape, filler, draw)
