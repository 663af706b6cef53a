"""What a net is made of, from its shapes alone: parameters, multiply-adds and memory of each layer."""

from typing import NamedTuple

from ..blob import Blob
from .net import Net


class LayerSummary(NamedTuple):
    """One layer of a net.

    bottoms, tops: the names of its blobs; shapes: of the tops
    parameters: how many numbers it learns or holds; those that a layer before it shares are counted there
    multiply_adds: of one forward pass, in matrix products
    memory: bytes of the tops' data; 0 for a top that lies in a bottom's memory
    """

    name: str
    type: str
    bottoms: list[str]
    tops: list[str]
    shapes: list[tuple[int, ...]]
    parameters: int
    multiply_adds: int
    memory: int


class Totals(NamedTuple):
    """The sums over a net; memory in bytes.

    parameter_memory: one copy of the parameters; blob_memory: the data of all blobs
    inference_memory: both; training_memory: both with their gradients, and SGD's momentum
    """

    parameters: int
    multiply_adds: int
    parameter_memory: int
    blob_memory: int

    @property
    def inference_memory(self) -> int:
        return self.parameter_memory + self.blob_memory

    @property
    def training_memory(self) -> int:
        return 3 * self.parameter_memory + 2 * self.blob_memory


def summarize(net: Net) -> list[LayerSummary]:
    """The layers in their order. It asks for no array, so a net built with fill=False takes no memory for it."""
    seen: set[int] = set()
    rows = []
    for layer, bottom, top in net.connections():
        parameters = sum(blob.count for blob in layer.blobs if _is_new(blob, seen))
        memory = sum(blob.count * blob.dtype.itemsize for blob in top if _is_new(blob, seen))
        rows.append(
            LayerSummary(
                layer.name,
                layer.param.type,
                list(layer.param.bottom),
                list(layer.param.top),
                [blob.shape for blob in top],
                parameters,
                layer.multiply_adds(bottom, top),
                memory,
            )
        )
    return rows


def _is_new(blob: Blob, seen: set[int]) -> bool:
    """Whether the blob's data lies in a memory not met before, which it then is no longer."""
    key = id(blob.data_memory)
    new = key not in seen
    seen.add(key)
    return new


def totals(rows: list[LayerSummary], itemsize: int = 4) -> Totals:
    """The sums; itemsize: bytes of a parameter (4: float32)."""
    parameters = sum(row.parameters for row in rows)
    return Totals(
        parameters,
        sum(row.multiply_adds for row in rows),
        parameters * itemsize,
        sum(row.memory for row in rows),
    )
