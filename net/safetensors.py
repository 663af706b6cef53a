"""Weights as .safetensors, with keys LAYER/NUMBER: the length of a header, the header in JSON, the numbers one array after the other.

The format is that of https://github.com/huggingface/safetensors; every offset of a file is checked before any value is read.
"""

import json
import math
import os
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from .stored import LEARNS, CorruptModel, Names, Stored, named_layers, read_values

_LENGTH = 8
_LONGEST_HEADER = 100_000_000  # the format's own limit
_METADATA = "__metadata__"
_MODE = "bn_mode: "
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_NAMES = {"f8": "F64", "f4": "F32"}


def _from_bfloat16(values: np.ndarray) -> np.ndarray:
    return (values.astype(np.uint32) << 16).view(np.float32)


@contextmanager
def open_safetensors(file: BinaryIO, path: str, names: Names | None = None):
    """The StoredLayers of an open .safetensors file; names: see stored.named_layers. Raises CorruptModel."""
    try:
        start, header = _read_header(file)
        metadata = header.pop(_METADATA, {})
        parameters = _stored(file, start, header)
    except CorruptModel as error:
        raise CorruptModel(f"{path}: not whole .safetensors weights ({error}); copy or download it again") from None
    modes = metadata if isinstance(metadata, dict) else {}
    layers = named_layers(parameters, path, names)
    yield [
        layer._replace(learns_statistics=LEARNS.get(str(modes.get(layer.name)).removeprefix(_MODE))) for layer in layers
    ]


def _read_header(file: BinaryIO) -> tuple[int, dict]:
    """(where the numbers begin, the header)."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(_LENGTH), "little")
    if size < _LENGTH or length > min(size - _LENGTH, _LONGEST_HEADER):
        raise CorruptModel("its header is cut off")
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_without_repeats)
    except CorruptModel:
        raise
    except (ValueError, RecursionError):
        raise CorruptModel("its header is not JSON") from None
    if not isinstance(header, dict):
        raise CorruptModel("its header is not an object")
    return _LENGTH + length, header


def _without_repeats(pairs: list[tuple[str, object]]) -> dict:
    if len(dict(pairs)) != len(pairs):
        raise CorruptModel("a name stands twice in its header")
    return dict(pairs)


def _stored(file: BinaryIO, start: int, header: dict) -> dict[str, Stored]:
    """The parameters by name, once their places are known to fill the file without gaps and overlaps."""
    spans = {name: _span(name, entry) for name, entry in header.items()}
    behind = start
    for name, (begin, end, *_) in sorted(spans.items(), key=lambda item: item[1][:2]):
        if start + begin != behind:
            raise CorruptModel(f"the numbers of '{name}' do not follow on those before")
        behind = start + end
    if behind != os.fstat(file.fileno()).st_size:
        raise CorruptModel(f"its numbers end at byte {behind}, the file at {os.fstat(file.fileno()).st_size}")

    def parameter(begin: int, shape: tuple[int, ...], kind: str) -> Stored:
        def copy_to(out: np.ndarray) -> None:
            file.seek(start + begin)
            read_values(file, np.dtype(_DTYPES[kind]), out, _from_bfloat16 if kind == "BF16" else None)

        return Stored(shape, copy_to)

    return {name: parameter(begin, shape, kind) for name, (begin, _, shape, kind) in spans.items()}


def _span(name: str, entry) -> tuple[int, int, tuple[int, ...], str]:
    """(begin, end, shape, dtype name) of an array, its offsets relative to the end of the header."""
    try:
        kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise CorruptModel(f"'{name}' lacks dtype, shape or two data_offsets") from None
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise CorruptModel(f"'{name}' has the dtype {str(kind)[:20]}; known are {', '.join(_DTYPES)}")
    if any(type(number) is not int or not 0 <= number < 1 << 63 for number in (*shape, begin, end)):
        raise CorruptModel(f"'{name}' has sizes or offsets that are not whole numbers from 0 on")
    if end - begin != math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize:
        raise CorruptModel(f"'{name}' of shape {shape} and dtype {kind} takes {end - begin} bytes")
    return begin, end, shape, kind


def write_safetensors(path: str, arrays: dict[str, list[np.ndarray]], modes: dict[str, str]) -> None:
    """Write float32 or float64 parameters; `modes`: the BN layers' bn_mode."""
    header: dict[str, object] = {_METADATA: {name: _MODE + mode for name, mode in modes.items()}} if modes else {}
    named = {f"{layer}/{number}": array for layer, blobs in arrays.items() for number, array in enumerate(blobs)}
    end = 0
    for name, array in named.items():
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype.str[1:]],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(_LENGTH, "little") + text)
        for array in named.values():
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).data)
