"""What is said of a label that is no class."""

import numpy as np

from .device import to_host


class LabelError(ValueError):
    """A label that is no class. example: the number in the batch of the one that has it; batch: how many examples there are."""

    def __init__(self, message: str, example: int, batch: int):
        super().__init__(message)
        self.example, self.batch = example, batch


def ignoring(ignored: int | None) -> tuple[int, int]:
    """How kernels are told of a label that does not count: whether there is one, and which."""
    return (0, -1) if ignored is None else (1, ignored)


def check_label_files(label: float) -> str:
    """The remedy for a label where no other is known."""
    return "check num_output or the label files"


def strange_label(labels, batch: int, classes: int, ignored=(), remedy=check_label_files) -> LabelError:
    """The error for the first label that is neither one of the classes nor ignored, of which there is one.

    batch: how many examples the labels are of, one after the other; remedy(label): what ends the message.
    """
    values = to_host(labels).ravel()
    first = int((~((values >= 0) & (values < classes)) & ~np.isin(values, ignored)).argmax())
    label = values[first]
    told = f"label {label:g} is not one of the {classes} classes (0 to {classes - 1}); {remedy(label)}"
    return LabelError(told, first * batch // values.size, batch)
