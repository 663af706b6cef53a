"""How a GPU cuts channels and planes into pieces: few channels keep many processors busy, small planes fill a block together."""

from typing import NamedTuple

from .device import on_gpu

_PIECE = 4096  # values: what all blocks of a processor take together stays in its first cache between two readings
_WARP = 32


class Pieces(NamedTuple):
    """A row of planes in `count` pieces: each has `together` whole planes, or up to `run` values of one."""

    together: int
    run: int
    count: int


def cut(planes: int, size: int, most: int) -> Pieces:
    """Pieces of `planes` planes of `size` values, of no more than `most` planes."""
    if 2 * size <= _PIECE:
        together = max(1, min(_PIECE // max(1, size), most))
        return Pieces(together, max(1, size), -(-planes // together))
    parts = -(-size // _PIECE)
    run = -(-size // (parts * _WARP)) * _WARP
    return Pieces(1, run, planes * -(-size // run))


def wanted(array, asked: bool | None) -> bool:
    """Whether work over channels is done in pieces: on a GPU, unless the caller asks for one way."""
    return on_gpu(array) if asked is None else asked
