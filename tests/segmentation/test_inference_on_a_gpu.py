"""An image's windows and score maps where a GPU computes: the same scores, and nothing but the image, boxes and result on the bus."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import stand_in_cupy
from arrays import host

from deconvnet.core import kernels
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2
from deconvnet.core.segmentation.ensemble import ensemble
from deconvnet.core.segmentation.fcn import fcn_scores
from deconvnet.core.segmentation.inference import merge_scores, score_maps, segment
from deconvnet.core.segmentation.segmenter import Segmenter

MODEL = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 10 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "score" type: "Convolution" bottom: "conv" top: "seg-score"
  convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "gaussian" std: 0.1 } } }
"""
IMAGE = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
BOXES = [
    (-3, -2, 20, 15),
    (0, 0, 40, 29),
    (10, 5, 17, 12),
    (30, 20, 50, 44),
    (7, 7, 7, 7),
    (60, 0, 70, 9),
    (1, 2, 9, 28),
]
SEEN = {"mean": (100, 110, 120), "scale": 1 / 64}


class HostBlob:
    """A blob as pycaffe has it, in host memory: no `device_data`."""

    def __init__(self, blob):
        self._blob, self.reshape = blob, blob.reshape

    shape = property(lambda self: self._blob.shape)


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(MODEL)
    return Net(path, caffe_pb2.TEST, seed=1, share=True)


def foreign(net):
    """The same net by pycaffe's interface alone."""
    blobs = {"data": HostBlob(net.blobs["data"])}
    return SimpleNamespace(blobs=blobs, reshape=net.reshape, forward=net.forward)


@pytest.mark.parametrize("aggregate", ["sum", "max"])
@pytest.mark.parametrize("batch", [3, 50])
def test_a_gpu_scores_an_image_as_any_net_of_pycaffe_does(gpu, net, aggregate, batch):
    options = {"aggregate": aggregate, "batch": batch, **SEEN}
    expected = segment(foreign(net), IMAGE, BOXES, **options)
    kernels.set_mode("gpu")
    found = segment(net, IMAGE, BOXES, **options)
    assert isinstance(found, np.ndarray) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode, batches", [("cpu", [10, 10, 10, 5]), ("gpu", [35])])
def test_without_a_batch_given_few_windows_go_at_once_on_a_cpu(monkeypatch, net, mode, batches):
    stand_in_cupy.install(monkeypatch)
    kernels.set_mode(mode)
    forward, seen = net.forward_loss, []
    monkeypatch.setattr(net, "forward_loss", lambda: (seen.append(net.blobs["data"].shape[0]), forward()))
    segment(net, IMAGE, BOXES * 5, **SEEN)
    assert seen == batches
    kernels.set_mode("cpu")


def test_score_maps_stay_on_the_gpu_and_are_merged_there(gpu, net):
    expected = score_maps(foreign(net), IMAGE, BOXES, batch=4, **SEEN)
    kernels.set_mode("gpu")
    maps = score_maps(net, IMAGE, BOXES, batch=4, **SEEN)
    assert not isinstance(maps, np.ndarray)
    np.testing.assert_allclose(host(maps), expected, rtol=1e-4, atol=1e-4)
    found = merge_scores(BOXES[:5], maps[:5], IMAGE.shape[:2])
    np.testing.assert_allclose(found, merge_scores(BOXES[:5], expected[:5], IMAGE.shape[:2]), rtol=1e-4, atol=1e-4)


def test_an_image_without_boxes_runs_no_net_and_is_all_zero(gpu, net):
    kernels.set_mode("gpu")
    net.forward_loss = None
    scores = segment(net, IMAGE, [])
    assert scores.shape == (5, 30, 41) and not scores.any()
    assert score_maps(net, IMAGE, []).shape == (0, 5, 12, 10)


def test_only_the_image_the_boxes_and_the_scores_cross_the_bus(monkeypatch, net):
    record = stand_in_cupy.install(monkeypatch)
    kernels.set_mode("gpu")
    segment(net, IMAGE, BOXES, batch=3, **SEEN)  # the weights go there once
    record.to_host.clear(), record.to_device.clear(), record.launches.clear()
    scores = segment(net, IMAGE, BOXES, batch=3, **SEEN)
    tables = 2 * [len(BOXES) * 2 * 8 * 4]
    assert sorted(record.to_device) == sorted([3 * 4, IMAGE.nbytes, *tables])
    assert record.to_host == [scores.nbytes]
    names = [launch.name for launch in record.launches]
    assert names[:2] == ["axis_taps"] * 2 and names.count("resize_windows") == names.count("merge_maps") == 3


FCN = MODEL.replace("seg-score", "score")


def segmenter_of(net, fcn, how, **options):
    return Segmenter(
        partial(segment, net, **SEEN, **options),
        lambda *_: BOXES,
        min_side=1,
        fcn=fcn and partial(fcn_scores, fcn, **SEEN, **options),
        how=how,
        max_side=35,
    )


@pytest.mark.parametrize("how", [None, "paper", "release"])
def test_a_segmenter_brings_the_classes_alone_from_the_gpu(monkeypatch, net, tmp_path, how):
    path = tmp_path / "fcn.prototxt"
    path.write_text(FCN)
    fcn = how and Net(path, caffe_pb2.TEST, seed=2, share=True)
    on_host = segmenter_of(net, fcn, how)
    expected, label = on_host.probabilities("a", IMAGE), on_host("a", IMAGE)
    record = stand_in_cupy.install(monkeypatch)
    kernels.set_mode("gpu")
    on_gpu = segmenter_of(net, fcn, how, on_device=True)
    np.testing.assert_allclose(on_gpu.probabilities("a", IMAGE), expected, rtol=1e-4, atol=1e-5)
    record.to_host.clear()
    np.testing.assert_array_equal(on_gpu("a", IMAGE), label)
    fetched = [5 * 26 * 35 * 4] if fcn else []  # the output that Net.forward returns
    assert record.to_host == fetched + [label.nbytes]


def test_scores_of_two_devices_are_joined_on_the_host(monkeypatch):
    scores = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    record = stand_in_cupy.install(monkeypatch)
    found = ensemble(record.allocate(scores[0].copy()), scores[1])
    np.testing.assert_allclose(found, ensemble(*scores), rtol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"output": "conv"}, "no output 'conv'; its outputs: seg-score"),
        ({"input": "seg-score"}, "takes 5 channels"),
        ({"aggregate": "mean"}, "aggregate is 'sum' or 'max'"),
        ({"mean": (1, 2)}, "mean is one number or 3, not 2"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(device, net, change, message):
    with pytest.raises(ValueError, match=message):
        segment(net, IMAGE, BOXES, **change)
