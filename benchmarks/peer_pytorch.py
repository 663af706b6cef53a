"""The same measurement on CPU PyTorch, the peer; runs in an environment of its own (`make bench-peers`). Prints a JSON line.

python benchmarks/peer_pytorch.py forward|training|image [--batch N] [--iterations 5]
"""

import argparse
import json
import os
import resource
import time

import torch
from torch import nn

BATCHES = {"forward": 1, "training": 2, "image": 10}
PROPOSALS = 50  # crops of an image, measured_deconvnet.py
LEVELS = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))


class DeconvNet(nn.Module):
    """VGG-16's convolutions, fc6, fc7 and their mirror; `normalized` puts batch norm after each, else it is folded away.

    size: of the inputs, a multiple of 32.
    """

    def __init__(self, normalized: bool, size: int = 224):
        super().__init__()

        def block(layer, outputs):
            return nn.Sequential(layer, *([nn.BatchNorm2d(outputs)] if normalized else []), nn.ReLU(inplace=True))

        self.encoder = nn.ModuleList(
            nn.Sequential(*(block(nn.Conv2d(a, b, 3, padding=1), b) for a, b in zip(level, level[1:], strict=False)))
            for level in LEVELS
        )
        fc6 = block(nn.Conv2d(512, 4096, size // 32), 4096)
        self.middle = nn.Sequential(
            fc6, block(nn.Conv2d(4096, 4096, 1), 4096), block(nn.ConvTranspose2d(4096, 512, size // 32), 512)
        )
        mirrored = [tuple(reversed((max(level[0], 64), *level[1:]))) for level in reversed(LEVELS)]
        self.decoder = nn.ModuleList(
            nn.Sequential(
                *(block(nn.ConvTranspose2d(a, b, 3, padding=1), b) for a, b in zip(level, level[1:], strict=False))
            )
            for level in mirrored
        )
        self.score = nn.Conv2d(64, 21, 1)

    def forward(self, x):
        """Scores (N, 21, H, W) of images (N, 3, H, W)."""
        switches = []
        for level in self.encoder:
            x, at = nn.functional.max_pool2d(level(x), 2, 2, return_indices=True)
            switches.append(at)
        x = self.middle(x)
        for level in self.decoder:
            x = level(nn.functional.max_unpool2d(x, switches.pop(), 2, 2))
        return self.score(x)


def measure(net, work: str, batch: int, iterations: int) -> list[float]:
    """The seconds of each iteration, after one that does not count."""
    training = work == "training"
    if work == "image":
        crops = torch.randn(PROPOSALS, 3, 224, 224) * 50
        with torch.no_grad():
            net(crops[:batch])
            begin = time.perf_counter()
            for first in range(0, PROPOSALS, batch):
                net(crops[first : first + batch])
        return [time.perf_counter() - begin]
    x, labels = torch.randn(batch, 3, 224, 224) * 50, torch.randint(0, 21, (batch, 224, 224))
    return timed(net, training, x, labels, iterations)


def timed(net, training: bool, x, labels, iterations: int) -> list[float]:
    """The seconds of each forward pass, in training of forward and backward, after one that does not count."""
    seconds = []
    for _ in range(iterations + 1):
        begin = time.perf_counter()
        with torch.set_grad_enabled(training):
            scores = net(x)
            if training:
                net.zero_grad(set_to_none=False)
                nn.functional.cross_entropy(scores, labels).backward()
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=list(BATCHES))
    parser.add_argument("--batch", type=int)
    parser.add_argument("--iterations", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))
    torch.manual_seed(0)
    training = chosen.work == "training"
    batch = chosen.batch or BATCHES[chosen.work]
    seconds = measure(DeconvNet(normalized=training).train(training), chosen.work, batch, chosen.iterations)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"work": chosen.work, "batch": batch, "best_s": min(seconds), "all_s": seconds, "peak_gb": peak}))


if __name__ == "__main__":
    main()
