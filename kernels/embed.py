"""Rows of a table by number."""

import numpy as np

from .device import array_module, launch, to_host

_RUN = 4096  # values of a row that one block takes


def _shape(rows: int, size: int) -> tuple[int, int]:
    """Of a launch over rows of that size: how many parts they have, and how long those are."""
    return rows * max(1, -(-size // _RUN)), min(size, _RUN)


def embed(x, table, out, remedy: str = "check input_dim or the data") -> None:
    """out[r] = table[x[r]]; x holds M numbers, table (words, size), out (M, size).

    Raises ValueError, which ends with the remedy, for a number that is no row.
    """
    strange = array_module(x).empty(x.size, np.int32)
    words, size = table.shape
    launch("embed_forward", *_shape(x.size, size), x, table, out, strange, x.size, words, size, _RUN)
    if int(strange.sum()):
        number = to_host(x).ravel()[int(to_host(strange).argmax())]
        raise ValueError(f"{number:g} is not one of the {words} numbers 0 to {words - 1}: {remedy}")


def embed_backward(dy, x, dtable) -> None:
    """dtable[k] += the sum of dy[r] over the r with x[r] = k."""
    words, size = dtable.shape
    launch("embed_backward", *_shape(words, size), dy, x, dtable, x.size, words, size, _RUN)
