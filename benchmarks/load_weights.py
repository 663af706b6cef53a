"""How long a file of the full DeconvNet's weights (1 GB) takes to load, and how much memory: Net(model, TEST, weights=file).

    python benchmarks/load_weights.py [--folder DIR] [--forms caffemodel h5 npz safetensors] [--rounds 3]

Writes one file of drawn numbers in each form into a temporary folder inside DIR, loads it in processes of their own and prints the
best time and the largest peak memory of that process, the net included. The goal: under 4 s, at most 1.5 times the file's size.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from deconvnet.core.net import Net  # noqa: E402
from deconvnet.core.proto import caffe_pb2  # noqa: E402

MODEL = ROOT / "prototxt" / "deconvnet_deploy.prototxt"
FORMS = ("caffemodel", "h5", "npz", "safetensors")


def write(folder: Path, forms) -> list[Path]:
    """The weights in each form; they are drawn, so that no page of a file is all zeros."""
    net = Net(MODEL, caffe_pb2.TEST)
    draw = np.random.default_rng(0)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = draw.random(blob.shape, np.float32)
    files = [folder / f"deconvnet.{form}" for form in forms]
    for file in files:
        net.save(file)
    return files


def load(file: str) -> None:
    """Print seconds and peak memory of this process as JSON."""
    start = time.perf_counter()
    net = Net(MODEL, caffe_pb2.TEST, weights=file)
    seconds = time.perf_counter() - start
    if net.loaded.missing:
        sys.exit(f"load_weights: {file}: {net.loaded}")
    print(json.dumps({"seconds": seconds, "peak": peak_memory()}))


def peak_memory() -> int:
    """The most memory that this process has held, in bytes; getrusage would count that of the process which started it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def main() -> None:
    """Write, load in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files are written for a while (default: the system's)")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", metavar="FILE", help="load this one file in this process")
    chosen = parser.parse_args()
    if chosen.load:
        load(chosen.load)
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        command = [sys.executable, __file__]
        files = write(Path(folder), chosen.forms)
        print("| file | GB | seconds | peak memory, GB | peak / file |\n|---|---|---|---|---|")
        for file in files:
            runs = [
                json.loads(
                    subprocess.run([*command, "--load", file], capture_output=True, text=True, check=True).stdout
                )
                for _ in range(chosen.rounds)
            ]
            size, peak = file.stat().st_size, max(run["peak"] for run in runs)
            best = min(run["seconds"] for run in runs)
            print(f"| {file.name} | {size / 1e9:.2f} | {best:.2f} | {peak / 1e9:.2f} | {peak / size:.2f} |", flush=True)


if __name__ == "__main__":
    main()
