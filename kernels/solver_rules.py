"""One step of a parameter, or of all of them in one launch, by Caffe's update rules other than plain SGD."""

from .device import launch_elementwise
from .update import ArrayTable, in_one_launch, launch_update

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


def rule_update_all(
    rule: str,
    parameters: list[tuple],
    table: ArrayTable,
    *,
    scale: float,
    rate: float,
    decay: float,
    l1: bool,
    in_one: bool | None = None,
    **numbers: float,
) -> None:
    """`rule_update` of (weights, gradient, history or two, multiplier of the rate, of the decay) each, on a GPU in one launch.

    table: kept by the caller from one update to the next; in_one: launch once (or once each) whatever the device.
    """
    if not in_one_launch(parameters, in_one):
        for weights, gradient, *histories, rate_mult, decay_mult in parameters:
            own = {"rate": rate * rate_mult, "decay": decay * decay_mult, **numbers}
            rule_update(rule, weights, gradient, histories, scale=scale, l1=l1, **own)
        return
    rows, multipliers = [parameter[:-2] for parameter in parameters], [parameter[-2:] for parameter in parameters]
    own = [numbers[name] for name in RULES[rule]]
    launch_update(f"{rule}_update_all", rows, multipliers, table, scale, rate, decay, int(l1), *own)
