"""A blob: values and gradients of one shape, in host memory and, when a GPU computes, in the GPU's."""

import functools
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from .. import kernels


@functools.cache
def _memory_of_machine() -> float:
    """Bytes of memory of the machine, or of the container that this process runs in."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        limit = "max"
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else math.inf
    return min(pages, int(limit)) if limit.isdecimal() else pages


def require_memory(count: int, dtype: np.dtype) -> None:
    """Raise MemoryError before the system would end the process for so many values in host memory."""
    needed = count * dtype.itemsize
    if needed > _memory_of_machine():
        raise MemoryError(
            f"{needed / 1e9:.3g} GB are more than the memory of this machine, {_memory_of_machine() / 1e9:.3g} GB"
        )


class Memory:
    """A buffer that lies on the host, on the GPU or on both, and knows who holds the truth.

    Whoever asks for an array may write to it, so the side that was asked last is the truth; the other is copied when it is asked again.
    """

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)
        self._host = None
        self._locks = False  # whether the host's buffer is page-locked
        self._uploaded = None  # behind which a page-locked buffer may be written again
        self._device = None
        self._views = {}  # of the GPU's buffer by shape: making one takes the host as long as a launch
        self._truth = "host"

    def view(self, count: int, shape: tuple[int, ...]):
        """The first `count` values on the device of the mode."""
        return self.host_view(count, shape) if kernels.mode() == "cpu" else self._device_view(count, shape)

    def host_view(self, count: int, shape: tuple[int, ...]) -> np.ndarray:
        """The first `count` values in host memory."""
        self._grow_host(count)
        self._fetch()
        self._truth = "host"
        return self._host[:count].reshape(shape)

    def fetched_view(self, count: int, shape: tuple[int, ...]) -> np.ndarray:
        """The same for who only reads, pass after pass: the GPU, if it held the truth, still does."""
        self._grow_host(count, lock=True)
        self._fetch()
        return self._host[:count].reshape(shape)

    def host_view_to_fill(self, count: int, shape: tuple[int, ...]) -> np.ndarray:
        """The same for who overwrites all of them, pass after pass: nothing is fetched from the GPU."""
        self._grow_host(count, lock=True)
        self._wait()
        self._truth = "host"
        return self._host[:count].reshape(shape)

    def _fetch(self) -> None:
        self._wait()
        if self._truth == "device":
            self._device[: self._host.size].get(out=self._host[: self._device.size])

    def _wait(self) -> None:
        """Until the GPU has read the host's buffer."""
        if self._uploaded is not None:
            self._uploaded.synchronize()
            self._uploaded = None

    @property
    def device_bytes(self) -> int:
        """What it takes on the GPU."""
        return 0 if self._device is None else self._device.nbytes

    def _grow_host(self, count: int, lock: bool = False) -> None:
        if self._host is None or self._host.size < count:
            require_memory(count, self.dtype)
            grown = kernels.page_locked_zeros(count, self.dtype) if lock or self._locks else None
            self._locks = grown is not None
            if grown is None:
                grown = kernels.aligned_zeros(count, self.dtype)
            if self._host is not None:
                grown[: self._host.size] = self._host
                self._wait()
            self._host = grown

    def _device_view(self, count: int, shape: tuple[int, ...]):
        cupy = kernels.array_module()
        if self._device is None or self._device.size < count:
            grown = cupy.zeros(count, self.dtype)
            if self._device is not None and self._truth == "device":
                grown[: self._device.size] = self._device
            self._device, self._views = grown, {}
        whole = self.on_device()
        if shape not in self._views:
            self._views[shape] = whole[:count].reshape(shape)
        return self._views[shape]

    def on_device(self):
        """The whole buffer on the GPU, which holds the truth from now on; None where there has been none."""
        if self._device is not None and self._truth == "host":
            if self._host is not None:
                size = min(self._host.size, self._device.size)
                self._device[:size].set(self._host[:size])
                self._uploaded = kernels.launched() if self._locks else None
            self._truth = "device"
        return self._device


class Blob:
    """Caffe's blob. `data` and `diff` are arrays of `shape` on the device that computes; `host_data` and `host_diff` lie in host memory.

    Memory is made when it is first asked for, starts at zero and only ever grows, so an array keeps its identity between reshapes.
    """

    def __init__(self, shape: tuple[int, ...] = (), dtype=np.float32):
        self.dtype = np.dtype(dtype)
        self.data_memory = Memory(dtype)
        self.diff_memory = Memory(dtype)
        self.reshape(*shape)

    def reshape(self, *shape: int) -> None:
        """Take a new shape; values keep their flat order. Raises ValueError for a negative size."""
        if any(size < 0 for size in shape):
            raise ValueError(f"a blob cannot have the shape {shape}")
        self.shape = tuple(int(size) for size in shape)
        self.count = math.prod(self.shape)

    @property
    def data(self):
        """The values on the device that computes."""
        return self.data_memory.view(self.count, self.shape)

    @property
    def diff(self):
        """The gradients on the device that computes."""
        return self.diff_memory.view(self.count, self.shape)

    @property
    def host_data(self) -> np.ndarray:
        """The values in host memory."""
        return self.data_memory.host_view(self.count, self.shape)

    @property
    def fetched_data(self) -> np.ndarray:
        """The values in host memory for who only reads them: what is written there no GPU sees."""
        return self.data_memory.fetched_view(self.count, self.shape)

    @property
    def host_data_to_fill(self) -> np.ndarray:
        """The same for who writes every value anew, as a data layer does: what a GPU holds is not fetched first."""
        return self.data_memory.host_view_to_fill(self.count, self.shape)

    @property
    def host_diff(self) -> np.ndarray:
        """The gradients in host memory."""
        return self.diff_memory.host_view(self.count, self.shape)

    def share_data(self, other: "Blob") -> None:
        """Use the other blob's values as one's own (Split, Flatten, shared parameters)."""
        self.data_memory = other.data_memory

    def share_diff(self, other: "Blob") -> None:
        """Use the other blob's gradients as one's own."""
        self.diff_memory = other.diff_memory


