"""Net(share=True), with and without recompute, on drawn training nets: branches, splits, layers in place, pooling and unpooling."""

import random

import numpy as np
import pytest
from recomputed_nets import convolution, iterate, norm, training_net

from deconvnet.core.net import NetError

LOSS = 'layer {{ name: "loss {0}" type: "EuclideanLoss" bottom: "{0}" bottom: "zeros {0}" top: "loss {0}" }}'
ZEROS = 'layer {{ name: "zeros {0}" type: "DummyData" top: "zeros {0}" dummy_data_param {{ shape {{ {1} }} }} }}'
POOL = 'layer {{ name: "{0}" type: "Pooling" bottom: "{1}" top: "{0}" top: "mask {0}" pooling_param {{ kernel_size: 2 stride: 2 }} }}'
UNPOOL = (
    'layer {{ name: "{0}" type: "Unpooling" bottom: "{1}" bottom: "mask {2}" top: "{0}" '
    "unpooling_param {{ unpool_h: {3[0]} unpool_w: {3[1]} kernel_size: 2 stride: 2 }} }}"
)
SUM = (
    'layer {{ name: "{0}" type: "Eltwise" bottom: "{1}" bottom: "{2}" top: "{0}" eltwise_param {{ operation: {3} }} }}'
)
OTHERS = ["LRN", "MVN", "Power", "TanH", "Sigmoid"]
IN_PLACE = ["ReLU", "ReLU", "ReLU", "ELU", "TanH", "Dropout"]


class DrawnNet:
    """The text of a net from a seed; `maps`: the size of each blob that may be read; a loss stands behind each that is not."""

    def __init__(self, seed: int):
        self.draw = random.Random(seed)
        self.layers, self.maps, self.pools, self.read = [], {"x": (9, 7)}, {}, set()
        for number in range(self.draw.randint(4, 12)):
            bottom = self.draw.choice(list(self.maps)[-3:])
            self.read.add(bottom)
            self.draw.choice(
                [self.convolve, self.convolve, self.convolve, self.pool, self.unpool, self.add, self.other]
            )(f"b{number}", bottom)
        for name, (height, width) in self.maps.items():
            if name not in self.read:
                self.layers.append(ZEROS.format(name, f"dim: 2 dim: 5 dim: {height} dim: {width}"))
                self.layers.append(LOSS.format(name))

    def convolve(self, name, bottom):
        """A convolution, often with batch norm, and often a layer in place behind it."""
        text = convolution(f"conv {name}", bottom, name)
        self.layers.append(text.replace('"Convolution"', f'"{self.draw.choice(["Convolution", "Deconvolution"])}"'))
        top = name
        if self.draw.random() < 0.8:
            top = self.draw.choice([name, f"{name} normal"])
            self.layers.append(norm(self.draw.choice(["BN", "BatchNorm", "running"]), name, top))
        if self.draw.random() < 0.8:
            kind = self.draw.choice(IN_PLACE)
            self.layers.append(f'layer {{ name: "act {name}" type: "{kind}" bottom: "{top}" top: "{top}" }}')
        self.maps[top] = self.maps[bottom]

    def pool(self, name, bottom):
        """Maxima with switches."""
        self.layers.append(POOL.format(name, bottom))
        self.maps[name] = tuple(-(-size // 2) for size in self.maps[bottom])
        self.pools[name] = self.maps[bottom]

    def unpool(self, name, bottom):
        """By the switches of a pool of that size, if there is one."""
        fitting = [pool for pool in self.pools if self.maps[pool] == self.maps[bottom]]
        if not fitting:
            return self.other(name, bottom)
        pool = self.draw.choice(fitting)
        self.layers.append(UNPOOL.format(name, bottom, pool, self.pools[pool]))
        self.maps[name] = self.pools[pool]

    def add(self, name, bottom):
        """With another blob of that size, if there is one."""
        fitting = [blob for blob in self.maps if self.maps[blob] == self.maps[bottom] and blob != bottom]
        if not fitting:
            return self.other(name, bottom)
        other = self.draw.choice(fitting)
        self.read.add(other)
        self.layers.append(SUM.format(name, bottom, other, self.draw.choice(["SUM", "PROD", "MAX"])))
        self.maps[name] = self.maps[bottom]

    def other(self, name, bottom):
        """A layer that keeps something of its own."""
        self.layers.append(
            f'layer {{ name: "{name}" type: "{self.draw.choice(OTHERS)}" bottom: "{bottom}" top: "{name}" }}'
        )
        self.maps[name] = self.maps[bottom]


def can_be_named(layers, name):
    """Whether a net computes this convolution again."""
    try:
        training_net(layers, share=True, recompute=[name])
    except NetError:
        return False
    return True


@pytest.mark.parametrize("seed", range(24))
def test_a_drawn_net_learns_the_same_whatever_shares_its_memory(seed):
    layers = DrawnNet(seed).layers
    plain = training_net(layers)
    names = [layer.name for layer in plain._layers if layer.type in ("Convolution", "Deconvolution")]
    named = [name for name in names if can_be_named(layers, name)]
    expected = [iterate(plain) for _ in range(2)]
    for recompute in (False, True, named):
        net = training_net(layers, share=True, recompute=recompute)
        for wanted in expected:
            loss, gradients = iterate(net)
            assert loss == pytest.approx(wanted[0], rel=1e-5)
            largest = max((np.abs(values).max() for values in wanted[1]), default=0)
            for ours, theirs in zip(gradients, wanted[1], strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * largest)


def test_the_drawn_nets_compute_much_of_what_can_be_computed_again():
    makers = set()
    for seed in range(24):
        layers = DrawnNet(seed).layers
        names = [layer.name for layer in training_net(layers)._layers if layer.name.startswith("conv ")]
        net = training_net(layers, share=True, recompute=[name for name in names if can_be_named(layers, name)])
        makers.update(net._layers[number].type for numbers in net._recomputes.values() for number in numbers)
    assert makers == {"BN", "BatchNorm", "Convolution", "Deconvolution", "Unpooling"}
