"""Data: images and classes from an LMDB. How images are transformed is tested with ImageSegData."""

import builtins
import gc
import os
import shutil
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
from one_layer import TEST, TRAIN, OneLayer

from deconvnet.core.layers import data
from deconvnet.core.layers.data import Records
from deconvnet.core.proto import caffe_pb2

lmdb = pytest.importorskip("lmdb", exc_type=ImportError)


def datum(image, label=0, **fields):
    """A Datum of an image (H, W, C), as bytes where it is uint8."""
    height, width, channels = image.shape
    values = np.ascontiguousarray(image.transpose(2, 0, 1))
    held = {"data": values.tobytes()} if image.dtype == np.uint8 else {"float_data": values.ravel().tolist()}
    return caffe_pb2.Datum(channels=channels, height=height, width=width, label=label, **held, **fields)


def encoded(image, label=0, suffix=".png"):
    """A Datum that holds an image file."""
    return caffe_pb2.Datum(data=cv2.imencode(suffix, image)[1].tobytes(), encoded=True, label=label)


def plain(value, size=(5, 6), channels=3):
    return np.full((*size, channels), value, np.uint8)


def write(path, records, subdir=True):
    """An LMDB of {key: Datum or bytes}."""
    with lmdb.open(str(path), subdir=subdir, map_size=2**24, lock=False) as base, base.begin(write=True) as transaction:
        for key, record in records.items():
            transaction.put(key.encode(), record if isinstance(record, bytes) else record.SerializeToString())


@pytest.fixture
def layer_of(tmp_path):
    """A maker of Data layers over records; their threads end with the test."""
    made = []

    def make(records=None, fields="batch_size: 2", transform="", tops=2, phase=TRAIN, seed=1, dtype=np.float32):
        path = tmp_path / f"base{len(made)}"
        if records is None:
            path = tmp_path / "base0"
        else:
            write(path, records)
        text = (
            f'type: "Data" data_param {{ source: "{path}" backend: LMDB {fields} }} transform_param {{ {transform} }}'
        )
        made.append(OneLayer(text, tops=tops, phase=phase, seed=seed, dtype=dtype))
        return made[-1]

    yield make
    for case in made:
        case.layer.close()


THREE = {"b": datum(plain(20), 1000), "a": datum(plain(10), 3), "c": datum(plain(30), -1)}


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_follow_the_order_of_the_keys_over_and_over(device, layer_of, workers):
    case = layer_of(THREE, f"batch_size: 2 workers: {workers}")
    batches = [case.forward() for _ in range(3)]
    assert [y.shape for y in batches[0]] == [(2, 3, 5, 6), (2,)]
    assert [labels.tolist() for _, labels in batches] == [[3, 1000], [-1, 3], [1000, -1]]
    assert [data[:, 1, 2, 3].tolist() for data, _ in batches] == [[10, 20], [30, 10], [20, 30]]


def test_a_single_top_holds_the_images_alone(device, layer_of):
    (data,) = layer_of(THREE, tops=1).forward()
    assert data[:, 0, 0, 0].tolist() == [10, 20]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_pixels_lie_channel_by_channel_as_bytes_or_floats(device, layer_of, dtype, channels):
    image = (np.arange(4 * 7 * channels).reshape(4, 7, channels) * 1.5).astype(dtype)
    data, _ = layer_of({"k": datum(image, 1)}, "batch_size: 1").forward()
    np.testing.assert_array_equal(data[0], image.transpose(2, 0, 1))


def test_images_are_cropped_scaled_and_freed_of_the_mean(device, layer_of):
    image = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    transform = "crop_size: 3 scale: 0.5 mean_value: 2 mean_value: 4 mean_value: 6"
    data, _ = layer_of({"k": datum(image)}, "batch_size: 1", transform, phase=TEST).forward()
    expected = (image[1:4, 1:4].astype(np.float32) - [2, 4, 6]) / 2
    np.testing.assert_array_equal(data[0], expected.transpose(2, 0, 1))


