"""Weights in and out of a net, matched by layer name: .caffemodel of any age, Caffe's HDF5 layout, .npz and .safetensors."""

import os
from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ..layers import BN
from ..proto import printable
from .caffe_hdf5 import open_hdf5, write_hdf5
from .caffemodel import open_caffemodel, write_caffemodel
from .errors import NetError
from .npz import open_npz, write_npz
from .safetensors import open_safetensors, write_safetensors
from .stored import CorruptModel, Names, Stored, StoredLayer

_READERS = {".h5": open_hdf5, ".npz": open_npz, ".safetensors": open_safetensors}
_MAGIC = {b"\x89HDF\r\n\x1a\n": open_hdf5, b"PK\x03\x04": open_npz}
# parameters or gradients by layer name
Arrays = dict[str, list[np.ndarray]]


class LoadReport(NamedTuple):
    """What became of a file's layers: names of those `matched`, of those whose blobs took another shape of equal count (`coerced`),
    of the net's layers that keep their filler (`missing`), of the file's layers that the net does not have (`ignored`), of
    trained batch norms that stand in bn_mode: INFERENCE here without having been folded (`unfolded`), and of folded ones that stand in
    bn_mode: LEARN (`folded`)."""

    matched: list[str]
    coerced: list[str]
    missing: list[str]
    ignored: list[str]
    unfolded: list[str]
    folded: list[str]

    def __str__(self) -> str:
        parts = [f"{len(self.matched)} layers loaded"]
        for what, names in (
            ("of another shape", self.coerced),
            ("left at their filler", self.missing),
            ("not in this net", self.ignored),
            ("batch norms not folded", self.unfolded),
            ("batch norms folded already", self.folded),
        ):
            if names:
                parts.append(f"{len(names)} {what} ({_some(names)})")
        return "; ".join(parts)

    def warning(self, path: str) -> str | None:
        """What must be said aloud, since it gives nonsense in silence; None where there is nothing."""
        if self.unfolded:
            return (
                f"{path}: its batch norms ({_some(self.unfolded)}) come from training in bn_mode: LEARN and are bn_mode: INFERENCE in "
                "this net, so what it computes is nonsense: fold the file first with tools/fold_batch_norm.py"
            )
        if self.folded:
            return (
                f"{path}: its batch norms ({_some(self.folded)}) are folded for bn_mode: INFERENCE and are bn_mode: LEARN in this net, "
                "which normalises once more: give the weights as they were trained"
            )
        return None


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")


