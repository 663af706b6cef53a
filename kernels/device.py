"""Which device computes: the mode that new blobs follow, arrays on it, and the launch of a kernel where its arrays are."""

import contextlib
import importlib
import sys
import threading

import numpy as np

from . import blas, host
from .dry import DeviceMemory, DryModule
from .sources import INT, too_large


class DeviceError(RuntimeError):
    """A device was asked for that is not there."""


_mode = "cpu"
_dry: DryModule | None = None  # stands for the GPU in a dry run
_LONG = 1 << 18  # as many values as a block of a product takes: worth a thread of the host
_LIBRARY_BYTES = 32 << 20  # that cuBLAS may work in, as NVIDIA advises for the GPUs from 9.0 on
_EACH = 256  # values that a block takes at a time in element-wise work


def mode() -> str:
    """ "cpu" or "gpu"."""
    return _mode


def set_mode(name: str) -> None:
    """Choose "cpu" or "gpu" for what is computed from now on. Raises DeviceError where there is no GPU to choose."""
    global _mode
    if name == "gpu":
        gpu_array_module()
    _mode = name


def gpu_array_module():
    """CuPy, with a device behind it. Raises DeviceError with the remedy otherwise."""
    try:
        cupy = importlib.import_module("cupy")
    except (ImportError, OSError) as error:  # CuPy makes a folder for what it compiles
        raise DeviceError(
            f"no GPU: CuPy cannot be imported ({error}); pip install 'deconvnet[cuda12]' or 'deconvnet[cuda13]', or run without --gpu"
        ) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"no GPU: {_no_device(cupy, error)}; run without --gpu to compute on the CPU") from None
    if count == 0:
        raise DeviceError("no GPU: the driver shows no device; run without --gpu to compute on the CPU")
    return cupy


def _no_device(cupy, error: Exception) -> str:
    """Why CUDA shows no device: no driver, one too old for CuPy's CUDA, else in CUDA's words."""
    driver, runtime = (
        cuda_version(number()) for number in (cupy.cuda.runtime.driverGetVersion, cupy.cuda.runtime.runtimeGetVersion)
    )
    if driver == "0.0":
        return "there is no NVIDIA driver on this machine"
    if "InsufficientDriver" in str(error):
        cures = "update the driver, or install CuPy for its CUDA (pip install 'deconvnet[cuda12]' needs a driver for CUDA 12)"
        return f"the driver is for CUDA {driver}, too old for the CUDA {runtime} of CuPy {cupy.__version__}: {cures}"
    return str(error)


def cuda_version(number: int) -> str:
    """MAJOR.MINOR of CUDA's number, 12090 for 12.9."""
    return f"{number // 1000}.{number % 1000 // 10}"


def gpu_memory() -> tuple[int, int]:
    """(free, all) bytes of the GPU that computes."""
    return gpu_array_module().cuda.Device().mem_info


def pooled_memory() -> int:
    """Bytes of the GPU that CuPy's pool holds for this program, in use or not."""
    return gpu_array_module().get_default_memory_pool().total_bytes()


def compute_capability() -> tuple[int, int] | None:
    """Of the GPU that computes, (9, 0) for 9.0; None where the CPU does, or nothing in a dry run."""
    if _mode != "gpu" or _dry is not None:
        return None
    return divmod(int(gpu_array_module().cuda.Device().compute_capability), 10)


def set_gpu(number: int) -> None:
    """Use the GPU of that number from now on. Raises DeviceError where it does not exist."""
    cupy = gpu_array_module()
    count = cupy.cuda.runtime.getDeviceCount()
    if not 0 <= number < count:
        raise DeviceError(f"GPU {number} does not exist: there are {count}, numbered from 0")
    cupy.cuda.Device(number).use()


def on_gpu(array) -> bool:
    """Whether an array lies on a GPU."""
    return not isinstance(array, np.ndarray)


def array_module(array=None):
    """NumPy or CuPy: that of an array, else that of the mode."""
    gpu = on_gpu(array) if array is not None else _mode == "gpu"
    if not gpu:
        return np
    return _dry or sys.modules.get("cupy") or gpu_array_module()


def launch(name: str, rows: int, width: int, *arguments, dtype=None) -> None:
    """Run a kernel over `rows` rows of about `width` values on the device of its first array, in that array's dtype or the one given.

    Arrays are contiguous and of the kernel's types (None for an absent one), numbers are Python's and an `int` fits 32 bits; rows do too.
    Raises ValueError otherwise.
    """
    if rows >= INT:  # kernels count them in an int
        raise too_large(name, f"{rows} rows")
    first = arguments[0]
    dtype = first.dtype if dtype is None else dtype
    if isinstance(first, np.ndarray):
        host.kernel(name, dtype)(rows, width, arguments)
    elif _dry is None:
        importlib.import_module(".gpu", __package__).kernel(name, dtype)(rows, width, arguments)


