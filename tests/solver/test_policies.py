"""Learning-rate policies: Caffe's formulas, and plateau on scripted accuracies."""

import math

import pytest

from deconvnet.core.proto import caffe_pb2, parse
from deconvnet.core.solver import SolverError, make_policy


def policy(text):
    return make_policy(parse(text, caffe_pb2.SolverParameter()), "s.prototxt")


def rates(text, iterations):
    """The rate of every iteration up to the last, in order, as training asks for them."""
    made = policy(text)
    return [made.advance(iteration) for iteration in range(iterations)]


def test_fixed_keeps_base_lr():
    assert rates('lr_policy: "fixed" base_lr: 0.5', 3) == [0.5, 0.5, 0.5]


def test_step_multiplies_by_gamma_every_stepsize_iterations():
    found = rates('lr_policy: "step" base_lr: 0.5 gamma: 0.25 stepsize: 3', 7)
    assert found == [0.5] * 3 + [0.125] * 3 + [0.03125]


def test_exp_multiplies_by_gamma_every_iteration():
    assert rates('lr_policy: "exp" base_lr: 0.5 gamma: 0.5', 4) == [0.5, 0.25, 0.125, 0.0625]


def test_inv_is_base_lr_over_a_power_of_one_plus_gamma_times_iteration():
    found = rates('lr_policy: "inv" base_lr: 0.5 gamma: 0.25 power: 2', 9)
    assert found[8] == pytest.approx(0.5 / 3**2)
    assert found[0] == 0.5


def test_multistep_multiplies_by_gamma_at_each_stepvalue():
    found = rates('lr_policy: "multistep" base_lr: 1 gamma: 0.5 stepvalue: 2 stepvalue: 5', 7)
    assert found == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_multistep_takes_two_steps_at_one_stepvalue_in_two_iterations():
    found = rates('lr_policy: "multistep" base_lr: 1 gamma: 0.5 stepvalue: 1 stepvalue: 1', 4)
    assert found == [1, 0.5, 0.25, 0.25]


def test_poly_falls_to_zero_at_max_iter_and_stays_there():
    found = rates('lr_policy: "poly" base_lr: 0.5 power: 2 max_iter: 4', 6)
    assert found == pytest.approx([0.5, 0.5 * 0.75**2, 0.5 * 0.5**2, 0.5 * 0.25**2, 0, 0])


def test_sigmoid_has_half_the_rate_at_stepsize():
    found = rates('lr_policy: "sigmoid" base_lr: 0.5 gamma: -0.5 stepsize: 3', 6)
    assert found == pytest.approx([0.5 / (1 + math.exp(0.5 * (i - 3))) for i in range(6)])
    assert found[3] == 0.25


def test_sigmoid_far_from_stepsize_is_a_number():
    text = 'lr_policy: "sigmoid" base_lr: 0.5 gamma: -10 stepsize: 3000'
    assert policy(text).rate_at(0) == 0.5
    assert policy(text).rate_at(100000) == 0


def test_asking_for_a_rate_does_not_advance_the_policy():
    made = policy('lr_policy: "multistep" base_lr: 1 gamma: 0.5 stepvalue: 1 stepvalue: 1')
    assert [made.rate_at(1), made.rate_at(1), made.drops] == [0.5, 0.5, 0]


def test_a_rate_that_is_not_finite_is_an_error():
    with pytest.raises(SolverError, match="no finite rate at iteration 100000"):
        policy('lr_policy: "exp" base_lr: 0.5 gamma: 2').rate_at(100000)


@pytest.mark.parametrize(
    "text, said",
    [
        (
            'lr_policy: "stp" base_lr: 1',
            r"unknown lr_policy 'stp'; did you mean 'step'\? \(known: fixed, step.*plateau",
        ),
        ("base_lr: 1", "lr_policy is not given"),
        ('lr_policy: "fixed"', "base_lr is missing"),
        (
            'lr_policy: "step" base_lr: 1 gamma: 0.1',
            "stepsize is missing; lr_policy 'step' needs base_lr, gamma, stepsize",
        ),
        ('lr_policy: "step" base_lr: 1 gamma: 0.1 stepsize: 0', "stepsize must be at least 1, not 0"),
        ('lr_policy: "multistep" base_lr: 1 gamma: 0.1', "stepvalue is missing"),
        ('lr_policy: "poly" base_lr: 1 power: 1', "max_iter is missing"),
        ('lr_policy: "plateau" base_lr: 1 plateau_patience: 0', "plateau_patience must be at least 1"),
    ],
)
def test_a_policy_that_cannot_work_is_an_error_naming_file_and_field(text, said):
    with pytest.raises(SolverError, match=f"^s.prototxt: {said}"):
        policy(text)


def plateau(accuracies, fields="", lower_is_better=False):
    """The rate after each test pass, starting from 1 with gamma 0.5."""
    made = policy(f'lr_policy: "plateau" base_lr: 1 gamma: 0.5 {fields}')
    made.lower_is_better = lower_is_better
    found = []
    for accuracy in accuracies:
        before = made.rate
        assert made.judge(accuracy) == (made.rate < before)
        found.append(made.rate)
    return found


def test_plateau_drops_the_rate_at_each_pass_without_improvement():
    assert plateau([0.1, 0.2, 0.15, 0.3, 0.3]) == [1, 1, 0.5, 0.5, 0.25]


def test_plateau_compares_with_the_best_so_far_not_with_the_last():
    assert plateau([0.5, 0.3, 0.4]) == [1, 0.5, 0.25]


def test_an_equal_accuracy_is_no_improvement():
    assert plateau([0.5, 0.5]) == [1, 0.5]


def test_plateau_waits_for_its_patience_and_then_anew():
    assert plateau([0.5, 0.4, 0.4, 0.4, 0.4], "plateau_patience: 2") == [1, 1, 0.5, 0.5, 0.25]


def test_an_improvement_ends_the_waiting():
    assert plateau([0.5, 0.4, 0.6, 0.4, 0.4], "plateau_patience: 2") == [1, 1, 1, 1, 0.5]


def test_nan_is_no_improvement_and_never_the_best():
    assert plateau([math.nan, 0.1, math.nan, 0.2]) == [0.5, 0.5, 0.25, 0.25]


def test_the_rate_never_drops_below_plateau_min_lr():
    assert plateau([0.5, 0, 0, 0], "plateau_min_lr: 0.375") == [1, 0.5, 0.375, 0.375]


def test_a_floor_above_the_rate_does_not_raise_it():
    assert plateau([0.5, 0], "plateau_min_lr: 2") == [1, 1]


def test_gamma_is_a_tenth_unless_given():
    made = policy('lr_policy: "plateau" base_lr: 1')
    made.judge(0.5)
    assert made.judge(0.5) and made.rate == pytest.approx(0.1)


def test_of_a_loss_lower_is_better():
    assert plateau([0.5, 0.4, 0.45], lower_is_better=True) == [1, 1, 0.5]
