"""Print the mean of each output of a net, in the TEST phase, over a number of batches.

    python tools/test_net.py --model net.prototxt --weights x.caffemodel [--iterations N] [--stage A] [--gpu 0]
    python tools/test_net.py --solver solver/stage2.prototxt --weights x.caffemodel

With --solver it is the solver's test net and its test_iter batches. Lines on stdout: `loss = 0.61`.
"""

import argparse
import sys

import command_line

from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, find_file, read_solver
from deconvnet.core.solver import SolverError, find_test_nets, inference_need, mean_outputs

ITERATIONS = 50  # with --model, as Caffe's `caffe test`


def main():
    arguments = parse()
    weights = find_file(arguments.weights)
    options = {"weights": weights, "share": True, "precision": arguments.precision}
    options["allow_python_layers"] = arguments.allow_python_layers
    if arguments.model:
        state = {"stages": arguments.stage, "level": arguments.level}
        command_line.use_device(arguments.gpu)
        needed = {**state, "precision": arguments.precision, "allow_python_layers": arguments.allow_python_layers}
        with command_line.told_of_memory(lambda batch: inference_need(arguments.model, batch, **needed)):
            test(Net(arguments.model, caffe_pb2.TEST, **state, **options), weights, arguments.iterations or ITERATIONS)
        return
    if arguments.stage or arguments.level:
        raise SolverError("--stage and --level go with --model: a solver's test_state says those of its test nets")
    param = read_solver(arguments.solver)
    sources = find_test_nets(param, arguments.solver)
    if not sources:
        raise SolverError(f"{arguments.solver}: has no test net: give test_iter and test_interval, or use --model")
    command_line.use_device(arguments.gpu, param, arguments.solver)
    for number, source in enumerate(sources):
        if len(sources) > 1:
            print(f"test net #{number}")
        test(source.build(seed=0, **options), weights, arguments.iterations or param.test_iter[number])


def test(net, weights, iterations):
    """Print the means of a net's outputs, and on stderr what became of its weights. Raises NetError where some are missing."""
    try:
        if net.inputs:
            raise NetError(
                f"{net.model_file}: nothing fills its inputs ({', '.join(net.inputs)}): a net with data layers is tested, as a train_val.prototxt has them"
            )
        command_line.require_weights(net, weights)
        print(f"{weights}: {net.loaded}", file=sys.stderr)
        _, outputs = mean_outputs(net, iterations, command_line.progress("test"))
    finally:
        net.close()
    for output in outputs:
        print(f"{output.blob} = {output.value:g}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tested = parser.add_mutually_exclusive_group(required=True)
    tested.add_argument("--model", metavar="FILE", help="the net's prototxt")
    tested.add_argument("--solver", metavar="FILE", help="a solver's prototxt, for its test net")
    parser.add_argument("--weights", required=True, metavar="FILE", help=".caffemodel, .h5, .npz or .safetensors file")
    parser.add_argument(
        "--iterations",
        type=command_line.at_least(1),
        metavar="N",
        help=f"batches (default: {ITERATIONS}, or the solver's test_iter)",
    )
    command_line.add_state(parser)
    command_line.add_gpu(parser)
    command_line.add_precision(parser)
    command_line.add_python_layers(parser)
    return parser.parse_args()


if __name__ == "__main__":
    command_line.run(main)