@contextmanager
def open_weights(path: str, names: Names | None = None):
    """The StoredLayers of a file of weights, known by its first bytes or its suffix.

    names: makes LAYER/NUMBER of the parameters' names in a .npz or .safetensors file of another program.
    Raises FileNotFoundError, CorruptModel, NetError for names and another form.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        start = file.read(8)
        file.seek(0)
        suffix = next((suffix for suffix in _READERS if path.endswith(suffix)), None)
        reader = next((reader for magic, reader in _MAGIC.items() if start.startswith(magic)), _READERS.get(suffix))
        if names and reader not in (open_npz, open_safetensors):
            raise NetError(
                f"{path}: parameters are renamed in .npz and .safetensors files only: convert it to one of them"
            )
        with reader(file, path, names) if names else (reader or open_caffemodel)(file, path) as layers:
            yield layers


def write_weights(place: str, form: str, net, arrays: Arrays, gradients: Arrays, modes: dict[str, str]) -> None:
    """Write parameters by layer name at `place`, in the form that the end of `form` names, a .caffemodel of the NetParameter `net` else.

    gradients: of the same layers, or empty; modes: the BN layers' bn_mode, of which a load into the other one warns.
    Raises NetError for gradients in .npz and .safetensors, OSError.
    """
    if gradients and form.endswith((".npz", ".safetensors")):
        raise NetError(f"{form}: this form holds no gradients: write a .caffemodel or .h5")
    if form.endswith(".h5"):
        write_hdf5(place, arrays, gradients, modes)
    elif form.endswith(".npz"):
        write_npz(place, arrays, modes)
    elif form.endswith(".safetensors"):
        write_safetensors(place, arrays, modes)
    else:
        with open(place, "wb") as file:
            write_caffemodel(file, net, arrays, gradients)


def bn_modes(layers) -> dict[str, str]:
    """The bn_mode of each BN layer."""
    return {layer.name: "LEARN" if layer.learns else "INFERENCE" for layer in layers if isinstance(layer, BN)}


def load(layers, path: str, names: Names | None, fill: Callable) -> LoadReport:
    """Copy a file's values into the parameters of the layers of the same name; a blob of equal count takes the net's shape.

    names: as for open_weights; fill: called with each layer that the file does not have.
    Raises FileNotFoundError; NetError for a corrupt file, and, naming the layer and both shapes, where counts differ, or where no name is
    common: nothing is copied then.
    """
    try:
        with open_weights(path, names) as stored:
            return _load_into(layers, stored, path, fill)
    except FileNotFoundError:
        raise FileNotFoundError(f"no such weights file: {path}") from None
    except ValueError as error:
        raise NetError(printable(str(error))) from None
    except MemoryError as error:
        raise NetError(f"{path}: there is not enough memory for these weights: {error}") from None


def _load_into(layers, stored: list[StoredLayer], path: str, fill: Callable) -> LoadReport:
    by_name = {}
    for layer in layers:
        if layer.blobs:
            by_name.setdefault(layer.name, layer)
    report, names = LoadReport([], [], [], [], [], []), set()
    for found in stored:
        if found.name not in by_name:
            report.ignored.append(found.name)
            continue
        layer = by_name[found.name]
        _check(layer, found, path)
        if any(_plain(parameter.shape) != _plain(layer.blobs[i].shape) for i, parameter in found.parameters.items()):
            report.coerced.append(found.name)
        if isinstance(layer, BN) and not layer.learns and found.learns_statistics:
            report.unfolded.append(found.name)
        if isinstance(layer, BN) and layer.learns and found.learns_statistics is False:
            report.folded.append(found.name)
        report.matched.append(found.name)
        names.add(found.name)
    missing = [layer for name, layer in by_name.items() if name not in names]
    report.missing.extend(layer.name for layer in missing if len(layer.shared) < len(layer.blobs))
    if by_name and not names:
        raise ValueError(f"{path}: none of its layers ({_some(report.ignored) or 'it has none'}) is in the net")
    for layer in missing:
        fill(layer)
    for found in stored:
        for number, parameter in found.parameters.items() if found.name in names else ():
            _copy(parameter, by_name[found.name].blobs[number], f"parameter {number} of layer '{found.name}'", path)
    return report


def _check(layer, found: StoredLayer, path: str) -> None:
    """Raise ValueError unless the file has every parameter of the layer, but for shared ones, in the layer's counts."""
    needed = set(range(len(layer.blobs)))
    if not needed - layer.shared <= found.parameters.keys() <= needed:
        raise ValueError(
            f"{path}: layer '{found.name}' has {len(found.parameters)} parameters there and {len(layer.blobs)} in the net; "
            "rename the layer in the prototxt to start it from its filler"
        )
    for number, parameter in found.parameters.items():
        blob = layer.blobs[number]
        if parameter.count != blob.count:
            raise ValueError(
                f"{path}: parameter {number} of layer '{found.name}' has the shape {parameter.shape} there and {blob.shape} in the net; "
                "rename the layer in the prototxt to start it from its filler"
            )


def _copy(parameter: Stored, blob, what: str, path: str) -> None:
    try:
        parameter.copy_to(blob.host_data.reshape(-1))
    except CorruptModel as error:
        raise CorruptModel(f"{path}: {what}: {error}; copy or download the file again") from None


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the leading ones that older files add."""
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return tuple(shape[first:])
