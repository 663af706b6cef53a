"""Parameters as they lie in a file of weights: their shapes are known first, their values are read straight to where they belong."""

import math
import re
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np

_NUMBER = re.compile("0|[1-9][0-9]{0,3}")
_PIECE = 1 << 22  # bytes that are read at a time


# LAYER/NUMBER for a parameter's name in another program's file, None for one to leave out; ValueError for a foreign one
Names = Callable[[str], str | None]


class CorruptModel(ValueError):
    """The file is not a whole file of weights."""


class Stored(NamedTuple):
    """A parameter in a file: its shape, and a function that reads its values into a flat array of as many floats."""

    shape: tuple[int, ...]
    copy_to: Callable[[np.ndarray], None]

    @property
    def count(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


class StoredLayer(NamedTuple):
    """A layer in a file: its name, its parameters by number, and whether it is a BN in bn_mode: LEARN; None where the file does not say.

    Caffe's HDF5 files leave out the parameters that are another layer's.
    """

    name: str
    parameters: dict[int, Stored]
    learns_statistics: bool | None = None


# what files say of a BN layer's statistics
LEARNS = {"LEARN": True, "INFERENCE": False}


def layers_of(parameters: dict[str, Stored]) -> list[StoredLayer]:
    """Layers from parameters named LAYER/NUMBER, in the order in which the names come. Raises CorruptModel for other names."""
    layers: dict[str, dict[int, Stored]] = {}
    for name, stored in parameters.items():
        layer, _, number = name.rpartition("/")
        if not layer or not _NUMBER.fullmatch(number):
            raise CorruptModel(f"'{name}' is not a name of the form LAYER/NUMBER")
        layers.setdefault(layer, {})[int(number)] = stored
    return [StoredLayer(name, numbered) for name, numbered in layers.items()]


def named_layers(parameters: dict[str, Stored], path: str, names: Names | None) -> list[StoredLayer]:
    """The layers of a file at `path`, whose own names `names` makes LAYER/NUMBER; without it they must have that form.

    Raises CorruptModel with the path in its message.
    """
    try:
        renamed = {names(name) if names else name: stored for name, stored in parameters.items()}
        renamed.pop(None, None)
        return layers_of(renamed)
    except ValueError as error:
        remedy = "" if names else "; tools/convolutionize.py --names reads VGG-16 of another program"
        raise CorruptModel(f"{path}: {error}{remedy}") from None


def read_values(file: BinaryIO, dtype: np.dtype, out: np.ndarray, widen=None) -> None:
    """Fill the flat array `out` with numbers of `dtype` from where the file stands, without a second copy of them.

    widen: makes floats of what is read, for dtypes that NumPy does not have. Raises CorruptModel where the file ends before.
    """
    if dtype == out.dtype and widen is None:
        _read_whole(file, memoryview(out.view(np.uint8)))
        return
    most = _PIECE // dtype.itemsize
    piece = np.empty(min(out.size, most), dtype)
    for at in range(0, out.size, most):
        part = piece[: out.size - at]
        _read_whole(file, memoryview(part.view(np.uint8)))
        out[at : at + len(part)] = part if widen is None else widen(part)


def _read_whole(file: BinaryIO, view: memoryview) -> None:
    # piece by piece: a file inside a zip archive makes bytes of each piece before it is copied
    while view:
        read = file.readinto(view[:_PIECE])
        if not read:
            raise CorruptModel("it is cut off")
        view = view[read:]
