"""Caffe's update rules other than plain SGD: each against its formula, and a run that is cut in two against one that is not.

Adam and Nesterov are held against runs of Caffe itself in test_golden_solver.py.
"""

import contextlib

import numpy as np
import pytest
import tiny_training
from arrays import host, numbers, put

from deconvnet.core import kernels
from deconvnet.core.solver import SOLVERS, SolverError, get_solver

RATE, DECAY, SCALE = 0.1, 0.3, 0.5


def nesterov(g, kept, momentum):
    (old,) = kept
    now = momentum * old + RATE * g
    return (1 + momentum) * now - momentum * old, [now]


def adagrad(g, kept, delta):
    total = kept[0] + g**2
    return RATE * g / (np.sqrt(total) + delta), [total]


def rmsprop(g, kept, keep, delta):
    mean = keep * kept[0] + (1 - keep) * g**2
    return RATE * g / (np.sqrt(mean) + delta), [mean]


def adadelta(g, kept, keep, delta):
    mean = keep * kept[0] + (1 - keep) * g**2
    move = g * np.sqrt((delta + kept[1]) / (delta + mean))
    return RATE * move, [mean, keep * kept[1] + (1 - keep) * move**2]


def adam(g, kept, first, second, delta):
    mean, square = first * kept[0] + (1 - first) * g, second * kept[1] + (1 - second) * g**2
    return RATE * mean / (np.sqrt(square) + delta), [mean, square]


FORMULAS = {"nesterov": nesterov, "adagrad": adagrad, "rmsprop": rmsprop, "adadelta": adadelta, "adam": adam}
NUMBERS = {"momentum": 0.9, "keep": 0.8, "first": 0.9, "second": 0.95, "delta": 0.01}


