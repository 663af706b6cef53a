"""Folding batch norm: the statistics, the folded net, and tools/fold_batch_norm.py as users call it."""

import importlib
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_training import DUMMY_NET, write_seg_solver
from tool_call import call, error_of, only_line

from deconvnet.core.net import Net, NetError
from deconvnet.core.net.fold import accuracy_of, average_statistics, fold_batch_norm, mean_accuracy, rewind
from deconvnet.core.proto import caffe_pb2, parse
from deconvnet.core.solver import SGDSolver

TOOL = "fold_batch_norm"
BN_NET = DUMMY_NET.replace(
    'layer { name: "relu"',
    """layer { name: "bn" type: "BN" bottom: "conv" top: "conv"
      bn_param { scale_filler { type: "gaussian" mean: 1 std: 0.5 } shift_filler { type: "gaussian" std: 0.5 } } }
    layer { name: "relu" """,
)
VALUES = 4 * 3 * 3  # of a channel of conv in a batch


def net_of(text, phase=caffe_pb2.TRAIN):
    return Net(parse(text, caffe_pb2.NetParameter()), phase, seed=3)


def batches_of_conv(batches):
    """The outputs of conv, before batch norm, of so many batches."""
    net = net_of(BN_NET)
    found = []
    for _ in range(batches):
        net.forward(end="conv")
        found.append(net.blobs["conv"].data.astype(np.float64).copy())
    return found


