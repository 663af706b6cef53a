"""Arrays for tests: made from a fixed seed, put on the device of the mode, brought back to the host."""

import numpy as np

from deconvnet.core import kernels


def numbers(*shape: int, seed: int = 0, dtype=np.float64) -> np.ndarray:
    """Normal values of the shape; the same ones for the same shape and seed."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def spaced(*shape: int, seed: int = 0, dtype=np.float64) -> np.ndarray:
    """Values of which no two are closer than 0.1 and none is closer to zero than 0.05: away from the kinks of max and ReLU."""
    count = int(np.prod(shape))
    values = (np.arange(count) - count // 2 + 0.5) * 0.1
    return np.random.default_rng([seed, *shape]).permutation(values).reshape(shape).astype(dtype)


def put(array: np.ndarray):
    """A copy on the device of the mode, contiguous."""
    return place(np.ascontiguousarray(array))


def place(array: np.ndarray):
    """What makes the copy; a program may take another for it."""
    return kernels.array_module().array(array)


def empty(*shape: int, dtype=np.float64):
    """An array on the device of the mode that holds NaN (integers: -77, or what is left of it), so that what is not written shows."""
    dtype = np.dtype(dtype)
    return put(np.full(shape, np.array(np.nan if dtype.kind == "f" else -77).astype(dtype)))


def host(array) -> np.ndarray:
    """The array in host memory."""
    return kernels.to_host(array)
