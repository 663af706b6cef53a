"""Weights in and out of a net, matched by layer name: .caffemodel of any age and Caffe's HDF5 layout."""

from typing import NamedTuple

import h5py
import numpy as np

from .caffemodel import read_caffemodel
from .hdf5_file import create_hdf5
from .wire import CorruptModel


class LoadReport(NamedTuple):
    """What became of a file's layers: names of those `matched`, of those whose blobs took another shape of equal count (`coerced`),
    of the net's layers that keep their filler (`missing`) and of the file's layers that the net does not have (`ignored`)."""

    matched: list[str]
    coerced: list[str]
    missing: list[str]
    ignored: list[str]

    def __str__(self) -> str:
        parts = [f"{len(self.matched)} layers loaded"]
        for what, names in (
            ("of another shape", self.coerced),
            ("left at their filler", self.missing),
            ("not in this net", self.ignored),
        ):
            if names:
                shown = ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")
                parts.append(f"{len(names)} {what} ({shown})")
        return "; ".join(parts)


def read_weights(path: str) -> list[tuple[str, list[np.ndarray]]]:
    """(layer name, parameters) of a .caffemodel or .h5 file. Raises FileNotFoundError, CorruptModel."""
    if str(path).endswith(".h5"):
        return _read_hdf5(path)
    return read_caffemodel(path)


def _read_hdf5(path: str) -> list[tuple[str, list[np.ndarray]]]:
    try:
        with h5py.File(path, "r") as file:
            layers = file["data"]
            return [(name, [layers[name][str(i)][()] for i in range(len(layers[name]))]) for name in layers]
    except FileNotFoundError:
        raise
    except (OSError, KeyError, AttributeError, TypeError) as error:
        raise CorruptModel(f"{path}: not weights in Caffe's HDF5 layout (data/LAYER/NUMBER): {error}") from None


def write_hdf5(
    path: str, arrays: dict[str, list[np.ndarray]], gradients: dict[str, list[np.ndarray]] | None = None
) -> None:
    """Write parameters (and gradients, as `diff`) in Caffe's layout: data/LAYER/NUMBER."""
    with create_hdf5(path) as file:
        for group, layers in (("data", arrays), ("diff", gradients)):
            for name, blobs in (layers or {}).items():
                for number, array in enumerate(blobs):
                    file.create_dataset(f"{group}/{name}/{number}", data=array)


def load_into(layers, arrays: list[tuple[str, list[np.ndarray]]], path: str) -> LoadReport:
    """Copy arrays into the parameters of the layers of the same name; a blob of equal count takes the net's shape.

    Raises ValueError naming the layer and both shapes where counts differ, or where no name is common.
    """
    by_name = {}
    for layer in layers:
        if layer.blobs:
            by_name.setdefault(layer.name, layer)
    report = LoadReport([], [], [], [])
    for name, blobs in arrays:
        if name not in by_name:
            report.ignored.append(name)
            continue
        layer = by_name[name]
        if len(blobs) != len(layer.blobs):
            raise ValueError(
                f"{path}: layer '{name}' has {len(blobs)} parameters there and {len(layer.blobs)} in the net"
            )
        for number, (values, blob) in enumerate(zip(blobs, layer.blobs, strict=True)):
            if values.size != blob.count:
                raise ValueError(
                    f"{path}: parameter {number} of layer '{name}' has the shape {values.shape} there and {blob.shape} in the net; "
                    "rename the layer in the prototxt to start it from its filler"
                )
            if _plain(values.shape) != _plain(blob.shape) and name not in report.coerced:
                report.coerced.append(name)
            blob.host_data[...] = values.reshape(blob.shape)
        report.matched.append(name)
    report.missing.extend(name for name in by_name if name not in report.matched)
    if by_name and not report.matched:
        raise ValueError(f"{path}: none of its layers ({', '.join(report.ignored[:6]) or 'it has none'}) is in the net")
    return report


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the leading ones that older files add."""
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return tuple(shape[first:])
