"""Protobuf's wire form, as far as arrays need it: fields in turn, where a blob's numbers stand, and the bytes of a blob."""

import math
from typing import NamedTuple

import numpy as np

from ..proto import caffe_pb2
from .stored import CorruptModel

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BLOB_DATA, _BLOB_DIFF, _BLOB_SHAPE, _BLOB_DOUBLE_DATA = 5, 6, 7, 8
_NUMBERS = {_BLOB_DATA: np.dtype("<f4"), _BLOB_DOUBLE_DATA: np.dtype("<f8")}
_MOST_AXES = 32


def read_varint(view: memoryview, at: int) -> tuple[int, int]:
    """(number, the place behind it)."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise CorruptModel("it ends in the middle of a number")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise CorruptModel("a number is longer than 64 bits")


def read_field(view: memoryview, at: int, end: int) -> tuple[int, int | slice, int]:
    """(field number, value, the place behind it): an int, or where in the view the bytes stand."""
    key, at = read_varint(view, at)
    field, kind = key >> 3, key & 7
    if field == 0:
        raise CorruptModel("a field has the number 0")
    if kind == _VARINT:
        value, at = read_varint(view, at)
    elif kind in (_BYTES, _FIXED32, _FIXED64):
        size = 4 if kind == _FIXED32 else 8
        if kind == _BYTES:
            size, at = read_varint(view, at)
        value, at = slice(at, at + size), at + size
    else:
        raise CorruptModel(f"a field has the unknown wire type {kind}")
    if at > end:
        raise CorruptModel("it is cut off")
    return field, value, at


def read_fields(view: memoryview, place: slice | None = None):
    """(field number, value) in turn of the message at `place`, of the whole view if none is given; values as in read_field."""
    at, end = (0, len(view)) if place is None else (place.start, place.stop)
    while at < end:
        field, value, at = read_field(view, at, end)
        yield field, value


class Run(NamedTuple):
    """Numbers in a row: the place of the first, how many, and the bytes from one to the next."""

    start: int
    count: int
    step: int


class BlobPlace(NamedTuple):
    """A BlobProto in a file: its shape and where its numbers stand."""

    shape: tuple[int, ...]
    dtype: np.dtype
    runs: list[Run]

    def values(self, view: memoryview) -> np.ndarray:
        """The numbers, flat; a view of the bytes where they stand together."""
        parts = [
            np.ndarray(run.count, self.dtype, view, run.start, (run.step,)) if run.count else np.zeros(0, self.dtype)
            for run in self.runs
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0, self.dtype)


def find_blob(view: memoryview, place: slice) -> BlobPlace:
    """What the BlobProto at `place` holds. Raises CorruptModel."""
    legacy, shape = [1, 1, 1, 1], None
    runs: dict[int, list[Run]] = {field: [] for field in _NUMBERS}
    at, end = place.start, place.stop
    while at < end:
        start = at
        field, value, at = read_field(view, at, end)
        if field in (1, 2, 3, 4) and isinstance(value, int):
            legacy[field - 1] = value
        elif field == _BLOB_SHAPE and isinstance(value, slice):
            shape = _read_shape(view, value)
        elif field in _NUMBERS and isinstance(value, slice):
            size = _NUMBERS[field].itemsize
            if view[start] & 7 != _BYTES:  # not packed: one field for each number
                count = _equal_fields(view, start, end, value.start - start, at - start)
                runs[field].append(Run(value.start, count, at - start))
                at = start + count * (at - start)
            elif (value.stop - value.start) % size:
                raise CorruptModel("a parameter holds half a number")
            else:
                runs[field].append(Run(value.start, (value.stop - value.start) // size, size))
    field = _BLOB_DOUBLE_DATA if runs[_BLOB_DOUBLE_DATA] else _BLOB_DATA
    shape = tuple(legacy) if shape is None else shape
    count = sum(run.count for run in runs[field])
    if math.prod(shape) != count:
        raise CorruptModel(f"a parameter of shape {shape} holds {count} numbers")
    return BlobPlace(shape, _NUMBERS[field], runs[field])


def _equal_fields(view: memoryview, start: int, end: int, key: int, step: int) -> int:
    """How many fields of `step` bytes stand in a row that begin with the same `key` bytes."""
    most = (end - start) // step
    keys = np.frombuffer(view, np.uint8, most * step, start).reshape(most, step)[:, :key]
    other = np.flatnonzero((keys != keys[0]).any(axis=1))
    return int(other[0]) if other.size else most


def _read_shape(view: memoryview, place: slice) -> tuple[int, ...]:
    sizes: list[int] = []
    for field, value in read_fields(view, place):
        if field != 1:
            continue
        if isinstance(value, int):
            sizes.append(value)
            continue
        at = value.start
        while at < value.stop and len(sizes) <= _MOST_AXES:
            size, at = read_varint(view, at)
            sizes.append(size)
    if len(sizes) > _MOST_AXES or any(size >= 1 << 40 for size in sizes):
        raise CorruptModel(f"a parameter's shape has impossible sizes {sizes[:4]}")
    return tuple(sizes)


def read_blob(view: memoryview) -> np.ndarray:
    """The array of a BlobProto, a view of its bytes where they allow it. Raises CorruptModel."""
    place = find_blob(view, slice(0, len(view)))
    return place.values(view).reshape(place.shape)


def blob_parts(array: np.ndarray, gradient: np.ndarray | None = None) -> tuple[list, int]:
    """What makes up a BlobProto, to be written in turn: bytes, and the numbers as they lie in memory; and the length of all."""
    parts = [caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=array.shape)).SerializeToString()]
    for field, numbers in ((_BLOB_DATA, array), (_BLOB_DIFF, gradient)):
        if numbers is not None:
            values = np.ascontiguousarray(numbers, "<f4").reshape(-1).view(np.uint8).data
            parts += [header(field, values.nbytes), values]
    return parts, sum(len(part) for part in parts)


def varint(value: int) -> bytes:
    """A number as fields hold it."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def header(field: int, length: int) -> bytes:
    """The key of a field of bytes, and their number."""
    return varint(field << 3 | _BYTES) + varint(length)
