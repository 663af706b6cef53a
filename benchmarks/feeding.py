"""Images a second that stage 2's data layer makes, by the number of its threads. Prints a JSON line for each.

    python benchmarks/feeding.py [--seconds 2] [--images 4000]

Decoding, cutting out a window, resizing to 250x250, cropping to 224x224, mirroring and subtracting the mean, as stage 2 has it, on photographs
of VOC's size that are made here. So many names stand for them that hardly any is found decoded in the layer's cache.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import cv2
import gpu_timing
import measured_deconvnet as measured
import numpy as np

import deconvnet  # noqa: I001  before NumPy, so that idle BLAS threads sleep
from deconvnet.core.proto import caffe_pb2, filter_net, read_net

HEIGHT, WIDTH = 375, 500
FILES = 20
WORKERS = (1, 2, 4, 8, 16, 32)
WARM = 3  # batches


def write_images(folder: Path, names: int) -> Path:
    """So many names of a few images with labels, and the list of a window in each; returns the list."""
    draw, lines = np.random.default_rng(0), []
    for number in range(FILES):
        coarse = draw.integers(0, 255, (HEIGHT // 5, WIDTH // 5, 3), np.uint8)
        image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)  # a JPEG of about VOC's 100 kB
        label = cv2.resize(coarse[..., 0] % 21, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"file{number}.jpg"), image)
        cv2.imwrite(str(folder / f"file{number}.png"), label)
    for name in range(names):
        for kind in ("jpg", "png"):
            (folder / f"{name}.{kind}").symlink_to(folder / f"file{name % FILES}.{kind}")
        x, y = draw.integers(0, WIDTH // 3), draw.integers(0, HEIGHT // 3)
        lines.append(f"/{name}.jpg /{name}.png {x} {y} {x + WIDTH // 2} {y + HEIGHT // 2}\n")
    (folder / "list.txt").write_text("".join(lines))
    return folder / "list.txt"


def images_per_second(folder: Path, listed: Path, workers: int, seconds: float) -> float:
    """Of the train net's data layer with so many threads, when nothing else runs."""
    written = read_net(measured.ROOT / "prototxt" / "deconvnet_stage2_train_val.prototxt")
    param = filter_net(written, caffe_pb2.NetState(phase=caffe_pb2.TRAIN))
    del param.layer[1:]
    images = param.layer[0].image_data_param
    images.source, images.root_folder, images.workers = str(listed), str(folder), workers
    net = deconvnet.Net(param, deconvnet.TRAIN, seed=1)
    try:
        for _ in range(WARM):
            net.forward_loss()
        done, begin = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < seconds:
            net.forward_loss()
            done += images.batch_size
        return done / elapsed
    finally:
        net.close()


def main() -> None:
    """Measure every number of threads up to that of the processors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--images", type=int, default=4000, help="names of images")
    chosen = parser.parse_args()
    processors = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listed = write_images(folder, chosen.images)
        for workers in (count for count in WORKERS if count <= max(2, processors)):
            rate = images_per_second(folder, listed, workers, chosen.seconds)
            gpu_timing.emit(part="feeding", workers=workers, images_s=rate, processors=processors)


if __name__ == "__main__":
    main()
