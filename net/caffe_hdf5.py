"""Weights in Caffe's HDF5 layout: data/LAYER/NUMBER, and gradients in diff/LAYER/NUMBER. A layer's name may hold slashes."""

from contextlib import contextmanager
from typing import BinaryIO

import h5py
import numpy as np

from ..blob import create_hdf5
from .stored import LEARNS, CorruptModel, Stored, StoredLayer, layers_of

# what h5py raises for broken files
_BROKEN = (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError)
# an attribute of ours on a BN layer's group
_BN_MODE = "bn_mode"


@contextmanager
def open_hdf5(file: BinaryIO, path: str):
    """The StoredLayers of an HDF5 file. Raises CorruptModel."""
    try:
        opened = h5py.File(path, "r")
    except _BROKEN as error:
        raise _corrupt(path, error) from None
    with opened:
        try:
            if "data" not in opened and "history" in opened:
                raise CorruptModel("it holds the state of a solver: take the .caffemodel.h5 written with it")
            layers = [_with_mode(opened, layer) for layer in layers_of(_datasets(opened["data"], path))]
        except _BROKEN as error:
            raise _corrupt(path, error) from None
        yield layers


def _corrupt(path: str, error: Exception) -> CorruptModel:
    reason = " ".join(str(error).split()).strip("'\"")
    return CorruptModel(f"{path}: not whole weights in Caffe's HDF5 layout, data/LAYER/NUMBER ({reason})")


def _datasets(data: h5py.Group, path: str) -> dict[str, Stored]:
    """The arrays below `data` by their path there; each object is visited once, whatever links lead to it."""
    found: dict[str, Stored] = {}

    def enter(name, item) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = _stored(item, path)

    data.visititems(enter)
    return found


def _stored(dataset: h5py.Dataset, path: str) -> Stored:
    if dataset.shape is None or dataset.dtype.kind not in "fiu":
        raise CorruptModel(f"{dataset.name} is not an array of numbers")

    def copy_to(out: np.ndarray) -> None:
        if not out.size:
            return
        try:
            dataset.read_direct(out.reshape(dataset.shape))
        except _BROKEN as error:
            raise _corrupt(path, error) from None

    return Stored(tuple(dataset.shape), copy_to)


def _with_mode(opened: h5py.File, layer: StoredLayer) -> StoredLayer:
    mode = opened["data"][layer.name].attrs.get(_BN_MODE)
    return layer._replace(learns_statistics=LEARNS.get(mode) if isinstance(mode, str) else None)


def write_hdf5(
    path: str,
    arrays: dict[str, list[np.ndarray]],
    gradients: dict[str, list[np.ndarray]],
    modes: dict[str, str],
) -> None:
    """Write parameters (and gradients, as `diff`); `modes`: the BN layers' bn_mode."""
    with create_hdf5(path) as file:
        file.create_group("data")
        for group, layers in (("data", arrays), ("diff", gradients)):
            for name, blobs in layers.items():
                for number, array in enumerate(blobs):
                    file.create_dataset(f"{group}/{name}/{number}", data=array)
        for name, mode in modes.items():
            if name in arrays:
                file["data"][name].attrs[_BN_MODE] = mode
