"""The nets of classic_nets.py on Caffe 1.0 itself; runs under its own Python (`make caffe-peer`). Prints a JSON line.

    python benchmarks/classic_nets.py NET forward|training --batch N | python caffe_classics.py forward|training [--iterations 5]

This Caffe's BatchNorm takes stored statistics in training too, which spares it a part of the work that ours does.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time

os.environ["GLOG_minloglevel"] = "2"  # before Caffe is loaded

import caffe  # noqa: E402
import numpy as np  # noqa: E402


def net_of(text, training):
    """The net of a prototxt, its inputs drawn, the statistics of batch norm those of such values."""
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(text)
        file.flush()
        net = caffe.Net(file.name, caffe.TRAIN if training else caffe.TEST)
    draw = np.random.RandomState(1)
    net.blobs["data"].data[...] = draw.normal(0, 1, net.blobs["data"].data.shape)
    if "label" in net.blobs:
        net.blobs["label"].data[...] = draw.randint(0, net.blobs["score"].channels, net.blobs["label"].data.shape)
    for number, name in enumerate(net._layer_names):
        if net.layers[number].type == "BatchNorm":
            for blob, value in zip(net.params[name], (0, 1, 1)):  # noqa: B905  (this Python has no strict)
                blob.data[...] = value
    return net


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["forward", "training"])
    parser.add_argument("--iterations", type=int, default=5)
    chosen = parser.parse_args()
    training = chosen.work == "training"
    net, seconds = net_of(sys.stdin.read(), training), []
    for _ in range(chosen.iterations + 1):
        begin = time.perf_counter()
        net.forward()
        if training:
            net.backward()
        seconds.append(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"best_s": min(seconds[1:]), "all_s": seconds[1:], "peak_gb": peak}))


if __name__ == "__main__":
    main()
