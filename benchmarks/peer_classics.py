"""The nets of classic_nets.py on CPU PyTorch, the peer; runs in an environment of its own (`make bench-peers`). Prints a JSON line.

python benchmarks/peer_classics.py NET forward|training [--batch N] [--iterations 5]
"""

import argparse
import json
import os
import resource

import torch
from classic_shapes import CLASSES, IMAGES, INCEPTIONS, RESIDUAL, SCORES, SEPARABLE, VGG
from peer_pytorch import timed
from torch import nn


def conv_relu(inputs, size, outputs, stride=1, group=1, pad=None, dilation=1):
    """A convolution and ReLU."""
    pad = size // 2 if pad is None else pad
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, pad, dilation, group), nn.ReLU(inplace=True))


def conv_norm(inputs, size, outputs, stride=1, group=1, relu=True):
    """A convolution without bias, batch norm, and ReLU where it is asked for."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=group, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([nn.ReLU(inplace=True)] if relu else []))


def pool(size, stride, pad=0):
    """Max pooling whose size is rounded up, as Caffe's."""
    return nn.MaxPool2d(size, stride, pad, ceil_mode=True)


def average(size, stride, pad=0):
    """Average pooling whose size is rounded up, as Caffe's."""
    return nn.AvgPool2d(size, stride, pad, ceil_mode=True)


def full(inputs):
    """fc6, fc7 and the scores of AlexNet and VGG."""
    layers = []
    for size in (inputs, 4096):
        layers += [nn.Linear(size, 4096), nn.ReLU(inplace=True), nn.Dropout()]
    return [nn.Flatten(), *layers, nn.Linear(4096, CLASSES)]


def local():
    """AlexNet's local response normalisation."""
    return nn.LocalResponseNorm(5, 1e-4, 0.75)


def lenet():
    """classic_nets.lenet."""
    maps = [nn.Conv2d(1, 20, 5), pool(2, 2), nn.Conv2d(20, 50, 5), pool(2, 2), nn.Flatten()]
    return nn.Sequential(*maps, nn.Linear(50 * 4 * 4, 500), nn.ReLU(inplace=True), nn.Linear(500, 10))


def cifar10_quick():
    """classic_nets.cifar10_quick."""
    maps = [nn.Conv2d(3, 32, 5, padding=2), pool(3, 2), nn.ReLU(inplace=True)]
    maps += [conv_relu(32, 5, 32), average(3, 2), conv_relu(32, 5, 64), average(3, 2), nn.Flatten()]
    return nn.Sequential(*maps, nn.Linear(64 * 4 * 4, 64), nn.Linear(64, 10))


def alexnet():
    """classic_nets.alexnet."""
    first = [conv_relu(3, 11, 96, 4, pad=0), local(), pool(3, 2), conv_relu(96, 5, 256, group=2), local(), pool(3, 2)]
    last = [conv_relu(256, 3, 384), conv_relu(384, 3, 384, group=2), conv_relu(384, 3, 256, group=2), pool(3, 2)]
    return nn.Sequential(*first, *last, *full(256 * 6 * 6))


def vgg16():
    """classic_nets.vgg16."""
    layers, inputs = [], 3
    for count, outputs in VGG:
        for _ in range(count):
            layers.append(conv_relu(inputs, 3, outputs))
            inputs = outputs
        layers.append(pool(2, 2))
    return nn.Sequential(*layers, *full(512 * 7 * 7))


class Inception(nn.Module):
    """Four ways side by side."""

    def __init__(self, inputs, one, reduced3, three, reduced5, five, pooled):
        super().__init__()
        self.ways = nn.ModuleList(
            [
                conv_relu(inputs, 1, one),
                nn.Sequential(conv_relu(inputs, 1, reduced3), conv_relu(reduced3, 3, three)),
                nn.Sequential(conv_relu(inputs, 1, reduced5), conv_relu(reduced5, 5, five)),
                nn.Sequential(pool(3, 1, 1), conv_relu(inputs, 1, pooled)),
            ]
        )

    def forward(self, x):
        """Their results together."""
        return torch.cat([way(x) for way in self.ways], 1)


def googlenet():
    """classic_nets.googlenet."""
    layers = [conv_relu(3, 7, 64, 2), pool(3, 2), local(), conv_relu(64, 1, 64), conv_relu(64, 3, 192), local()]
    layers, inputs = [*layers, pool(3, 2)], 192
    for outputs in INCEPTIONS:
        layers.append(Inception(inputs, *outputs) if outputs else pool(3, 2))
        inputs = outputs[0] + outputs[2] + outputs[4] + outputs[5] if outputs else inputs
    return nn.Sequential(*layers, average(7, 1), nn.Dropout(), nn.Flatten(), nn.Linear(1024, CLASSES))


class Residual(nn.Module):
    """A block of ResNet-50."""

    def __init__(self, inputs, inner, stride):
        super().__init__()
        first = [conv_norm(inputs, 1, inner, stride), conv_norm(inner, 3, inner)]
        self.way = nn.Sequential(*first, conv_norm(inner, 1, 4 * inner, relu=False))
        same = inputs == 4 * inner
        self.short = nn.Identity() if same else conv_norm(inputs, 1, 4 * inner, stride, relu=False)

    def forward(self, x):
        """ReLU of the sum."""
        return torch.relu_(self.way(x) + self.short(x))


def resnet50():
    """classic_nets.resnet50."""
    layers, inputs = [conv_norm(3, 7, 64, 2), pool(3, 2)], 64
    for level, (blocks, inner) in enumerate(RESIDUAL):
        for block in range(blocks):
            layers.append(Residual(inputs, inner, 2 if level and not block else 1))
            inputs = 4 * inner
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, CLASSES))


def mobilenet():
    """classic_nets.mobilenet."""
    layers, inputs = [conv_norm(3, 3, 32, 2)], 32
    for outputs, stride in SEPARABLE:
        layers += [conv_norm(inputs, 3, inputs, stride, group=inputs), conv_norm(inputs, 1, outputs)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, CLASSES))


def deeplab():
    """classic_nets.deeplab."""
    layers, inputs = [], 3
    for level, (count, outputs) in enumerate(VGG):
        dilation = 2 if level == 4 else 1
        for _ in range(count):
            layers.append(conv_relu(inputs, 3, outputs, pad=dilation, dilation=dilation))
            inputs = outputs
        layers.append(pool(3, 2 if level < 3 else 1, 1))
    layers += [average(3, 1, 1), conv_relu(inputs, 3, 1024, pad=12, dilation=12), nn.Dropout()]
    return nn.Sequential(*layers, conv_relu(1024, 1, 1024), nn.Dropout(), nn.Conv2d(1024, 21, 1))


NETS = {
    "LeNet": lenet,
    "CIFAR-10-quick": cifar10_quick,
    "AlexNet": alexnet,
    "VGG-16": vgg16,
    "GoogLeNet": googlenet,
    "ResNet-50": resnet50,
    "MobileNet": mobilenet,
    "DeepLab-LargeFOV": deeplab,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", choices=list(NETS))
    parser.add_argument("work", choices=["forward", "training"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))
    torch.manual_seed(0)
    training, (classes, *places) = chosen.work == "training", SCORES[chosen.net]
    x, labels = torch.randn(chosen.batch, *IMAGES[chosen.net]), torch.randint(0, classes, (chosen.batch, *places))
    seconds = timed(NETS[chosen.net]().train(training), training, x, labels, chosen.iterations)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"best_s": min(seconds), "all_s": seconds, "peak_gb": peak}))


if __name__ == "__main__":
    main()
