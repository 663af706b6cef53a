"""Time each layer of a net, forward and backward, and print what it takes as `caffe time` does.

    python tools/time_net.py --model net.prototxt [--iterations N] [--phase TRAIN] [--shape data=8,3,224,224 ...] [--gpu 0]

In the TEST phase only forward passes are timed. A net without a loss is run backward as with `force_backward: true`.
Inputs hold zeros. --shape gives an input another shape, or puts an input in the place of a data layer whose files are not there.
The first iteration, which takes memory and compiles kernels, does not count. The lines go to stderr, as a training's log.
"""

import argparse
import math

import command_line

from deconvnet.core.net import LayerTime, Net, time_layers
from deconvnet.core.proto import caffe_pb2
from deconvnet.core.solver import logger

ITERATIONS = 50  # as `caffe time`


def main():
    arguments = parse()
    command_line.use_device(arguments.gpu)
    options = {"input_shapes": dict(arguments.shape), "precision": arguments.precision}
    options["allow_python_layers"] = arguments.allow_python_layers
    with command_line.told_of_shapes(arguments.model):
        net = Net(arguments.model, arguments.phase, stages=arguments.stage, level=arguments.level, **options)
    try:
        backward = arguments.phase == caffe_pb2.TRAIN
        if backward and not any(any(layer.loss_weights) for layer, *_ in net.connections()):
            net.force_backward()
        measure(net, backward, arguments.iterations)
    finally:
        net.close()


def measure(net, backward, iterations):
    """Time so many iterations after a first one, and log them, their means and the layers'."""
    time_layers(net, backward)
    logger.info("*** Benchmark begins ***")
    logger.info("Testing for %d iterations.", iterations)
    sums = [LayerTime(name, 0.0, 0.0) for name in net.layer_names]
    for number in range(iterations):
        times = time_layers(net, backward)
        spent = sum(layer.forward + layer.backward for layer in times)
        logger.info(
            "Iteration: %d %s time: %g ms.", number + 1, "forward-backward" if backward else "forward", spent * 1e3
        )
        sums = [
            LayerTime(a.name, a.forward + b.forward, a.backward + b.backward) for a, b in zip(sums, times, strict=True)
        ]
    log_means(sums, backward, iterations)


def log_means(sums, backward, iterations):
    """Log the mean of each layer and of all, from sums over the iterations."""
    logger.info("Average time per layer: ")
    for layer in sums:
        logger.info("%10s\tforward: %g ms.", layer.name, layer.forward / iterations * 1e3)
        if backward:
            logger.info("%10s\tbackward: %g ms.", layer.name, layer.backward / iterations * 1e3)
    forward, back = (math.fsum(getattr(layer, pass_) for layer in sums) * 1e3 for pass_ in ("forward", "backward"))
    logger.info("Average Forward pass: %g ms.", forward / iterations)
    if backward:
        logger.info("Average Backward pass: %g ms.", back / iterations)
        logger.info("Average Forward-Backward: %g ms.", (forward + back) / iterations)
    logger.info("Total Time: %g ms.", forward + back)
    logger.info("*** Benchmark ends ***")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, metavar="FILE", help="the net's prototxt")
    parser.add_argument(
        "--iterations", type=command_line.at_least(1), default=ITERATIONS, metavar="N", help=f"default: {ITERATIONS}"
    )
    command_line.add_phase(parser, "TRAIN")
    command_line.add_state(parser)
    command_line.add_shape(parser)
    command_line.add_python_layers(parser)
    command_line.add_gpu(parser)
    command_line.add_precision(parser)
    return parser.parse_args()


if __name__ == "__main__":
    command_line.run(main)