class HostBlob:
    """What Python sees of a blob, as in pycaffe: `data` and `diff` are NumPy arrays, whatever device computes.

    gone: "data" or "diff" or both where other blobs use that memory after this one; asking for it raises RuntimeError.
    """

    def __init__(self, blob: Blob, name: str = "", gone: Iterable[str] = ()):
        self._blob = blob
        self._name = name
        self._gone = gone

    def _require(self, side: str) -> None:
        if side in self._gone:
            raise RuntimeError(
                f"the {side} of blob '{self._name}' is gone: the net was made with share=True and its memory serves other blobs "
                f"since; make it with keep=['{self._name}'], or without share"
            )

    @property
    def data(self) -> np.ndarray:
        """The values; writing into them is seen by the next layer that runs."""
        self._require("data")
        return self._blob.host_data

    @property
    def diff(self) -> np.ndarray:
        """The gradients."""
        self._require("diff")
        return self._blob.host_diff

    @property
    def device_data(self):
        """The values on the device that computes, without a copy: on a GPU a CuPy array. What is written there the next layer sees."""
        self._require("data")
        return self._blob.data

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes, (N, C, H, W) for images."""
        return self._blob.shape

    @property
    def count(self) -> int:
        """The number of values."""
        return self._blob.count

    def reshape(self, *shape: int) -> None:
        """Take a new shape; the layers above follow at the next forward or net.reshape(). Raises TypeError for a list of sizes."""
        if any(isinstance(size, (list, tuple, np.ndarray)) for size in shape):
            raise TypeError(f"reshape takes the sizes one by one, reshape(1, 3, 224, 224), not {shape[0]!r}")
        self._blob.reshape(*shape)

    def _legacy(self, axis: int) -> int:
        if len(self.shape) > 4:
            raise ValueError(f"num, channels, height and width name the axes of at most four, not of {self.shape}")
        return self.shape[axis] if axis < len(self.shape) else 1

    num = property(lambda self: self._legacy(0), doc="The first of up to four sizes.")
    channels = property(lambda self: self._legacy(1), doc="The second of up to four sizes, 1 where there is none.")
    height = property(lambda self: self._legacy(2), doc="The third of up to four sizes, 1 where there is none.")
    width = property(lambda self: self._legacy(3), doc="The fourth of up to four sizes, 1 where there is none.")

    def __repr__(self) -> str:
        return f"Blob{self.shape}"

    def __eq__(self, other) -> bool:
        return self._blob is other._blob if isinstance(other, HostBlob) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._blob)


class BlobVec(Sequence):
    """A layer's parameters as HostBlobs, as in pycaffe: what is put in another's place, added or deleted here the layer has, gets or loses.

    A parameter of another layer, or another net's, is shared from then on. A solver moves what it moved before, as Caffe's.
    """

    def __init__(self, blobs: list[Blob], dtype):
        self._blobs, self._dtype = blobs, dtype

    def __len__(self) -> int:
        return len(self._blobs)

    def __getitem__(self, number):
        found = self._blobs[number]
        return [HostBlob(blob) for blob in found] if isinstance(number, slice) else HostBlob(found)

    def __setitem__(self, number, value):
        old = self._blobs[number]
        if isinstance(number, slice):
            values = list(value)
            if len(values) != len(old):
                raise ValueError(f"{len(values)} parameters cannot take the place of {len(old)}")
            self._blobs[number] = [self._fitting(*pair) for pair in zip(values, old, strict=True)]
        else:
            self._blobs[number] = self._fitting(value, old)

    def __delitem__(self, number):
        del self._blobs[number]

    def __repr__(self) -> str:
        return repr(self[:])

    def add_blob(self, *shape: int) -> HostBlob:
        """One more parameter of that shape, all zeros, which is saved; it learns only where a Python layer makes it in setup."""
        self._blobs.append(Blob(shape, self._dtype))
        return self[-1]

    def _fitting(self, value, old: Blob) -> Blob:
        """What lies behind a HostBlob. Raises TypeError for anything else, ValueError for another shape or dtype than the old one's."""
        if not isinstance(value, HostBlob):
            raise TypeError(
                f"a parameter is a Blob, not {type(value).__name__}: write values into it, .data[...] = values"
            )
        blob = value._blob
        if (blob.shape, blob.dtype) != (old.shape, old.dtype):
            raise ValueError(
                f"a parameter {blob.shape} of {blob.dtype} cannot take the place of one {old.shape} of {old.dtype}"
            )
        return blob
