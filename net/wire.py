"""Protobuf's wire form, as far as arrays need it: fields in turn, blobs as views of the bytes, and the bytes of a blob."""

import numpy as np

from ..proto import caffe_pb2

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BLOB_DATA, _BLOB_DIFF, _BLOB_SHAPE, _BLOB_DOUBLE_DATA = 5, 6, 7, 8


class CorruptModel(ValueError):
    """The file is not a whole .caffemodel."""


def read_varint(view: memoryview, at: int) -> tuple[int, int]:
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


def read_fields(view: memoryview):
    """(field number, value) in turn: an int, or a memoryview of the bytes."""
    at = 0
    while at < len(view):
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
            if at + size > len(view):
                raise CorruptModel("it is cut off")
            value, at = view[at : at + size], at + size
        else:
            raise CorruptModel(f"a field has the unknown wire type {kind}")
        yield field, value


def read_blob(view: memoryview) -> np.ndarray:
    legacy, shape, values = [1, 1, 1, 1], None, np.zeros(0, np.float32)
    for field, value in read_fields(view):
        if field in (1, 2, 3, 4) and isinstance(value, int):
            legacy[field - 1] = value
        elif field == _BLOB_SHAPE and isinstance(value, memoryview):
            shape = _read_shape(value)
        elif field in (_BLOB_DATA, _BLOB_DOUBLE_DATA) and isinstance(value, memoryview):
            dtype = np.dtype("<f4" if field == _BLOB_DATA else "<f8")
            if len(value) % dtype.itemsize:
                raise CorruptModel("a parameter holds half a number")
            if len(value) == dtype.itemsize and values.size:  # not packed: one field for each number
                return _read_unpacked(view)
            values = np.frombuffer(value, dtype)
    shape = tuple(legacy) if shape is None else shape
    if np.prod(shape, dtype=np.int64) != values.size:
        raise CorruptModel(f"a parameter of shape {shape} holds {values.size} numbers")
    return values.reshape(shape)


def _read_shape(view: memoryview) -> tuple[int, ...]:
    sizes, at = [], 0
    for field, value in read_fields(view):
        if field != 1:
            continue
        if isinstance(value, int):
            sizes.append(value)
            continue
        at = 0
        while at < len(value):
            size, at = read_varint(value, at)
            sizes.append(size)
    if len(sizes) > 32 or any(size >= 1 << 40 for size in sizes):
        raise CorruptModel(f"a parameter's shape has impossible sizes {sizes[:4]}")
    return tuple(sizes)


def _read_unpacked(view: memoryview) -> np.ndarray:
    blob = caffe_pb2.BlobProto.FromString(bytes(view))
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)
    values = np.array(blob.data, np.float32)
    if np.prod(shape, dtype=np.int64) != values.size:
        raise CorruptModel(f"a parameter of shape {shape} holds {values.size} numbers")
    return values.reshape(shape)


def blob_parts(array: np.ndarray, gradient: np.ndarray | None = None) -> tuple[list, int]:
    """What makes up a BlobProto, to be written in turn: bytes, and the numbers as they lie in memory; and the length of all."""
    parts = [caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=array.shape)).SerializeToString()]
    for field, numbers in ((_BLOB_DATA, array), (_BLOB_DIFF, gradient)):
        if numbers is not None:
            values = memoryview(np.ascontiguousarray(numbers, "<f4").reshape(-1)).cast("B")
            parts += [header(field, values.nbytes), values]
    return parts, sum(len(part) for part in parts)


def header(field: int, length: int) -> bytes:
    """The key of a field of bytes, and their number."""
    out = bytearray()
    for value in (field << 3 | _BYTES, length):
        while value >= 0x80:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)
