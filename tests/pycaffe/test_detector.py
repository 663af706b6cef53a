"""caffe.Detector: the classes of windows, with their surroundings or without."""

import cv2
import numpy as np
import pytest

import deconvnet as caffe

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 12 dim: 12 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""
IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
WINDOWS = np.array([[0, 0, 30, 40], [3, 4, 21, 16], [10, 10, 22, 22], [8, 30, 9, 31], [5, 5, 6, 25]])
MEAN = np.array([100.0, 110.0, 120.0])


@pytest.fixture
def files(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST).save(tmp_path / "w.caffemodel")
    return str(tmp_path / "net.prototxt"), str(tmp_path / "w.caffemodel")


@pytest.fixture
def detector(files):
    return lambda **given: caffe.Detector(*files, mean=MEAN, raw_scale=255, channel_swap=(2, 1, 0), **given)


@pytest.fixture
def picture(tmp_path):
    path = str(tmp_path / "picture.png")
    cv2.imwrite(path, IMAGE[:, :, ::-1])
    return path


def scores(net, crops):
    """Of crops (H, W, 3) RGB from 0 to 1, by the net's own weights."""
    weights, bias = (blob.data for blob in net.params["ip"])
    data = [caffe.io.resize_image(crop, (12, 12))[:, :, ::-1].transpose(2, 0, 1) * 255 for crop in crops]
    data = np.array(data) - MEAN[:, None, None]
    return data.reshape(len(data), -1) @ weights.T + bias


def test_each_window_is_brought_to_the_inputs_size(detector, picture):
    net = detector()
    found = net.detect_windows([(picture, WINDOWS), (picture, WINDOWS[:1])])
    parts = [IMAGE[top:bottom, left:right] / np.float32(255) for top, left, bottom, right in WINDOWS]
    np.testing.assert_allclose(
        [each["prediction"] for each in found], scores(net, [*parts, parts[0]]), rtol=1e-3, atol=1e-2
    )
    assert [tuple(each["window"]) for each in found] == [*map(tuple, WINDOWS), tuple(WINDOWS[0])]
    assert {each["filename"] for each in found} == {picture}


def test_an_image_without_windows_has_no_detections(detector, picture):
    assert detector().detect_windows([(picture, [])]) == []


def test_context_lies_around_the_window(detector):
    """A window of 8 x 8, whose 2 of 12 pixels of context are 2 pixels of the image."""
    image = IMAGE / np.float32(255)
    crop = detector(context_pad=2).crop(image, np.array([10, 10, 17, 17]))
    # from 14 - 6 to 14 + 6, of whose 13 rows and columns, as pycaffe counts them, the last is left out
    np.testing.assert_allclose(crop, caffe.io.resize_image(image[8:20, 8:20], (12, 12)), rtol=1e-6)


def test_beyond_the_image_context_is_what_becomes_0(detector):
    net = detector(context_pad=2)
    crop = net.crop(IMAGE / np.float32(255), np.array([0, 20, 7, 27]))
    data = net.transformer.preprocess("data", crop)
    assert abs(data[:, :2]).max() < 1e-3
    assert abs(data[:, 2:]).min(axis=(0, 2)).max() > 0 and abs(data[:, 2]).max() > 1


def test_a_window_outside_its_image_is_named(detector):
    for context in (None, 2):
        with pytest.raises(ValueError, match=r"the window 50, 3, 60, 9 \(ymin.*holds nothing of an image of 30x40"):
            detector(context_pad=context).crop(IMAGE / np.float32(255), np.array([50, 3, 60, 9]))


@pytest.mark.parametrize("pad", [6, 7, -1])
def test_context_that_leaves_no_room_is_refused(detector, pad):
    with pytest.raises(ValueError, match=f"context_pad {pad} needs a square input wider than twice that, not 12x12"):
        detector(context_pad=pad)


def test_selective_search_finds_the_windows_by_itself(detector, tmp_path):
    """A disc on plain ground: one of the windows fits it."""
    image = np.full((120, 160, 3), 230, np.uint8)
    cv2.circle(image, (60, 50), 25, (30, 60, 200), -1)
    path = str(tmp_path / "disc.png")
    cv2.imwrite(path, image)
    found = detector(context_pad=2).detect_selective_search([path])
    windows = np.array([each["window"] for each in found])
    assert (windows[:, 2:] > windows[:, :2]).all() and (windows[:, 2:] <= image.shape[:2]).all()
    assert abs(windows - [25, 35, 76, 86]).max(axis=1).min() <= 3
    assert len(np.unique(windows, axis=0)) == len(windows)
    again = [each["window"] for each in detector().detect_selective_search([path])]
    np.testing.assert_array_equal(windows, again)


def test_a_net_without_an_input_is_refused(files, tmp_path):
    data = 'layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: 4 dim: 432 } } }'
    (tmp_path / "train.prototxt").write_text(data + "".join(NET.splitlines(keepends=True)[2:]))
    with pytest.raises(ValueError, match="train.prototxt: a Detector is given images, and this net has no input"):
        caffe.Detector(str(tmp_path / "train.prototxt"), files[1])
