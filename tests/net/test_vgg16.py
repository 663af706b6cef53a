import numpy as np
import pytest

from deconvnet.core.net.vgg16 import caffe_name, take_caffe_input

# of torchvision's documentation, R G B
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE_MEAN = np.array([104.00698793, 116.66876762, 122.67891434])  # B G R


def valid_convolution(x, weight, bias):
    """(K, H - 2, W - 2) of (3, H, W), without padding."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    return np.einsum("chwij,kcij->khw", windows, weight) + bias[:, None, None]


def test_the_first_layer_gives_the_same_outputs_for_an_image_as_caffe_takes_it():
    rng = np.random.default_rng(5)
    rgb = rng.integers(0, 256, (3, 9, 7)).astype(np.float64)
    weight, bias = rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    expected = valid_convolution((rgb / 255 - MEAN[:, None, None]) / STD[:, None, None], weight, bias)
    take_caffe_input(weight, bias)
    np.testing.assert_allclose(valid_convolution(rgb[::-1] - CAFFE_MEAN[:, None, None], weight, bias), expected)


@pytest.mark.parametrize(
    "torchvisions, caffes",
    [
        ("features.0.weight", "conv1_1/0"),
        ("features.2.bias", "conv1_2/1"),
        ("features.5.weight", "conv2_1/0"),
        ("features.14.bias", "conv3_3/1"),
        ("features.17.weight", "conv4_1/0"),
        ("features.28.bias", "conv5_3/1"),
        ("classifier.0.weight", "fc6/0"),
        ("classifier.3.bias", "fc7/1"),
        ("pre_logits.fc1.weight", "fc6/0"),
        ("pre_logits.fc2.bias", "fc7/1"),
        ("classifier.6.weight", None),
        ("head.fc.bias", None),
    ],
)
def test_torchvisions_and_timms_names_have_caffes_layers(torchvisions, caffes):
    assert caffe_name(torchvisions) == caffes


@pytest.mark.parametrize(
    "name, said",
    [
        ("features.1.running_mean", "it has batch norm"),
        ("features.16.weight", "'features.16.weight' is no parameter of it"),  # VGG-19's
        ("layer1.0.conv1.weight", "'layer1.0.conv1.weight' is no parameter of it"),
        ("features.0.weight.1", "is no parameter of it"),
    ],
)
def test_names_of_other_nets_are_refused(name, said):
    with pytest.raises(ValueError, match=f"not torchvision's VGG-16: .*{said}"):
        caffe_name(name)
