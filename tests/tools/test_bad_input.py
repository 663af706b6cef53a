"""Bad input through tools/train_net.py and tools/test_net.py: one last line that names file, layer and remedy, status 1, no traceback, and
what a run has saved stays as it is."""

import shutil

import cv2
import h5py
import numpy as np
import pytest
from PIL import Image
from tiny_training import write_seg_solver
from tool_call import call, call_apart, error_of, only_line

from deconvnet.core.solver import SGDSolver

TRAIN, TEST = "train_net", "test_net"
MODEL = ["--model", "prototxt/net.prototxt", "--iterations", 1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run of one iteration: solver/s.prototxt, prototxt/net.prototxt, images, snapshots of both forms."""
    folder = tmp_path_factory.mktemp("trained")
    for form in ("HDF5", "BINARYPROTO"):
        solver = SGDSolver(write_seg_solver(folder, f"snapshot_format: {form}"))
        solver.step(1)
        solver.snapshot()
        solver.close()
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of that folder; after the test its snapshots are what they were."""
    folder = shutil.copytree(trained, tmp_path / "run")
    change(folder, "solver/s.prototxt", str(trained), str(folder))
    change(folder, "prototxt/net.prototxt", str(trained), str(folder))
    before = saved(folder)
    yield folder
    assert saved(folder) == before


def saved(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "snapshots").iterdir())}


def change(folder, name, old, new):
    """Replace text in a file, which must hold it."""
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


def append(folder, layer):
    with open(folder / "prototxt/net.prototxt", "a") as file:
        file.write(layer)


