"""A GPU that computes nothing and counts the memory it would take: the GPU path runs as ever, over arrays that are shapes alone.

So what a training will need is known without a device, workspaces and temporary arrays included. Every number that is fetched is zero.
"""

import math
from types import SimpleNamespace

import numpy as np

_POOL_UNIT = 512  # bytes: CuPy's memory pool hands out multiples of it
_SHOWN = frozenset(("shape", "dtype", "strides", "size", "ndim", "nbytes", "itemsize", "flags"))


class DeviceMemory:
    """Bytes that arrays take: now, and at most since the beginning."""

    def __init__(self):
        self.live = self.peak = 0

    def new(self, shape, dtype) -> "DryArray":
        """An array of that shape, counted until it and its views are let go."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        form = np.lib.stride_tricks.as_strided(np.empty(0, dtype), shape, _strides(shape, np.dtype(dtype).itemsize))
        return DryArray(form, _Allocation(self, form.nbytes))


def _strides(shape, itemsize: int) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) * itemsize for axis in range(len(shape)))


class _Allocation:
    """The bytes of one array and of all views of it."""

    def __init__(self, memory: DeviceMemory, size: int):
        self.memory, self.size = memory, -(-size // _POOL_UNIT) * _POOL_UNIT
        memory.live += self.size
        memory.peak = max(memory.peak, memory.live)

    def __del__(self):
        self.memory.live -= self.size


class DryArray:
    """An array without values. `form` has its shape, order and dtype and no memory behind it: it must never be read."""

    def __init__(self, form: np.ndarray, allocation: _Allocation):
        self._form, self._allocation = form, allocation

    def __getattr__(self, name):
        if name in _SHOWN:
            return getattr(self._form, name)
        raise AttributeError(f"a dry run knows no '{name}' of an array")

    def _view(self, form) -> "DryArray":
        return DryArray(form, self._allocation)

    def _new(self, shape, dtype) -> "DryArray":
        return self._allocation.memory.new(shape, dtype)

    @property
    def data(self):
        """Stands for a place in memory: there is none."""
        return SimpleNamespace(ptr=0, device_id=0)

    @property
    def T(self) -> "DryArray":
        """The transposed view."""
        return self._view(self._form.T)

    def transpose(self, *axes) -> "DryArray":
        """The view with its axes in that order."""
        return self._view(self._form.transpose(*axes))

    def __len__(self):
        return len(self._form)

    def __iter__(self):
        return (self[number] for number in range(len(self)))

    def reshape(self, *shape) -> "DryArray":
        """A view; a copy of what is not contiguous."""
        whole = self if self.flags.c_contiguous else self._new(self.shape, self.dtype)
        return whole._view(whole._form.reshape(*shape))

    def ravel(self) -> "DryArray":
        """All values in a row."""
        return self.reshape(-1)

    def __getitem__(self, key) -> "DryArray":
        if isinstance(key, DryArray):  # a mask keeps at most everything
            return self._new(self.size, self.dtype)
        return self._view(self._form[(*key, ...) if isinstance(key, tuple) else (key, ...)])

    def __setitem__(self, key, value):
        """Nothing is kept."""

    def sum(self) -> "DryArray":
        """One value."""
        return self._new((), np.float64)

    def _compared(self, other) -> "DryArray":
        return self._new(self.shape, bool)

    __eq__ = __ge__ = _compared
    __hash__ = None

    def __iadd__(self, other):
        return self

    __imul__ = __iadd__

    def copy(self) -> "DryArray":
        """Another array of that shape."""
        return self._new(self.shape, self.dtype)

    def get(self, out=None) -> np.ndarray:
        """Zeros in host memory."""
        return np.zeros(self.shape, self.dtype) if out is None else out

    def set(self, values) -> None:
        """Nothing is kept."""

    def __float__(self):
        return 0.0

    def __int__(self):
        return 0


class DryModule:
    """What our code uses of CuPy, over DryArrays."""

    def __init__(self, memory: DeviceMemory):
        self._memory = memory

    def empty(self, shape, dtype=np.float64) -> DryArray:
        """An array of that shape."""
        return self._memory.new(shape, dtype)

    zeros = empty
