"""One process, one measurement: DeconvNet at 224x224 on our engine. Prints a JSON line; `compare_cpu.py` runs it beside PyTorch.

    python benchmarks/measured_deconvnet.py forward [--batch 1] [--iterations 5] [--layers]
    python benchmarks/measured_deconvnet.py training [--batch 2]
    python benchmarks/measured_deconvnet.py image [--batch 10]

forward: the inference net, batch norm folded. training: forward and backward of the stage-2 net, batch norm on batch statistics.
image: the crops of an image's 50 proposals through the inference net, so many at once; the seconds are those of all 50.
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
from deconvnet.core.proto import caffe_pb2, read_net  # noqa: E402
from deconvnet.core.solver import get_solver  # noqa: E402

SIZE = 224
PROPOSALS = 50  # of an image (paper, section 5.1)
BATCHES = {"forward": 1, "training": 2, "image": 10}


def training_param(batch: int, size: int = SIZE):
    """The stage-2 train net's definition with inputs in the place of its data layer."""
    param = read_net(ROOT / "prototxt" / "deconvnet_stage2_train_val.prototxt")
    layers = [layer for layer in param.layer if layer.type not in ("WindowSegData", "EltwiseAccuracy")]
    del param.layer[:]
    data = param.layer.add(name="data", type="Input", top=["data", "label"])
    for channels in (3, 1):
        data.input_param.shape.add().dim.extend([batch, channels, size, size])
    param.layer.extend(layers)
    return resized(param, size)


def resized(param, size: int):
    """The net for inputs of another side, a multiple of 32: fc6 and its mirror span the whole map that is left of them."""
    for layer in param.layer:
        if layer.name in ("fc6", "fc6-deconv"):
            layer.convolution_param.kernel_size[:] = [size // 32]
    return param


def training_net(batch: int):
    """The stage-2 train net with inputs in the place of its data layer."""
    return deconvnet.Net(training_param(batch), deconvnet.TRAIN, seed=1, share=True)


def solver_param(batch: int, size: int):
    """SGD as the paper trains, of the stage-2 train net with inputs in the place of its data."""
    fields = {"base_lr": 1e-4, "lr_policy": "fixed", "momentum": 0.9, "weight_decay": 0.0005}
    return caffe_pb2.SolverParameter(train_net_param=training_param(batch, size), **fields)


def training_solver(batch: int, size: int, **options):
    """A solver that trains the net, nothing in its parameters yet."""
    return get_solver(solver_param(batch, size), [], share=True, fill=False, **options)


def inference_net(batch: int, share: bool = True, size: int = SIZE, **options):
    """The deploy net at that batch size, with drawn weights; options: further ones of Net."""
    param = resized(read_net(ROOT / "prototxt" / "deconvnet_deploy.prototxt"), size)
    shape = {"data": (batch, 3, size, size)}
    net = deconvnet.Net(param, deconvnet.TEST, seed=1, share=share, input_shapes=shape, **options)
    draw_weights(net)
    return net


def draw_weights(net) -> None:
    """Drawn weights that keep the size of the values from layer to layer, and drawn scales and shifts for batch norm."""
    draw = np.random.default_rng(0)
    for layer in net.layers:
        if layer.param.type == "BN":
            layer.blobs[0].data[...] = draw.uniform(0.5, 1.5, layer.blobs[0].shape)
            layer.blobs[1].data[...] = draw.normal(0, 0.1, layer.blobs[1].shape)
        elif layer.blobs:
            weights = layer.blobs[0].data
            # what a result sums: all inputs and taps, but a window that a single place scatters has one tap for each result
            summed = weights.shape[0] if layer.transposed else weights[0].size
            summed *= 9 if layer.transposed and weights.shape[2] == 3 else 1
            draw.random(dtype=np.float32, out=weights)
            weights -= 0.5
            weights *= (24 / summed) ** 0.5  # variance 2 / summed


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


def measure(net, work: str, batch: int, iterations: int) -> list[float]:
    """The seconds of each iteration, after one that does not count."""
    draw = np.random.default_rng(1)
    if work == "image":
        crops = draw.normal(0, 50, (PROPOSALS, 3, 224, 224)).astype(np.float32)
        net.forward(data=crops[:batch])
        begin = time.perf_counter()
        for first in range(0, PROPOSALS, batch):
            net.forward(data=crops[first : first + batch])
        return [time.perf_counter() - begin]
    net.blobs["data"].data[...] = draw.normal(0, 50, net.blobs["data"].shape)
    if work == "training":
        net.blobs["label"].data[...] = draw.integers(0, 21, net.blobs["label"].shape)
    return timed(lambda: iterate(net, work == "training"), iterations)


def timed(iteration, count: int) -> list[float]:
    """The seconds of each of so many iterations, after one that does not count."""
    seconds = []
    for _ in range(count + 1):
        begin = time.perf_counter()
        iteration()
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]


def print_layers(net, training: bool) -> None:
    """The time of each layer in one more iteration."""
    times: dict = defaultdict(float)
    iterate(net, training, times)
    for (name, direction), spent in times.items():
        print(f"{name:28} {direction:8} {spent * 1e3:9.2f} ms  {algorithm(net, name)}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=list(BATCHES))
    parser.add_argument("--batch", type=int)
    parser.add_argument("--iterations", type=int, default=5, help="of forward and training")
    parser.add_argument("--layers", action="store_true", help="print the time of each layer too")
    chosen = parser.parse_args()
    training = chosen.work == "training"
    batch = chosen.batch or BATCHES[chosen.work]
    net = training_net(batch) if training else inference_net(batch)
    seconds = measure(net, chosen.work, batch, chosen.iterations)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if chosen.layers:
        print_layers(net, training)
    print(json.dumps({"work": chosen.work, "batch": batch, "best_s": min(seconds), "all_s": seconds, "peak_gb": peak}))


if __name__ == "__main__":
    main()
