"""A net drawn from a seed: what the functions of drawn_layers.py and drawn_losses.py have at hand."""

import random

import numpy as np


class Drawing:
    """A net under way: its layers' text, its inputs, and the chances that they come from.

    inputs:   {name: float32 array} for the net's Input layers
    phase:    TRAIN or TEST; passes: forward passes before the backward pass
    learned:  where a layer has inputs without a gradient, and force_backward would ask for theirs, the other inputs are parameters'
              products: a Scale of one factor a value shows the gradient of each
    lossy:    whether the layer is a loss, which starts the backward pass
    backward: whether there is one
    """

    def __init__(self, seed: int):
        self._random = random.Random(seed)
        self._numbers = np.random.RandomState(seed)
        self.layers: list[str] = []
        self.inputs: dict[str, np.ndarray] = {}
        self.phase = self.choice("TRAIN", "TEST")
        self.passes = 1
        self.learned = self.lossy = False
        self.backward = True

    @property
    def text(self) -> str:
        """The net as prototxt."""
        force = "force_backward: true" if self.backward and not self.learned else ""
        return "\n".join([f'name: "drawn" {force}', *self.layers])

    def chance(self, share: float = 0.5) -> bool:
        """True in that share of the nets."""
        return self._random.random() < share

    def size(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return self._random.randint(low, high)

    def choice(self, *values):
        """One of them."""
        return self._random.choice(values)

    def number(self, low: float = -2, high: float = 2) -> float:
        """Of three digits, so that its text is itself."""
        return round(self._random.uniform(low, high), 3)

    def flag(self) -> str:
        """A bool of a prototxt."""
        return self.choice("true", "false")

    def shape(self, axes: int, low: int = 1, high: int = 6) -> tuple[int, ...]:
        """So many sizes."""
        return tuple(self.size(low, high) for _ in range(axes))

    def sometimes(self, text: str, share: float = 0.5) -> str:
        """The text in that share of the nets, else nothing."""
        return text if self.chance(share) else ""

    def counted(self, axis: int, axes: int) -> int:
        """The axis, or the same counted from the end."""
        return axis if self.chance() else axis - axes

    def values(self, shape, kind: str = "normal", below: int = 2) -> np.ndarray:
        """normal; whole: rounded, full of ties; positive; class: whole numbers from 0 on, below `below`."""
        if kind == "class":
            return self._numbers.randint(0, below, shape).astype(np.float32)
        if kind == "positive":
            return self._numbers.uniform(0.1, 2, shape).astype(np.float32)
        drawn = self._numbers.normal(0, 1, shape)
        return (np.round(drawn) if kind == "whole" else drawn).astype(np.float32)

    def input(self, name: str, shape, kind: str = "normal", below: int = 2) -> str:
        """An Input of drawn values; `learned` puts a Scale behind it, unless it holds classes."""
        source = name
        if self.learned and kind != "class":
            source = f"{name}_before"
        dims = " ".join(f"dim: {size}" for size in shape)
        self.inputs[source] = self.values(shape, kind, below)
        self.layers.append(
            f'layer {{ name: "{source}" type: "Input" top: "{source}" input_param {{ shape {{ {dims} }} }} }}'
        )
        if source != name:
            self.layer("Scale", [source], [name], "scale_param { axis: 0 num_axes: -1 }", f"{name}_by_factors")
        return name

    def layer(self, kind: str, bottoms, tops, fields: str = "", name: str = "drawn") -> None:
        """A layer of the net."""
        blobs = [f'bottom: "{blob}"' for blob in bottoms] + [f'top: "{blob}"' for blob in tops]
        self.layers.append(" ".join([f'layer {{ name: "{name}" type: "{kind}"', *blobs, fields, "}"]))

    def silence(self, *blobs: str) -> None:
        """Keep blobs from being outputs, which would be given a gradient."""
        if blobs:
            self.layer("Silence", blobs, [], name="silence")
