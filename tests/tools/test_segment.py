"""tools/segment.py with a net that tells a pixel's class from its colour: background, blue or red."""

import importlib
import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tool_call import call

import deconvnet
from deconvnet.core.segmentation.voc import read_label

DEPLOY = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" top: "mask"
        pooling_param { pool: MAX kernel_size: 1 stride: 1 } }
layer { name: "unpool" type: "Unpooling" bottom: "pool" bottom: "mask" top: "unpool" }
layer { name: "score" type: "Convolution" bottom: "unpool" top: "seg-score"
        convolution_param { num_output: 3 kernel_size: 1 } }
"""
FCN = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
        convolution_param { num_output: 3 kernel_size: 1 } }
"""
COLORS = {0: (30, 30, 30), 1: (20, 20, 230), 2: (230, 20, 20)}  # RGB


@pytest.fixture
def place(tmp_path):
    """A folder with both nets, their weights, two images and a file of boxes for each."""
    for name, text in (("net", DEPLOY), ("fcn", FCN)):
        (tmp_path / f"{name}.prototxt").write_text(text)
        net = deconvnet.Net(str(tmp_path / f"{name}.prototxt"), deconvnet.TEST)
        weights, bias = net.params["score"]
        weights.data[...] = np.float32([[0, 0, 0], [0.1, 0, -0.1], [-0.1, 0, 0.1]]).reshape(3, 3, 1, 1)
        bias.data[...] = [5, 0, 0]
        net.save(str(tmp_path / f"{name}.caffemodel"))
    for folder in ("images", "boxes", "truth"):
        (tmp_path / folder).mkdir()
    for image_id, k in (("first", 1), ("second", 2)):
        picture = np.full((40, 50, 3), COLORS[0], np.uint8)
        picture[10:30, 10:40] = COLORS[k]
        Image.fromarray(picture).save(tmp_path / "images" / f"{image_id}.png")
        np.save(tmp_path / "boxes" / f"{image_id}.npy", np.array([[0, 0, 49, 39], [5, 5, 44, 34]]))
    return tmp_path


def segment(place, *arguments, images=("images",), out="out"):
    fixed = ["--model", "net.prototxt", "--weights", "net.caffemodel", "--min-side", "10", "--out", out]
    return call("segment", place, *images, *fixed, "--mean", "0", *arguments)


def test_labels_and_overlays_are_written_for_a_folder_of_images(place):
    ended = segment(place, "--boxes", "boxes")
    assert ended.returncode == 0 and "2 images segmented into out" in ended.stdout
    for image_id, k in (("first", 1), ("second", 2)):
        label = read_label(place / "out/labels" / f"{image_id}.png")
        assert label.shape == (40, 50) and label[20, 25] == k and label[2, 2] == 0
        assert 0.8 * 600 < (label == k).sum() < 1.2 * 600
        overlay = Image.open(place / "out/overlays" / f"{image_id}.jpg")
        assert overlay.width == 50 and overlay.height > 40  # the legend lies below


def test_proposals_are_computed_where_none_are_given(place):
    assert segment(place).returncode == 0
    assert set(np.unique(read_label(place / "out/labels/first.png"))) <= {0, 1}


def test_a_grid_of_windows_covers_an_image_and_takes_the_place_of_proposals(place):
    assert segment(place, "--grid", "16,30").returncode == 0
    label = read_label(place / "out/labels/first.png")
    assert label[20, 25] == 1 and 0.8 * 600 < (label == 1).sum() < 1.2 * 600
    refused = segment(place, "--grid", "16", "--boxes", "boxes", out="other")
    assert refused.returncode == 2 and "--grid takes the place of proposals: go without --boxes" in refused.stderr
    assert "argument --grid: 'x' is no whole number from 1 on" in segment(place, "--grid", "16,x").stderr


def test_images_of_which_the_windows_cover_little_are_named(place):
    np.save(place / "boxes/first.npy", np.array([[0, 0, 19, 19]]))
    said = segment(place, "--boxes", "boxes", "--context", "1").stderr
    assert "of 1 images the windows cover less than 50%, and what lies outside is background: first 20%; --grid" in said
    assert "windows cover" not in segment(place, "--grid", "16", out="other").stderr
    np.save(place / "boxes/first.npy", np.array([[-50, 5, -5, 30]]))
    assert "have no proposal" in segment(place, "--boxes", "boxes", "--context", "1", out="outside").stderr
    fcn = ["--fcn-model", "fcn.prototxt", "--fcn-weights", "fcn.caffemodel"]
    assert "windows cover" not in segment(place, "--boxes", "boxes", "--context", "1", *fcn, out="joined").stderr


