"""The wire form of a .caffemodel, read and written array by array: no list of floats, no limit of 2 GB, no second copy.

A file is a NetParameter; of it only layer names, blobs and bn_mode are read here (field numbers as in proto/caffe.proto). Ours begin
with the number of their layers: protobuf cannot tell a file that is cut off between two of them. A program that changes the layers by
protobuf writes that number, 1000, behind them, where it means nothing.
"""

import mmap
import os
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np

from ..proto import caffe_pb2
from .stored import CorruptModel, Stored, StoredLayer, read_values
from .wire import BlobPlace, blob_parts, find_blob, header, read_fields

_NET_LAYER, _NET_V1_LAYER, _NET_LAYER_COUNT = 100, 2, 1000


class _Syntax(NamedTuple):
    """The numbers of the fields that are read of a layer, and what its type field holds for a BN."""

    name: int
    type: int
    blobs: int
    bn_param: tuple[int, ...]  # SegNet has it at 45 in both syntaxes
    bn_type: object


_LAYER = _Syntax(1, 2, 7, (200, 45), b"BN")
_V1_LAYER = _Syntax(4, 5, 6, (45,), caffe_pb2.V1LayerParameter.LayerType.Value("BN"))
_V0_LAYER = _Syntax(1, 2, 50, (), b"")
_V1_WRAPPED = 1  # the V0 layer inside a V1 layer
_BN_MODE = 3
_STATES_ITER = 1  # a SolverState's first field is a number where a NetParameter's is its name


@contextmanager
def open_caffemodel(file: BinaryIO, path: str):
    """The StoredLayers of an open .caffemodel of any age. Raises CorruptModel."""
    if os.fstat(file.fileno()).st_size == 0:
        raise CorruptModel(f"{path}: the file is empty, not a .caffemodel")
    view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    layers, is_state, count = [], False, 0
    try:
        for field, value in read_fields(view):
            is_state |= field == _STATES_ITER and isinstance(value, int)
            if field == _NET_LAYER_COUNT and isinstance(value, int) and not layers:
                count = value
            if field in (_NET_LAYER, _NET_V1_LAYER) and isinstance(value, slice) and not is_state:
                layers.append(_read_layer(file, view, value, _LAYER if field == _NET_LAYER else _V1_LAYER))
        if len(layers) < count and not is_state:
            raise CorruptModel(f"it is cut off after {len(layers)} of {count} layers")
    except (CorruptModel, UnicodeDecodeError) as error:
        reason = error if isinstance(error, CorruptModel) else "a layer's name is not text"
        raise CorruptModel(f"{path}: not a whole .caffemodel ({reason}); copy or download it again") from None
    if is_state:
        raise CorruptModel(
            f"{path}: holds the state of a solver, where weights are expected: "
            "take the .caffemodel written with it, or resume with --snapshot"
        )
    yield [layer for layer in layers if layer.parameters]


def _read_layer(file: BinaryIO, view: memoryview, place: slice, syntax: _Syntax) -> StoredLayer:
    name, kind, mode, blobs = "", None, caffe_pb2.BNParameter.LEARN, []
    for field, value in read_fields(view, place):
        if field == syntax.type:
            kind = value if isinstance(value, int) else bytes(view[value])
        elif isinstance(value, int):
            continue
        elif field == syntax.name:
            name = str(view[value], "utf-8")
        elif field == syntax.blobs:
            blobs.append(_stored(file, view, find_blob(view, value)))
        elif field in syntax.bn_param:
            mode = dict(read_fields(view, value)).get(_BN_MODE, mode)
        elif field == _V1_WRAPPED and syntax is _V1_LAYER:
            name, wrapped, _ = _read_layer(file, view, value, _V0_LAYER)
            blobs = list(wrapped.values())
    learns = mode == caffe_pb2.BNParameter.LEARN if kind == syntax.bn_type else None
    return StoredLayer(name, dict(enumerate(blobs)), learns)


def _stored(file: BinaryIO, view: memoryview, place: BlobPlace) -> Stored:
    """What stands together is read from the file, not through its mapping, which would count as memory of this process."""

    def copy_to(out: np.ndarray) -> None:
        at = 0
        for run in place.runs:
            part = out[at : at + run.count]
            at += run.count
            if run.step == place.dtype.itemsize:
                file.seek(run.start)
                read_values(file, place.dtype, part)
            else:
                part[...] = place._replace(runs=[run]).values(view)

    return Stored(place.shape, copy_to)


def write_caffemodel(
    file: BinaryIO, net, arrays: dict[str, list[np.ndarray]], gradients: dict[str, list[np.ndarray]] | None = None
) -> None:
    """Write a NetParameter (today's syntax) with the parameters of each layer name as float32 blobs in their layers,
    their gradients beside them where given."""
    head = caffe_pb2.NetParameter()
    head.CopyFrom(net)
    del head.layer[:]
    head.layer_count = len(net.layer)
    file.write(head.SerializeToString())
    for layer in net.layer:
        bare = caffe_pb2.LayerParameter()
        bare.CopyFrom(layer)
        del bare.blobs[:]
        start = bare.SerializeToString()
        values = arrays.get(layer.name, [])
        diffs = gradients[layer.name] if gradients and values else [None] * len(values)
        blobs = [blob_parts(*both) for both in zip(values, diffs, strict=True)]
        size = len(start) + sum(len(header(_LAYER.blobs, length)) + length for _, length in blobs)
        file.write(header(_NET_LAYER, size) + start)
        for parts, length in blobs:
            file.write(header(_LAYER.blobs, length))
            file.writelines(parts)
