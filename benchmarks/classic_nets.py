"""Well-known nets as Caffe defines them, for measurements; each function takes a NetSpec that has `data` and returns its scores.

    python benchmarks/classic_nets.py NET forward|training [--batch N]     # prints the definition

LeNet (as Caffe's MNIST example has it: 28x28 pixels) and the quick net of its CIFAR-10 example (32x32), 10 classes; AlexNet (Krizhevsky 2012),
VGG-16 (Simonyan 2014), GoogLeNet (Szegedy 2014, without the two classifiers beside it), ResNet-50 (He 2015) and MobileNet (Howard 2017): images
of 224x224 (AlexNet: 227x227), 1000 classes; DeepLab-LargeFOV (Chen 2015): images of 321x321, scores of 21 classes at 41x41 places.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from classic_shapes import CLASSES, IMAGES, INCEPTIONS, RESIDUAL, SCORES, SEPARABLE, VGG  # noqa: E402

from deconvnet import NetSpec  # noqa: E402
from deconvnet import layers as L  # noqa: E402
from deconvnet import params as P  # noqa: E402

FILLER = {"type": "msra"}
LOCAL = {"local_size": 5, "alpha": 1e-4, "beta": 0.75}


def _conv(bottom, size: int, outputs: int, stride: int = 1, group: int = 1, pad: int | None = None, **options):
    window = {"kernel_size": size, "stride": stride, "pad": size // 2 if pad is None else pad, "group": group}
    return L.Convolution(bottom, num_output=outputs, weight_filler=FILLER, **window, **options)


def _conv_relu(*window, **options):
    return L.ReLU(_conv(*window, **options), in_place=True)


def _conv_norm(*window, relu: bool = True, **options):
    top = L.Scale(L.BatchNorm(_conv(*window, bias_term=False, **options), in_place=True), bias_term=True, in_place=True)
    return L.ReLU(top, in_place=True) if relu else top


def _pool(bottom, size: int, stride: int, pad: int = 0):
    return L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=size, stride=stride, pad=pad)


def _average(bottom, size: int, stride: int, pad: int = 0):
    return L.Pooling(bottom, pool=P.Pooling.AVE, kernel_size=size, stride=stride, pad=pad)


def _classes(bottom, outputs: int = CLASSES):
    return L.InnerProduct(bottom, num_output=outputs, weight_filler=FILLER)


def _two_full(bottom):
    """fc6 and fc7 of AlexNet and VGG."""
    for _ in range(2):
        bottom = L.ReLU(L.InnerProduct(bottom, num_output=4096, weight_filler=FILLER), in_place=True)
        bottom = L.Dropout(bottom, in_place=True)
    return _classes(bottom)


def lenet(data):
    """Two 5x5 convolutions without padding."""
    top = _pool(_conv(_pool(_conv(data, 5, 20, pad=0), 2, 2), 5, 50, pad=0), 2, 2)
    return _classes(L.ReLU(_classes(top, 500), in_place=True), 10)


def cifar10_quick(data):
    """Three 5x5 convolutions, average pooling behind two of them."""
    top = L.ReLU(_pool(_conv(data, 5, 32), 3, 2), in_place=True)
    top = _average(_conv_relu(_average(_conv_relu(top, 5, 32), 3, 2), 5, 64), 3, 2)
    return _classes(_classes(top, 64), 10)


def alexnet(data):
    """Five convolutions, two of them in two groups, behind local response normalisation."""
    top = _pool(L.LRN(_conv_relu(data, 11, 96, 4, pad=0), **LOCAL), 3, 2)
    top = _pool(L.LRN(_conv_relu(top, 5, 256, group=2), **LOCAL), 3, 2)
    top = _conv_relu(_conv_relu(top, 3, 384), 3, 384, group=2)
    return _two_full(_pool(_conv_relu(top, 3, 256, group=2), 3, 2))


def vgg16(data):
    """Thirteen 3x3 convolutions, as DeconvNet's first half."""
    top = data
    for layers, outputs in VGG:
        for _ in range(layers):
            top = _conv_relu(top, 3, outputs)
        top = _pool(top, 2, 2)
    return _two_full(top)


