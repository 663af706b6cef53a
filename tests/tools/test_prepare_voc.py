"""tools/prepare_voc.py on a small VOC and SBD: from their files to lists that the data layers read."""

import os
import sys

import numpy as np
import pytest
import voc_files
from tool_call import call, call_apart, error_of, only_line
from voc_files import DOG, PERSON

import deconvnet
from deconvnet.core.segmentation import voc

TOOL = "prepare_voc"
SOURCES = ["--voc", "VOCdevkit", "--sbd", "benchmark_RELEASE", "--workers", 2]
ALL = [*SOURCES, "--proposals", "boxes"]

# data layers as the authors' release writes them
DATA = """
layers {{
  name: "data" type: {kind} top: "data" top: "seg-label"
  image_data_param {{ root_folder: "{root}" source: "{root}/{list}" label_type: PIXEL batch_size: {batch} {size} }}
  transform_param {{ mean_value: 104.008 mean_value: 116.669 mean_value: 122.675 crop_size: 16 mirror: false }}
  include: {{ phase: TEST }}
}}
"""


@pytest.fixture
def folder(tmp_path):
    """A working directory with VOCdevkit, benchmark_RELEASE and boxes."""
    voc_files.write_voc(tmp_path)
    voc_files.write_sbd(tmp_path)
    (tmp_path / "boxes").mkdir()
    for image_id in voc_files.TRAIN + voc_files.VAL:
        (tmp_path / f"boxes/{image_id}.txt").write_text("3 2 13 11\n0 0 3 3\n20 8 29 21\n19 8 30 22\n")
    for image_id in ("2008_000002", "2008_000003"):
        (tmp_path / f"boxes/{image_id}.txt").write_text("4 4 15 19\n18 6 31 17\n")
    return tmp_path


def lines(folder, name):
    return (folder / "data/voc" / name).read_text().splitlines()


def layer(folder, kind, name, size="new_width: 16 new_height: 16"):
    """What a release-like data layer makes of a whole list: images, labels."""
    text = DATA.format(kind=kind, root=folder / "data/voc", list=name, batch=len(lines(folder, name)), size=size)
    (folder / "net.prototxt").write_text(text)
    net = deconvnet.Net(str(folder / "net.prototxt"), deconvnet.TEST)
    net.forward()
    images, labels = net.blobs["data"].data.copy(), net.blobs["seg-label"].data.copy()
    net.close()
    return images, labels


def test_whole_images_are_listed_for_an_fcn(folder):
    call(TOOL, folder, *SOURCES, "--until", "labels")
    ids = voc.read_ids(folder / "data/voc/ImageSets/Segmentation/trainaug.txt")
    assert lines(folder, "fcn_train.txt") == [f"/JPEGImages/{i}.jpg /SegmentationClass/{i}.png" for i in ids]
    assert len(lines(folder, "fcn_val.txt")) == len(voc_files.VAL)


def test_one_call_writes_labels_lists_crops_and_windows(folder):
    done = call(TOOL, folder, *ALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()[1:6]] == [
        ["train", "2", "1464"],
        ["val", "1", "1449"],
        ["trainval", "3", "2913"],
        ["trainaug", "4", "10582"],
        ["trainvalaug", "5", "12031"],
    ]
    # 2 objects in each of 4 images: 4 persons, 2 aeroplanes, 2 dogs
    assert "stage1_train.txt: 8 crops of trainaug, balanced 12 examples (paper: 0.2 M)" in done.stdout
    assert "stage1_val.txt: 2 crops of val, balanced 2 examples\n" in done.stdout
    # windows: 1 aeroplane and 2 persons in each of VOC's images, 1 dog and 1 person in SBD's
    assert "stage2_train.txt: 10 windows of trainaug, balanced 18 examples (paper: 2.7 M)" in done.stdout
    assert len(lines(folder, "stage1_train.txt")) == 12 and len(lines(folder, "stage2_train.txt")) == 18
    assert not any("2007_000033" in line for line in lines(folder, "stage1_train.txt"))


def test_the_layers_read_the_lists(folder):
    assert call(TOOL, folder, *ALL).returncode == 0
    images, labels = layer(folder, "IMAGE_SEG_DATA", "stage1_train.txt")
    assert images.shape == (12, 3, 16, 16)
    shown = [set(np.unique(label)) - {0, voc.VOID} for label in labels]
    assert shown == [{kind} for kind in (1, DOG, PERSON) for _ in range(4)]  # one class an example, balanced
    images, labels = layer(folder, "WINDOW_SEG_DATA", "stage2_train.txt")
    assert images.shape == (18, 3, 16, 16)
    assert all(kind in label for label, kind in zip(labels, np.repeat([1, DOG, PERSON], 6), strict=True))


