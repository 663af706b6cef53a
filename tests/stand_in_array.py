"""The arrays of the stand-in for CuPy (stand_in_cupy.py): as strict as CuPy's, and in the memory of the host."""

import types

import numpy as np


def aligned(array: np.ndarray, multiple: int) -> np.ndarray:
    """The same values at an address that is a multiple, as CuPy's pool has them."""
    buffer = np.empty(array.nbytes + multiple, np.uint8)
    begin = -buffer.ctypes.data % multiple
    aligned = buffer[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    aligned[...] = array
    return aligned


def _number(value):
    """What CuPy takes in the place of an array."""
    if isinstance(value, DeviceArray):
        return value.held
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value


class DeviceArray:
    """Like a CuPy array; `held` is where the values really are."""

    def __init__(self, held: np.ndarray, record, owner=None):
        self.held, self.record, self._owner = held, record, owner

    def _view(self, held) -> "DeviceArray":
        return DeviceArray(held, self.record, self)

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    dtype = property(lambda self: self.held.dtype)
    shape = property(lambda self: self.held.shape)
    strides = property(lambda self: self.held.strides)
    size = property(lambda self: self.held.size)
    ndim = property(lambda self: self.held.ndim)
    nbytes = property(lambda self: self.held.nbytes)
    itemsize = property(lambda self: self.held.itemsize)
    flags = property(lambda self: self.held.flags)
    T = property(lambda self: self._view(self.held.T))
    data = property(lambda self: types.SimpleNamespace(ptr=self.held.ctypes.data, device_id=0))

    def transpose(self, *axes):
        return self._view(self.held.transpose(*axes))

    def __len__(self):
        return len(self.held)

    def __iter__(self):
        return (self[number] for number in range(len(self)))

    def reshape(self, *shape):
        view = self.held.reshape(*shape)
        return self._view(view) if np.shares_memory(view, self.held) or not view.size else self.record.allocate(view)

    def ravel(self):
        return self.reshape(-1)

    def copy(self):
        return self._new(self.held)

    def astype(self, dtype):
        return self.record.allocate(self.held.astype(dtype))

    def __getitem__(self, key):
        found = self.held[_number(key)]
        return self._view(found) if isinstance(found, np.ndarray) and found.base is not None else self._new(found)

    def _new(self, values):
        return self.record.allocate(np.array(values))

    def __setitem__(self, key, value):
        self.record.do(lambda: self.held.__setitem__(key, _number(value)))

    def sum(self, axis=None, dtype=None, out=None):
        if out is None:
            return self._new(self.held.sum(axis, dtype))
        self.record.do(lambda: self.held.sum(axis, dtype, out=out.held))
        return out

    def mean(self, dtype=None):
        return self._new(self.held.mean(dtype=dtype))

    def __abs__(self):
        return self._new(abs(self.held))

    def __add__(self, other):
        return self._new(self.held + _number(other))

    __radd__ = __add__

    def argmax(self):
        return self._new(self.held.argmax())

    def __eq__(self, other):
        return self._new(self.held == _number(other))

    def __ge__(self, other):
        return self._new(self.held >= _number(other))

    __hash__ = None

    def __truediv__(self, other):
        return self._new(self.held / _number(other))

    def __iadd__(self, other):
        self.record.do(lambda: np.add(self.held, _number(other), out=self.held))
        return self

    def __imul__(self, other):
        self.record.do(lambda: np.multiply(self.held, _number(other), out=self.held))
        return self

    def get(self, out=None):
        self.record.transfer()
        self.record.to_host.append(self.nbytes)
        if out is None:
            return self.held.copy()
        assert out.shape == self.shape and out.dtype == self.dtype and out.flags.c_contiguous
        out[...] = self.held
        return out

    def set(self, values):
        assert isinstance(values, np.ndarray) and values.shape == self.shape and values.dtype == self.dtype
        self.record.transfer()
        self.record.to_device.append(self.nbytes)
        self.held[...] = values

    def __float__(self):
        self.record.transfer()
        self.record.to_host.append(self.nbytes)
        return float(self.held)

    def __int__(self):
        self.record.transfer()
        self.record.to_host.append(self.nbytes)
        return int(self.held)

    def __bool__(self):
        self.record.transfer()
        self.record.to_host.append(self.nbytes)
        return bool(self.held)