@pytest.mark.parametrize("count, found", [(5, 2000), (3000, 3000), (3 * 10**9, 2**31 - 1)])
def test_as_many_proposals_are_found_as_are_taken(count, found):
    asked = SimpleNamespace(grid=None, boxes=None, cache=None, edge_model=None, count=count)
    assert importlib.import_module("segment").propose(asked).count == found


def test_an_image_that_has_changed_is_segmented_again(place):
    one = {"images": ["images/first.png"]}
    segment(place, "--boxes", "boxes", **one)
    Image.new("RGB", (30, 20)).save(place / "images/first.png")
    os.utime(place / "out/labels/first.png", (1.5e9, 1.5e9))
    assert "1 images segmented" in segment(place, "--boxes", "boxes", **one).stdout
    assert read_label(place / "out/labels/first.png").shape == (20, 30)


def test_files_and_lists_can_be_given_too(place):
    (place / "some.txt").write_text("images/second.png\n")
    assert segment(place, "--boxes", "boxes", images=["images/first.png", "some.txt"]).returncode == 0
    assert len(list((place / "out/labels").iterdir())) == 2


def test_a_list_of_ids_names_images_of_a_folder(place):
    Image.new("RGB", (20, 20)).save(place / "images/third.jpg")
    (place / "val.txt").write_text("third\nfirst.png\n")
    assert segment(place, "--folder", "images", images=["val.txt"]).returncode == 0
    assert {path.name for path in (place / "out/labels").iterdir()} == {"first.png", "third.png"}


def test_a_second_call_goes_on_where_the_first_stopped(place):
    segment(place, "--boxes", "boxes", images=["images/first.png"])
    before = (place / "out/labels/first.png").stat().st_mtime_ns
    ended = segment(place, "--boxes", "boxes")
    assert "1 of 2 images are done already" in ended.stderr and "1 images segmented" in ended.stdout
    assert (place / "out/labels/first.png").stat().st_mtime_ns == before


def test_results_of_other_settings_are_not_mixed(place):
    segment(place, "--boxes", "boxes")
    ended = segment(place, "--boxes", "boxes", "--aggregate", "sum")
    assert ended.returncode == 1 and "out: holds results made with another --aggregate" in ended.stderr
    assert segment(place, "--boxes", "boxes", "--aggregate", "sum", "--overwrite").returncode == 0
    assert json.loads((place / "out/settings.json").read_text())["aggregate"] == "sum"


@pytest.mark.parametrize(
    "wrong", [["--model", "none.prototxt"], ["--weights", "none.caffemodel"], ["--output", "sore"]]
)
def test_a_call_with_a_wrong_name_leaves_earlier_results_and_settings(place, wrong):
    segment(place, "--boxes", "boxes")
    before = (place / "out/settings.json").read_bytes()
    assert segment(place, "--boxes", "boxes", "--overwrite", *wrong).returncode == 1
    assert len(list((place / "out/labels").iterdir())) == 2
    assert (place / "out/settings.json").read_bytes() == before


def test_a_call_with_a_wrong_name_does_not_bar_the_corrected_one(place):
    assert segment(place, "--boxes", "boxes", "--output", "sore").returncode == 1
    assert segment(place, "--boxes", "boxes").returncode == 0


@pytest.mark.parametrize("net", ["net", "fcn"])
def test_results_of_weights_that_are_others_by_now_are_not_mixed(place, net):
    fcn = ["--fcn-model", "fcn.prototxt", "--fcn-weights", "fcn.caffemodel", "--fcn-size", "0"]
    segment(place, "--boxes", "boxes", *fcn)
    trained = deconvnet.Net(str(place / f"{net}.prototxt"), str(place / f"{net}.caffemodel"), deconvnet.TEST)
    trained.params["score"][1].data[...] += 1
    trained.save(str(place / f"{net}.caffemodel"))
    ended = segment(place, "--boxes", "boxes", *fcn)
    assert ended.returncode == 1
    assert f"out: holds results made with other weights in {net}.caffemodel: give another --out" in ended.stderr
    assert segment(place, "--boxes", "boxes", *fcn, "--overwrite").returncode == 0


def test_settings_of_an_earlier_version_know_no_weights_contents_and_are_accepted(place):
    segment(place, "--boxes", "boxes")
    settings = json.loads((place / "out/settings.json").read_text())
    del settings["digests"]
    (place / "out/settings.json").write_text(json.dumps(settings))
    assert segment(place, "--boxes", "boxes").returncode == 0


def test_images_without_a_proposal_of_the_shorter_side_are_told(place):
    np.save(place / "boxes/second.npy", np.array([[5, 5, 9, 9]]))
    ended = segment(place, "--boxes", "boxes")
    assert ended.returncode == 0
    (line,) = ended.stderr.splitlines()
    assert line.startswith("1 images have no proposal with a shorter side of --min-side 10 pixels")
    assert "background" in line and line.endswith(": second")