def test_lists_of_the_release_are_read_as_they_are(folder):
    assert call(TOOL, folder, *SOURCES, "--until", "labels").returncode == 0
    paths = "/JPEGImages/2008_000002.jpg /SegmentationClass/2008_000002.png"
    (folder / "data/voc/train.txt").write_text(f"{paths} -4 -2 15 19\n{paths} 12 4 27 19\n")
    _, labels = layer(folder, "WINDOW_SEG_DATA", "train.txt", size="new_width: 20 new_height: 22")
    # 20x22 pixels as they are, then the central 16x16: columns -2 to 13, rows 1 to 16
    whole = voc.read_label(folder / "data/voc/SegmentationClass/2008_000002.png")
    np.testing.assert_array_equal(labels[0, 0, :, 2:], whole[1:17, :14])
    assert (labels[0, 0, :, :2] == voc.VOID).all()


def test_a_second_call_makes_nothing_again_and_writes_the_same_lists(folder):
    def state():
        kept = [path for path in (folder / "data/voc").rglob("*") if path.suffix in (".jpg", ".png")]
        written = [path.read_text() for path in sorted((folder / "data/voc").rglob("*.txt"))]
        return {path: path.stat().st_mtime_ns for path in kept}, written

    assert call(TOOL, folder, *ALL).returncode == 0
    first = state()
    assert call(TOOL, folder, *ALL).returncode == 0
    assert state() == first


@pytest.mark.parametrize("corrects", [True, False])
def test_what_is_newer_than_what_was_made_of_it_is_made_again(folder, corrects):
    source = voc.VocFolder(folder / "VOCdevkit/VOC2012")
    os.utime(source.image("2007_000032"), (1.3e9, 1.3e9))
    call(TOOL, folder, *ALL, "--until", "stage1")
    corrected = voc.read_label(source.classes("2007_000032"))
    corrected[corrected == PERSON] = DOG
    photograph = np.full((*corrected.shape, 3), 200, np.uint8)
    for path in (*(folder / "data/voc").rglob("*.png"), *(folder / "data/voc/stage1").rglob("*.jpg")):
        os.utime(path, (1.5e9, 1.5e9))
    source.image("2007_000032").unlink()  # a file of another program takes its place, of a date between
    if corrects:
        voc.write_label(source.classes("2007_000032"), corrected)
    voc.write_image(source.image("2007_000032"), photograph)
    os.utime(source.image("2007_000032"), (1.4e9, 1.4e9))
    assert call(TOOL, folder, *ALL, "--until", "stage1").returncode == 0
    made, crops = voc.VocFolder(folder / "data/voc"), voc.VocFolder(folder / "data/voc/stage1")
    np.testing.assert_array_equal(voc.read_label(made.classes("2007_000032")) == DOG, (corrected == DOG) & corrects)
    assert (voc.read_image(made.image("2007_000032")) > 190).all()
    assert (DOG in voc.read_label(crops.classes("2007_000032_2"))) == corrects
    assert np.median(voc.read_image(crops.image("2007_000032_2"))) > 190


def test_the_labels_pixels_are_counted_by_class(folder):
    said = call(TOOL, folder, *SOURCES, "--until", "labels")
    line = next(line for line in said.stdout.splitlines() if line.startswith("classes of the pixels of 4 images"))
    assert [part.split()[0] for part in line.partition("trainaug: ")[2].split(", ")] == ["0", "1", "12", "15", "255"]
    assert said.stderr == ""


def test_labels_without_background_are_told(folder):
    for image_id in voc_files.TRAIN + voc_files.VAL:
        path = folder / f"VOCdevkit/VOC2012/SegmentationClass/{image_id}.png"
        voc.write_label(path, np.minimum(voc.read_label(path), 19) + 1)
    said = call(TOOL, folder, "--voc", "VOCdevkit", "--workers", 2, "--until", "labels")
    assert "train: no pixel is of class 0, the background: are the classes numbered from 1?" in said.stderr


def test_it_stops_after_the_step_that_is_asked_for(folder):
    call(TOOL, folder, *SOURCES, "--until", "stage1")
    assert sorted(path.name for path in (folder / "data/voc").glob("stage*.txt")) == [
        "stage1_train.txt",
        "stage1_val.txt",
    ]


def test_voc_alone_trains_on_vocs_train(folder):
    done = call(TOOL, folder, "--voc", "VOCdevkit/VOC2012", "--until", "stage1")
    assert done.returncode == 0 and "4 crops of train, balanced 4 examples" in done.stdout


def test_the_papers_own_training_images_can_be_asked_for(folder):
    done = call(TOOL, folder, *SOURCES, "--train", "trainvalaug", "--until", "stage1")
    assert "10 crops of trainvalaug" in done.stdout
    assert any("2007_000033" in line for line in lines(folder, "stage1_train.txt"))