@pytest.mark.parametrize("l1", [False, True])
@pytest.mark.parametrize("rule", FORMULAS)
def test_a_step_is_the_rules_formula(device, rule, l1):
    """Three steps, so that every history counts; the gradient becomes the step, as in Caffe."""
    assert set(FORMULAS) == set(kernels.RULES)
    own = {name: NUMBERS[name] for name in kernels.RULES[rule]}
    w, kept = numbers(3, 7), [np.zeros((3, 7))] * (2 if rule in ("adadelta", "adam") else 1)
    w.flat[0] = 0  # its sign is 0
    weights, histories = put(w), [put(one) for one in kept]
    for seed in range(1, 4):
        gradient = put(numbers(3, 7, seed=seed))
        kernels.rule_update(rule, weights, gradient, histories, scale=SCALE, rate=RATE, decay=DECAY, l1=l1, **own)
        g = SCALE * numbers(3, 7, seed=seed) + DECAY * (np.sign(w) if l1 else w)
        step, kept = FORMULAS[rule](g, kept, **own)
        w = w - step
        np.testing.assert_allclose(host(gradient), step, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(host(weights), w, rtol=1e-12, atol=1e-14)
        for found, expected in zip(histories, kept, strict=True):
            np.testing.assert_allclose(host(found), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("in_one", [False, True])
@pytest.mark.parametrize("l1", [False, True])
@pytest.mark.parametrize("rule", FORMULAS)
def test_all_parameters_move_as_each_would_alone(device, rule, l1, in_one):
    """Sizes below, at and beyond what a block takes at a time, each with multipliers of its own; two steps, so that histories count."""
    own, kept = {name: NUMBERS[name] for name in kernels.RULES[rule]}, 2 if rule in ("adadelta", "adam") else 1
    arrays = [
        [*(numbers(*size, seed=seed) for seed in range(2)), *[np.zeros(size)] * kept]
        for size in [(1,), (8192,), (3, 5), (8193,), (2, 20000)]
    ]
    multipliers = [(1.0, 1.0), (2.0, 0.0), (0.0, 1.0), (0.5, 3.0), (10.0, 1.0)]
    together, alone = ([tuple(map(put, row)) for row in arrays] for _ in range(2))
    table, rates = kernels.ArrayTable(), {"scale": SCALE, "l1": l1, **own}
    for rate in (RATE, RATE / 10):
        rows = [(*row, *ours) for row, ours in zip(together, multipliers, strict=True)]
        kernels.rule_update_all(rule, rows, table, rate=rate, decay=DECAY, in_one=in_one, **rates)
        for (weights, gradient, *histories), (lr, decay) in zip(alone, multipliers, strict=True):
            moved = {"rate": rate * lr, "decay": DECAY * decay, **rates}
            kernels.rule_update(rule, weights, gradient, histories, **moved)
    for one, other in zip(together, alone, strict=True):
        for found, expected in zip(one, other, strict=True):
            np.testing.assert_allclose(host(found), host(expected), rtol=1e-13, atol=1e-14)


FIELDS = {
    "Nesterov": "momentum: 0.9",
    "AdaGrad": "momentum: 0",
    "RMSProp": "momentum: 0 rms_decay: 0.95",
    "AdaDelta": "momentum: 0.95 delta: 1e-4",
    "Adam": "momentum: 0.9 momentum2: 0.99",
}


def trained(path, iterations, state=None):
    """(losses, parameters and histories, a snapshot) after so many iterations."""
    with contextlib.closing(get_solver(path)) as solver:
        if state:
            solver.restore(state)
        solver.step(iterations)
        arrays = [blob.data.copy() for blobs in solver.net.params.values() for blob in blobs]
        return list(solver.losses), arrays + [kept.host_data.copy() for kept in solver.history], solver.snapshot()


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("kind", FIELDS)
def test_a_resumed_run_is_the_same_run(tmp_path, kind, form):
    text = f'type: "{kind}" {FIELDS[kind]} random_seed: 5 average_loss: 40 max_iter: 40 snapshot_format: {form}'
    path = tiny_training.write_seg_solver(tmp_path, text)
    losses, whole, _ = trained(path, 6)
    _, _, state = trained(path, 3)
    _, resumed, _ = trained(path, 3, state)
    assert all(np.isfinite(losses))
    for one, other in zip(resumed, whole, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", FIELDS)
def test_training_goes_down(tmp_path, kind):
    rate = {"AdaDelta": 1.0, "Nesterov": 0.01}.get(kind, 0.005)
    text = f'type: "{kind}" {FIELDS[kind]} random_seed: 5 average_loss: 40 max_iter: 40 base_lr: {rate}'
    losses, _, _ = trained(tiny_training.write_seg_solver(tmp_path, text), 30)
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


@pytest.mark.parametrize(
    "fields, said",
    [
        ('type: "AdaGrad" momentum: 0.9', "type 'AdaGrad' takes no momentum: remove momentum from the solver"),
        ('type: "RMSProp" momentum: 0.9', "type 'RMSProp' takes no momentum: remove momentum from the solver"),
        ('type: "RMSProp" momentum: 0 rms_decay: 1', "rms_decay must be at least 0 and below 1, not 1"),
        ('type: "Adam" momentum2: 1', "momentum2 must be at least 0 and below 1, not 1"),
    ],
)
def test_what_a_rule_cannot_take_is_said(tmp_path, fields, said):
    path = tiny_training.write_dummy_solver(tmp_path, fields)
    with pytest.raises(SolverError, match=f"^{path}: {said}$"):
        get_solver(path)


def test_a_state_of_another_rule_does_not_fit(tmp_path):
    adam, sgd = (tmp_path / name for name in ("adam", "sgd"))
    for folder in (adam, sgd):
        folder.mkdir()
    _, _, state = trained(tiny_training.write_seg_solver(adam, 'type: "Adam" max_iter: 40'), 1)
    solver = get_solver(tiny_training.write_seg_solver(sgd, 'type: "SGD" max_iter: 40'))
    with contextlib.closing(solver), pytest.raises(SolverError, match="resume with the solver and net that wrote it"):
        solver.restore(state)


def test_every_type_of_caffe_is_there():
    assert list(SOLVERS) == ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]
