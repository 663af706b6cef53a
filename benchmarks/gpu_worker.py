"""What both sides of the comparison on a GPU take from the command line."""

import argparse

from gpu_cases import NETS, PRECISIONS


def parse(description: str, whats: tuple[str, ...], peer: bool = False) -> argparse.Namespace:
    """The arguments: `what` of `whats`, and what it is measured with."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=whats)
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--size", type=int, default=224, help="side of the net's input, a multiple of 32")
    parser.add_argument("--batch", type=int, default=16, help="images of the maps that kernels work on")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each figure, about")
    parser.add_argument("--nets", default="", help="forward:1,training:8 ...: those instead of all")
    if not peer:
        parser.add_argument("--graph", action="store_true", help="forward passes as one launch, a CUDA graph")
    else:
        parser.add_argument("--layout", choices=("contiguous", "channels_last"), default="contiguous")
        parser.add_argument("--compile", action="store_true", help="through torch.compile")
    return parser.parse_args()


def nets_of(chosen: argparse.Namespace) -> list[tuple[str, int]]:
    """(work, batch) of the whole nets to measure."""
    if not chosen.nets:
        return list(NETS)
    return [(work, int(batch)) for work, batch in (pair.split(":") for pair in chosen.nets.split(","))]
