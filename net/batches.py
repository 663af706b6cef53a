"""A net over arrays of any length, a batch at a time (pycaffe's forward_all and forward_backward_all)."""

from itertools import zip_longest

import numpy as np

from .errors import NetError


def forward_in_batches(net, blobs, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Net.forward_all."""
    size = _batch_size(net)
    if not inputs:
        raise NetError(f"forward_all needs an array for each input: {', '.join(net.inputs)}")
    collected: dict[str, list] = {}
    for batch, filled in _batches(inputs, size):
        _collect(collected, net.forward(blobs=blobs, **batch), size, filled)
    return _joined(collected)


def backward_in_batches(net, blobs, diffs, arrays: dict[str, np.ndarray]) -> tuple[dict, dict]:
    """Net.forward_backward_all."""
    size = _batch_size(net)
    if unknown := set(arrays) - {*net.inputs, *net.outputs}:
        raise NetError(f"'{min(unknown)}' is neither an input nor an output of the net")
    inputs = {name: array for name, array in arrays.items() if name in net.inputs}
    gradients = {name: array for name, array in arrays.items() if name not in net.inputs}
    values: dict[str, list] = {}
    slopes: dict[str, list] = {}
    _length(arrays)
    for forward, backward in zip_longest(_batches(inputs, size), _batches(gradients, size), fillvalue=({}, size)):
        filled = min(forward[1], backward[1])
        _collect(values, net.forward(blobs=blobs, **forward[0]), size, filled)
        _collect(slopes, net.backward(diffs=diffs, **backward[0]), size, filled)
    return _joined(values), _joined(slopes)


def _batch_size(net) -> int:
    if not net.inputs:
        raise NetError("the net has no inputs: its data layers say what a batch is, so run forward() for each")
    shape = net.blobs[net.inputs[0]].shape
    if not shape or not shape[0]:
        raise NetError(
            f"the input '{net.inputs[0]}' has the shape {shape}, which says no batch: reshape it to one first"
        )
    return shape[0]


def _length(arrays: dict[str, np.ndarray]) -> int:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise NetError(f"the arrays must be equally long: {lengths}")
    return next(iter(lengths.values()), 0)


def _batches(arrays: dict[str, np.ndarray], size: int):
    """({name: array of `size` items}, how many of them are not padding), one after the other."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    for first in range(0, _length(arrays), size):
        parts = {name: array[first : first + size] for name, array in arrays.items()}
        filled = min(map(len, parts.values()))
        if filled < size:
            parts = {
                name: np.concatenate([part, np.zeros((size - filled, *part.shape[1:]), part.dtype)])
                for name, part in parts.items()
            }
        yield parts, filled


def _collect(collected: dict[str, list], results: dict[str, np.ndarray], size: int, filled: int) -> None:
    """Append copies of a batch's results, without padding where there is a result for each item."""
    for name, array in results.items():
        each = array.ndim and len(array) == size
        collected.setdefault(name, []).append(np.array(array[:filled] if each else np.atleast_1d(array)))


def _joined(collected: dict[str, list]) -> dict[str, np.ndarray]:
    return {name: np.concatenate(parts) for name, parts in collected.items()}
