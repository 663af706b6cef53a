"""Learning-rate policies: Caffe's formulas of the iteration, and plateau, a drop when a test output stops improving."""

import math

from ..proto import did_you_mean
from .errors import SolverError


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


# policy -> the rate, from the SolverParameter p, the iteration i and the drops so far d
_FORMULAS = {
    "fixed": lambda p, i, d: p.base_lr,
    "step": lambda p, i, d: p.base_lr * p.gamma**d,
    "exp": lambda p, i, d: p.base_lr * p.gamma**i,
    "inv": lambda p, i, d: p.base_lr * (1 + p.gamma * i) ** -p.power,
    "multistep": lambda p, i, d: p.base_lr * p.gamma**d,
    "poly": lambda p, i, d: p.base_lr * max(0, 1 - i / p.max_iter) ** p.power,
    "sigmoid": lambda p, i, d: p.base_lr * _sigmoid(p.gamma * (i - p.stepsize)),
}
_NEEDED = {
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
}
_AT_LEAST_1 = {"step": "stepsize", "poly": "max_iter", "plateau": "plateau_patience"}
KNOWN = (*_FORMULAS, "plateau")


class Policy:
    """The rate of each iteration by the solver's lr_policy (Caffe's SGDSolver::GetLearningRate).

    drops: how often the rate has dropped so far, for step, multistep and plateau (current_step of a .solverstate).
    """

    def __init__(self, param):
        self.param = param
        self.drops = 0

    def drops_at(self, iteration: int) -> int:
        """The drops once that iteration has come; a multistep takes one step an iteration at most, as Caffe's."""
        if self.param.lr_policy == "step":
            return iteration // self.param.stepsize
        steps = self.param.stepvalue if self.param.lr_policy == "multistep" else ()
        return self.drops + (self.drops < len(steps) and iteration >= steps[self.drops])

    def rate_at(self, iteration: int) -> float:
        """The rate of an iteration. Raises SolverError where the formula gives no finite number."""
        policy = self.param.lr_policy
        try:
            rate = _FORMULAS[policy](self.param, iteration, self.drops_at(iteration))
        except (OverflowError, ZeroDivisionError):
            rate = math.inf
        if isinstance(rate, complex) or not math.isfinite(rate):
            raise SolverError(
                f"lr_policy '{policy}' gives no finite rate at iteration {iteration}: check gamma and power"
            )
        return rate

    def advance(self, iteration: int) -> float:
        """The rate of an iteration whose turn has come."""
        rate = self.rate_at(iteration)
        self.drops = self.drops_at(iteration)
        return rate


class Plateau(Policy):
    """Multiply the rate by gamma after plateau_patience test passes without a strictly better value of the test output.

    best: the best value so far, None before the first (NaN never is one)
    wait: test passes since the best value or the last drop
    rate: the rate now; no drop takes it below plateau_min_lr
    lower_is_better: the output is a loss
    """

    def __init__(self, param):
        super().__init__(param)
        self.gamma = param.gamma if param.HasField("gamma") else 0.1
        self.best: float | None = None
        self.wait = 0
        self.rate = param.base_lr
        self.lower_is_better = False

    def drops_at(self, iteration):
        return self.drops

    def rate_at(self, iteration):
        return self.rate

    def judge(self, value: float) -> bool:
        """Hear the watched output of a test pass; whether the rate dropped."""
        if self._improves(value):
            self.best, self.wait = value, 0
            return False
        self.wait += 1
        if self.wait < self.param.plateau_patience:
            return False
        self.wait = 0
        lowered = max(self.rate * self.gamma, self.param.plateau_min_lr)
        if lowered >= self.rate:
            return False
        self.rate = lowered
        self.drops += 1
        return True

    def _improves(self, value: float) -> bool:
        if math.isnan(value) or self.best is None:
            return not math.isnan(value)
        return value < self.best if self.lower_is_better else value > self.best


def make_policy(param, name: str = "solver") -> Policy:
    """The policy that a SolverParameter names; `name` is what errors call the solver.

    Raises SolverError for an unknown policy, naming the known ones, and for a missing field that its formula needs.
    """
    policy = param.lr_policy
    if policy not in KNOWN:
        said = f"unknown lr_policy '{policy}'{did_you_mean(policy, KNOWN)}" if policy else "lr_policy is not given"
        raise SolverError(f"{name}: {said} (known: {', '.join(KNOWN)})")
    needed = ("base_lr", *_NEEDED.get(policy, ()))
    given = {field.name for field, _ in param.ListFields()}
    for field in needed:
        if field not in given:
            raise SolverError(f"{name}: {field} is missing; lr_policy '{policy}' needs {', '.join(needed)}")
    at_least_1 = _AT_LEAST_1.get(policy)
    if at_least_1 and getattr(param, at_least_1) < 1:
        raise SolverError(f"{name}: {at_least_1} must be at least 1, not {getattr(param, at_least_1)}")
    if policy != "plateau":
        return Policy(param)
    plateau = Plateau(param)
    if not 0 < plateau.gamma < 1:
        raise SolverError(f"{name}: gamma must be above 0 and below 1 for the rate to drop, not {plateau.gamma:g}")
    return plateau