def cut(path):
    whole = path.read_bytes()
    path.with_name(f"cut_{path.name}").write_bytes(whole[: len(whole) // 2])
    return f"cut_{path.name}"


def train(folder, *arguments):
    """The one line that training ends with, a log before it or not."""
    return error_of(call(TRAIN, folder, "--solver", "solver/s.prototxt", *arguments), TRAIN)


def test(folder, *arguments):
    return error_of(call(TEST, folder, *MODEL, *arguments), TEST)


test.__test__ = False  # a name of the tool's, not a test


# ----------------------------------------------------------------------------------------------- files of weights and states


@pytest.mark.parametrize("name", ["run_iter_1.caffemodel", "run_iter_1.caffemodel.h5"])
def test_weights_that_are_cut_off(run, name):
    shutil.copy(run / "snapshots" / name, run / name)
    half = cut(run / name)
    for said in (train(run, "--weights", half), test(run, "--weights", half)):
        assert f"{half}: not " in said and "whole" in said


@pytest.mark.parametrize("name", ["w.caffemodel", "w.caffemodel.h5", "w.npz", "w.safetensors"])
def test_weights_that_are_something_else(run, name):
    shutil.copy(run / "0.png", run / name)
    for said in (train(run, "--weights", name), test(run, "--weights", name)):
        assert f"{name}: not " in said


@pytest.mark.parametrize("name", ["run_iter_1.solverstate", "run_iter_1.solverstate.h5"])
def test_a_state_that_is_cut_off_or_something_else(run, name):
    shutil.copy(run / "snapshots" / name, run / name)
    half = cut(run / name)
    assert f"{half}: not a whole .solverstate" in train(run, "--snapshot", half)
    shutil.copy(run / "0.png", run / name)
    assert f"{name}: not a whole .solverstate" in train(run, "--snapshot", name)


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_a_model_given_as_snapshot_and_a_state_given_as_weights(run, suffix):
    model, state = f"snapshots/run_iter_1.caffemodel{suffix}", f"snapshots/run_iter_1.solverstate{suffix}"
    said = train(run, "--snapshot", model)
    assert f"{model}: holds weights" in said and "--weights" in said
    for said in (train(run, "--weights", state), test(run, "--weights", state)):
        assert state in said and "state of a solver" in said and "take the .caffemodel" in said


def test_a_state_whose_model_is_cut_off(run):
    for name in ("run_iter_1.solverstate", "run_iter_1.caffemodel"):
        shutil.copy(run / "snapshots" / name, run / name)
    model = run / "run_iter_1.caffemodel"
    model.write_bytes(model.read_bytes()[:-5])
    assert "run_iter_1.caffemodel: not a whole .caffemodel (it is cut off)" in train(
        run, "--snapshot", "run_iter_1.solverstate"
    )


def test_weights_of_other_shapes(run):
    change(run, "prototxt/net.prototxt", "num_output: 4 kernel_size: 3", "num_output: 6 kernel_size: 3")
    model = "snapshots/run_iter_1.caffemodel"
    for said in (train(run, "--weights", model), test(run, "--weights", model)):
        assert (
            f"{model}: parameter 0 of layer 'conv' has the shape (4, 3, 3, 3) there and (6, 3, 3, 3) in the net" in said
        )
        assert "rename the layer in the prototxt" in said


def test_weights_that_lack_layers(run):
    change(run, "prototxt/net.prototxt", '"score" type', '"score_new" type')
    model = "snapshots/run_iter_1.caffemodel"
    said = test(run, "--weights", model)
    assert f"{model}: lacks the weights of prototxt/net.prototxt's layers score_new: give the weights" in said
    assert f"{model}: lacks the weights of score_new" in train(run, "--snapshot", "snapshots/run_iter_1.solverstate")


def test_weights_of_another_net(run):
    with h5py.File(run / "other.h5", "w") as file:
        file["data/fc8/0"] = np.zeros(3, np.float32)
    for said in (train(run, "--weights", "other.h5"), test(run, "--weights", "other.h5")):
        assert "other.h5: none of its layers (fc8) is in the net" in said


def test_weights_from_training_in_a_net_for_inference(run):
    """Not an error: a file may have been folded by other means. It is said, in one line, before anything is computed."""
    change(run, "prototxt/net.prototxt", 'type: "BN"', 'type: "BN" bn_param { bn_mode: INFERENCE }')
    model = "snapshots/run_iter_1.caffemodel"
    finished = call_apart(TEST, run, *MODEL, "--weights", model)
    assert finished.returncode == 0, finished.stderr
    first = finished.stderr.splitlines()[0]
    assert first.startswith(f"{TEST}: warning: {model}: its batch norms (bn) come from training in bn_mode: LEARN")
    assert "tools/fold_batch_norm.py" in first


# ------------------------------------------------------------------------------------------------------- lists and images


def label(folder, value):
    """Make one label image hold a value that is used nowhere else."""
    Image.fromarray(np.full((12, 14), value, np.uint8)).save(folder / "0_label.png")


def test_a_label_that_is_no_class(run):
    label(run, 3)
    said = train(run)
    assert "prototxt/net.prototxt:" in said and "layer 'loss' (SoftmaxWithLoss)" in said
    assert said.endswith(
        "list.txt:1: label 3 is not one of the 3 classes (0 to 2); check num_output or the label files"
    )


def test_void_without_ignore_label(run):
    change(run, "prototxt/net.prototxt", "loss_param { ignore_label: 255 }", "")
    said = train(run)
    assert "list.txt:1: label 255 is not one of the 3 classes" in said
    assert said.endswith("set ignore_label: 255 in loss_param")


@pytest.mark.parametrize(
    "name, said", [("0.png", "an image that OpenCV"), ("0_label.png", "a label image that Pillow")]
)
@pytest.mark.parametrize("content", [b"", b"GIF89a nonsense", "half"])
def test_an_image_that_is_empty_or_unreadable(run, name, said, content):
    path = run / name
    path.write_bytes(path.read_bytes()[:40] if content == "half" else content)
    for found in (train(run), test(run, "--weights", "snapshots/run_iter_1.caffemodel", "--iterations", 3)):
        assert f"list.txt:1: {path}: not {said} can read" in found
        assert "layer 'data' (ImageSegData)" in found


def test_a_label_of_colours_or_of_another_size(run):
    cv2.imwrite(str(run / "0_label.png"), np.zeros((12, 14, 3), np.uint8))
    assert "holds one class index a pixel (palette or 8-bit grey PNG), but this one holds colours" in train(run)
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(run / "0_label.png")
    assert "0_label.png is 3x4 (height x width) and its image" in train(run)


@pytest.mark.parametrize("lines", ["", "\n\n"])
def test_an_empty_list(run, lines):
    (run / "list.txt").write_text(lines)
    assert "list.txt: the list is empty; lines of the form `image label` are expected" in train(run)


def test_a_line_of_another_form(run):
    (run / "list.txt").write_text("/0.png /0_label.png\n/1.png\n")
    assert "list.txt:2: `image label` is expected, not `/1.png`" in train(run)


def test_a_missing_list_folder_or_image(run):
    (run / "list.txt").write_text("/gone.png /gone_label.png\n")
    assert f"list.txt:1: no such file: {run}/gone.png" in train(run)
    (run / "list.txt").unlink()
    assert only_line(call(TRAIN, run, "--solver", "solver/s.prototxt"), TRAIN).count(f"{run}/list.txt") == 1
    (run / "list.txt").write_text("/0.png /0_label.png\n")
    change(run, "prototxt/net.prototxt", f'root_folder: "{run}"', f'root_folder: "{run}/gone"')
    said = train(run)
    assert f"no such file: {run}/gone" in said and "layer 'data' (ImageSegData)" in said


# --------------------------------------------------------------------------------------------------------- nets and solvers


def test_an_unknown_solver_type(run):
    with open(run / "solver/s.prototxt", "a") as file:
        file.write('type: "SGDD"\n')
    said = only_line(call(TRAIN, run, "--solver", "solver/s.prototxt"), TRAIN)
    assert "solver/s.prototxt: solver type 'SGDD' is unknown; did you mean 'SGD'? (known types: " in said


@pytest.mark.parametrize(
    "layer, said",
    [
        (
            'type: "ReLU" bottom: "gone" top: "x"',
            "layer 'new' (ReLU): no layer before it makes its bottom 'gone'",
        ),
        (
            'type: "Softmax" bottom: "score" top: "conv"',
            "layer 'new' (Softmax): its top 'conv' is made by layer 'relu' already: rename one of them",
        ),
        ('type: "Split" bottom: "score" top: "x" top: "x"', "layer 'new' (Split): names its top 'x' twice"),
        (
            'type: "ReLU" bottom: "score" top: "x" propagate_down: true propagate_down: false',
            "layer 'new' (ReLU): has 1 bottoms and 2 propagate_down: give one for each or none",
        ),
        (
            'type: "Convolution" bottom: "pool" bottom: "conv" top: "x" convolution_param { num_output: 3 kernel_size: 1 }',
            "layer 'new' (Convolution): makes one top of each bottom: it has 2 bottoms and 1 tops",
        ),
        ('bottom: "score" top: "x"', "layer 'new' (): has no type: say which by type: \"Convolution\" or the like"),
        (
            'type: "ChannelNorm" bottom: "score" top: "x"',
            "layer 'new' (ChannelNorm): unknown layer type 'ChannelNorm'; if it is of another Caffe, its layer has to be written anew",
        ),
        (
            'type: "Relu" bottom: "score" top: "x"',
            "layer 'new' (Relu): unknown layer type 'Relu'; did you mean 'ReLU'?",
        ),
        (
            'type: "Convolution" bottom: "score" top: "x" convolution_param { num_output: 3 kernel_size: 11 pad: 1 }',
            "a window of 11x11 with pad 1x1 does not fit a map of 8x8 (the result would be 0x0): maps from 9x9 on would",
        ),
        (
            'type: "Deconvolution" bottom: "pool" top: "x" convolution_param { num_output: 3 kernel_size: 2 pad: 4 stride: 2 }',
            "a window of 2x2 with pad 4x4 does not fit a map of 4x4 (the result would be 0x0): maps from 5x5 on would, or less",
        ),
        (
            'type: "Unpooling" bottom: "pool" bottom: "mask" top: "x" unpooling_param { unpool_size: 7 kernel_size: 2 }',
            "cannot unpool to 7x7 by switches into a map of 8x8: give unpool_h: 8 unpool_w: 8, or no size",
        ),
        (
            'type: "Unpooling" bottom: "score" bottom: "mask" top: "x"',
            "its switches have the shape (3, 4, 4, 4), its values (3, 3, 8, 8): they must be the same",
        ),
        (
            'type: "Unpooling" bottom: "pool" top: "x" unpooling_param { unpool_size: 5 kernel_size: 2 stride: 2 }',
            "4x4 windows of stride (2, 2) do not fit 5x5; unpool_h: 8 unpool_w: 8 would",
        ),
        (
            'type: "Eltwise" bottom: "pool" bottom: "score" top: "x"',
            "its bottoms have the shapes [(3, 4, 4, 4), (3, 3, 8, 8)]: they must be the same",
        ),
        (
            'type: "SoftmaxWithLoss" bottom: "pool" bottom: "label" top: "x"',
            "scores (3, 4, 4, 4) have 48 places, labels (3, 1, 8, 8) are 192: there must be one label a place",
        ),
        (
            'type: "Convolution" bottom: "score" top: "x" convolution_param { num_output: 2000000000 kernel_size: 99 pad: 50 }',
            "more than the memory of this machine",
        ),
        (
            'type: "DummyData" top: "x" dummy_data_param { shape { dim: 900000 dim: 900000 dim: 900000 } }',
            "more than the memory of this machine",
        ),
    ],
)
def test_a_layer_that_cannot_be(run, layer, said):
    append(run, f'layer {{ name: "new" {layer} }}\n')
    line = (run / "prototxt/net.prototxt").read_text().count("\n")
    for found in (train(run), test(run, "--weights", "snapshots/run_iter_1.caffemodel")):
        assert said in found
        assert "prototxt/net.prototxt" in found and "layer 'new' (" in found
        assert f"net.prototxt:{line}: " in found


def test_a_layer_that_cannot_work_in_place(run):
    change(run, "prototxt/net.prototxt", 'bottom: "pool" top: "pool" dropout', 'bottom: "pool" top: "drop" dropout')
    change(run, "prototxt/net.prototxt", 'bottom: "unpool" top: "score"', 'bottom: "unpool" top: "unpool"')
    change(run, "prototxt/net.prototxt", 'bottom: "score"', 'bottom: "unpool"')
    assert "layer 'score' (Deconvolution): cannot work in place: give the top a name of its own" in train(run)


def test_a_loss_that_is_not_finite_names_the_first_layer_that_made_it(run):
    append(
        run,
        'layer { name: "far" type: "DummyData" top: "far" dummy_data_param { shape { dim: 3 dim: 3 dim: 8 dim: 8 } '
        "data_filler { value: inf } } include { phase: TRAIN } }\n"
        'layer { name: "sum" type: "Eltwise" bottom: "score" bottom: "far" top: "sum" include { phase: TRAIN } }\n'
        'layer { name: "loss2" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss2" '
        "loss_param { ignore_label: 255 } include { phase: TRAIN } }\n",
    )
    change(run, "solver/s.prototxt", "snapshot_prefix", "snapshot: 1\nsnapshot_prefix")
    said = train(run)
    assert "iteration 0: the loss is nan, first in layer 'far': the rate may be too high" in said