@pytest.mark.parametrize("damaged", ['{"aggreg', "[1]", "null"])
def test_damaged_settings_are_told_with_the_remedy(place, damaged):
    segment(place, "--boxes", "boxes")
    (place / "out/settings.json").write_text(damaged)
    ended = segment(place, "--boxes", "boxes")
    assert ended.returncode == 1 and "out/settings.json: damaged; give another --out" in ended.stderr
    assert segment(place, "--boxes", "boxes", "--overwrite").returncode == 0


def test_a_label_that_cannot_be_written_to_its_end_is_not_there_and_is_made_by_the_next_call(place, monkeypatch):
    whole = Image.Image.save

    def cut_off(image, file, *arguments, **options):
        if options.get("format") == "PNG":
            file.write(b"half")
            raise OSError(28, "No space left on device")
        whole(image, file, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", cut_off)
    ended = segment(place, "--boxes", "boxes")
    assert ended.returncode == 1 and "first.png" in ended.stderr and "No space left on device" in ended.stderr
    assert not list((place / "out/labels").iterdir())
    monkeypatch.undo()
    assert "2 images segmented" in segment(place, "--boxes", "boxes").stdout


def test_probabilities_are_written_on_request(place):
    segment(place, "--boxes", "boxes", "--probabilities")
    stored = np.load(place / "out/probabilities/first.npz")
    assert stored["probabilities"].shape == (3, 40, 50) and stored["size"].tolist() == [40, 50]
    np.testing.assert_allclose(stored["probabilities"].astype(float).sum(axis=0), 1, atol=2e-3)


def test_probabilities_that_are_asked_for_later_are_made(place):
    segment(place, "--boxes", "boxes", images=["images/first.png"])
    assert "2 images segmented" in segment(place, "--boxes", "boxes", "--probabilities").stdout
    assert (place / "out/probabilities/first.npz").exists()
    assert "0 images segmented" in segment(place, "--boxes", "boxes", "--probabilities").stdout


def test_overwriting_leaves_no_probabilities_of_other_settings(place):
    segment(place, "--boxes", "boxes", "--probabilities")
    segment(place, "--boxes", "boxes", "--aggregate", "sum", "--overwrite")
    assert not list((place / "out/probabilities").iterdir())


def test_the_fcn_and_the_crf_take_part(place):
    pytest.importorskip("pydensecrf.densecrf", reason="Python 3.13 has none", exc_type=ImportError)
    fcn = ["--fcn-model", "fcn.prototxt", "--fcn-weights", "fcn.caffemodel", "--fcn-size", "64"]
    assert segment(place, "--boxes", "boxes", *fcn, "--crf").returncode == 0
    label = read_label(place / "out/labels/first.png")
    expected = np.zeros((40, 50), np.uint8)
    expected[10:30, 10:40] = 1
    assert (label == expected).mean() > 0.99


def test_the_fcn_goes_alone_where_the_net_has_no_weights(place):
    fcn = ["--fcn-model", "fcn.prototxt", "--fcn-weights", "fcn.caffemodel", "--fcn-size", "0", "--mean", "0"]
    assert call("segment", place, "images", "--out", "out", *fcn).returncode == 0
    label = read_label(place / "out/labels/second.png")
    assert (label[10:30, 10:40] == 2).all() and (label == 2).sum() == 600


def test_a_trace_draws_the_papers_figures(place):
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(place / "truth/first.png")
    ended = segment(place, "--boxes", "boxes", "--trace", "trace", "--truth", "truth", images=["images/first.png"])
    assert ended.returncode == 0
    assert sorted(p.name for p in (place / "trace").iterdir()) == [f"first_figure{k}.png" for k in (4, 5, 6, 7)]


def test_a_trace_of_a_net_without_unpooling_says_that_figure_4_is_left_out(place):
    ended = segment(
        place, "--boxes", "boxes", "--trace", "trace", "--model", "fcn.prototxt", "--weights", "fcn.caffemodel"
    )
    assert ended.returncode == 0
    assert "fcn.prototxt: has no unpooling, so --trace draws no figure 4" in ended.stderr
    assert not (place / "trace/first_figure4.png").exists() and (place / "trace/first_figure7.png").exists()


def test_a_trace_that_is_asked_for_later_is_drawn(place):
    one = {"images": ["images/first.png"]}
    segment(place, "--boxes", "boxes", **one)
    assert "1 images segmented" in segment(place, "--boxes", "boxes", "--trace", "trace", **one).stdout
    assert len(list((place / "trace").iterdir())) == 4
    assert "0 images segmented" in segment(place, "--boxes", "boxes", "--trace", "trace", **one).stdout


def test_a_picture_of_a_trace_that_cannot_be_written_is_named_and_not_there(place, monkeypatch):
    whole = os.replace

    def full(part, path):
        if str(path).endswith("figure6.png"):
            raise OSError(28, "No space left on device")
        whole(part, path)

    monkeypatch.setattr("os.replace", full)
    ended = segment(place, "--boxes", "boxes", "--trace", "trace", images=["images/first.png"])
    said = "segment: error: trace/first_figure6.png: cannot be written (No space left on device)"
    assert ended.returncode == 1 and ended.stderr.splitlines()[-1] == said
    assert [path.name for path in (place / "trace").iterdir()] == ["first_figure5.png"]


def test_a_damaged_image_is_named_and_the_others_go_on(place):
    (place / "images/broken.png").write_bytes(b"\x89PNG but no more")
    ended = segment(place, "--boxes", "boxes")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "images/broken.png" in line and "left out" in line
    assert "2 images segmented into out, 1 failed" in ended.stdout


def test_an_image_without_stored_boxes_is_named_and_the_others_go_on(place):
    (place / "boxes/second.npy").unlink()
    ended = segment(place, "--boxes", "boxes")
    assert ended.returncode == 1 and "second" in ended.stderr and "1 images segmented" in ended.stdout


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--weights", "none.caffemodel"], "none.caffemodel"),
        (["--weights", "fcn.caffemodel", "--output", "sore"], "has no output 'sore'; its outputs: seg-score"),
        (["--boxes", "nowhere"], "nowhere"),
        (["--classes", "classes.txt"], "classes.txt: holds 1 names, but the net has 3 classes"),
        (["--fcn-model", "fcn.prototxt"], "--fcn-model and --fcn-weights come together"),
        (["--count", "0"], "'0' is no whole number from 1 on"),
        (["--max-side", "-4"], "'-4' is no whole number from 0 on"),
        (["--context", "nan"], "argument --context: invalid factor value: 'nan'"),
        (["--mean", "1", "2"], "--mean is one number, or three for blue, green and red, not 2"),
        (["--classes", "images/first.png"], "images/first.png: no text; a list, one name a line, is expected"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(place, arguments, message):
    (place / "classes.txt").write_text("thing\n")
    ended = segment(place, *arguments)
    assert ended.returncode != 0
    assert message in ended.stderr.splitlines()[-1] and "Traceback" not in ended.stderr


@pytest.mark.parametrize("images", [["images/none.png"], ["empty"], ["empty.txt"]])
def test_images_that_are_not_there_are_told(place, images):
    (place / "empty").mkdir()
    (place / "empty.txt").write_text("\n")
    ended = segment(place, images=images)
    assert ended.returncode == 1 and images[0] in ended.stderr


def test_images_of_one_name_are_refused(place):
    (place / "more").mkdir()
    Image.new("RGB", (9, 9)).save(place / "more/first.jpg")
    ended = segment(place, images=["images", "more"])
    assert ended.returncode == 1 and "more/first.jpg and images/first.png would write one result" in ended.stderr


def test_weights_of_another_net_are_told(place):
    (place / "other.prototxt").write_text(FCN.replace('name: "score"', 'name: "other"'))
    net = deconvnet.Net(str(place / "other.prototxt"), deconvnet.TEST)
    net.save(str(place / "other.caffemodel"))
    ended = segment(place, "--weights", "other.caffemodel")
    assert ended.returncode == 1 and "other.caffemodel: none of its layers (other) is in the net" in ended.stderr


@pytest.mark.parametrize(
    "before, after, message",
    [
        ("num_output: 3", "num_output: 4", "other.prototxt: has 4 classes, but net.prototxt has 3"),
        ("dim: 3", "dim: 1", "its blob 'data' has the shape (1, 1, 16, 16), where images (N, 3, H, W) are expected"),
        (
            '"Convolution"',
            '"InnerProduct" inner_product_param { num_output: 3 }',
            "where scores (N, classes, H, W) are",
        ),
        (
            "kernel_size: 1",
            "kernel_size: 3",
            "the net's 'score' is (498, 498) for an input of (500, 500): not as large",
        ),
    ],
)
def test_an_fcn_that_does_not_fit_is_told_in_one_line(place, before, after, message):
    (place / "other.prototxt").write_text(FCN.replace(before, after))
    net = deconvnet.Net(str(place / "other.prototxt"), deconvnet.TEST)
    net.save(str(place / "other.caffemodel"))
    ended = segment(place, "--fcn-model", "other.prototxt", "--fcn-weights", "other.caffemodel")
    assert ended.returncode == 1 and message in ended.stderr.splitlines()[-1] and "Traceback" not in ended.stderr


def test_a_missing_crf_is_told_with_its_remedy_before_the_first_image(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    ended = segment(place, "--boxes", "boxes", "--crf")
    assert (
        ended.returncode == 1
        and "pip install 'deconvnet[crf]' (Python 3.12 at most), or go without --crf" in ended.stderr
    )
    assert not (place / "out").exists()
