"""One step of a parameter by Caffe's update rules other than plain SGD."""

from .device import launch_elementwise

# what each takes beside rate and decay, in the order of its kernel (solver_rules.cu)
RULES = {
    "nesterov": ("momentum",),
    "adagrad": ("delta",),
    "rmsprop": ("keep", "delta"),
    "adadelta": ("keep", "delta"),
    "adam": ("first", "second", "delta"),
}


def rule_update(
    rule: str, weights, gradient, histories, *, scale: float, rate: float, decay: float, l1: bool, **numbers: float
) -> None:
    """weights -= step and gradient = step, the step of scale * gradient + decay * weights (or their sign) by one of RULES.

    histories: one array like the weights, for adadelta and adam two; numbers: those that RULES names.
    """
    own = [numbers[name] for name in RULES[rule]]
    size = weights.size
    launch_elementwise(f"{rule}_update", size, weights, gradient, *histories, scale, rate, decay, int(l1), *own, size)