@pytest.mark.parametrize("unbiased, factor", [(True, VALUES / (VALUES - 1)), (False, 1)])
def test_statistics_are_the_means_of_each_batchs_mean_and_variance(unbiased, factor):
    found, _ = average_statistics(net_of(BN_NET), 3, unbiased)
    batches = batches_of_conv(3)
    np.testing.assert_allclose(found["bn"].mean, np.mean([x.mean((0, 2, 3)) for x in batches], 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        found["bn"].variance, factor * np.mean([x.var((0, 2, 3)) for x in batches], 0), rtol=1e-4
    )


def test_the_folded_layer_normalises_by_the_averaged_statistics():
    net = net_of(BN_NET)
    scale, shift = (blob.data.astype(np.float64).copy() for blob in net.params["bn"])
    statistics, _ = average_statistics(net, 3)
    fold_batch_norm(net, statistics)
    rewind(net)
    net.forward(end="bn")
    x = batches_of_conv(1)[0]
    mean, variance = (values.reshape(1, -1, 1, 1) for values in statistics["bn"])
    np.testing.assert_allclose(net.blobs["conv"].data, scale * (x - mean) / np.sqrt(variance + 1e-9) + shift, atol=1e-4)


def test_the_folded_net_says_that_it_is_in_inference_form(tmp_path):
    net = net_of(BN_NET)
    fold_batch_norm(net, average_statistics(net, 1)[0])
    net.save(tmp_path / "w.caffemodel")
    stored = caffe_pb2.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    assert [layer.bn_param.bn_mode for layer in stored.layer if layer.type == "BN"] == [caffe_pb2.BNParameter.INFERENCE]


def test_folding_by_the_statistics_of_the_only_batch_changes_nothing():
    net = net_of(BN_NET)
    statistics, before = average_statistics(net, 1, unbiased=False)
    scores = net.blobs["ip"].data.copy()
    fold_batch_norm(net, statistics)
    rewind(net)
    assert mean_accuracy(net, 1) == before
    np.testing.assert_allclose(net.blobs["ip"].data, scores, atol=1e-4)


def test_without_an_accuracy_layer_the_softmax_loss_tells_scores_and_labels():
    net = net_of(BN_NET)
    net.forward()
    scores = net.blobs["ip"].data
    assert accuracy_of(net) == np.mean(scores.argmax(1) == 1)


def test_a_net_without_batch_norm_has_nothing_to_fold():
    with pytest.raises(NetError, match="no BN layer in bn_mode: LEARN"):
        average_statistics(net_of(DUMMY_NET), 1)


def test_one_value_a_channel_has_no_unbiased_variance():
    net = net_of(
        BN_NET.replace("dim: 4 dim: 2 dim: 5 dim: 5", "dim: 1 dim: 2 dim: 3 dim: 3").replace(
            "shape { dim: 4 }", "shape { dim: 1 }"
        )
    )
    with pytest.raises(NetError, match="BN layer 'bn' has one value a channel"):
        average_statistics(net, 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a small trained DeconvNet: prototxt/net.prototxt and w.caffemodel."""
    folder = tmp_path_factory.mktemp("trained")
    solver = SGDSolver(write_seg_solver(folder, "random_seed: 1"))
    solver.step(60)
    solver.net.save(folder / "w.caffemodel")
    solver.close()
    return folder


CALL = ["--model", "prototxt/net.prototxt", "--weights", "w.caffemodel", "--output", "out.caffemodel"]


def test_the_tool_folds_and_says_how_far_the_accuracies_differ(trained):
    finished = call(TOOL, trained, *CALL, "--batches", 8)
    assert finished.returncode == 0, finished.stderr
    said = re.search(r"accuracy on 8 training batches: (\S+) by batch statistics, (\S+) folded", finished.stdout)
    assert abs(float(said[1]) - float(said[2])) <= 0.05
    assert float(said[1]) > 0.5
    deploy = (
        (trained / "prototxt/net.prototxt")
        .read_text()
        .replace('type: "BN"', 'type: "BN" bn_param { bn_mode: INFERENCE }')
    )
    (trained / "deploy.prototxt").write_text(deploy)
    net = Net(trained / "deploy.prototxt", caffe_pb2.TEST, trained / "out.caffemodel", seed=0)
    assert mean_accuracy(net, 8) == pytest.approx(float(said[2]), abs=0.1)
    net.close()


def test_the_rule_of_the_release_leaves_the_variance_biased(trained):
    scales = []
    for rule in ("unbiased", "release"):
        assert call(TOOL, trained, *CALL, "--batches", 2, "--batch-norm-rule", rule, "--tolerance", 1).returncode == 0
        with pytest.warns(UserWarning, match="its batch norms .bn. are folded for bn_mode: INFERENCE"):
            net = Net(trained / "prototxt/net.prototxt", caffe_pb2.TRAIN, trained / "out.caffemodel")
        scales.append(net.params["bn"][0].data.copy())
        net.close()
    m = 3 * 8 * 8
    np.testing.assert_allclose(scales[0], scales[1] * np.sqrt((m - 1) / m), rtol=1e-5)


def test_accuracies_that_disagree_fail_and_nothing_is_written(trained, tmp_path):
    output = tmp_path / "out.caffemodel"
    finished = call(TOOL, trained, *CALL[:4], "--output", output, "--batches", 2, "--tolerance", -1)
    assert "accuracy on 2 training batches" in finished.stdout
    assert "the folded net disagrees with the trained one" in error_of(finished, TOOL)
    assert not output.exists()


SEGMENT_OPTIONS = "tools/segment.py must be given what the net was trained with: "


def fold_with(trained, transform):
    """What the tool says of the small net where its layers of data have another transform_param."""
    text = (trained / "prototxt/net.prototxt").read_text()
    before = "mean_value: 128 scale: 0.02"
    assert before in text
    (trained / "prototxt/other.prototxt").write_text(text.replace(before, transform))
    finished = call(
        TOOL, trained, *CALL, "--model", "prototxt/other.prototxt", "--batches", 1, "--tolerance", 1,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()[-1]


def test_the_tool_says_which_mean_and_scale_segmenting_needs(trained):
    assert fold_with(trained, "mean_value: 128 scale: 0.02") == f"{SEGMENT_OPTIONS}--mean 128 --scale 0.02"
    three = "mean_value: 1 mean_value: 2.5 mean_value: 3"
    assert fold_with(trained, three) == f"{SEGMENT_OPTIONS}--mean 1 2.5 3"
    assert fold_with(trained, "") == f"{SEGMENT_OPTIONS}--mean 0"


@pytest.mark.parametrize("kind", ["Data", "DenseImageData", "ImageData", "ImageSegData", "WindowSegData"])
def test_it_knows_every_layer_that_reads_images(kind):
    param = parse("transform_param { mean_value: 9 scale: 0.5 }", caffe_pb2.LayerParameter())
    net = SimpleNamespace(layer_dict={"data": SimpleNamespace(type=kind, param=param)})
    assert importlib.import_module(TOOL).options_for_segment(net) == "--mean 9 --scale 0.5"


def test_the_tool_says_nothing_of_mean_and_scale_where_segmentings_defaults_are_right(trained):
    release = "mean_value: 104.008 mean_value: 116.669 mean_value: 122.675"
    assert "BN layers folded into" in fold_with(trained, release)


def test_the_trained_weights_are_not_replaced(trained):
    before = (trained / "w.caffemodel").read_bytes()
    said = only_line(call(TOOL, trained, *CALL, "--output", "./w.caffemodel"), TOOL)
    assert "--output ./w.caffemodel is the file of --weights" in said and said.endswith("give another name")
    assert (trained / "w.caffemodel").read_bytes() == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize("suffix", ["caffemodel", "h5", "npz", "safetensors"])
def test_a_full_disk_is_told_with_the_name_of_the_file(trained, suffix):
    (trained / f"full.{suffix}").symlink_to("/dev/full")
    said = error_of(call(TOOL, trained, *CALL, "--output", f"full.{suffix}", "--batches", 1, "--tolerance", 1), TOOL)
    assert f"full.{suffix}: cannot be written (" in said


@pytest.mark.parametrize(
    "changed, said",
    [
        (["--weights", "gone.caffemodel"], "no such file: gone.caffemodel"),
        (["--output", "prototxt"], "--output prototxt is a folder: name the file to write"),
        (["--output", "new/"], "--output new/ is a folder: name the file to write"),
        (
            ["--output", "w.caffemodel/out.caffemodel"],
            "the folder of --output w.caffemodel/out.caffemodel cannot be made",
        ),
    ],
)
def test_bad_input_ends_in_one_line(trained, changed, said):
    assert said in only_line(call(TOOL, trained, *CALL, *changed), TOOL)


def test_no_batch_at_all_is_refused(trained):
    assert "--batches: '0' is no whole number from 1 on" in call(TOOL, trained, *CALL, "--batches", "0").stderr
