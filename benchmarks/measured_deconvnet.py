"""One process, one measurement: DeconvNet at 224x224 on our engine. Prints a JSON line; `compare_cpu.py` runs it beside PyTorch.

    python benchmarks/measured_deconvnet.py forward [--batch 1] [--iterations 5] [--layers]
    python benchmarks/measured_deconvnet.py training [--batch 2]

forward: the inference net, batch norm folded. training: forward and backward of the stage-2 net, batch norm on batch statistics.
"""

import argparse
import json
import resource
import sys
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import deconvnet  # noqa: E402, I001  before NumPy, so that idle BLAS threads sleep (deconvnet/core/__init__.py)
import numpy as np  # noqa: E402
from deconvnet.core.net import time_layers  # noqa: E402
from deconvnet.core.proto import read_net  # noqa: E402


def training_net(batch: int):
    """The stage-2 train net with inputs in the place of its data layer."""
    param = read_net(ROOT / "prototxt" / "deconvnet_stage2_train_val.prototxt")
    layers = [layer for layer in param.layer if layer.type not in ("WindowSegData", "EltwiseAccuracy")]
    del param.layer[:]
    data = param.layer.add(name="data", type="Input", top=["data", "label"])
    for channels in (3, 1):
        data.input_param.shape.add().dim.extend([batch, channels, 224, 224])
    param.layer.extend(layers)
    return deconvnet.Net(param, deconvnet.TRAIN, seed=1, share=True)


def inference_net(batch: int):
    """The deploy net at that batch size."""
    net = deconvnet.Net(ROOT / "prototxt" / "deconvnet_deploy.prototxt", deconvnet.TEST, seed=1, share=True)
    net.blobs["data"].reshape(batch, 3, 224, 224)
    net.reshape()
    return net


def algorithm(net, name: str) -> str:
    """How a convolution or deconvolution is computed; nothing for another layer."""
    layer = net.layer_dict[name]
    if not hasattr(layer, "algorithm"):
        return ""
    return layer.algorithm([net.blobs[net.bottom_names[name][0]]], [net.blobs[net.top_names[name][0]]])


def iterate(net, training: bool, times: dict | None = None) -> None:
    """One iteration; with `times`, seconds are added per (layer, direction)."""
    if times is None:
        net.forward_loss()
        if training:
            net.clear_param_diffs()
            net.backward()
        return
    for layer in time_layers(net, training):
        times[layer.name, "forward"] += layer.forward
        if training:
            times[layer.name, "backward"] += layer.backward


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["forward", "training"])
    parser.add_argument("--batch", type=int)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--layers", action="store_true", help="print the time of each layer too")
    chosen = parser.parse_args()
    training = chosen.work == "training"
    batch = chosen.batch or (2 if training else 1)
    net = training_net(batch) if training else inference_net(batch)
    draw = np.random.default_rng(0)
    net.blobs["data"].data[...] = draw.normal(0, 50, net.blobs["data"].shape)
    if training:
        net.blobs["label"].data[...] = draw.integers(0, 21, net.blobs["label"].shape)
    seconds = []
    for _ in range(chosen.iterations + 1):
        begin = time.perf_counter()
        iterate(net, training)
        seconds.append(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if chosen.layers:
        times: dict = defaultdict(float)
        iterate(net, training, times)
        for (name, direction), spent in times.items():
            print(f"{name:28} {direction:8} {spent * 1e3:9.2f} ms  {algorithm(net, name)}")
    print(
        json.dumps(
            {"work": chosen.work, "batch": batch, "best_s": min(seconds[1:]), "all_s": seconds[1:], "peak_gb": peak}
        )
    )


if __name__ == "__main__":
    main()
