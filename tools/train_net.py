"""Train a net by a solver file, from weights or from a snapshot.

    python tools/train_net.py --solver solver/stage2.prototxt [--weights a.caffemodel[,b.caffemodel]]
                              [--snapshot x.solverstate] [--gpu 0] [--precision TF32]
                              [--csv run.csv] [--tensorboard DIR]

--snapshot takes a folder or a snapshot_prefix as well and then resumes from the newest whole pair of files there.
Ctrl-C stops after the current iteration, with a snapshot; a second one ends at once. SIGTERM stops like that too, with status 143; SIGHUP
writes a snapshot.
Without --gpu it computes where solver_mode says. The log goes to stderr in Caffe's form; --csv writes the same values as a table,
which a resumed run continues; --tensorboard writes them for TensorBoard.
"""

import argparse
import signal
import sys

import command_line

from deconvnet.core.proto import read_solver
from deconvnet.core.solver import (
    EFFECTS,
    CsvRecorder,
    SignalActions,
    SolverError,
    TensorBoardRecorder,
    check_files,
    find_snapshot,
    find_test_nets,
    find_train_net,
    get_solver,
    logger,
    names_of,
    training_need,
    weights_to_load,
)

# where a missing list of examples comes from
LISTS = {
    "ImageSegData": "a list of examples, `/image /label` on each line; "
    "tools/prepare_voc.py makes stage 1's from PASCAL VOC",
    "WindowSegData": "a list of examples, `/image /label x1 y1 x2 y2` on each line; "
    "tools/prepare_voc.py makes stage 2's from PASCAL VOC",
}


def main():
    arguments = parse()
    if arguments.snapshot and arguments.weights:
        raise SolverError("give --snapshot to resume or --weights to start from, not both")
    param = read_solver(arguments.solver)
    weights = [path.strip() for path in arguments.weights.split(",")] if arguments.weights else None
    if arguments.snapshot:
        arguments.snapshot = find_snapshot(arguments.snapshot, param.snapshot_prefix)
        weights = []
    # what is missing is said before anything is built, files before the device
    weights_to_load(param, arguments.solver, weights)
    check_files([find_train_net(param, arguments.solver), *find_test_nets(param, arguments.solver)], LISTS)
    recorders = open_recorders(arguments)
    command_line.use_device(arguments.gpu, param, arguments.solver)
    options = {"allow_python_layers": arguments.allow_python_layers, "precision": arguments.precision}
    solver = get_solver(arguments.solver, weights, share=True, **options)

    def need(batch):
        return training_need(param, arguments.solver, batch, **options)

    try:
        for recorder in recorders:
            recorder.begin(names_of(solver))
        solver.listeners.extend(recorders)
        with SignalActions(EFFECTS[arguments.sigint_effect], EFFECTS[arguments.sighup_effect]) as actions:
            solver.action_function = actions
            logger.info("Starting Optimization")
            with command_line.told_of_memory(need):
                solver.solve(arguments.snapshot)
    finally:
        for recorder in recorders:
            recorder.close()
        solver.close()
    if actions.terminated and solver.stopped:
        sys.exit(128 + signal.SIGTERM)  # so that nobody takes the run for a finished one


def open_recorders(arguments):
    """The files that follow the run."""
    resumed = arguments.snapshot is not None
    table = [CsvRecorder(arguments.csv, resumed)] if arguments.csv else []
    return table + ([TensorBoardRecorder(arguments.tensorboard)] if arguments.tensorboard else [])


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--solver", required=True, metavar="FILE", help="the solver's prototxt")
    parser.add_argument("--weights", metavar="A[,B]", help="files of weights to start from, matched by layer name")
    parser.add_argument(
        "--snapshot", metavar="FILE", help="the .solverstate to resume from, or a folder or snapshot_prefix"
    )
    parser.add_argument("--csv", metavar="FILE", help="write what is shown and tested to a table, a row an iteration")
    parser.add_argument("--tensorboard", metavar="DIR", help="write the same to an event file in this folder")
    for option, effect in (("sigint", "stop"), ("sighup", "snapshot")):
        said = f"what {option.upper()} does after the current iteration: {', '.join(EFFECTS)} (default: {effect})"
        parser.add_argument(f"--{option}_effect", choices=EFFECTS, default=effect, help=said)
    command_line.add_gpu(parser)
    command_line.add_precision(parser)
    command_line.add_python_layers(parser)
    return parser.parse_args()


if __name__ == "__main__":
    command_line.run(main)
