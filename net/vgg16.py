"""VGG-16's weights as torchvision keeps them (timm's copies too), for nets that take an image as Caffe's VGG-16 does.

torchvision's net takes RGB, from 0 to 1, standardised; Caffe's takes BGR, from 0 to 255, less the mean colour. The rest is
the same arithmetic, fc6's inputs lie in the same order, and a fully connected layer is a convolution by its numbers.
"""

import re

import numpy as np

# of each channel, R G B: what torchvision's net was trained with, and Caffe's mean colour
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_CAFFE_MEAN = np.array([122.67891434, 116.66876762, 104.00698793])
_PARAMETERS = {"weight": 0, "bias": 1}
_CLASSIFIER = {"classifier.0": "fc6", "classifier.3": "fc7", "pre_logits.fc1": "fc6", "pre_logits.fc2": "fc7"}
# the 1000 classes of ImageNet
_LEFT_OUT = ("classifier.6", "head.fc")


def _convolutions() -> dict[str, str]:
    """torchvision counts convolutions, ReLUs and pools in one row: features.0 is conv1_1, features.2 conv1_2, features.5 conv2_1."""
    names, number = {}, 0
    for level, count in enumerate((2, 2, 3, 3, 3), 1):
        for place in range(1, count + 1):
            names[f"features.{number}"] = f"conv{level}_{place}"
            number += 2
        number += 1
    return names


_LAYERS = {**_convolutions(), **_CLASSIFIER}


def caffe_name(name: str) -> str | None:
    """LAYER/NUMBER for a parameter's name in torchvision's or timm's VGG-16, None for the classes of ImageNet.

    Raises ValueError for the name of no parameter of a VGG-16.
    """
    layer, _, kind = name.rpartition(".")
    if layer in _LEFT_OUT:
        return None
    if layer not in _LAYERS or kind not in _PARAMETERS:
        said = "it has batch norm" if re.search("running_|num_batches", name) else f"'{name}' is no parameter of it"
        raise ValueError(f"this is not torchvision's VGG-16: {said}")
    return f"{_LAYERS[layer]}/{_PARAMETERS[kind]}"


def take_caffe_input(weight: np.ndarray, bias: np.ndarray) -> None:
    """Change conv1_1, weight (K, 3, h, w) and bias (K,), in place from torchvision's input to Caffe's.

    The outputs stay the same but at the border, where zeros stand for the one or the other mean colour; those differ by at
    most one of 255 grey levels.
    """
    weight[...] = weight[:, ::-1] / (255 * _STD[::-1]).reshape(3, 1, 1)
    between = (_CAFFE_MEAN - 255 * _MEAN)[::-1]
    bias += (weight * between.reshape(3, 1, 1)).sum(axis=(1, 2, 3))
