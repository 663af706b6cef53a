"""The wire form of a .caffemodel, read and written array by array: no list of floats, no limit of 2 GB, no second copy.

A file is a NetParameter; of it only layer names and blobs are read here (field numbers as in proto/caffe.proto).
"""

import mmap
import os
from typing import BinaryIO

import numpy as np

from ..proto import caffe_pb2
from .wire import CorruptModel, blob_parts, header, read_blob, read_fields

_NET_LAYER, _NET_V1_LAYER = 100, 2
# (name, blobs) of a layer in each syntax; V1 may wrap a V0 layer in its field 1
_LAYER, _V1_LAYER, _V0_LAYER = (1, 7), (4, 6), (1, 50)
_V1_WRAPPED = 1


def read_caffemodel(path: str) -> list[tuple[str, list[np.ndarray]]]:
    """(layer name, parameters) for each layer with parameters; float32 arrays that stay views of the mapped file, float64 where stored so.

    Raises FileNotFoundError, CorruptModel.
    """
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise CorruptModel(f"{path}: the file is empty, not a .caffemodel")
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    layers = []
    try:
        for field, value in read_fields(view):
            if field in (_NET_LAYER, _NET_V1_LAYER) and isinstance(value, memoryview):
                name, blobs = _read_layer(value, _LAYER if field == _NET_LAYER else _V1_LAYER)
                if blobs:
                    layers.append((name, blobs))
    except (CorruptModel, UnicodeDecodeError) as error:
        reason = error if isinstance(error, CorruptModel) else "a layer's name is not text"
        raise CorruptModel(f"{path}: not a whole .caffemodel ({reason}); copy or download it again") from None
    return layers


def _read_layer(view: memoryview, numbers: tuple[int, int]) -> tuple[str, list[np.ndarray]]:
    name, blobs = "", []
    for field, value in read_fields(view):
        if not isinstance(value, memoryview):
            continue
        if field == numbers[0]:
            name = str(value, "utf-8")
        elif field == numbers[1]:
            blobs.append(read_blob(value))
        elif field == _V1_WRAPPED and numbers == _V1_LAYER:
            name, blobs = _read_layer(value, _V0_LAYER)
    return name, blobs


def write_caffemodel(
    file: BinaryIO, net, arrays: dict[str, list[np.ndarray]], gradients: dict[str, list[np.ndarray]] | None = None
) -> None:
    """Write a NetParameter (today's syntax) with the parameters of each layer name as float32 blobs in their layers,
    their gradients beside them where given."""
    head = caffe_pb2.NetParameter()
    head.CopyFrom(net)
    del head.layer[:]
    file.write(head.SerializeToString())
    for layer in net.layer:
        bare = caffe_pb2.LayerParameter()
        bare.CopyFrom(layer)
        del bare.blobs[:]
        start = bare.SerializeToString()
        values = arrays.get(layer.name, [])
        diffs = gradients[layer.name] if gradients and values else [None] * len(values)
        blobs = [blob_parts(*both) for both in zip(values, diffs, strict=True)]
        size = len(start) + sum(len(header(_LAYER[1], length)) + length for _, length in blobs)
        file.write(header(_NET_LAYER, size) + start)
        for parts, length in blobs:
            file.write(header(_LAYER[1], length))
            file.writelines(parts)
