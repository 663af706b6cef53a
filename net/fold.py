"""From a trained net to an inference net: batch norm's averaged statistics, folded into its scale and shift (release).

scale' = scale / sqrt(variance + 1e-9),  shift' = shift - scale * mean / sqrt(variance + 1e-9)
"""

from typing import NamedTuple

import numpy as np

from .. import kernels
from ..layers import BN
from ..layers.batch_norm import EPSILON
from ..proto import caffe_pb2
from .errors import NetError


class Statistics(NamedTuple):
    """What a BN layer saw in training: mean and variance of each channel, (C,) float64."""

    mean: np.ndarray
    variance: np.ndarray


def average_statistics(net, batches: int, unbiased: bool = True, progress=iter) -> tuple[dict[str, Statistics], float]:
    """({BN layer: the mean over so many batches of its batch's mean and variance}, mean accuracy of those batches).

    net: in the TRAIN phase, its BN layers in bn_mode LEARN; it is run from where it stands
    unbiased: multiply a batch's variance by m / (m - 1) for m values a channel, as the release meant to; the integer
    division in its script left the variance as it was
    progress: wraps the range of batches
    Raises NetError where there is nothing to average or no accuracy to be had.
    """
    layers = _learning(net)
    sums = {layer.name: np.zeros((2, layer.mean.count)) for layer in layers}
    accuracy = 0.0
    for _ in progress(range(batches)):
        net.forward_loss()
        accuracy += accuracy_of(net)
        for layer in layers:
            values = net.blobs[layer.param.bottom[0]].count // layer.mean.count
            if unbiased and values < 2:
                raise NetError(
                    f"BN layer '{layer.name}' has one value a channel and batch, so no unbiased variance: "
                    "use larger batches"
                )
            factor = values / (values - 1) if unbiased else 1.0
            sums[layer.name] += [
                layer.mean.host_data.ravel(),
                layer.variance.host_data.ravel().astype(np.float64) * factor,
            ]
    return {name: Statistics(*(both / batches)) for name, both in sums.items()}, accuracy / batches


def _learning(net) -> list[BN]:
    layers = [layer for layer in net._layers if isinstance(layer, BN) and layer.learns]
    if not layers:
        raise NetError(f"{net.model_file or 'the net'}: has no BN layer in bn_mode: LEARN, so there is nothing to fold")
    return layers


def fold_batch_norm(net, statistics: dict[str, Statistics]) -> None:
    """Turn the BN layers of a net into inference form in place: scale and shift folded, bn_mode: INFERENCE.

    statistics: by layer name, as average_statistics gives them. net.save() writes the new bn_mode, too.
    """
    for layer in _learning(net):
        scale, shift = (blob.host_data.ravel() for blob in layer.blobs)
        mean, variance = statistics[layer.name]
        folded = scale / np.sqrt(variance + EPSILON)
        shift -= (folded * mean).astype(shift.dtype)
        scale[...] = folded
        layer.learns = False
        layer.param.bn_param.bn_mode = caffe_pb2.BNParameter.INFERENCE


def mean_accuracy(net, batches: int, progress=iter) -> float:
    """The accuracy over so many batches. Raises NetError where there is none to be had."""
    accuracy = 0.0
    for _ in progress(range(batches)):
        net.forward_loss()
        accuracy += accuracy_of(net)
    return accuracy / batches


def accuracy_of(net) -> float:
    """The accuracy of the last forward pass: the first accuracy layer's, else from the first softmax loss's bottoms.

    Raises NetError for a net with neither.
    """
    for layer in net._layers:
        if "Accuracy" in layer.param.type:
            return float(net.blobs[layer.param.top[0]].data.ravel()[0])
    for layer in net._layers:
        if layer.param.type == "SoftmaxWithLoss":
            scores, labels = (net.blobs[name].data for name in layer.param.bottom[:2])
            right = kernels.rank_labels(scores, labels, layer.axis, 1, layer.ignored, False)
            return int((right == 1).sum()) / max(1, int((right >= 0).sum()))
    raise NetError(
        f"{net.model_file or 'the net'}: has neither an accuracy nor a SoftmaxWithLoss layer to compare accuracies by"
    )


def rewind(net) -> None:
    """Let every layer draw from its first example on again, so that the same batches come back, and carry nothing over."""
    for layer in net._layers:
        if layer.position is not None:
            layer.position = 0
        for blob in layer.carried:
            blob.data[...] = 0