def _inception(bottom, one, reduced3, three, reduced5, five, pooled):
    return L.Concat(
        _conv_relu(bottom, 1, one),
        _conv_relu(_conv_relu(bottom, 1, reduced3), 3, three),
        _conv_relu(_conv_relu(bottom, 1, reduced5), 5, five),
        _conv_relu(_pool(bottom, 3, 1, 1), 1, pooled),
    )


def googlenet(data):
    """Nine inception modules."""
    top = L.LRN(_pool(_conv_relu(data, 7, 64, 2), 3, 2), **LOCAL)
    top = _pool(L.LRN(_conv_relu(_conv_relu(top, 1, 64), 3, 192), **LOCAL), 3, 2)
    for outputs in INCEPTIONS:
        top = _inception(top, *outputs) if outputs else _pool(top, 3, 2)
    return _classes(L.Dropout(_average(top, 7, 1), in_place=True))


def resnet50(data):
    """Sixteen residual blocks of 1x1, 3x3 and 1x1, batch norm and scale behind each."""
    top = _pool(_conv_norm(data, 7, 64, 2), 3, 2)
    for level, (blocks, outputs) in enumerate(RESIDUAL):
        for block in range(blocks):
            stride = 2 if level and not block else 1
            inner = _conv_norm(_conv_norm(top, 1, outputs, stride), 3, outputs)
            short = top if block else _conv_norm(top, 1, 4 * outputs, stride, relu=False)
            top = L.ReLU(L.Eltwise(short, _conv_norm(inner, 1, 4 * outputs, relu=False)), in_place=True)
    return _classes(L.Pooling(top, pool=P.Pooling.AVE, global_pooling=True))


def mobilenet(data):
    """Thirteen pairs of a depthwise 3x3 and a 1x1 convolution, batch norm and scale behind each."""
    top, channels = _conv_norm(data, 3, 32, 2), 32
    for outputs, stride in SEPARABLE:
        top = _conv_norm(_conv_norm(top, 3, channels, stride, group=channels), 1, outputs)
        channels = outputs
    return _classes(L.Pooling(top, pool=P.Pooling.AVE, global_pooling=True))


def deeplab(data):
    """VGG-16 at an eighth of the image's size, its last level and fc6 dilated."""
    top = data
    for level, (layers, outputs) in enumerate(VGG):
        dilation = 2 if level == 4 else 1
        for _ in range(layers):
            top = _conv_relu(top, 3, outputs, pad=dilation, dilation=dilation)
        top = _pool(top, 3, 2 if level < 3 else 1, 1)
    top = L.Dropout(_conv_relu(_average(top, 3, 1, 1), 3, 1024, pad=12, dilation=12), in_place=True)
    return _conv(L.Dropout(_conv_relu(top, 1, 1024), in_place=True), 1, 21)


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


def net_param(name: str, batch: int, training: bool):
    """The net's definition over an input `data`; in training over `label`, too, up to its loss."""
    spec = NetSpec()
    spec.data = L.Input(shape={"dim": [batch, *IMAGES[name]]})
    spec.score = NETS[name](spec.data)
    if training:
        spec.label = L.Input(shape={"dim": [batch, *SCORES[name][1:]]})
        spec.loss = L.SoftmaxWithLoss(spec.score, spec.label)
    return spec.to_proto()


def main() -> None:
    """Print a definition."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", choices=list(NETS))
    parser.add_argument("work", choices=["forward", "training"])
    parser.add_argument("--batch", type=int, default=1)
    chosen = parser.parse_args()
    print(net_param(chosen.net, chosen.batch, chosen.work == "training"))


if __name__ == "__main__":
    main()
