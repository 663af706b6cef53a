"""Caffe's solver types: SGD, and five others that move the parameters by another rule."""

import math
import os

from .. import kernels
from ..proto import caffe_pb2, did_you_mean, read_solver, upgrade_solver
from .errors import SolverError
from .log import logger
from .solver import Solver


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum (Caffe's SGDSolver):

    v = momentum * v + rate * (gradient / iter_size + decay * w),  w = w - v,
    rate = learning_rate * lr_mult,  decay = weight_decay * decay_mult (L1: times sign(w) instead of w),
    gradient: summed over iter_size batches; clip_gradients bounds the L2 norm of all parameters' together.
    decay_divided_by_iter_size, the release's rule: v = momentum * v + rate / iter_size * (gradient + decay * w).
    """

    def apply_update(self, shown=False):
        param = self.param
        drops = self.policy.drops
        rate = self.policy.advance(self.iter)
        if param.lr_policy == "multistep" and self.policy.drops > drops:
            logger.info("MultiStep Status: Iteration %d, step = %d", self.iter, self.policy.drops)
        if shown:
            logger.info("Iteration %d, lr = %g", self.iter, rate)
        scale = self._clip(shown)
        if param.decay_divided_by_iter_size:
            rate /= param.iter_size
        else:
            scale /= param.iter_size
        self._move(scale, rate, param.weight_decay, param.regularization_type == "L1")
        self.iter += 1
        self._saved = None

    def _move(self, scale: float, rate: float, decay: float, l1: bool) -> None:
        """Move all parameters; their gradients count `scale` times."""
        parameters = [
            (parameter.blob.data, parameter.blob.diff, velocity.data, parameter.lr_mult, parameter.decay_mult)
            for parameter, velocity in zip(self.net.learnable, self.history, strict=True)
        ]
        rule = {"momentum": self.param.momentum, "decay": decay, "l1": l1}
        kernels.sgd_update_all(parameters, self._parameter_table, scale=scale, rate=rate, **rule)

    def _clip(self, shown: bool) -> float:
        """The factor that brings the gradients' common L2 norm down to clip_gradients, 1 where it is no larger."""
        most = self.param.clip_gradients
        if most < 0:
            return 1.0
        gradients = [parameter.blob.diff for parameter in self.net.learnable]
        norm = math.sqrt(kernels.sum_of_squares_all(gradients, self._gradient_table))
        if norm <= most:
            return 1.0
        if shown:
            logger.info(
                "Gradient clipping: scaling down gradients (L2 norm %g > %g) by scale factor %g",
                norm,
                most,
                most / norm,
            )
        return most / norm


class _RuleSolver(SGDSolver):
    """A solver that moves the parameters by one of kernels.RULES; regularisation, clipping and rates are SGD's."""

    rule: str

    def _numbers(self) -> dict[str, float]:
        """What the rule takes beside rate and decay."""
        raise NotImplementedError

    def _move(self, scale, rate, decay, l1):
        count = len(self.net.learnable)
        histories = [[kept.data for kept in self.history[number::count]] for number in range(count)]
        parameters = [
            (parameter.blob.data, parameter.blob.diff, *kept, parameter.lr_mult, parameter.decay_mult)
            for parameter, kept in zip(self.net.learnable, histories, strict=True)
        ]
        own = {"scale": scale, "rate": rate, "decay": decay, "l1": l1, **self._numbers()}
        kernels.rule_update_all(self.rule, parameters, self._parameter_table, **own)

    def _refuse_momentum(self) -> None:
        if self.param.momentum:
            raise SolverError(
                f"{self.name}: type '{self.param.type}' takes no momentum: remove momentum from the solver"
            )


class NesterovSolver(_RuleSolver):
    """Nesterov's accelerated gradient (Caffe's NesterovSolver):

    v = momentum * v + rate * g,  w = w - ((1 + momentum) * v - momentum * old v).
    """

    rule = "nesterov"

    def _numbers(self):
        return {"momentum": self.param.momentum}


class AdaGradSolver(_RuleSolver):
    """h = h + g^2,  w = w - rate * g / (sqrt(h) + delta) (Caffe's AdaGradSolver; Duchi et al. 2011). No momentum."""

    rule = "adagrad"

    def _check_fields(self):
        super()._check_fields()
        self._refuse_momentum()

    def _numbers(self):
        return {"delta": self.param.delta}


class RMSPropSolver(_RuleSolver):
    """h = rms_decay * h + (1 - rms_decay) * g^2,  w = w - rate * g / (sqrt(h) + delta) (Caffe's RMSPropSolver). No momentum."""

    rule = "rmsprop"

    def _check_fields(self):
        super()._check_fields()
        self._refuse_momentum()
        if not 0 <= self.param.rms_decay < 1:
            raise SolverError(f"{self.name}: rms_decay must be at least 0 and below 1, not {self.param.rms_decay:g}")

    def _numbers(self):
        return {"keep": self.param.rms_decay, "delta": self.param.delta}


class AdaDeltaSolver(_RuleSolver):
    """h = momentum * h + (1 - momentum) * g^2,  u = g * sqrt((delta + s) / (delta + h)),  s = momentum * s + (1 - momentum) * u^2,
    w = w - rate * u (Caffe's AdaDeltaSolver; Zeiler 2012)."""

    rule = "adadelta"
    histories = 2

    def _numbers(self):
        return {"keep": self.param.momentum, "delta": self.param.delta}


class AdamSolver(_RuleSolver):
    """m = momentum * m + (1 - momentum) * g,  h = momentum2 * h + (1 - momentum2) * g^2,  w = w - rate * c * m / (sqrt(h) + delta),
    c = sqrt(1 - momentum2^t) / (1 - momentum^t) at update t = 1, 2 ... (Caffe's AdamSolver; Kingma and Ba 2015)."""

    rule = "adam"
    histories = 2

    def _check_fields(self):
        super()._check_fields()
        for field in ("momentum", "momentum2"):
            if not 0 <= getattr(self.param, field) < 1:
                raise SolverError(
                    f"{self.name}: {field} must be at least 0 and below 1, not {getattr(self.param, field):g}"
                )

    def _numbers(self):
        return {"first": self.param.momentum, "second": self.param.momentum2, "delta": self.param.delta}

    def _move(self, scale, rate, decay, l1):
        first, second, updates = self.param.momentum, self.param.momentum2, self.iter + 1
        super()._move(scale, rate * math.sqrt(1 - second**updates) / (1 - first**updates), decay, l1)


SOLVERS: dict[str, type[Solver]] = {
    "SGD": SGDSolver,
    "Nesterov": NesterovSolver,
    "AdaGrad": AdaGradSolver,
    "RMSProp": RMSPropSolver,
    "AdaDelta": AdaDeltaSolver,
    "Adam": AdamSolver,
}


def get_solver(path, weights: list[str] | None = None, **net_options) -> Solver:
    """The solver of the type that a solver file (or SolverParameter) names.

    Raises SolverError for a type that is not known, and what that solver raises.
    """
    given = isinstance(path, caffe_pb2.SolverParameter)
    kind = (upgrade_solver(path) if given else read_solver(path)).type
    if kind not in SOLVERS:
        raise SolverError(
            f"{'solver' if given else os.fspath(path)}: solver type '{kind}' is unknown{did_you_mean(kind, SOLVERS)} "
            f"(known types: {', '.join(SOLVERS)})"
        )
    return SOLVERS[kind](path, weights, **net_options)
