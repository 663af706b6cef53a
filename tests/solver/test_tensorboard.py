"""The event files of --tensorboard, read back by the record format and with TensorFlow's field numbers."""

import struct
import time

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tiny_training import dummy_solver

from deconvnet.core.solver import SGDSolver, TensorBoardRecorder, names_of
from deconvnet.core.solver.tensorboard import crc32c, masked_crc

# TensorFlow's event.proto and summary.proto, as far as scalars need them: (message, field, number, type, message type)
_FIELD = descriptor_pb2.FieldDescriptorProto
_FIELDS = [
    ("Event", "wall_time", 1, _FIELD.TYPE_DOUBLE, None),
    ("Event", "step", 2, _FIELD.TYPE_INT64, None),
    ("Event", "file_version", 3, _FIELD.TYPE_STRING, None),
    ("Event", "summary", 5, _FIELD.TYPE_MESSAGE, "Summary"),
    ("Event", "session_log", 7, _FIELD.TYPE_MESSAGE, "SessionLog"),
    ("Summary", "value", 1, _FIELD.TYPE_MESSAGE, "Value"),
    ("Value", "tag", 1, _FIELD.TYPE_STRING, None),
    ("Value", "simple_value", 2, _FIELD.TYPE_FLOAT, None),
    ("SessionLog", "status", 1, _FIELD.TYPE_INT32, None),
]
START = 1


def _event_class():
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="tb", syntax="proto2")
    for name in dict.fromkeys(field[0] for field in _FIELDS):
        message = file.message_type.add(name=name)
        for _, field, number, kind, of in (field for field in _FIELDS if field[0] == name):
            label = _FIELD.LABEL_REPEATED if (name, field) == ("Summary", "value") else _FIELD.LABEL_OPTIONAL
            message.field.add(name=field, number=number, type=kind, label=label, type_name=of and f".tb.{of}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tb.Event"))


EVENT = _event_class()


def events(path):
    """The Events of a file; every record must be whole and its checksums right."""
    data, found = path.read_bytes(), []
    while data:
        (length,), (of_length,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        message, (of_message,) = data[12 : 12 + length], struct.unpack("<I", data[12 + length : 16 + length])
        assert (of_length, of_message) == (masked_crc(data[:8]), masked_crc(message))
        found.append(EVENT.FromString(message))
        data = data[16 + length :]
    return found


def recorded(folder, solver, iterations):
    """The events of a run."""
    recorder = TensorBoardRecorder(str(folder))
    recorder.begin(names_of(solver))
    solver.listeners.append(recorder)
    solver.step(iterations)
    recorder.close()
    return events(max(folder.iterdir()))


@pytest.mark.parametrize(
    "data, crc", [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)]
)
def test_checksums_are_those_of_the_standard(data, crc):
    """RFC 3720, B.4, and the check value of CRC-32C."""
    assert crc32c(data) == crc


def test_the_stored_checksum_is_tensorflows():
    """The first record of TensorFlow's event files is 24 bytes long, and this is how they begin."""
    assert struct.pack("<I", masked_crc(struct.pack("<Q", 24))) == b"\xa3\x7f\x4b\x22"


def test_every_value_that_the_solver_tells_is_a_scalar_of_its_name(tmp_path):
    solver, told = SGDSolver(dummy_solver("display: 2 test_iter: 1 test_interval: 3")), []
    solver.listeners.append(lambda iteration, values: told.append((iteration, values)))
    found = recorded(tmp_path, solver, 5)
    assert found[0].file_version == "brain.Event:2"
    assert (found[1].session_log.status, found[1].step) == (START, 0)
    shown = [(event.step, {value.tag: value.simple_value for value in event.summary.value}) for event in found[2:]]
    assert [step for step, _ in shown] == [step for step, _ in told] == [0, 0, 2, 3, 4]
    for (_, values), (_, expected) in zip(shown, told, strict=True):
        assert values == pytest.approx(expected, rel=1e-6)
    assert all(abs(event.wall_time - time.time()) < 60 for event in found)


def test_a_resumed_run_says_where_it_starts_in_a_file_of_its_own_behind_the_first(tmp_path):
    recorded(tmp_path, SGDSolver(dummy_solver("display: 2")), 5)
    solver = SGDSolver(dummy_solver("display: 2"))
    solver.iter = 300  # a step of two bytes
    found = recorded(tmp_path, solver, 3)
    assert len(list(tmp_path.iterdir())) == 2
    assert [(event.session_log.status, event.step) for event in found[1:2]] == [(START, 300)]
    assert [event.step for event in found[2:]] == [300, 302]


def test_the_file_is_found_by_its_name_in_a_folder_that_is_made(tmp_path):
    TensorBoardRecorder(str(tmp_path / "runs/first")).close()
    (path,) = (tmp_path / "runs/first").iterdir()
    assert ".tfevents." in path.name
