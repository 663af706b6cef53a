import os
import re

import cv2
import numpy as np
import pytest
import voc_files
from scipy.io import savemat
from voc_files import DOG, IN_SBD, IN_VOC, PERSON, SBD_VAL, TRAIN, VAL, labels, write_mats

from deconvnet.core.segmentation import sbd, voc


@pytest.fixture
def sources(tmp_path):
    """(VocFolder, SbdFolder)"""
    return voc_files.write_voc(tmp_path), sbd.SbdFolder(voc_files.write_sbd(tmp_path))


@pytest.fixture
def out(tmp_path):
    return voc.VocFolder(tmp_path / "out")


def files(folder):
    """Every file below a folder and when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_trainaug_is_vocs_train_and_all_of_sbd_that_is_not_in_vocs_val(sources, out):
    assert sbd.merge(*sources, out) == {}
    lists = {name: voc.read_ids(out.split(name)) for name in sbd.IMAGES}
    assert lists == {
        "train": TRAIN,
        "val": VAL,
        "trainval": ["2007_000032", "2007_000033", "2007_000039"],
        "trainaug": [*TRAIN, "2008_000002", "2008_000003"],
        "trainvalaug": [*TRAIN, "2008_000002", "2008_000003", *VAL],
    }


def test_the_expected_counts_add_up():
    assert sbd.IMAGES["train"] + sbd.IMAGES["val"] == sbd.IMAGES["trainval"]
    assert sbd.IMAGES["trainaug"] + sbd.IMAGES["val"] == sbd.IMAGES["trainvalaug"]
    assert sbd.IMAGES["trainaug"] == sbd.IMAGES["train"] + 6820 + 2298


def test_vocs_labels_win_where_both_label_an_image(sources, out):
    sbd.merge(*sources, out)
    for image_id in TRAIN + VAL:
        for path, label in zip((out.classes(image_id), out.objects(image_id)), labels(IN_VOC, void=True), strict=True):
            np.testing.assert_array_equal(voc.read_label(path), label)


def test_sbds_labels_become_palette_images_without_a_void_border(sources, out):
    sbd.merge(*sources, out)
    for image_id in ("2008_000002", *SBD_VAL):
        for path, label in zip((out.classes(image_id), out.objects(image_id)), labels(IN_SBD, void=False), strict=True):
            np.testing.assert_array_equal(voc.read_label(path), label)
    assert set(np.unique(voc.read_label(out.classes("2008_000002")))) == {0, DOG, PERSON}


def test_photographs_are_links_not_copies(sources, out):
    sbd.merge(*sources, out)
    assert out.image(TRAIN[0]).samefile(sources[0].image(TRAIN[0]))


def test_where_nothing_can_be_linked_photographs_are_copied(sources, out, monkeypatch):
    def refuse(source, target):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "symlink", refuse)
    sbd.merge(*sources, out)
    assert out.image(TRAIN[0]).read_bytes() == sources[0].image(TRAIN[0]).read_bytes()
    assert not out.image(TRAIN[0]).samefile(sources[0].image(TRAIN[0]))


def test_a_photograph_that_voc_lacks_is_taken_from_sbd(sources, out):
    folder, labelled = sources
    labelled.image("x").parent.mkdir()
    folder.image("2008_000002").rename(labelled.image("2008_000002"))
    sbd.merge(*sources, out)
    assert out.image("2008_000002").samefile(labelled.image("2008_000002"))


def test_voc_alone_gives_vocs_own_lists(sources, out):
    sbd.merge(sources[0], None, out)
    assert sorted(path.stem for path in out.split("x").parent.iterdir()) == ["train", "trainval", "val"]
    assert sorted(path.stem for path in out.classes("x").parent.iterdir()) == sorted(TRAIN + VAL)


def test_a_second_merge_makes_nothing_again_and_the_sources_stay_as_they_are(sources, out):
    before = files(sources[0].root) | files(sources[1].root)
    sbd.merge(*sources, out)
    made = {path: when for path, when in files(out.root).items() if path.suffix != ".txt"}
    sbd.merge(*sources, out)
    assert made.items() <= files(out.root).items()
    assert files(sources[0].root) | files(sources[1].root) == before


def test_any_number_of_workers_writes_the_same(sources, out, tmp_path):
    other = voc.VocFolder(tmp_path / "other")
    sbd.merge(*sources, out, workers=1)
    sbd.merge(*sources, other, workers=4)
    content = [{p.relative_to(f.root): p.read_bytes() for p in files(f.root)} for f in (out, other)]
    assert content[0] == content[1]


def cut_photograph(folder, labelled):
    voc_files.cut(folder.image("2007_000039"))
    return "2007_000039", r"JPEGImages/2007_000039\.jpg: not a whole image"


def cut_label(folder, labelled):
    voc_files.cut(folder.classes("2007_000039"))
    return "2007_000039", r"SegmentationClass/2007_000039\.png: not a label image"


def cut_mat(folder, labelled):
    voc_files.cut(labelled.classes("2008_000002"))
    return "2008_000002", r"cls/2008_000002\.mat: not a MATLAB file of SBD with the struct GTcls"


def other_struct(folder, labelled):
    savemat(labelled.objects("2008_000002"), {"GTcls": {"Segmentation": np.zeros((2, 2), np.uint8)}})
    return "2008_000002", r"inst/2008_000002\.mat: not a MATLAB file of SBD with the struct GTinst"


def floats(folder, labelled):
    savemat(labelled.objects("2008_000002"), {"GTinst": {"Segmentation": np.zeros((2, 2))}})
    return "2008_000002", r"inst/2008_000002\.mat: GTinst\.Segmentation is float64 \(2, 2\)"


def no_mat(folder, labelled):
    labelled.objects("2008_000002").unlink()
    return "2008_000002", r"inst/2008_000002\.mat: no such file.*SBD/download\.html"


def no_photograph(folder, labelled):
    folder.image("2007_000033").unlink()
    return "2007_000033", r"JPEGImages/2007_000033\.jpg: no such file"


def unknown_class_in_voc(folder, labelled):
    voc.write_label(folder.classes("2007_000033"), np.full((voc_files.HEIGHT, voc_files.WIDTH), 21))
    return "2007_000033", r"SegmentationClass/2007_000033\.png: class index 21 is none of VOC's"


def unknown_class_in_sbd(folder, labelled):
    classes, objects = labels(IN_SBD, void=False)
    write_mats(labelled.root, "2008_000003", classes * 2, objects)
    return "2008_000003", r"cls/2008_000003\.mat: class index 24 is none of VOC's"


def label_of_another_size(folder, labelled):
    savemat(labelled.classes("2008_000003"), {"GTcls": {"Segmentation": np.zeros((23, 36), np.uint8)}})
    return (
        "2008_000003",
        r"cls/2008_000003\.mat: the label is 23x36 .*but .*JPEGImages/2008_000003\.jpg is 24x36",
    )


def label_of_the_turned_photograph(folder, labelled):
    voc.write_label(folder.objects("2007_000033"), np.zeros((voc_files.WIDTH, voc_files.HEIGHT), np.uint8))
    return "2007_000033", r"SegmentationObject/2007_000033\.png: the label is 36x24.*is 24x36"


DAMAGES = [
    cut_photograph, cut_label, cut_mat, other_struct, floats, no_mat, no_photograph, unknown_class_in_voc,
    unknown_class_in_sbd, label_of_another_size, label_of_the_turned_photograph,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_image_stops_the_merge_and_is_named(sources, out, damage):
    _, wrong = damage(*sources)
    with pytest.raises((voc.DataError, FileNotFoundError), match=wrong):
        sbd.merge(*sources, out)
    assert not out.split("train").exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_image_is_left_out_of_every_list_where_that_is_asked_for(sources, out, damage):
    image_id, wrong = damage(*sources)
    damaged = sbd.merge(*sources, out, skip_damaged=True)
    assert list(damaged) == [image_id] and re.search(wrong, damaged[image_id])
    lists = sbd.lists(*sources)
    assert {name: voc.read_ids(out.split(name)) for name in lists} == {
        name: [i for i in ids if i != image_id] for name, ids in lists.items()
    }


def test_a_repaired_image_comes_back(sources, out):
    whole = sources[0].image("2007_000039").read_bytes()
    voc_files.cut(sources[0].image("2007_000039"))
    assert list(sbd.merge(*sources, out, skip_damaged=True)) == ["2007_000039"]
    sources[0].image("2007_000039").write_bytes(whole)
    assert sbd.merge(*sources, out) == {}
    assert "2007_000039" in voc.read_ids(out.split("trainaug"))


def test_opencv_would_have_taken_the_cut_photograph(sources):
    assert voc_files.cut(sources[0].image("2007_000039")).shape == (voc_files.HEIGHT, voc_files.WIDTH, 3)


def test_an_exif_rotation_is_not_applied(sources, out):
    path = sources[0].image(TRAIN[0])
    exif = voc.Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees for display
    with voc.Image.open(path) as image:
        image.load()
        image.save(path, exif=exif)
    assert cv2.imread(str(path)).shape == (voc_files.WIDTH, voc_files.HEIGHT, 3)  # what a viewer shows
    assert sbd.merge(*sources, out) == {}


def test_vocs_own_folder_is_not_written_into(sources):
    before = files(sources[0].root)
    with pytest.raises(voc.DataError, match="VOC's own folder"):
        sbd.merge(*sources, voc.VocFolder(sources[0].root / "../VOC2012"))
    assert files(sources[0].root) == before


def test_a_killed_merge_leaves_no_half_file(sources, out, monkeypatch):
    def die(image, file, **options):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(voc.Image.Image, "save", die)
    with pytest.raises(KeyboardInterrupt):
        sbd.merge(*sources, out)
    assert files(out.root) == {}


@pytest.mark.parametrize("place", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_is_found_in_the_folder_and_in_those_above(sources, tmp_path, place):
    assert sbd.find_voc(tmp_path / place).root == tmp_path / "VOCdevkit/VOC2012"


@pytest.mark.parametrize("place", ["", "benchmark_RELEASE", "benchmark_RELEASE/dataset"])
def test_sbd_is_found_in_the_folder_and_in_those_above(sources, tmp_path, place):
    assert sbd.find_sbd(tmp_path / place).root == tmp_path / "benchmark_RELEASE/dataset"


def test_missing_data_is_named_with_its_page_and_its_place(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"JPEGImages is missing.*host\.robots\.ox\.ac\.uk.*x/VOCdevkit/VOC2012"
    ):
        sbd.find_voc(tmp_path / "x")
    with pytest.raises(FileNotFoundError, match=r"cls is missing.*bharathh\.info.*x/benchmark_RELEASE/dataset"):
        sbd.find_sbd(tmp_path / "x")


def test_a_voc_without_its_labels_says_which_folder_is_missing(sources, tmp_path):
    (sources[0].root / "SegmentationObject").rename(tmp_path / "elsewhere")
    with pytest.raises(
        FileNotFoundError, match=r"SegmentationObject is missing \(docs/data.md says .* own\); unpack VOCtrainval"
    ):
        sbd.find_voc(tmp_path)
