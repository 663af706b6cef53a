"""HDF5Data and HDF5Output: rows out of files and into one."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from arrays import numbers
from one_layer import OneLayer

from deconvnet.core import proto
from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2

COUNTS = (5, 1, 4)


@pytest.fixture
def source(tmp_path):
    """A list of three files with 5, 1 and 4 rows, whose labels number the rows 0..9."""
    first = 0
    for number, count in enumerate(COUNTS):
        rows = np.arange(first, first + count)
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["data"] = rows.reshape(-1, 1, 1) + np.zeros((1, 2, 3), np.float32)
            file["label"] = rows
        first += count
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{tmp_path}/{number}.h5\n" for number in range(len(COUNTS))))
    return path


def reader(source, batch=3, shuffle=False, seed=1, tops="data label"):
    """The layer with tops of those names."""
    named = " ".join(f'top: "{top}"' for top in tops.split())
    fields = f'source: "{source}" batch_size: {batch} shuffle: {str(shuffle).lower()}'
    return OneLayer(f'type: "HDF5Data" {named} hdf5_data_param {{ {fields} }}', tops=len(tops.split()), seed=seed)


def labels_of(case, batches):
    return [case.forward()[-1].astype(int).tolist() for _ in range(batches)]


def test_batches_run_on_into_the_next_file_and_the_next_epoch(device, source):
    assert labels_of(reader(source, batch=4), 4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1], [2, 3, 4, 5]]


def test_a_batch_may_be_longer_than_an_epoch(device, source):
    assert labels_of(reader(source, batch=23), 1) == [[*range(10), *range(10), 0, 1, 2]]


def test_tops_take_the_datasets_of_their_names(device, source):
    data, label = reader(source).forward()
    assert (data.shape, label.shape) == ((3, 2, 3), (3,))
    np.testing.assert_array_equal(data, label.reshape(3, 1, 1) + np.zeros((3, 2, 3)))
    label, data = reader(source, tops="label data").forward()
    assert (data.shape, label.shape) == ((3, 2, 3), (3,))


def test_shuffling_takes_every_row_once_an_epoch_in_orders_of_its_own(device, source):
    labels = np.concatenate(labels_of(reader(source, batch=5, shuffle=True), 8)).reshape(4, 10)
    for epoch in labels:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in labels}) == 4


def test_shuffling_keeps_a_files_rows_together(device, source):
    """One file is in memory at a time."""
    files = np.repeat(range(len(COUNTS)), COUNTS)
    for _ in range(4):
        epoch = files[labels_of(reader(source, batch=10, shuffle=True), 1)[0]]
        assert np.count_nonzero(np.diff(epoch)) == len(COUNTS) - 1


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_position_continues_the_run(device, source, shuffle):
    case = reader(source, shuffle=shuffle)
    labels = labels_of(case, 9)
    assert case.layer.position == 27
    again = reader(source, shuffle=shuffle)
    again.layer.position = 12
    assert labels_of(again, 5) == labels[4:]


def test_the_order_follows_from_the_seed(device, source):
    orders = [labels_of(reader(source, batch=10, shuffle=True, seed=seed), 2) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_paths_are_tried_from_the_folder_above_the_prototxt_too(source, tmp_path):
    (tmp_path / "nets").mkdir()
    (tmp_path / "relative.txt").write_text("0.h5\n\n2.h5\n")
    model = tmp_path / "nets" / "net.prototxt"
    model.write_text(
        'layer { name: "d" type: "HDF5Data" top: "label" hdf5_data_param { source: "relative.txt" batch_size: 9 } }'
    )
    net = Net(model, caffe_pb2.TRAIN)
    assert net.forward()["label"].tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def write(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


BROKEN = {
    "no dataset": ({"label": np.zeros(2)}, "has no dataset 'data', as the layer's top is called .it has: label."),
    "unlike rows": (
        {"data": np.zeros((2, 2, 4)), "label": np.zeros(2)},
        r"rows have the sizes .* they must be the same",
    ),
    "unlike counts": ({"data": np.zeros((2, 2, 3)), "label": np.zeros(3)}, r"data, label have \[2, 3\] rows"),
    "no numbers": ({"data": np.zeros((2, 2, 3)), "label": np.array([b"a", b"b"])}, "'label' must hold rows of numbers"),
    "a single value": ({"data": np.zeros((2, 2, 3)), "label": 3.0}, "'label' must hold rows of numbers"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_does_not_fit_is_named(source, tmp_path, what):
    arrays, said = BROKEN[what]
    path = write(tmp_path / "1.h5", **arrays)
    with pytest.raises(ValueError, match=f"{path}: .*{said}"):
        reader(source)


def test_files_that_cannot_be_read_are_named(source, tmp_path):
    (tmp_path / "1.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match=r"1\.h5: not an HDF5 file that can be read"):
        reader(source)
    (tmp_path / "1.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.h5"):
        reader(source)
    source.write_text("\n")
    with pytest.raises(ValueError, match="the list of HDF5 files is empty"):
        reader(source)
    write(tmp_path / "0.h5", data=np.zeros((0, 2)), label=np.zeros(0))
    source.write_text(f"{tmp_path}/0.h5")
    with pytest.raises(ValueError, match="hold no rows"):
        reader(source)


def test_a_list_that_is_a_folder_is_said(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}: the list cannot be read .Is a directory"):
        reader(tmp_path)


def test_data_in_the_place_of_a_list_is_said(source, tmp_path):
    with pytest.raises(ValueError, match=r"0\.h5: is HDF5 data itself; source names a text file"):
        reader(tmp_path / "0.h5")


def test_a_dataset_that_is_damaged_inside_is_named_when_it_is_read(source, tmp_path):
    with h5py.File(tmp_path / "0.h5", "w") as file:
        file.create_dataset("data", data=numbers(50, 2, 3), compression="gzip", chunks=(50, 2, 3))
        file["label"] = np.zeros(50)
        place = file["data"].id.get_chunk_info(0)
    with open(tmp_path / "0.h5", "r+b") as file:
        file.seek(place.byte_offset)
        file.write(b"\xff" * place.size)
    with pytest.raises(ValueError, match=r"0\.h5: its datasets cannot be read, the file is damaged"):
        reader(source).forward()


@pytest.mark.parametrize(
    "fields, said",
    [
        ("hdf5_data_param { batch_size: 2 }", "source is missing"),
        ('hdf5_data_param { source: "x" batch_size: 0 }', "batch_size must be at least 1"),
        (
            'hdf5_data_param { source: "x" batch_size: 2 } transform_param { scale: 2 }',
            "transform_param does not apply",
        ),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        OneLayer(f'type: "HDF5Data" {fields}')


def output_net(path, items=2):
    shape = f"shape {{ dim: {items} dim: 3 }} shape {{ dim: {items} }}"
    text = f"""
    layer {{ name: "x" type: "Input" top: "x" top: "y" input_param {{ {shape} }} }}
    layer {{ name: "out" type: "HDF5Output" bottom: "x" bottom: "y" hdf5_output_param {{ file_name: "{path}" }} }}
    """
    return Net(proto.parse(text, caffe_pb2.NetParameter()), caffe_pb2.TEST)


def test_each_forward_appends_to_the_output(device, tmp_path):
    path = tmp_path / "out.h5"
    net = output_net(path)
    assert not path.exists()
    batches = [(numbers(n, 3, seed=n, dtype=np.float32), numbers(n, seed=n, dtype=np.float32)) for n in (2, 4, 1)]
    for x, y in batches:
        net.forward(x=x, y=y)
    net.close()
    with h5py.File(path) as file:
        assert set(file) == {"data", "label"}
        for name, parts in zip(("data", "label"), zip(*batches, strict=True), strict=True):
            written = np.concatenate(parts)
            assert file[name].shape == (7, 3 if name == "data" else 1, 1, 1)  # as Caffe writes it
            np.testing.assert_array_equal(file[name][()].reshape(written.shape), written)
    again = output_net(path)  # a new net makes the file anew, at its first forward
    again.forward(x=batches[2][0], y=batches[2][1])
    again.close()
    with h5py.File(path) as file:
        assert file["data"].shape == (1, 3, 1, 1)


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"layer 'out' \(HDF5Output\): no such folder: .*nowhere.*make it first"
    ):
        output_net(tmp_path / "nowhere" / "out.h5")
    net = output_net(tmp_path / "out.h5")
    with pytest.raises(NetError, match="they must hold the same number of items"):
        net.forward(x=np.zeros((2, 3)), y=np.zeros(3))
    net.forward(x=np.zeros((2, 3)), y=np.zeros(2))
    with pytest.raises(NetError, match=r"items of data had the shape \(3, 1, 1\), now \(4, 1, 1\)"):
        net.forward(x=np.zeros((2, 4)), y=np.zeros(2))
    net.close()


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from test_hdf5 import NetError, output_net
net, forwards = output_net(sys.argv[1], 1000), 0
try:
    while True:
        net.forward()
        forwards += 1
except NetError as error:
    print(forwards, error)
net.close()
"""


def test_a_full_disk_ends_in_one_line_and_keeps_what_was_written(tmp_path):
    """The HDF5 library itself ends the process with its own complaints."""
    path = tmp_path / "out.h5"
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    forwards, said = ran.stdout.split(" ", 1)
    assert said.endswith(f"layer 'out' (HDF5Output): {path}: cannot be written (File too large)\n")
    assert (ran.returncode, ran.stderr) == (0, "")
    with h5py.File(path) as file:
        assert len(file["data"]) >= 1000 * int(forwards) > 0
