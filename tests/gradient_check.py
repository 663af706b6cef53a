"""The exhaustive gradient check: central differences in float64 over every element of every bottom and every parameter."""

import numpy as np

STEP = 1e-5
TOLERANCE = 1e-6  # of an element's gradient
FLOOR = 1e-2  # elements below this share of the array's largest gradient are held to the tolerance of the floor
START = 0.75  # what parameters' gradients hold before backward: it adds to them


def check_gradients(case, differentiable_tops=None, seed=0):
    """Compare a OneLayer's backward with central differences of a random weighting of its tops.

    Bottoms in the layer's `without_gradient` and parameters in its `statistics` are left out; `differentiable_tops` (numbers) takes part, all by default.
    Inputs must be further than STEP from any kink. Raises AssertionError that prints the step, the tolerances, the element and
    both values.
    """
    layer = case.layer
    start = layer.position
    tops = list(range(len(case.top))) if differentiable_tops is None else list(differentiable_tops)
    draw = np.random.default_rng(seed)
    weights = [draw.normal(size=blob.shape) for blob in case.top]

    def objective() -> float:
        layer.position = start
        values = case.forward()
        return float(sum((weights[number] * values[number]).sum() for number in tops))

    objective()
    for diff in case.parameter_diffs:
        diff[...] = START
    diffs = case.backward(*[w if number in tops else np.zeros_like(w) for number, w in enumerate(weights)])
    parameter_diffs = [diff - START for diff in case.parameter_diffs]
    for number, diff in enumerate(diffs):
        if number not in layer.without_gradient:
            _compare(f"bottom {number}", diff, _differences(objective, lambda number=number: case.inputs[number]))
    for number, diff in enumerate(parameter_diffs):
        if number in layer.statistics:
            continue
        _compare(f"parameter {number}", diff, _differences(objective, lambda number=number: case.parameters[number]))


def _differences(objective, values) -> np.ndarray:
    """The central difference of the objective for each element of values(), asked for again before each write: a GPU may hold the truth."""
    gradient = np.empty(values().shape)
    for place in np.ndindex(gradient.shape):
        held = float(values()[place])
        values()[place] = held + STEP
        above = objective()
        values()[place] = held - STEP
        gradient[place] = (above - objective()) / (2 * STEP)
        values()[place] = held
    return gradient


def _compare(name, found, expected):
    """Element by element; a NaN is a mismatch."""
    assert found.shape == expected.shape, (
        f"{name}: gradient of shape {found.shape} for values of shape {expected.shape}"
    )
    if not expected.size:
        return
    floor = FLOOR * max(1e-3, float(np.abs(expected).max()))
    scale = np.maximum(np.maximum(np.abs(found), np.abs(expected)), floor)
    error = np.abs(found - expected) / scale
    wrong = ~(error <= TOLERANCE)
    if wrong.any():
        place = tuple(int(k) for k in np.argwhere(wrong)[0])
        raise AssertionError(
            f"gradient of {name} {found.shape}: {int(wrong.sum())} of {wrong.size} elements differ; the first, {place}: "
            f"backward {found[place]!r}, central difference {expected[place]!r}, relative error {error[place]:.3g} "
            f"(step {STEP}, tolerance {TOLERANCE}, relative to at least {floor:.3g})"
        )