def test_a_mean_image_is_subtracted_where_the_crop_lies(device, layer_of, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    mean = np.random.default_rng(1).random((3, 5, 6), np.float32)
    blob = caffe_pb2.BlobProto(num=1, channels=3, height=5, width=6, data=mean.ravel())
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    transform = f'crop_size: 2 mean_file: "{tmp_path}/mean.binaryproto"'
    data, _ = layer_of({"k": datum(image)}, "batch_size: 1", transform, phase=TEST).forward()
    np.testing.assert_array_equal(data[0], (image.transpose(2, 0, 1) - mean)[:, 1:3, 2:4])


def test_a_mean_image_of_another_size_is_refused_with_both(device, layer_of, tmp_path):
    blob = caffe_pb2.BlobProto(num=1, channels=3, height=4, width=4, data=np.zeros(48))
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    with pytest.raises(ValueError, match=r"base0, key a: the mean of mean_file is 4x4 and the image 5x6"):
        layer_of(THREE, transform=f'mean_file: "{tmp_path}/mean.binaryproto"')


def test_files_in_the_records_are_decoded(device, layer_of):
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    grey = image[:, :, :1]
    records = {"a": encoded(image, 1), "b": encoded(image, 2)}
    np.testing.assert_array_equal(layer_of(records).forward()[0][1], image.transpose(2, 0, 1))
    (data, _) = layer_of({"a": encoded(grey)}, "batch_size: 1").forward()
    np.testing.assert_array_equal(data[0, 0], grey[:, :, 0])


@pytest.mark.parametrize("force, channels", [("force_color: true", 3), ("force_gray: true", 1)])
def test_files_of_colour_and_grey_are_made_alike(device, layer_of, force, channels):
    data, _ = layer_of({"a": encoded(plain(9, channels=1)), "b": encoded(plain(9))}, transform=force).forward()
    assert data.shape == (2, channels, 5, 6) and (data == 9).all()


def test_force_encoded_color_does_as_force_color(device, layer_of):
    fields = "batch_size: 1 force_encoded_color: true"
    assert layer_of({"a": encoded(plain(9, channels=1))}, fields).forward()[0].shape == (1, 3, 5, 6)


@pytest.mark.parametrize("workers", [0, 2])
def test_random_choices_follow_from_the_seed_and_continue_from_a_position(device, layer_of, workers):
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    fields, transform = f"batch_size: 2 workers: {workers}", "crop_size: 4 mirror: true"
    case = layer_of({"a": datum(image), "b": datum(image)}, fields, transform)
    batches = [case.forward()[0].copy() for _ in range(6)]
    assert len({batch.tobytes() for batch in batches}) > 1
    again = layer_of(None, fields, transform)
    again.layer.position = 6
    for batch in batches[3:]:
        np.testing.assert_array_equal(again.forward()[0], batch)
    assert again.layer.position == 12


def test_rand_skip_begins_elsewhere_by_the_seed(device, layer_of):
    firsts = set()
    for seed in range(1, 12):
        case = layer_of(THREE if seed == 1 else None, "batch_size: 1 rand_skip: 3", seed=seed)
        firsts.add(int(case.forward()[1][0]))
    assert firsts == {3, 1000, -1}


def test_images_of_their_own_sizes_come_one_by_one(device, layer_of):
    case = layer_of({"a": datum(plain(1)), "b": datum(plain(2, (7, 4)))}, "batch_size: 1")
    assert [case.forward()[0].shape for _ in range(3)] == [(1, 3, 5, 6), (1, 3, 7, 4), (1, 3, 5, 6)]


def test_images_of_several_sizes_make_no_batch(device, layer_of):
    case = layer_of({"a": datum(plain(1)), "b": datum(plain(2, (7, 4)))})
    with pytest.raises(
        ValueError, match=r"key b: an image of 7x4 in a batch of 5x6 .*: give crop_size, or batch_size: 1"
    ):
        case.forward()


@pytest.mark.parametrize(
    "record, said",
    [
        (b"\xff\xff", "key b: the record is not a Datum"),
        (caffe_pb2.Datum(channels=3, height=5, width=6, data=b"123"), r"says \(3, 5, 6\) .* and holds 3 values"),
        (caffe_pb2.Datum(channels=3, height=5, width=6), "holds 0 values"),
        (caffe_pb2.Datum(channels=-1, height=-1, width=1, data=b"1"), "holds 1 values"),
        (caffe_pb2.Datum(data=b"no PNG", encoded=True), "key b: the record holds no image"),
        (encoded(np.zeros((5, 6, 3), np.uint16)), "no image of 8 bits"),
        (datum(plain(1, channels=1)), "an image of 1 channels where the first has 3: give force_color or force_gray"),
    ],
)
def test_a_record_that_cannot_be_read_is_named_by_its_key(device, layer_of, record, said):
    case = layer_of({"a": datum(plain(1)), "b": record})
    with pytest.raises(ValueError, match=said):
        case.forward()


@pytest.mark.parametrize(
    "fields, transform, said",
    [
        ("", "", "data_param.batch_size must be at least 1"),
        ("batch_size: 1 crop_size: 3", "", r"data_param.crop_size is of the old syntax: write transform_param"),
        ("batch_size: 1 workers: 65", "", "at most 64 threads"),
        ("batch_size: 1", "mean_value: 1 mean_value: 2", "has 2 mean_value for 3 channels"),
        ("batch_size: 1", "force_color: true force_gray: true", "exclude each other"),
    ],
)
def test_fields_that_cannot_be_are_refused(layer_of, fields, transform, said):
    with pytest.raises(ValueError, match=said):
        layer_of(THREE, fields, transform)


def test_a_net_and_its_test_net_read_one_data_base(device, layer_of):
    """LMDB itself refuses to open one twice in a process."""
    first, second = layer_of(THREE), layer_of(None)
    np.testing.assert_array_equal(first.forward()[1], second.forward()[1])


def test_a_data_base_is_closed_with_its_last_reader(tmp_path):
    write(tmp_path / "base", THREE)
    records = Records.of(str(tmp_path / "base"))
    assert Records.of(str(tmp_path / "." / "base")) is records and len(records) == 3
    del records
    gc.collect()
    lmdb.open(str(tmp_path / "base"), readonly=True, lock=False).close()


def test_a_data_base_that_a_thread_is_about_to_close_is_waited_for(tmp_path):
    """The last batch is still being read ahead when a net goes."""
    write(tmp_path / "base", THREE)
    held = lmdb.open(str(tmp_path / "base"), readonly=True, lock=False)
    closing = threading.Timer(0.05, held.close)
    closing.start()
    assert len(Records.of(str(tmp_path / "base"))) == 3
    closing.join()


def test_a_data_base_that_the_program_itself_has_open_is_to_be_closed_first(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_PATIENCE", (0,))
    write(tmp_path / "base", THREE)
    with lmdb.open(str(tmp_path / "base"), map_size=2**24):
        with pytest.raises(ValueError, match=r"base: this program itself has it open.*env\.close\(\)"):
            Records.of(str(tmp_path / "base"))
    assert len(Records.of(str(tmp_path / "base"))) == 3


def test_a_data_base_that_took_the_place_of_an_open_one_is_read(layer_of, tmp_path):
    first = layer_of(THREE)
    assert first.forward()[1].tolist() == [3, 1000]
    shutil.rmtree(tmp_path / "base0")
    write(tmp_path / "base0", {"a": datum(plain(1), 7), "b": datum(plain(2), 8)})
    assert layer_of(None).forward()[1].tolist() == [7, 8]
    assert first.forward()[1].tolist() == [-1, 3]  # its file is there until it is closed


def write_elsewhere(path, records):
    """As `write`, from a process of its own: LMDB opens a data base once in each."""
    stored = {key: record.SerializeToString() for key, record in records.items()}
    code = "import lmdb, sys; base = lmdb.open(sys.argv[1], map_size=2**24)\n" + (
        f"with base.begin(write=True) as transaction: [transaction.put(k.encode(), r) for k, r in {stored!r}.items()]"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_base_that_was_written_to_is_read_by_new_nets_only(layer_of, tmp_path, workers):
    """An older one has the keys of before: its records may be gone, and its order is not that of the data base."""
    older = layer_of(THREE, f"batch_size: 1 workers: {workers} prefetch: 1")
    older.forward()
    write_elsewhere(tmp_path / "base0", {"aa": datum(plain(1), 7)})
    newer = layer_of(None, "batch_size: 4")
    assert newer.forward()[1].tolist() == [3, 7, 1000, -1]
    with pytest.raises(ValueError, match=r"base0.*: was written to after this net had opened it: build the net anew"):
        for _ in range(4):
            older.forward()
    assert newer.forward()[1].tolist() == [3, 7, 1000, -1]


def test_batches_ahead_that_memory_cannot_hold_are_refused_before_they_are_read(layer_of):
    ahead = "batch_size: 1 prefetch: 4294967295"
    with pytest.raises(MemoryError, match=r"4294967296 batches of 1 at once: [\d.e+]+ GB are more than the memory of"):
        layer_of({"a": datum(plain(1, (200, 200)))}, ahead).forward()
    layer_of(None, f"{ahead} workers: 0").forward()


def test_a_data_base_may_be_a_single_file_where_nothing_can_be_written(tmp_path):
    write(tmp_path / "base.mdb", THREE, subdir=False)
    os.chmod(tmp_path, 0o555)
    try:
        assert Records.of(str(tmp_path / "base.mdb")).key(1) == b"b"
        assert os.listdir(tmp_path) == ["base.mdb"]
    finally:
        os.chmod(tmp_path, 0o755)


def test_what_is_no_data_base_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "none", {})
    (tmp_path / "text").write_text("no LMDB" * 3000)
    (tmp_path / "level").mkdir()
    (tmp_path / "level/CURRENT").write_text("MANIFEST-000001")
    for name, said in {
        "empty": "without data.mdb",
        "none": "is empty",
        "text": "not an LMDB",
        "level": "a LevelDB",
    }.items():
        with pytest.raises(ValueError, match=f"{name}: .*{said}"):
            Records.of(str(tmp_path / name))


def test_a_data_base_that_was_cut_off_is_refused(tmp_path):
    """LMDB would read beyond the file's end, which kills a process."""
    write(tmp_path / "base", {f"{i:05}": datum(plain(i, (40, 40))) for i in range(20)})
    file = tmp_path / "base" / "data.mdb"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(ValueError, match=r"base: the data base is cut off: \d+ bytes of \d+"):
        Records.of(str(tmp_path / "base"))


def test_a_damaged_page_is_said(tmp_path):
    write(tmp_path / "base", {f"{i:05}": datum(plain(i, (4, 4))) for i in range(200)})
    with open(tmp_path / "base" / "data.mdb", "r+b") as file:
        pages = np.frombuffer(file.read(), np.uint8).reshape(-1, 4096).copy()
        pages[2:, 10] = 4  # their kind: neither leaf nor branch; the first two pages say where all others are
        file.seek(0)
        file.write(pages.tobytes())
    with pytest.raises(ValueError, match="base: not an LMDB that can be read .*MDB_CORRUPTED"):
        Records.of(str(tmp_path / "base"))


def test_a_missing_package_is_named_with_the_extra_that_brings_it(tmp_path, monkeypatch):
    write(tmp_path / "base", THREE)
    importing = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "lmdb":
            raise ImportError("No module named 'lmdb'")
        return importing(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"No module named 'lmdb'.*pip install 'deconvnet\[lmdb\]'"):
        Records.of(str(tmp_path / "base"))
