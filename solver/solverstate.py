"""The .solverstate file: where a training run stands, in Caffe's binary form or HDF5 layout, with our fields beside.

Binary: a SolverState, its small fields first (the number of arrays before all) and the history after them, so that a file
cut off anywhere shows it.
HDF5: datasets iter, current_step, learned_net and history/NUMBER as Caffe's; ours as prototxt text in dataset `more`.
"""

import mmap
import os
from typing import BinaryIO, NamedTuple

import h5py
import numpy as np
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from ..blob import create_hdf5
from ..net.stored import CorruptModel
from ..net.weights import open_weights
from ..net.wire import blob_parts, header, read_blob, read_field
from ..proto import caffe_pb2
from .errors import SolverError

_HISTORY = 3
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_CAFFES = ("iter", "current_step", "learned_net")


class State(NamedTuple):
    """A SolverState without its history, and the history: an array for each learnable parameter, in the net's order; AdaDelta and Adam add a second."""

    message: caffe_pb2.SolverState
    history: list[np.ndarray]


def is_hdf5(path: str) -> bool:
    """Whether a file is HDF5 by its first bytes. Raises FileNotFoundError."""
    with open(path, "rb") as file:
        return file.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC


def read_state(path: str) -> State:
    """The state in a file of either form.

    Raises FileNotFoundError, and SolverError for a file that is cut off or something else.
    """
    if os.path.isdir(path):
        raise SolverError(f"{path}: a folder; --snapshot takes a .solverstate file")
    try:
        return _read_hdf5(path) if is_hdf5(path) else _read_binary(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"no such snapshot: {path}") from None


def _read_binary(path: str) -> State:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise SolverError(f"{path}: the file is empty, not a .solverstate")
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    message, reason = caffe_pb2.SolverState(), "it has no iteration"
    try:
        small, blobs = _split(view)
        message.MergeFromString(small)
        history = [read_blob(blob) for blob in blobs]
    except CorruptModel as error:
        reason = str(error)
    except DecodeError:
        reason = "its fields are not a SolverState's"
    else:
        if len(history) < message.history_count:
            reason = "it is cut off"
        elif message.HasField("iter"):
            return State(message, history)
    if _holds_weights(path):
        raise SolverError(_WEIGHTS_GIVEN.format(path=path))
    raise SolverError(f"{path}: not a whole .solverstate ({reason}); take an older snapshot")


_WEIGHTS_GIVEN = (
    "{path}: holds weights, where the state of a solver is expected: "
    "resume with --snapshot X.solverstate, or start from these weights with --weights"
)


def _holds_weights(path: str) -> bool:
    try:
        with open_weights(path) as layers:
            return bool(layers)
    except CorruptModel:
        return False


def _split(view: memoryview) -> tuple[bytes, list[memoryview]]:
    """The bytes of the small fields, joined, and those of each history blob. Raises CorruptModel."""
    small, history, at = bytearray(), [], 0
    while at < len(view):
        start = at
        field, value, at = read_field(view, at, len(view))
        if field == _HISTORY and isinstance(value, slice):
            history.append(view[value])
        else:
            small += view[start:at]
    return bytes(small), history


def _read_hdf5(path: str) -> State:
    message = caffe_pb2.SolverState()
    try:
        with h5py.File(path, "r") as file:
            if "iter" not in file and "data" in file:
                raise SolverError(_WEIGHTS_GIVEN.format(path=path))
            if "more" in file:
                text_format.Parse(_text(file["more"]), message)
            message.iter = int(np.ravel(_values(file["iter"]))[0])
            message.current_step = int(np.ravel(_values(file["current_step"]))[0])
            if "learned_net" in file:
                message.learned_net = _text(file["learned_net"])
            history = [_values(file["history"][str(number)]) for number in range(len(file["history"]))]
    except (FileNotFoundError, SolverError):
        raise
    except (
        OSError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RuntimeError,
        OverflowError,
        text_format.ParseError,
    ) as error:
        raise SolverError(
            f"{path}: not a whole .solverstate.h5 ({' '.join(str(error).split())}); take an older snapshot"
        ) from None
    return State(message, history)


def _values(dataset):
    """What a dataset holds. Raises ValueError where it promises more than its file can hold."""
    if dataset.nbytes > dataset.file.id.get_filesize():
        raise ValueError(f"{dataset.name} is larger than the file")
    return dataset[()]


def _text(dataset) -> str:
    value = _values(dataset)
    return value.decode() if isinstance(value, bytes) else str(value)


def _write_text(file, name: str, text: str) -> None:
    """A dataset as C programs read one: with a zero at its end, beyond which Caffe would read on."""
    stored = np.array(text.encode() + b"\0")
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(stored.itemsize)
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    h5py.h5d.create(file.id, name.encode(), kind, space).write(space, space, stored, kind)


def write_binary(file: BinaryIO, state: State) -> None:
    """Write a state as a SolverState, its history array by array (float32)."""
    # the count comes first: a file cut off anywhere after it shows that something is missing
    file.write(caffe_pb2.SolverState(history_count=len(state.history)).SerializeToString())
    file.write(state.message.SerializeToString())
    for array in state.history:
        parts, length = blob_parts(array)
        file.write(header(_HISTORY, length))
        file.writelines(parts)


def write_hdf5(path: str, state: State) -> None:
    """Write a state in Caffe's HDF5 layout."""
    more = caffe_pb2.SolverState()
    more.CopyFrom(state.message)
    for field in _CAFFES:
        more.ClearField(field)
    with create_hdf5(path) as file:
        for field in ("iter", "current_step"):
            file[field] = np.array([getattr(state.message, field)], np.int32)
        _write_text(file, "learned_net", state.message.learned_net)
        _write_text(file, "more", text_format.MessageToString(more))
        history = file.create_group("history")
        for number, array in enumerate(state.history):
            history[str(number)] = array
