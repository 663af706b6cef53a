"""A test pass: the mean of a net's outputs over a number of batches."""

from collections import Counter
from typing import NamedTuple

from .errors import SolverError


class Output(NamedTuple):
    """One value of a net's output blob; loss_weight is its factor in the loss, 0 for accuracies and the like."""

    blob: str
    value: float
    loss_weight: float

    def __str__(self) -> str:
        """As Caffe prints it: `loss = 0.61 (* 1 = 0.61 loss)`."""
        said = f"{self.blob} = {self.value:g}"
        return f"{said} (* {self.loss_weight:g} = {self.loss_weight * self.value:g} loss)" if self.loss_weight else said


def outputs_of(net) -> list[Output]:
    """The values of a net's output blobs as the last forward pass left them."""
    weights = net.blob_loss_weights
    return [Output(name, float(value), weights[name]) for name in net.outputs for value in net.blobs[name].data.ravel()]


def named_values(prefix: str, outputs: list[Output]) -> dict[str, float]:
    """Values by name, `PREFIX/BLOB`; the further values of a blob are `PREFIX/BLOB[1]`, `PREFIX/BLOB[2]` ..."""
    values, count = {}, Counter()
    for output in outputs:
        values[numbered(f"{prefix}/{output.blob}", count[output.blob])] = output.value
        count[output.blob] += 1
    return values


def numbered(name: str, number: int) -> str:
    """The name of a blob's value of that number, counted from 0."""
    return f"{name}[{number}]" if number else name


def test_name(number: int) -> str:
    """What the names of a test net's values begin with."""
    return f"test{number or ''}"


def mean_outputs(net, batches: int, progress=iter) -> tuple[float, list[Output]]:
    """(mean loss, mean of each output value) over so many forward passes; `progress` wraps the range of batches.

    Raises SolverError where a pass has more or fewer values than another.
    """
    loss, sums, outputs = 0.0, None, []
    for _ in progress(range(batches)):
        loss += net.forward_loss()
        outputs = outputs_of(net)
        values = [output.value for output in outputs]
        if sums is not None and len(sums) != len(values):
            raise SolverError(
                f"the test net's outputs ({', '.join(net.outputs)}) have {len(sums)} values in one batch and {len(values)} in another, "
                "so they have no mean: let a Silence layer take those whose size changes"
            )
        sums = values if sums is None else [sum_ + value for sum_, value in zip(sums, values, strict=True)]
    means = [output._replace(value=sum_ / batches) for sum_, output in zip(sums or [], outputs, strict=True)]
    return loss / max(1, batches), means


def accuracy_name(net) -> str | None:
    """The first output blob that an accuracy layer makes, or None."""
    made = {top for layer, *_ in net.connections() if "Accuracy" in layer.param.type for top in layer.param.top}
    return next((name for name in net.outputs if name in made), None)
