"""Predict the memory that a net takes on a GPU, without one.

    python tools/memory.py --solver solver/stage2.prototxt [--batch N] [--fit 12GB] [--precision TF32] [--shape data=16,3,500,500 ...]
    python tools/memory.py --model net.prototxt [--phase TEST] [--batch N] [--fit 12GB] [--precision TF32] [--shape data=1,3,500,500 ...]

A dry run of the GPU path counts every array that it would take: with --solver a training with its test nets, with --model a
training by SGD with momentum, or in the phase TEST a forward pass. Printed are the parts for the batch (default: the net's), a table
of batches, and with --fit the largest batch that fits and the iter_size that keeps the examples of an update.
--batch and --shape are of the train net's data; a test net keeps the shapes that its definition says.
What CUDA takes beside the arrays is assumed, not measured.
"""

import argparse
import re

import command_line

from deconvnet.core.net import data_shapes
from deconvnet.core.proto import caffe_pb2, filter_net, read_net, read_solver
from deconvnet.core.solver import CONTEXT, Need, find_train_net, inference_need, largest_batch, training_need

BATCHES = (1, 2, 4, 8, 16, 32, 64)
UNITS = {"": 1, "B": 1, "MB": 10**6, "GB": 10**9, "MiB": 1 << 20, "GiB": 1 << 30}


def main():
    arguments = parse()
    shapes = dict(arguments.shape)
    if arguments.phase == caffe_pb2.TEST:
        param = None
    elif arguments.solver:
        param = read_solver(arguments.solver)
    else:
        param = caffe_pb2.SolverParameter(net=arguments.model, base_lr=1, lr_policy="fixed", momentum=0.9)

    options = {"precision": arguments.precision, "allow_python_layers": arguments.allow_python_layers}

    def need(batch) -> Need:
        if param is None:
            return inference_need(arguments.model, batch, shapes, **options)
        return training_need(param, arguments.solver, batch, shapes, **options)

    batch = arguments.batch or own_batch(arguments, param, shapes)
    print_parts(need(arguments.batch), batch)
    print_batches(need)
    if arguments.fit:
        print_fit(
            largest_batch(need, arguments.fit - CONTEXT), arguments, param and batch_of_update(param, arguments, shapes)
        )


def own_batch(arguments, param, shapes):
    """The batch that the net or the given shapes say."""
    if shapes:
        return next(iter(shapes.values()))[0]
    if param is None:
        name = arguments.model
        net = filter_net(read_net(name), caffe_pb2.NetState(phase=caffe_pb2.TEST), name)
    else:
        source = find_train_net(param, arguments.solver)
        name, net = source.name, source.read()
    found = data_shapes(net, None, name)
    return next(iter(found.values()))[0] if found else 1


def batch_of_update(param, arguments, shapes):
    """How many examples an update of the solver sees as it stands."""
    return own_batch(arguments, param, shapes) * param.iter_size


def gigabytes(size):
    return f"{size / 1e9:.2f} GB"


def print_parts(need, batch):
    """What the peak consists of."""
    print(f"batch {batch}")
    for name in ("parameters", "gradients", "momentum", "data", "diffs", "rest"):
        said = {"data": "blobs", "diffs": "gradients of blobs", "rest": "layers and workspaces"}.get(name, name)
        print(f"  {said:24}{gigabytes(getattr(need, name)):>12}")
    print(f"  {'arrays at the peak':24}{gigabytes(need.peak):>12}")
    print(f"  {'CUDA itself (assumed)':24}{gigabytes(CONTEXT):>12}")


def print_batches(need):
    """Batch -> GB, CUDA's own share included."""
    print("\n  batch        memory")
    for batch in BATCHES:
        print(f"  {batch:5}{gigabytes(need(batch).peak + CONTEXT):>14}")


def print_fit(batch, arguments, examples):
    """The largest batch, and the iter_size that goes with it; examples: of one update, None in inference."""
    fit = gigabytes(arguments.fit)
    if not batch:
        print(f"\nno batch fits {fit}")
        return
    print(
        f"\nthe largest batch that fits {fit} is {batch}, with {gigabytes(CONTEXT)} left to CUDA itself (assumed, not measured)"
    )
    if examples:
        even = max(size for size in range(1, min(batch, examples) + 1) if examples % size == 0)
        print(f"for {examples} examples an update: batch_size: {even} and iter_size: {examples // even}")


def memory_size(text):
    """Bytes of "12GB", "11.5 GiB" ..."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text)
    if not found or found[2] not in UNITS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size: a number with {', '.join(filter(None, UNITS))} is expected"
        )
    return int(float(found[1]) * UNITS[found[2]])


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--solver", metavar="FILE", help="a solver's prototxt, for its training")
    asked.add_argument("--model", metavar="FILE", help="a net's prototxt")
    parser.add_argument(
        "--batch", type=command_line.at_least(1), metavar="N", help="examples in a batch (default: the net's)"
    )
    parser.add_argument("--fit", type=memory_size, metavar="SIZE", help="name the largest batch within it, e.g. 12GB")
    command_line.add_phase(parser, "TRAIN")
    command_line.add_shape(parser)
    command_line.add_precision(parser)
    command_line.add_python_layers(parser)
    arguments = parser.parse_args()
    if arguments.solver and arguments.phase == caffe_pb2.TEST:
        parser.error("--phase TEST goes with --model")
    return arguments


if __name__ == "__main__":
    command_line.run(main)
