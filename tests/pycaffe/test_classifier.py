"""caffe.Classifier, and the list of layer types."""

import numpy as np
import pytest

import deconvnet as caffe

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 6 dim: 6 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
IMAGES = list(np.random.default_rng(0).random((3, 9, 12, 3)).astype(np.float32))


@pytest.fixture
def files(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST).save(tmp_path / "w.caffemodel")
    return str(tmp_path / "net.prototxt"), str(tmp_path / "w.caffemodel")


def probabilities(classifier, crops):
    """Of crops (N, 6, 6, 3), by the net's own weights."""
    weights, bias = (blob.data for blob in classifier.params["ip"])
    data = np.array(crops)[:, :, :, ::-1].transpose(0, 3, 1, 2) * 255 - 100
    scores = np.exp(data.reshape(len(data), -1) @ weights.T + bias)
    return scores / scores.sum(axis=1, keepdims=True)


@pytest.fixture
def classifier(files):
    made = caffe.Classifier(*files, image_dims=(8, 8), mean=np.full(3, 100), raw_scale=255, channel_swap=(2, 1, 0))
    made.params["ip"][0].data[...] *= 0.01
    return made


def test_a_prediction_is_the_mean_over_ten_crops(classifier):
    resized = [caffe.io.resize_image(image, (8, 8)) for image in IMAGES]
    expected = probabilities(classifier, caffe.io.oversample(resized, (6, 6))).reshape(3, 10, 5).mean(axis=1)
    np.testing.assert_allclose(classifier.predict(IMAGES), expected, rtol=1e-4)


def test_without_oversampling_it_is_that_of_the_centre(classifier):
    crops = [caffe.io.resize_image(image, (8, 8))[1:7, 1:7] for image in IMAGES]
    np.testing.assert_allclose(
        classifier.predict(IMAGES, oversample=False), probabilities(classifier, crops), rtol=1e-4
    )


def test_images_take_the_inputs_size_by_default(files):
    classifier = caffe.Classifier(*files)
    assert classifier.image_dims == (6, 6)
    assert classifier.predict(IMAGES, oversample=False).shape == (3, 5)


@pytest.mark.parametrize("dims", [(5, 8), (8, 5)])
def test_images_smaller_than_the_input_are_refused(files, dims):
    with pytest.raises(ValueError, match=r"image_dims \(\d, \d\) are smaller than the net's input, \(6, 6\)"):
        caffe.Classifier(*files, image_dims=dims)


def test_a_net_without_an_input_is_refused(files, tmp_path):
    data = 'layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: 4 dim: 108 } } }'
    (tmp_path / "train.prototxt").write_text(data + "".join(NET.splitlines(keepends=True)[2:]))
    with pytest.raises(ValueError, match="train.prototxt: a Classifier is given images, and this net has no input"):
        caffe.Classifier(str(tmp_path / "train.prototxt"), files[1])


def test_the_types_of_layers_are_listed():
    assert {"Convolution", "Unpooling"} <= set(caffe.layer_type_list())


def test_no_image_is_said_so(classifier):
    with pytest.raises(ValueError, match="predict is given no image"):
        classifier.predict([])


def test_a_net_with_python_layers_is_allowed_as_any_net(files, monkeypatch, tmp_path):
    (tmp_path / "mine_for_classifier.py").write_text(
        "import deconvnet as caffe\nclass Twice(caffe.Layer):\n"
        "    def setup(self, bottom, top): pass\n    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)\n"
        "    def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data\n    def backward(self, *_): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    python = 'layer { name: "two" type: "Python" bottom: "prob" top: "two" python_param { module: "mine_for_classifier" layer: "Twice" } }'
    (tmp_path / "net.prototxt").write_text(NET + python)
    with pytest.raises(caffe.NetError, match="allow_python_layers=True"):
        caffe.Classifier(*files)
    classifier = caffe.Classifier(*files, allow_python_layers=True)
    np.testing.assert_allclose(classifier.predict(IMAGES).sum(axis=1), 2, rtol=1e-5)
    assert caffe.Detector(*files, allow_python_layers=True).outputs == ["two"]
