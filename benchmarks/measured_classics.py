"""One process, one measurement: a net of classic_nets.py on our engine. Prints a JSON line; `compare_cpu.py` runs it beside PyTorch.

    python benchmarks/measured_classics.py NET forward|training [--batch N] [--iterations 5]

forward: in the TEST phase. training: forward and backward, batch norm on batch statistics.
"""

import argparse
import json
import resource

import classic_nets  # before NumPy, so that idle BLAS threads sleep (deconvnet/core/__init__.py)
import numpy as np
from classic_shapes import SCORES
from measured_deconvnet import iterate, timed

import deconvnet


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", choices=list(classic_nets.NETS))
    parser.add_argument("work", choices=["forward", "training"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=5)
    chosen = parser.parse_args()
    training, draw = chosen.work == "training", np.random.default_rng(1)
    param = classic_nets.net_param(chosen.net, chosen.batch, training)
    net = deconvnet.Net(param, deconvnet.TRAIN if training else deconvnet.TEST, seed=1, share=True)
    net.blobs["data"].data[...] = draw.normal(0, 1, net.blobs["data"].shape)
    if training:
        net.blobs["label"].data[...] = draw.integers(0, SCORES[chosen.net][0], net.blobs["label"].shape)
    seconds = timed(lambda: iterate(net, training), chosen.iterations)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"best_s": min(seconds), "all_s": seconds, "peak_gb": peak}))


if __name__ == "__main__":
    main()
