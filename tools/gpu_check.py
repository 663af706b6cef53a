"""Time every kernel at DeconvNet's shapes: milliseconds, bandwidth over the bytes it cannot avoid, and the rate of the products.

On a GPU CUDA events measure, on a CPU the clock; each line is the median of several runs after a warm-up. `copy` is the yardstick.
--out writes the figures with all that they depend on; benchmarks/render_gpu.py makes README's table of such files.
"""

import argparse
import datetime
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import command_line
import numpy as np

from deconvnet.core import kernels

FLOAT = 4  # bytes
CLASSES = 21
WARM_UP = 2


class Case(NamedTuple):
    """One call to time: the shape it works on, its compulsory bytes, and its operations where it is a product (else 0)."""

    name: str
    shape: tuple[int, ...]
    bytes: int
    operations: int
    run: Callable[[], object]


class Arrays:
    """Random float32 arrays on the device of the mode, with the same values on every device."""

    def __init__(self):
        self._random = np.random.default_rng(1)
        self._module = kernels.array_module()

    def __call__(self, *shape: int):
        return self._module.asarray(self._random.standard_normal(shape, np.float32))

    def labels(self, *shape: int):
        """Numbers of classes."""
        return self._module.asarray(self._random.integers(CLASSES, size=shape).astype(np.float32))


def elementwise_cases(arrays: Arrays, batch: int, size: int) -> Iterator[Case]:
    """One pass over the maps of conv1."""
    x, y, bias = arrays(batch, 64, size, size), arrays(batch, 64, size, size), arrays(64)
    once = FLOAT * x.size
    yield Case("copy", x.shape, 2 * once, 0, partial(y.__setitem__, ..., x))
    yield Case("relu", x.shape, 2 * once, 0, partial(kernels.relu, x, 0.0, out=y))
    yield Case("relu backward", x.shape, 3 * once, 0, partial(kernels.relu_backward, y, x, 0.0, out=y))
    yield Case("dropout", x.shape, 2 * once, 0, partial(kernels.dropout, x, 1, 0.5, out=y))
    yield Case("bias", x.shape, 2 * once, 0, partial(kernels.add_bias, bias, y))
    yield Case("bias backward", x.shape, once, 0, partial(kernels.bias_backward, x, bias))


def batch_norm_cases(arrays: Arrays, batch: int, size: int) -> Iterator[Case]:
    """Batch norm after conv1, in training and folded."""
    x, y, normal = (arrays(batch, 64, size, size) for _ in range(3))
    scale, shift, mean, variance, dscale, dshift = (abs(arrays(64)) for _ in range(6))
    once = FLOAT * x.size
    forward = partial(kernels.batch_norm_forward, x, scale, shift, 1e-5, y, normal, mean, variance)
    yield Case("batch norm", x.shape, 3 * once, 0, forward)
    backward = partial(kernels.batch_norm_backward, x, normal, scale, variance, 1e-5, y, dscale, dshift)
    yield Case("batch norm backward", x.shape, 5 * once, 0, backward)
    folded = partial(kernels.channel_affine_forward, x, scale, shift, out=y)
    yield Case("batch norm, folded", x.shape, 2 * once, 0, folded)


