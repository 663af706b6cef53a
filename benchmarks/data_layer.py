"""Does the data layer keep up? The demo's stage-2 windows: making a batch, an iteration without data, and what an iteration waits for it.

    make demo && python benchmarks/data_layer.py [--batches 200]

`make` is the time one thread takes for a batch, decoded images in the cache, as they are after the first epoch over 320 images;
`wait` the time that training spends in the data layer while its threads prefetch.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import deconvnet
from deconvnet.core.proto import read_net

ROOT = Path(__file__).resolve().parent.parent
WARM = 100  # batches until the images are in the cache


def train_net(workers: int):
    """The demo's stage-2 train net with so many prefetching threads."""
    param = read_net("prototxt/demo/stage2_train_val.prototxt")
    for layer in param.layer:
        if layer.type == "WindowSegData":
            layer.image_data_param.workers = workers
    return deconvnet.Net(param, deconvnet.TRAIN, seed=1)


def seconds(work, repeats: int) -> float:
    """The median time of a call."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    """Print the three times and their shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=200)
    chosen = parser.parse_args()
    os.chdir(ROOT)
    if not Path("demo/data/stage2_train.txt").exists():
        sys.exit("data_layer: demo/data is not there: run make demo first")
    first, second = "data", "conv1_1"

    alone = train_net(workers=0)
    seconds(lambda: alone.forward(end=first), WARM)
    make = seconds(lambda: alone.forward(end=first), chosen.batches)

    def compute():
        alone.forward(start=second)
        alone.clear_param_diffs()
        alone.backward()

    iteration = seconds(compute, chosen.batches)
    trained = train_net(workers=2)
    waits = []

    def train():
        waits.append(seconds(lambda: trained.forward(end=first), 1))
        trained.forward(start=second)
        trained.clear_param_diffs()
        trained.backward()

    seconds(train, WARM + chosen.batches)
    wait = statistics.median(waits[WARM:])
    trained.close()
    print(f"make a batch of 8: {make * 1e3:.2f} ms, {make / iteration:.1%} of an iteration")
    print(f"an iteration without data: {iteration * 1e3:.2f} ms")
    print(f"wait for data while training: {wait * 1e3:.2f} ms, {wait / iteration:.1%} of an iteration")


if __name__ == "__main__":
    main()
