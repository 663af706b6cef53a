"""Weights as .npz (NumPy's archive of arrays), with keys LAYER/NUMBER. Arrays of Python objects are not read, so nothing is unpickled.

Arrays of BN layers in bn_mode: LEARN bear the comment `bn_mode: LEARN` in the archive, which shows to nobody who reads the arrays.
"""

import re
import zipfile
import zlib
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from .stored import LEARNS, CorruptModel, Names, Stored, named_layers, read_values

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<>][f][248])', 'fortran_order': (True|False), 'shape': \(((?:\d{1,18}(?:, \d{1,18}){0,31})?),?\), \}\s*"
)
_MODE = "bn_mode: "
_BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, KeyError)


@contextmanager
def open_npz(file: BinaryIO, path: str, names: Names | None = None):
    """The StoredLayers of an open .npz file; names: see stored.named_layers. Raises CorruptModel."""
    try:
        archive = zipfile.ZipFile(file)
        members = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        parameters = {entry.filename.removesuffix(".npy"): _stored(archive, entry, path) for entry in members}
        if len(parameters) != len(members):
            raise CorruptModel("a name stands twice in it")
    except _BROKEN as error:
        raise _corrupt(path, error) from None
    modes = {
        entry.filename.rpartition("/")[0]: entry.comment.decode(errors="replace").removeprefix(_MODE)
        for entry in members
    }
    layers = named_layers(parameters, path, names)
    yield [layer._replace(learns_statistics=LEARNS.get(modes.get(layer.name))) for layer in layers]


def _corrupt(path: str, error: Exception) -> CorruptModel:
    reason = " ".join(str(error).split()) or "it is cut off"
    return CorruptModel(f"{path}: not whole .npz weights ({reason}); copy or download it again")


def _stored(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str) -> Stored:
    with archive.open(entry) as file:
        dtype, by_columns, shape = _read_header(file, entry.filename)

    def copy_to(out: np.ndarray) -> None:
        try:
            with archive.open(entry) as file:
                _read_header(file, entry.filename)
                if by_columns and len(shape) > 1:
                    columns = np.empty(out.size, dtype)
                    read_values(file, dtype, columns)
                    out.reshape(shape)[...] = columns.reshape(shape[::-1]).T
                else:
                    read_values(file, dtype, out)
        except _BROKEN as error:
            raise _corrupt(path, error) from None

    return Stored(shape, copy_to)


def _read_header(file, name: str) -> tuple[np.dtype, bool, tuple[int, ...]]:
    """(dtype, whether it is stored by columns, shape) of a .npy file's header."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise CorruptModel(f"{name} is not a NumPy array")
    length = int.from_bytes(file.read(2), "little")
    found = _HEADER.fullmatch(file.read(length))
    if not found:
        raise CorruptModel(f"{name} is not an array of floating-point numbers")
    shape = tuple(int(size) for size in re.findall(rb"\d+", found[3]))
    return np.dtype(found[1].decode()), found[2] == b"True", shape


def write_npz(path: str, arrays: dict[str, list[np.ndarray]], modes: dict[str, str]) -> None:
    """Write parameters, not compressed (float noise does not shrink); `modes`: the BN layers' bn_mode."""
    with zipfile.ZipFile(path, "w") as archive:
        for layer, blobs in arrays.items():
            for number, array in enumerate(blobs):
                entry = zipfile.ZipInfo(f"{layer}/{number}.npy")
                entry.comment = f"{_MODE}{modes[layer]}".encode() if layer in modes else b""
                with archive.open(entry, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