def test_the_number_of_examples_can_be_asked_for(folder):
    done = call(TOOL, folder, *ALL, "--stage1-examples", 6, "--stage2-examples", 30)
    assert "6 crops of trainaug, balanced 6 examples" in done.stdout
    assert len(lines(folder, "stage2_train.txt")) == 30


def test_edge_boxes_are_kept_beside_the_lists(folder):
    done = call(TOOL, folder, *SOURCES, "--min-iou", 0.01)
    assert done.returncode == 0
    kept = {path: path.stat().st_mtime_ns for path in (folder / "data/voc/proposals").iterdir()}
    assert len(kept) == 5
    assert call(TOOL, folder, *SOURCES).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_damaged_image_stops_it_in_one_line_or_is_left_out_with_status_1(folder):
    path = folder / "VOCdevkit/VOC2012/JPEGImages/2008_000002.jpg"
    voc_files.cut(path)
    assert f"{path.relative_to(folder)}: not a whole image" in only_line(call(TOOL, folder, *ALL), TOOL)
    done = call(TOOL, folder, *ALL, "--skip-damaged")
    said = error_of(done, TOOL)
    assert said.endswith("1 of 5 images are damaged and were left out of the lists: 2008_000002")
    assert done.stderr.splitlines()[0].startswith(f"left out: {path.relative_to(folder)}: not a whole image")
    assert "6 crops of trainaug" in done.stdout
    assert not any("2008_000002" in line for line in lines(folder, "stage2_train.txt"))


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--voc", "absent"], "absent: JPEGImages is missing; unpack VOCtrainval_11-May-2012.tar from http://host.robots"),
        (["--voc", "VOCdevkit", "--sbd", "absent"], "absent: cls is missing; unpack benchmark.tgz from http://home.bharath"),
        (["--voc", "VOCdevkit", "--out", "VOCdevkit/VOC2012"], "is VOC's own folder"),
        (["--voc", "VOCdevkit", "--train", "trainaug"], "trainaug needs SBD's labels: give --sbd"),
        ([*SOURCES, "--proposals", "absent"], "absent"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_in_one_line(folder, arguments, said):
    assert said in only_line(call(TOOL, folder, *arguments), TOOL)


@pytest.mark.parametrize(
    "name", ["VOCdevkit/VOC2012/ImageSets/Segmentation/train", "VOCdevkit/VOC2012/ImageSets/Segmentation/val",
             "benchmark_RELEASE/dataset/train"],
)  # fmt: skip
@pytest.mark.parametrize(
    "content, said", [("\n", "an empty list"), ("2007_000032\nwith space_2\n", "the id 'with space_2' has a blank")]
)
def test_a_list_that_is_empty_or_has_an_id_with_a_blank_is_named_and_nothing_is_written(folder, name, content, said):
    (folder / f"{name}.txt").write_text(content)
    assert f"{name}.txt: {said}" in only_line(call(TOOL, folder, *ALL), TOOL)
    assert not list((folder / "data/voc").rglob("*.txt"))


def test_objects_that_are_none_are_told_and_no_empty_list_is_written(folder):
    root = voc.VocFolder(folder / "VOCdevkit/VOC2012")
    for image_id in voc_files.TRAIN:
        voc.write_label(root.objects(image_id), np.zeros((voc_files.HEIGHT, voc_files.WIDTH), np.uint8))
    said = error_of(call(TOOL, folder, "--voc", "VOCdevkit"), TOOL)
    assert "data/voc/stage1_train.txt: not written, since no image of data/voc/ImageSets/Segmentation/train.txt" in said
    assert "numbers from 1 in SegmentationObject" in said
    assert not (folder / "data/voc/stage1_train.txt").exists()


@pytest.mark.parametrize("option", [["--min-iou", "1.5"], ["--workers", "0"], ["--stage1-examples", "x"]])
def test_options_out_of_bounds_are_refused(folder, option):
    done = call(TOOL, folder, *ALL, *option)
    assert done.returncode == 2 and f"error: argument {option[0]}: " in done.stderr


def test_without_scipy_sbd_names_the_extra_and_voc_alone_needs_none(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    assert "pip install 'deconvnet[mat]'" in only_line(call(TOOL, folder, *ALL), TOOL)
    assert call(TOOL, folder, "--voc", "VOCdevkit", "--until", "stage1").returncode == 0


def test_a_program_of_its_own_writes_the_same(folder):
    done = call_apart(TOOL, folder, *ALL)
    assert done.returncode == 0
    first = {path.name: path.read_text() for path in (folder / "data/voc").glob("*.txt")}
    assert call(TOOL, folder, *ALL, "--out", "again").returncode == 0
    assert {path.name: path.read_text() for path in (folder / "again").glob("*.txt")} == first
