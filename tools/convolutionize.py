"""Make the weights that a fully convolutional net starts from out of a classifier's, such as VGG-16's.

    python tools/convolutionize.py --weights VGG_ILSVRC_16_layers.caffemodel --model prototxt/fcn/fcn32s.prototxt
                                   --output models/fcn32s_start.caffemodel [--names torchvision] [--shape data=1,3,224,224]

Layers are matched by name: a fully connected layer of the file gives a convolution of the net its numbers, as many as they are
there. Upsampling layers that the file lacks (deconvolutions of stride 2 or more with as many outputs as inputs) become
bilinear, one channel to itself. Only these layers are written, so that whoever starts from the result fills the others by
their fillers. It serves DeconvNet's start as well as FCN's, and each FCN's from the one before.
--names torchvision reads torchvision's or timm's VGG-16 (.npz, .safetensors) and fits its first layer to BGR from 0 to 255 less
Caffe's mean colour.
"""

import argparse

import command_line

from deconvnet.core.net import Net, NetError
from deconvnet.core.net.upsampling import fill_bilinear
from deconvnet.core.net.vgg16 import caffe_name, take_caffe_input
from deconvnet.core.proto import find_file


def main():
    arguments = parse()
    weights = find_file(arguments.weights)
    command_line.require_output(arguments.output, weights)
    # nothing is filled: what the file does not bring is not written
    net = Net(arguments.model, arguments.phase, fill=False, input_shapes=dict(arguments.shape))
    try:
        convolutionize(net, weights, arguments)
    finally:
        net.close()


def convolutionize(net, weights, arguments):
    """Load, fill, save and say what became of each layer."""
    report = net.copy_from(weights, caffe_name if arguments.names else None)
    if arguments.names:
        fit_first_layer(net, weights, report)
    bilinear = fill_bilinear(net, given=report.matched)
    net.save(arguments.output, layers={*report.matched, *bilinear})
    print(f"{arguments.output}: {len(report.matched)} layers from {weights}, {len(bilinear)} bilinear")
    for what, names in (
        ("of the same numbers in another shape", report.coerced),
        ("bilinear upsampling", bilinear),
        ("left out, which the net does not have", report.ignored),
        ("not written, to start from their fillers", [name for name in report.missing if name not in bilinear]),
    ):
        if names:
            print(f"  {what}: {', '.join(names)}")


def fit_first_layer(net, weights, report):
    """Fit conv1_1 to Caffe's input. Raises NetError where it is not there."""
    if "conv1_1" not in report.matched:
        raise NetError(f"{weights}: its first layer, conv1_1 in {net.model_file}, is missing there or here")
    take_caffe_input(*(blob.data for blob in net.params["conv1_1"]))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help=".caffemodel, .h5, .npz or .safetensors file of the classifier"
    )
    parser.add_argument("--model", required=True, metavar="FILE", help="the prototxt of the net that starts")
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="the .caffemodel, .h5, .npz or .safetensors to write"
    )
    parser.add_argument(
        "--names",
        choices=("torchvision",),
        help="the file is of another program, VGG-16 by its names (not .caffemodel)",
    )
    command_line.add_phase(parser, "TEST")
    command_line.add_shape(parser)
    return parser.parse_args()


if __name__ == "__main__":
    command_line.run(main)
