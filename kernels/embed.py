"""Rows of a table by number."""

import numpy as np

from .device import array_module, launch, to_host


def embed(x, table, out) -> None:
    """out[r] = table[x[r]]; x holds M numbers, table (words, size), out (M, size). Raises ValueError for a number that is no row."""
    strange = array_module(x).empty(x.size, np.int32)
    launch("embed_forward", x.size, table.shape[1], x, table, out, strange, x.size, *table.shape)
    if int(strange.sum()):
        number = to_host(x).ravel()[int(to_host(strange).argmax())]
        raise ValueError(
            f"{number:g} is not one of the {len(table)} numbers 0 to {len(table) - 1}: check input_dim or the data"
        )


def embed_backward(dy, x, dtable) -> None:
    """dtable[k] += the sum of dy[r] over the r with x[r] = k."""
    launch("embed_backward", len(dtable), dtable.shape[1], dy, x, dtable, x.size, *dtable.shape)
