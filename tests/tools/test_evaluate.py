"""tools/evaluate.py as users call it."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
from scored_folder import NAMES, write_scored
from tool_call import call, call_apart, error_of, only_line

from deconvnet.core.segmentation import voc
from deconvnet.core.segmentation.evaluation import evaluate, scores
from deconvnet.core.segmentation.submission import FOLDER

TOOL = "evaluate"
CLASSES = ("--classes", ",".join(NAMES))
SPLIT = ("--data", "data", "--split", "val")
DEMO = (*SPLIT, "--results", "results", *CLASSES)


@pytest.fixture
def cases(tmp_path):
    return write_scored(tmp_path)


def lines_of(finished):
    """The table as {first words: last word}."""
    return {line.rsplit(None, 1)[0]: line.rsplit(None, 1)[1] for line in finished.stdout.splitlines() if line}


def test_the_table_says_the_scores_and_how_many_images_they_are_of(tmp_path, cases):
    finished = call_apart(TOOL, tmp_path, *DEMO)
    assert finished.returncode == 0 and finished.stderr == ""
    result, said = scores(evaluate(cases, len(NAMES)).matrix), lines_of(finished)
    assert said["mean IoU"] == f"{result.mean_iou:.3f}" and said["pixel accuracy"] == f"{result.pixel_accuracy:.3f}"
    assert f"{result.iou[0]:.3f}" in finished.stdout.splitlines()[1]
    assert said["images scored"] == "4" and said["images left out"] == "0"


def test_two_plain_folders_score_as_the_data_set_does(tmp_path, cases):
    folders = ("--labels", "data/SegmentationClass", "--photos", "data/JPEGImages", "--results", "results")
    finished = call(TOOL, tmp_path, *folders, *CLASSES, "--html", "a.html", "--images", "1")
    assert finished.returncode == 0
    assert finished.stdout == call(TOOL, tmp_path, *DEMO).stdout
    assert (tmp_path / "a.html").read_text().count("<img") == 8  # with photographs


def test_all_files_say_what_the_table_says(tmp_path, cases):
    finished = call(TOOL, tmp_path, *DEMO, "--csv", "out/a.csv", "--json", "out/a.json", "--html", "out/a.html")
    mean = lines_of(finished)["mean IoU"]
    content = json.loads((tmp_path / "out" / "a.json").read_text())
    assert f"{content['scores']['mean_iou']:.3f}" == mean
    with open(tmp_path / "out" / "a.csv", newline="") as file:
        means = [row["iou"] for row in csv.DictReader(file) if row["class"] == "mean over classes"]
    assert [f"{float(value):.3f}" for value in means] == [mean]
    assert f"<dd>{mean}</dd>" in (tmp_path / "out" / "a.html").read_text()


def test_json_says_what_made_it(tmp_path, cases):
    call(TOOL, tmp_path, *DEMO, "--json", "a.json")
    made = json.loads((tmp_path / "a.json").read_text())["provenance"]
    assert "evaluate.py --data data --split val --results results" in made["command"]
    assert made["images scored"] == 4 and made["images left out"] == 0 and "NumPy" in made["versions"]
    assert made["date"].endswith("+00:00")


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_threads_changes_nothing(tmp_path, cases, workers):
    assert call(TOOL, tmp_path, *DEMO, "--workers", workers).stdout == call(TOOL, tmp_path, *DEMO).stdout


def test_a_bad_image_is_said_in_a_line_and_the_others_are_scored(tmp_path, cases):
    cases[1].prediction.unlink()
    voc.write_label(cases[2].prediction, np.zeros((3, 3), np.uint8))
    finished = call(TOOL, tmp_path, *DEMO, "--html", "a.html", "--json", "a.json")
    first, second, last = finished.stderr.splitlines()
    assert first.startswith("evaluate: error: results/val_0001.png: no such prediction")
    assert second.startswith("evaluate: error: results/val_0002.png is 3x3 pixels, but data/SegmentationClass/")
    assert (
        last == error_of(finished, TOOL) == "evaluate: error: 2 of 4 images are left out of the scores, as said above"
    )
    said = lines_of(finished)
    assert said["images scored"] == "2" and said["images left out"] == "2"
    assert len(json.loads((tmp_path / "a.json").read_text())["left_out"]) == 2
    assert "2 images left out" in (tmp_path / "a.html").read_text()


def test_a_missing_prediction_counts_as_background_where_that_is_asked_for(tmp_path, cases):
    cases[1].prediction.unlink()
    finished = call(TOOL, tmp_path, *DEMO, "--missing-as-background")
    assert finished.returncode == 0 and finished.stderr == ""
    assert "of them no prediction 1, counted as background" in finished.stdout
    assert lines_of(finished)["images scored"] == "4"


def test_no_image_to_score_at_all_is_an_error_without_a_table(tmp_path, cases):
    shutil.rmtree(tmp_path / "results")
    finished = call(TOOL, tmp_path, *DEMO)
    assert error_of(finished, TOOL).endswith("results: none of 4 images could be scored") and finished.stdout == ""


def test_classes_come_from_a_file_too(tmp_path, cases):
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    finished = call(TOOL, tmp_path, *SPLIT, "--results", "results", "--classes", "classes.txt")
    assert finished.stdout == call(TOOL, tmp_path, *DEMO).stdout


def test_many_classes_may_be_named_with_commas(tmp_path, cases):
    names = ",".join([*NAMES, *(f"further_{number}" for number in range(40))])
    finished = call(TOOL, tmp_path, *SPLIT, "--results", "results", "--classes", names)
    assert finished.returncode == 0 and "further_39" in finished.stdout


def test_a_number_of_threads_that_is_none_is_told(tmp_path, cases, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "two")
    assert error_of(call(TOOL, tmp_path, *DEMO), TOOL).endswith(
        "OMP_NUM_THREADS is 'two': it must be a number of threads"
    )


def test_the_classes_are_vocs_where_none_are_named(tmp_path, cases):
    assert set(voc.CLASSES) <= set(call(TOOL, tmp_path, *SPLIT, "--results", "results").stdout.split())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((*SPLIT, *CLASSES), "give --results"),
        (("--data", "data", "--results", "results"), "give --data and --split, or --labels"),
        ((*DEMO, "--labels", "x"), "give --data and --split, or --labels"),
        ((*DEMO, "--photos", "x"), "--photos goes with --labels"),
        ((*DEMO, "--workers", "0"), "'0' is no whole number from 1 on"),
        ((*SPLIT, "--results", "results", "--classes", "absent.txt"), "'absent.txt' is neither a file of names"),
        ((*SPLIT, "--results", "results", "--classes", "a,b,a"), "from 2 to 255 names that differ"),
        ((*DEMO, "--submission", "out"), "a submission has VOC's classes"),
        (("--labels", "x", "--results", "y", "--submission", "out"), "a submission needs --data and --split"),
    ],
)
def test_options_that_do_not_fit_are_said(tmp_path, cases, arguments, message):
    finished = call(TOOL, tmp_path, *arguments)
    assert finished.returncode == 2 and message in finished.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--data", "data", "--split", "absent"), "absent.txt: no such file; a list of image ids"),
        (("--data", "data", "--split", "empty"), "empty.txt: an empty list"),
        (("--data", "data", "--split", "twice"), "twice.txt: names val_0000 twice"),
        (("--labels", "data/ImageSets"), "data/ImageSets: no label images"),
        (("--labels", "data/SegmentationClass", "--photos", "gone"), "gone: No such file or directory"),
        ((*SPLIT, "--csv", "results"), "results: cannot be written (Is a directory)"),
    ],
)
def test_a_bad_list_or_folder_ends_in_one_line(tmp_path, cases, arguments, message):
    lists = tmp_path / "data/ImageSets/Segmentation"
    (lists / "empty.txt").write_text("\n")
    (lists / "twice.txt").write_text("val_0000\nval_0001\nval_0000\n")
    assert message in only_line(call(TOOL, tmp_path, *arguments, "--results", "results", *CLASSES), TOOL)


@pytest.mark.parametrize("option, name", [("--csv", "a.csv"), ("--json", "a.json"), ("--html", "a.html")])
def test_a_file_that_cannot_be_written_to_its_end_is_named_and_the_earlier_one_stays(
    tmp_path, cases, monkeypatch, option, name
):
    def full(part, path):
        raise OSError(28, "No space left on device")

    (tmp_path / name).write_text("earlier")
    monkeypatch.setattr("os.replace", full)
    said = only_line(call(TOOL, tmp_path, *DEMO, option, name), TOOL)
    assert said.endswith(f"{name}: cannot be written (No space left on device)")
    assert [path.read_text() for path in tmp_path.glob("a.*")] == ["earlier"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_a_device_is_written_to_and_not_replaced(tmp_path, cases):
    (tmp_path / "a.csv").symlink_to("/dev/full")
    said = error_of(call(TOOL, tmp_path, *DEMO, "--csv", "a.csv"), TOOL)
    assert said.endswith("a.csv: cannot be written (No space left on device)")
    assert (tmp_path / "a.csv").is_symlink()


def test_a_submission_is_packed_without_labels_and_passes_its_check(tmp_path, cases):
    shutil.rmtree(tmp_path / "data/SegmentationClass")
    finished = call(TOOL, tmp_path, *SPLIT, "--results", "results", "--submission", "out")
    assert finished.returncode == 0 and finished.stdout == "out/results.tgz: 4 label images\n"
    assert len(list((tmp_path / "out" / FOLDER).iterdir())) == 4
    checked = call(TOOL, tmp_path, *SPLIT, "--check-submission", "out/results.tgz")
    assert checked.returncode == 0 and "what the server takes, 4 label images" in checked.stdout


def test_every_fault_of_a_submission_is_a_line(tmp_path, cases):
    cases[1].prediction.unlink()
    voc.write_label(cases[2].prediction, np.full((120, 160), 21, np.uint8))
    finished = call(TOOL, tmp_path, *SPLIT, "--results", "results", "--submission", "out")
    assert [line.split(": ", 2)[2].split(":")[0] for line in finished.stderr.splitlines()] == [
        "results/val_0001.png",
        "results/val_0002.png",
        "out/results.tgz",
    ]
    assert error_of(finished, TOOL).endswith("out/results.tgz: not written, for the 2 faults said above")


def test_an_archive_that_lacks_an_image_is_refused(tmp_path, cases):
    call(TOOL, tmp_path, *SPLIT, "--results", "results", "--submission", "out")
    shutil.copy(tmp_path / "data/JPEGImages/val_0000.jpg", tmp_path / "data/JPEGImages/val_0009.jpg")
    with open(tmp_path / "data/ImageSets/Segmentation/val.txt", "a") as file:
        file.write("val_0009\n")
    finished = call(TOOL, tmp_path, *SPLIT, "--check-submission", "out/results.tgz")
    assert f"out/results.tgz: {FOLDER}/val_0009.png is missing" in finished.stderr
    assert "not what the server takes, for the 1 faults said above" in error_of(finished, TOOL)
