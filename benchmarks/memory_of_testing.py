"""Peak memory of training the full DeconvNet with and without a test net: the test net uses the train net's buffers.

    python benchmarks/memory_of_testing.py [--batch 2]

Each figure is the peak resident memory of a process that makes one iteration of SGD on drawn numbers, after a test pass or without.
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path

import deconvnet
from deconvnet.core.proto import caffe_pb2, parse, read_net

NET = Path(__file__).resolve().parent.parent / "prototxt" / "deconvnet_stage2_train_val.prototxt"


def solver_of(batch: int, tested: bool):
    """A SolverParameter for the stage-2 net on drawn numbers, with a test net or without."""
    net = read_net(NET)
    layers = [layer for layer in net.layer if layer.type != "WindowSegData"]
    del net.layer[:]
    data = net.layer.add(name="data", type="DummyData", top=["data", "label"])
    for channels in (3, 1):
        data.dummy_data_param.shape.add().dim.extend([batch, channels, 224, 224])
    net.layer.extend(layers)
    text = f"net_param {{ {net} }} base_lr: 0.01 lr_policy: 'fixed' momentum: 0.9 random_seed: 1"
    return parse(text + (" test_iter: 1 test_interval: 1" if tested else ""), caffe_pb2.SolverParameter())


def main() -> None:
    """Print both figures, each from a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--tested", choices=["yes", "no"], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.tested:
        deconvnet.SGDSolver(solver_of(chosen.batch, chosen.tested == "yes")).step(1)
        print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}")
        return
    for tested in ("no", "yes"):
        command = [sys.executable, __file__, "--batch", str(chosen.batch), "--tested", tested]
        peak = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
        print(f"batch {chosen.batch}, {'with' if tested == 'yes' else 'without'} a test pass: {peak.strip()} GB")


if __name__ == "__main__":
    main()
