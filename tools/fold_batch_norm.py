"""Turn trained weights into inference weights: batch norm's averaged statistics, folded into scale and shift.

    python tools/fold_batch_norm.py --model train_net.prototxt --weights x.caffemodel --output inference.caffemodel
                                    [--batches 40] [--batch-norm-rule unbiased|release] [--tolerance 0.05] [--gpu 0]

The result is for nets with bn_mode: INFERENCE. It is written only where the folded net's accuracy on those training
batches is no worse than that of the unfolded one.
"""

import argparse

import command_line
import numpy as np
from segment import MEAN

from deconvnet.core.net import Net, NetError
from deconvnet.core.net.fold import average_statistics, fold_batch_norm, mean_accuracy, rewind
from deconvnet.core.proto import caffe_pb2, find_file

RULES = ("unbiased", "release")
# the layers of images, with a transform_param
READERS = ("Data", "DenseImageData", "ImageData", "ImageSegData", "WindowSegData")


def main():
    arguments = parse()
    weights = find_file(arguments.weights)
    command_line.require_output(arguments.output, weights)
    command_line.use_device(arguments.gpu)
    # seed 0: the same batches at every call
    net = Net(arguments.model, caffe_pb2.TRAIN, weights, seed=0, allow_python_layers=arguments.allow_python_layers)
    try:
        command_line.require_weights(net, weights)
        print(f"{weights}: {net.loaded}")
        fold(net, arguments)
    finally:
        net.close()


def fold(net, arguments):
    """Fold, compare the accuracies, save. Raises NetError where they disagree."""
    unbiased = arguments.batch_norm_rule == "unbiased"
    statistics, before = average_statistics(net, arguments.batches, unbiased, command_line.progress("statistics"))
    fold_batch_norm(net, statistics)
    rewind(net)
    after = mean_accuracy(net, arguments.batches, command_line.progress("comparison"))
    compared = f"accuracy on {arguments.batches} training batches: {before:.4f} by batch statistics, {after:.4f} folded"
    print(f"{compared} (difference {after - before:+.4f}, down to {-arguments.tolerance:g} is allowed)")
    if not before - after <= arguments.tolerance:
        raise NetError(
            f"the folded net disagrees with the trained one, so {arguments.output} is not written; "
            "more --batches may help, --tolerance allows more"
        )
    net.save(arguments.output)
    print(f"{len(statistics)} BN layers folded into {arguments.output}, for bn_mode: INFERENCE")
    options = options_for_segment(net)
    if options:
        print(f"tools/segment.py must be given what the net was trained with: {options}")


def options_for_segment(net):
    """The --mean and --scale that tools/segment.py must be given for a net trained so, "" where its defaults are right."""
    transforms = [layer.param.transform_param for layer in net.layer_dict.values() if layer.type in READERS]
    if not transforms or len(transforms[0].mean_value) not in (0, 1, 3):  # segment.py is for images of three channels
        return ""
    transform, options = transforms[0], []
    mean = list(transform.mean_value) or [0]
    if transform.mean_file:
        options.append(f"--mean with the means of blue, green and red in {transform.mean_file}")
    elif not np.allclose(mean, MEAN, atol=0.01):  # the release trains with 104.008, and segments with 104.00698793
        options.append(f"--mean {' '.join(f'{value:g}' for value in mean)}")
    if transform.scale != 1:
        options.append(f"--scale {transform.scale:g}")
    return " ".join(options)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", required=True, metavar="FILE", help="the prototxt that the weights were trained with"
    )
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="trained .caffemodel, .h5, .npz or .safetensors file"
    )
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="the .caffemodel, .h5, .npz or .safetensors to write"
    )
    parser.add_argument(
        "--batches",
        type=command_line.at_least(1),
        default=40,
        metavar="N",
        help="training batches to average over (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-norm-rule", choices=RULES, default=RULES[0],
        help="unbiased: variance times m / (m - 1); release: as the release's script left it (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.05,
        metavar="X",
        help="most that the folded net may be worse (default: %(default)s)",
    )
    command_line.add_gpu(parser)
    command_line.add_python_layers(parser)
    return parser.parse_args()


if __name__ == "__main__":
    command_line.run(main)
