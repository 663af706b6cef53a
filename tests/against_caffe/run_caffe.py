"""Runs under Caffe's own Python (`make caffe-peer`), on what compare.py has put into a folder; nothing of ours is imported here.

    python run_caffe.py FOLDER

NAME.npz holds a net (prototxt, phase, inputs/BLOB, passes, backward, lossy, forced, seed), a net with its weights (model, weights,
inputs/BLOB) or a solver (solver, start/LAYER/NUMBER, steps, and the state to resume from): NAME.out.npz is what came out, in the names of tests/golden_case.py; NAME.err what Caffe said where it gave up, which ends a process.
"""

import os
import signal
import sys
from glob import glob

import caffe
import numpy as np

SECONDS = 60  # longer than any case takes


def draw_parameters(net, seed):
    """Put drawn values into the parameters, of a size that keeps results in range; {params/LAYER/NUMBER: values}."""
    draw, found = np.random.RandomState(seed), {}
    types = {name: net.layers[number].type for number, name in enumerate(net._layer_names)}
    for name, blobs in net.params.items():
        for number, blob in enumerate(blobs):
            values = draw.normal(0, 1, blob.data.shape).astype(np.float32)
            if types[name] == "BatchNorm":  # a variance, and what the sums are divided by
                values = np.abs(values) + np.float32(0.1)
            elif values.ndim > 1 and types[name] not in ("Parameter", "Scale"):
                values /= np.float32(max(1, values[0].size) ** 0.5)
            blob.data[...] = values
            blob.diff[...] = 0
            found[f"params/{name}/{number}"] = values
    return found


def run_net(case):
    """Forward, and backward from drawn gradients or from the loss."""
    net = caffe.Net(write_text(case, "prototxt"), caffe.TRAIN if str(case["phase"]) == "TRAIN" else caffe.TEST)
    parameters = draw_parameters(net, int(case["seed"]))
    found, inputs = dict(parameters), [key[7:] for key in case.files if key.startswith("inputs/")]
    for name in inputs:
        net.blobs[name].data[...] = found["inputs/" + name] = case["inputs/" + name]
    for _ in range(int(case["passes"])):
        net.forward()
    for name in net.outputs:
        found["outputs/" + name] = net.blobs[name].data.copy()
    for path, before in parameters.items():
        layer, number = path[7:].rsplit("/", 1)
        after = net.params[layer][int(number)].data
        if not np.array_equal(before, after):
            found[f"params_after/{layer}/{number}"] = after.copy()
    if int(case["backward"]):
        run_backward(net, case, inputs, found)
    return found


def run_backward(net, case, inputs, found):
    """From the loss, or from drawn gradients of the outputs."""
    draw = np.random.RandomState(int(case["seed"]) + 1)
    if not int(case["lossy"]):
        for name in net.outputs:
            found["top_diffs/" + name] = draw.normal(0, 1, net.blobs[name].data.shape).astype(np.float32)
            net.blobs[name].diff[...] = found["top_diffs/" + name]
    net.backward()
    if int(case["forced"]):
        for name in inputs:
            found["bottom_diffs/" + name] = net.blobs[name].diff.copy()
    for name, blobs in net.params.items():
        for number, blob in enumerate(blobs):
            found[f"param_diffs/{name}/{number}"] = blob.diff.copy()


def run_solver(case):
    """The losses and parameters of each step, a snapshot in the middle, and where the run goes from the state that ours wrote there."""
    solver = caffe.get_solver(write_text(case, "solver"))
    half, steps = int(case["steps"]) // 2, int(case["steps"])
    for layer, blobs in solver.net.params.items():
        for number, blob in enumerate(blobs):
            blob.data[...] = case[f"start/{layer}/{number}"]
    found = {}
    for step in range(steps):
        solver.step(1)
        found[f"step_{step + 1}/loss"] = np.array(solver.net.blobs["loss"].data)
        keep_parameters(solver, f"step_{step + 1}", found)
        if step + 1 == half:
            solver.snapshot()
    resumed = caffe.get_solver(write_text(case, "solver"))
    resumed.restore(str(case["state"]))
    resumed.step(steps - half)
    keep_parameters(resumed, "resumed", found)
    return found


def keep_parameters(solver, name, found):
    """{NAME/LAYER/NUMBER: values}."""
    for layer, blobs in solver.net.params.items():
        for number, blob in enumerate(blobs):
            found[f"{name}/{layer}/{number}"] = blob.data.copy()


def run_given_net(case):
    """Every blob of a net with its weights, after a forward pass over the inputs given."""
    net = caffe.Net(str(case["model"]), str(case["weights"]), caffe.TEST)
    for name in net.inputs:
        net.blobs[name].reshape(*case["inputs/" + name].shape)
        net.blobs[name].data[...] = case["inputs/" + name]
    net.forward()
    return {"blobs/" + name: blob.data.copy() for name, blob in net.blobs.items()}


def write_text(case, field):
    """The path of a file with what the field holds, beside the case."""
    path = f"{case.path[:-4]}.{field}"
    with open(path, "w") as file:
        file.write(str(case[field]))
    return path


def run(path):
    """One case, in a process of its own: a failed check of Caffe's ends it."""
    said = os.open(path[:-4] + ".err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    signal.alarm(SECONDS)
    case = np.load(path)
    case.path = path
    kinds = {"solver": run_solver, "model": run_given_net}
    ours = next((kinds[key] for key in kinds if key in case.files), run_net)
    np.savez(path[:-4] + ".part.npz", **ours(case))
    os.rename(path[:-4] + ".part.npz", path[:-4] + ".out.npz")
    os.remove(path[:-4] + ".err")


def main():
    """Run what has no result yet."""
    for path in sorted(glob(os.path.join(sys.argv[1], "*.npz"))):
        if path.endswith(".out.npz") or os.path.exists(path[:-4] + ".out.npz"):
            continue
        child = os.fork()
        if child == 0:
            try:
                run(path)
            finally:
                os._exit(1)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
