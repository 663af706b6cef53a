from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deconvnet
from deconvnet.core.segmentation import figures
from deconvnet.core.segmentation.segmenter import Segmenter
from deconvnet.core.segmentation.trace import trace
from deconvnet.core.segmentation.voc import VOID, palette

pytest.importorskip("matplotlib")
ROOT = Path(__file__).resolve().parents[2]
NAMES = ("background", "first", "second")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def net():
    return deconvnet.Net(str(ROOT / "prototxt/demo/deploy.prototxt"), deconvnet.TEST)


def colors_of(path):
    """The colours of a picture, a set of RGB triples."""
    return {tuple(color) for color in np.unique(np.array(Image.open(path).convert("RGB")).reshape(-1, 3), axis=0)}


def quadrants(size, k):
    label = np.zeros(size, np.uint8)
    label[: size[0] // 2] = k
    return label


def test_the_decoders_stages_are_every_unpooling_but_the_first_and_the_end_of_each_stage(net):
    assert figures.decoder_stages(net) == [
        ("deconv3_2", "deconvolution"), ("unpool2", "unpooling"), ("deconv2_1", "deconvolution"),
        ("unpool1", "unpooling"), ("deconv1_1", "deconvolution"),
    ]  # fmt: skip


def test_a_net_without_unpooling_has_no_stages():
    net = deconvnet.Net(str(ROOT / "prototxt/fcn/fcn32s.prototxt"), deconvnet.TEST, fill=False)
    assert figures.decoder_stages(net) == []


def test_the_papers_net_has_nine_maps_from_14x14_to_224x224():
    net = deconvnet.Net(str(ROOT / "prototxt/deconvnet_deploy.prototxt"), deconvnet.TEST, fill=False)
    sizes = [net.blobs[blob].shape[3] for blob, _ in figures.decoder_stages(net)]
    assert sizes == [14, 28, 28, 56, 56, 112, 112, 224, 224]


def test_the_strongest_activation_is_the_channel_with_the_largest_sum(net, image):
    def score(image, boxes):
        net.blobs["data"].reshape(1, 3, 32, 32)
        net.reshape()
        net.forward(data=np.ones((1, 3, 32, 32), np.float32))
        net.blobs["unpool2"].data[...] = 0
        net.blobs["unpool2"].data[0, 5, 2, 3] = 7

    shown = dict(figures.strongest_activations(net, score, image, (0, 0, 9, 9)))
    peak = shown["16x16 unpooling\nunpool2, channel 5"]
    assert peak[2, 3] == 7 and peak.sum() == 7


def test_the_result_grows_by_proposals_of_decreasing_size(image):
    def score(image, boxes):
        sides = [x2 - x1 for x1, _, x2, _ in boxes]
        assert sides == sorted(sides, reverse=True)
        return np.stack([np.zeros(image.shape[:2]), np.full(image.shape[:2], len(boxes))])

    boxes = [(0, 0, 9, 9), (0, 0, 29, 29), (0, 0, 19, 19), (0, 0, 4, 4)]
    grown = figures.growing_result(score, image, boxes, steps=(1, 3, 50))
    assert [n for n, _ in grown] == [1, 3, 4]


def test_labels_are_drawn_in_vocs_colours_with_a_legend_of_what_is_there(tmp_path, image):
    label = quadrants((60, 80), 2)
    label[0] = VOID
    figures.draw_labels(tmp_path / "labels.png", image, [("ground truth", label)], NAMES)
    seen = colors_of(tmp_path / "labels.png")
    assert {tuple(palette()[k]) for k in (0, 2, VOID)} <= seen and tuple(palette()[1]) not in seen


def test_class_maps_show_the_background_and_the_classes_with_most_in_them(tmp_path, image, monkeypatch):
    captions = []
    monkeypatch.setattr(figures, "_show", lambda axis, picture, caption, **_: captions.append(caption))
    maps = np.zeros((3, 60, 80), np.float32)
    maps[2] = 1
    figures.draw_class_maps(tmp_path / "maps.png", image, {"FCN": maps, "DeconvNet": maps}, NAMES, most=1)
    expected = ["FCN", "FCN: background", "FCN: second", "DeconvNet", "DeconvNet: background", "DeconvNet: second"]
    assert captions == expected


@pytest.mark.parametrize("with_all", [True, False])
def test_a_trace_draws_all_four_figures(tmp_path, image, net, with_all):
    def score(image, boxes):
        net.forward()
        return np.stack([np.full(image.shape[:2], k, np.float32) for k in range(3)])

    def fcn(image):
        return np.stack([np.full(image.shape[:2], -k, np.float32) for k in range(3)])

    parts = {"fcn": fcn, "crf": lambda image, found: found} if with_all else {}
    segmenter = Segmenter(score, lambda *_: [(0, 0, 49, 49), (5, 5, 44, 44)], min_side=20, **parts)
    paths = trace(tmp_path, "a", image, segmenter, net, NAMES, truth=quadrants((60, 80), 1))
    assert [path.name for path in paths] == [f"a_figure{number}.png" for number in (4, 5, 6, 7)]
    assert all(len(colors_of(path)) > 2 for path in paths)


def test_without_a_proposal_there_is_no_figure_4_or_6(tmp_path, image, net):
    def score(image, boxes):
        return np.zeros((3, *image.shape[:2]), np.float32)

    paths = trace(tmp_path, "a", image, Segmenter(score, lambda *_: []), net, NAMES)
    assert [path.name for path in paths] == ["a_figure5.png", "a_figure7.png"]