def pooling_cases(arrays: Arrays, batch: int, size: int) -> Iterator[Case]:
    """pool1 and unpool1."""
    window = kernels.Window((2, 2), (2, 2))
    x, dx = (arrays(batch, 64, size, size) for _ in range(2))
    y, switches = (arrays(batch, 64, size // 2, size // 2) for _ in range(2))
    large, small = FLOAT * x.size, FLOAT * y.size
    both = large + 2 * small
    yield Case("max pool with switches", x.shape, both, 0, partial(kernels.max_pool, x, window, y, switches))
    yield Case("max pool backward", x.shape, both, 0, partial(kernels.max_pool_backward, y, switches, window, dx))
    yield Case("unpool", x.shape, both, 0, partial(kernels.unpool, y, switches, out=dx, distinct=True))
    yield Case("unpool backward", x.shape, 3 * small, 0, partial(kernels.unpool_backward, x, switches, out=y))


def loss_cases(arrays: Arrays, batch: int, size: int) -> Iterator[Case]:
    """The loss and the accuracy over every pixel."""
    scores, probabilities = (arrays(batch, CLASSES, size, size) for _ in range(2))
    labels = arrays.labels(batch, 1, size, size)
    once, per_label = FLOAT * scores.size, FLOAT * labels.size
    both = 2 * once + per_label
    yield Case("softmax", scores.shape, 2 * once, 0, partial(kernels.softmax, scores, 1, out=probabilities))
    forward = partial(kernels.softmax_loss, scores, labels, 1, 255, probabilities)
    yield Case("softmax loss", scores.shape, both, 0, forward)
    accuracy = partial(kernels.rank_labels, scores, labels, 1, 1, 255, ties_are_errors=False)
    yield Case("accuracy", scores.shape, once + 2 * per_label, 0, accuracy)
    backward = partial(kernels.softmax_loss_backward, probabilities, labels, 1, 255, 1.0, out=scores)
    yield Case("softmax loss backward", scores.shape, both, 0, backward)


def convolution_cases(arrays: Arrays, batch: int, size: int) -> Iterator[Case]:
    """conv1_2 and deconv1_1: 3x3, 64 to 64 channels; a convolution and a deconvolution are each other's backward-data."""
    geometry = kernels.Geometry((3, 3), pad=(1, 1))
    x, y = (arrays(batch, 64, size, size) for _ in range(2))
    weights, dweights = (arrays(64, 64, 3, 3) for _ in range(2))
    transferred, operations = FLOAT * (x.size + y.size + weights.size), 2 * 9 * 64 * y.size
    for name, forward, backward in (
        ("convolution", kernels.conv_forward, kernels.conv_backward),
        ("deconvolution", kernels.deconv_forward, kernels.deconv_backward),
    ):
        yield Case(name, x.shape, transferred, operations, partial(forward, x, weights, None, geometry, out=y))
        data = partial(backward, x, weights, y, geometry, dx=x)
        yield Case(f"{name} backward, data", x.shape, transferred, operations, data)
        gradient = partial(backward, x, weights, y, geometry, dweights=dweights)
        yield Case(f"{name} backward, weights", x.shape, transferred, operations, gradient)


def upsampling_cases(arrays: Arrays, batch: int, size: int) -> Iterator[Case]:
    """The direct kernel: one channel a group, as bilinear upsampling has it."""
    geometry = kernels.Geometry((4, 4), (2, 2), (1, 1), group=CLASSES)
    x, y = arrays(batch, CLASSES, size // 2, size // 2), arrays(batch, CLASSES, size, size)
    weights, dweights = (arrays(CLASSES, 1, 4, 4) for _ in range(2))
    transferred = FLOAT * (x.size + y.size)
    forward = partial(kernels.deconv_forward, x, weights, None, geometry, out=y)
    yield Case("upsampling", y.shape, transferred, 0, forward)
    data = partial(kernels.deconv_backward, x, weights, y, geometry, dx=x)
    yield Case("upsampling backward, data", y.shape, transferred, 0, data)
    gradient = partial(kernels.deconv_backward, x, weights, y, geometry, dweights=dweights)
    yield Case("upsampling backward, weights", y.shape, transferred, 0, gradient)


def update_cases(arrays: Arrays, batch: int, size: int) -> Iterator[Case]:
    """The solver over fc6's weights, which do not depend on the batch."""
    weights, gradient, velocity = (arrays(4096, 512, size // 32, size // 32) for _ in range(3))
    rates = {"scale": 1.0, "rate": 0.01, "momentum": 0.9, "decay": 0.0005, "l1": False}
    update = partial(kernels.sgd_update, weights, gradient, velocity, **rates)
    yield Case("sgd update", weights.shape, 6 * FLOAT * weights.size, 0, update)
    yield Case("sum of squares", weights.shape, FLOAT * weights.size, 0, partial(kernels.sum_of_squares, weights))


FAMILIES = (
    elementwise_cases,
    batch_norm_cases,
    pooling_cases,
    loss_cases,
    convolution_cases,
    upsampling_cases,
    update_cases,
)


def seconds_by_clock(run: Callable[[], object]) -> float:
    """One run on the CPU."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def seconds_by_events(run: Callable[[], object]) -> float:
    """One run on the GPU, from the event before its first kernel to the event after its last."""
    cuda = kernels.array_module().cuda
    start, end = cuda.Event(), cuda.Event()
    start.record()
    run()
    end.record()
    end.synchronize()
    return cuda.get_elapsed_time(start, end) / 1000


def median_seconds(run: Callable[[], object], repeat: int) -> float:
    """The median of `repeat` runs on the device of the mode."""
    measure = seconds_by_events if kernels.mode() == "gpu" else seconds_by_clock
    for _ in range(WARM_UP):
        measure(run)
    return statistics.median(measure(run) for _ in range(repeat))


def provenance() -> dict:
    """What figures depend on: device, versions, commit, date and command."""
    found = {"device": f"CPU, NumPy {np.__version__}"}
    if kernels.mode() == "gpu":
        cupy = kernels.array_module()
        runtime = cupy.cuda.runtime
        found["device"] = runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
        found["compute_capability"] = str(cupy.cuda.Device().compute_capability)
        found["cuda"] = kernels.cuda_version(runtime.runtimeGetVersion())
        found["driver_cuda"] = kernels.cuda_version(runtime.driverGetVersion())
        found["cupy"] = cupy.__version__
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, cwd=Path(__file__).parent, check=False).stdout.strip()
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return {
        **found,
        "commit": commit or "unknown",
        "date": now,
        "command": " ".join(["tools/gpu_check.py", *sys.argv[1:]]),
    }


def device_line(found: dict) -> str:
    """What computes, in words."""
    if "cupy" not in found:
        return found["device"]
    return f"{found['device']}, CuPy {found['cupy']}, CUDA {found['cuda']}, driver for CUDA {found['driver_cuda']}"


def measured(batch: int, size: int, repeat: int) -> Iterator[dict]:
    """Time every case; its row follows at once."""
    arrays, copied = Arrays(), math.nan
    for cases in FAMILIES:
        for case in cases(arrays, batch, size):
            seconds = median_seconds(case.run, repeat)
            bandwidth = case.bytes / seconds / 1e9
            if case.name == "copy":
                copied = bandwidth
            row = {
                "name": case.name,
                "shape": case.shape,
                "ms": seconds * 1e3,
                "gb_s": bandwidth,
                "of_copy": bandwidth / copied,
            }
            yield row | ({"gflop_s": case.operations / seconds / 1e9} if case.operations else {})


def print_table(rows: Iterator[dict]) -> list[dict]:
    """Print each row as it comes; all of them."""
    print(f"{'':32}{'shape':>20}{'ms':>10}{'GB/s':>9}{'of copy':>9}{'GFLOP/s':>9}")
    kept = []
    for row in rows:
        shape = "x".join(map(str, row["shape"]))
        rate = f"{row['gflop_s']:9.0f}" if "gflop_s" in row else ""
        print(f"{row['name']:32}{shape:>20}{row['ms']:10.3f}{row['gb_s']:9.1f}{row['of_copy']:9.0%}{rate}", flush=True)
        kept.append(row)
    return kept


def main() -> None:
    """Parse the command line; exit status 1 and one line where the device is not there."""
    parser = argparse.ArgumentParser(description="Time every kernel at DeconvNet's shapes.")
    parser.add_argument("--device", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--probe", action="store_true", help="only name the device")
    parser.add_argument("--batch", type=int, default=8, help="images in a batch (default: 8)")
    parser.add_argument(
        "--size", type=int, default=224, help="side of the net's input, a multiple of 32 (default: 224)"
    )
    parser.add_argument("--repeat", type=int, default=20, help="runs of which the median counts (default: 20)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures to a JSON file")
    chosen = parser.parse_args()
    for name in ("batch", "size", "repeat"):
        if getattr(chosen, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if chosen.size % 32:
        parser.error("--size must be a multiple of 32: the net halves its input five times")
    try:
        kernels.set_mode(chosen.device)
    except kernels.DeviceError as error:
        sys.exit(f"gpu_check: {error}")
    result = provenance()
    print(device_line(result), flush=True)
    if chosen.probe:
        return
    result["rows"] = print_table(measured(chosen.batch, chosen.size, chosen.repeat))
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    command_line.run(main)