def launch_blocks(name: str, blocks: int, threads: int, *arguments) -> None:
    """Run a kernel in that many blocks of exactly so many threads: one whose warps work together. For arrays and numbers see `launch`."""
    if blocks >= INT:
        raise too_large(name, f"{blocks} blocks")
    first = arguments[0]
    if isinstance(first, np.ndarray):
        host.kernel(name, first.dtype)(blocks, _LONG, arguments)
    elif _dry is None:
        importlib.import_module(".gpu", __package__).kernel(name, first.dtype).run((blocks,), (threads,), arguments)


def launch_elementwise(name: str, count: int, *arguments) -> None:
    """Run a kernel whose threads share `count` values one by one (`for_each`)."""
    launch(name, -(-count // _EACH), _EACH, *arguments)


class _Workspaces(threading.local):
    """Those of a thread: nets may run in several at once."""

    def __init__(self):
        self.held: dict = {}


_workspaces = _Workspaces()


def workspace(like, count: int, purpose: str, dtype=None):
    """A flat scratch array of `count` values on the device of `like`, of its dtype or another; kept for the next call of that purpose
    in this thread.
    """
    dtype = like.dtype if dtype is None else np.dtype(dtype)
    on_device = on_gpu(like)
    key = (like.data.device_id if on_device else None, dtype, purpose)
    held = _workspaces.held.get(key)
    if held is None or held.size < count:
        held = array_module(like).empty(count, dtype) if on_device else host.aligned_zeros(count, dtype)
        _workspaces.held[key] = held
    return held[:count]


def workspaces() -> list:
    """Those that are held now; each may give way to a larger one."""
    return list(_workspaces.held.values())


@contextlib.contextmanager
def dry_run():
    """In its context the mode is "gpu" and the GPU one that computes nothing: yields the DeviceMemory that says what would be taken.

    Blobs made in it are of no use after it.
    """
    global _mode, _dry
    before, memory = (_mode, _dry, _workspaces.held), DeviceMemory()
    _mode, _dry, _workspaces.held = "gpu", DryModule(memory), {}
    try:
        yield memory
    finally:
        _mode, _dry, _workspaces.held = before


def matrix_product(a, b, out, add: bool = False) -> None:
    """out (..., M, N) = a (..., M, K) @ b (..., K, N) by the library, or that added to it; NaN and infinity go through without a warning:
    the solver finds them in the loss.

    Matrices or stacks of matrices, of one dtype, and views of such: one axis of each matrix must be without gaps. A stack of one serves
    all. Raises ValueError for shapes that do not fit.
    """
    if isinstance(out, np.ndarray):
        with np.errstate(all="ignore"):
            if not add:
                np.matmul(a, b, out=out)
            elif not blas.add_product(a, b, out):
                out += np.matmul(a, b)
        return
    *_, rows, depth = a.shape
    *_, columns = b.shape
    stacks = {matrix.shape[:-2] for matrix in (a, b)} - {(1,), out.shape[:-2]}
    if stacks or b.shape[-2] != depth or out.shape[-2:] != (rows, columns):
        raise ValueError(f"matrices of {a.shape} and {b.shape} have no product of {out.shape}")
    scratch = workspace(out, _LIBRARY_BYTES, "library", np.uint8)
    if _dry is None:
        importlib.import_module(".gpu", __package__).matrix_product(a, b, out, add, scratch)


def page_locked_zeros(count: int, dtype: np.dtype) -> np.ndarray | None:
    """A flat array of zeros in host memory that a GPU reads and writes by itself, without the driver's copy of it.

    None where no GPU computes or the system locks no more memory.
    """
    if _mode == "cpu" or _dry is not None or not count:
        return None
    cupy = array_module()
    try:
        memory = cupy.cuda.alloc_pinned_memory(count * dtype.itemsize)
    except cupy.cuda.runtime.CUDARuntimeError:
        return None
    array = np.frombuffer(memory, dtype, count)
    array[...] = 0
    return array


def launched():
    """An event on the GPU that computes; its `synchronize` waits for what was launched before."""
    event = array_module().cuda.Event(disable_timing=True)
    event.record()
    return event


def address(array) -> int:
    """Where an array begins in the memory of its device."""
    return array.data.ptr if on_gpu(array) else array.ctypes.data


def beside(like, values: np.ndarray):
    """The values in the memory of the device that `like` lies on: a copy on a GPU."""
    if not on_gpu(like):
        return values
    copy = array_module(like).empty(values.shape, values.dtype)
    copy.set(values)
    return copy


def to_host(array) -> np.ndarray:
    """The array in host memory (itself where it is there)."""
    return array if isinstance(array, np.ndarray) else array.get()


def places_not_zero(array: np.ndarray) -> np.ndarray:
    """The flat indices of the values of a host array that are not 0; in a dry run, which knows no values, all of them."""
    return np.arange(array.size) if _dry is not None else np.flatnonzero(array)


def synchronize() -> None:
    """Wait until the device has done what it was given."""
    if _mode == "gpu" and _dry is None:
        array_module().cuda.get_current_stream().synchronize()
