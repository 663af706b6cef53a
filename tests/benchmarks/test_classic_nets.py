"""The well-known nets that benchmarks/compare_cpu.py measures are those nets."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import deconvnet

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
# weights and biases, scales and shifts of batch norm, as published
PARAMETERS = {
    "LeNet": 431_080,
    "CIFAR-10-quick": 145_578,
    "AlexNet": 60_965_224,
    "VGG-16": 138_357_544,
    "GoogLeNet": 6_998_552,
    "ResNet-50": 25_557_032,
    "MobileNet": 4_231_976,
    "DeepLab-LargeFOV": 20_505_429,
}


@pytest.fixture
def classics(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return runpy.run_path(str(BENCHMARKS / "classic_nets.py"))


def test_each_has_as_many_parameters_as_the_published_net(classics):
    assert set(classics["NETS"]) == set(PARAMETERS)
    for name, expected in PARAMETERS.items():
        net = deconvnet.Net(classics["net_param"](name, 1, training=True), deconvnet.TRAIN, fill=False)
        learned = (layer.blobs for layer in net.layers if layer.param.type != "BatchNorm")
        assert sum(blob.count for blobs in learned for blob in blobs) == expected


def test_one_of_them_runs_forward_and_backward(classics):
    net = deconvnet.Net(classics["net_param"]("MobileNet", 1, training=True), deconvnet.TRAIN, seed=1)
    net.blobs["data"].data[...] = np.random.default_rng(0).normal(size=net.blobs["data"].shape)
    (loss,) = net.forward().values()
    net.backward()
    assert 0 < float(loss) < 100
    first = next(layer for layer in net.layers if layer.blobs)
    assert np.isfinite(first.blobs[0].diff).all() and np.any(first.blobs[0].diff)
