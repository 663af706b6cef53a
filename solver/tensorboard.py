"""A run's values as TensorBoard reads them: an event file, written by these few lines, so that nothing need be installed for it.

The file is a row of records (TensorFlow's TFRecord): 8 bytes of length, 4 of their checksum, the Event message, 4 of its checksum, all
little-endian; a checksum is CRC-32C, rotated and shifted so that records may nest. Field numbers are those of TensorFlow's event.proto
and summary.proto.
"""

import os
import socket
import struct
import time

import numpy as np

from ..net.wire import varint
from .recorders import Recorder

_WALL_TIME, _STEP, _FILE_VERSION, _SUMMARY, _SESSION_LOG = 1, 2, 3, 5, 7  # of Event
_VALUE = 1  # of Summary
_TAG, _SIMPLE_VALUE = 1, 2  # of Summary.Value
_STATUS, _START = 1, 1  # of SessionLog
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # kinds of field


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) checksum."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked_crc(data: bytes) -> int:
    """The checksum as records store it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """A message as a record."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def _field(number: int, kind: int, value: bytes) -> bytes:
    """A field of a message; of bytes, their length goes before them."""
    return varint(number << 3 | kind) + (varint(len(value)) if kind == _BYTES else b"") + value


def _event(step: int, number: int, value: bytes) -> bytes:
    """An Event of now with one of its fields of bytes."""
    now = _field(_WALL_TIME, _FIXED64, struct.pack("<d", time.time()))
    return now + _field(_STEP, _VARINT, varint(step)) + _field(number, _BYTES, value)


def _scalar(name: str, value: float) -> bytes:
    """A Summary of one value."""
    with np.errstate(over="ignore"):
        number = np.array(value, "<f4").tobytes()
    return _field(_VALUE, _BYTES, _field(_TAG, _BYTES, name.encode()) + _field(_SIMPLE_VALUE, _FIXED32, number))


class TensorBoardRecorder(Recorder):
    """A new event file in a folder, which is made; each value is a scalar of its name.

    Its first event says that a session starts there, so that what an earlier part of a resumed run showed beyond that iteration is
    left out. Raises OSError.
    """

    def __init__(self, folder: str):
        os.makedirs(folder, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names
        self.path = os.path.join(folder, f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}")
        self._file = open(self.path, "xb")
        self._started = False

    def begin(self, names):
        self._write(0, _FILE_VERSION, b"brain.Event:2")

    def record(self, iteration, values):
        if not self._started:
            self._write(iteration, _SESSION_LOG, _field(_STATUS, _VARINT, varint(_START)))
            self._started = True
        # summaries, one after the other, are a summary
        self._write(iteration, _SUMMARY, b"".join(_scalar(*pair) for pair in values.items()))

    def _write(self, step: int, number: int, value: bytes) -> None:
        self._file.write(record(_event(step, number, value)))
        self._file.flush()
