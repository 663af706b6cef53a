"""A stand-in for CuPy on a machine without a GPU: it records launches, transfers and memory, and the host kernels do the work.

With an architecture what NVRTC makes of the kernels for it runs instead (ptx.py), in the very grids and blocks that are asked for.
It is as strict as CuPy where our code could go wrong: its arrays turn into NumPy arrays by `get` alone, take no NumPy array but by `set`,
and their sums stay on the device until `float` or `int` fetches them.
"""

import contextlib
import functools
import itertools
import sys
import time
import types
import weakref
from collections import deque
from typing import NamedTuple

import numpy as np
import ptx
from stand_in_array import DeviceArray, aligned
from stand_in_cublas import HANDLE, Cublas

from deconvnet.core import kernels
from deconvnet.core.kernels import cublas, device, host, pooling, sources

PROCESSORS = 4
MOST_THREADS = {"softmax_loss_forward": 800}  # as if it took 80 registers
L2_BYTES = 1 << 16
_ROUNDED = 512  # bytes of which CuPy's pool hands out multiples


class Pointer(NamedTuple):
    """An array that a launch was given; the array itself would stay alive in the record."""

    dtype: np.dtype
    contiguous: bool
    aligned: bool


class Launch(NamedTuple):
    """One launch as CuPy was asked for it, Pointers in the place of arrays."""

    name: str
    grid: tuple
    block: tuple
    arguments: tuple


class Record:
    """What happened on the device that is not there.

    launches: in their order; products: (m, n, k, count) of each that cuBLAS did; to_host, to_device: bytes of each transfer
    recording: what is to be done when a graph is played, while one is recorded; graphs: the number of works of each that was played
    page_locked: bytes of each such buffer; waited: how often the host waited for an event
    traffic: where it is a dictionary, what the launches of each kernel asked memory for, of kernels that run as PTX
    live, peak: bytes that arrays take, now and at most; hooks: who is told of each allocation and its end
    """

    def __init__(self):
        self.launches: list[Launch] = []
        self.to_host: list[int] = []
        self.to_device: list[int] = []
        self.products: list[tuple] = []
        self.recording: list | None = None
        self.graphs: list[int] = []
        self.page_locked: list[int] = []
        self.waited = 0
        self.stream = None
        self.traffic: dict[str, ptx.Traffic] | None = None
        self.live = self.peak = 0
        self.hooks: list = []
        self._numbers = itertools.count(1)
        self._arrays: dict[int, tuple[int, int]] = {}

    def do(self, work) -> None:
        """Do it, or only note it for a graph."""
        if self.recording is None:
            work()
        else:
            self.recording.append(work)

    def transfer(self) -> None:
        """Before anything that a recording cannot hold."""
        if self.recording is not None:
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"
            )

    def holds(self, address: int, size: int) -> bool:
        """Whether so many bytes from there on lie within one array."""
        return any(start <= address and address + size <= end for start, end in self._arrays.values())

    def arrays(self) -> list[tuple[int, int]]:
        """Where each array begins and ends."""
        return list(self._arrays.values())

    def allocate(self, array: np.ndarray) -> "DeviceArray":
        size = -(-array.nbytes // _ROUNDED) * _ROUNDED
        self.live += size
        self.peak = max(self.peak, self.live)
        number = next(self._numbers)
        for hook in self.hooks:
            hook.malloc_postprocess(device_id=0, size=array.nbytes, mem_size=size, mem_ptr=number, pmem_id=number)
        array = aligned(array, _ROUNDED)
        owner = DeviceArray(array, self)
        self._arrays[number] = (array.ctypes.data, array.ctypes.data + array.nbytes)
        weakref.finalize(owner, self._free, size, number)
        return owner

    def _free(self, size: int, number: int) -> None:
        self.live -= size
        del self._arrays[number]
        for hook in self.hooks:
            hook.free_postprocess(device_id=0, mem_size=size, mem_ptr=number, pmem_id=number)


class Stream:
    """One after the other, as everything here. Only a non-blocking one can record."""

    def __init__(self, record: Record, non_blocking: bool = False):
        self.record, self.non_blocking = record, non_blocking
        self._before = None
        self.ptr = id(self) if non_blocking else 0

    def __enter__(self):
        self._before, self.record.stream = self.record.stream, self
        return self

    def __exit__(self, *error):
        self.record.stream = self._before

    def synchronize(self):
        self.record.transfer()

    def begin_capture(self):
        assert self.non_blocking and self.record.stream is self and self.record.recording is None
        self.record.recording = []

    def end_capture(self):
        works, self.record.recording = self.record.recording, None
        return Graph(self.record, works)


class Graph:
    """What was recorded."""

    def __init__(self, record: Record, works: list):
        self.record, self.works = record, works

    def launch(self):
        assert self.record.recording is None
        self.record.graphs.append(len(self.works))
        for work in self.works:
            work()


class Event:
    """Noted in the record where it is waited for."""

    def __init__(self, record: Record, disable_timing: bool = False):
        self.record_of_all, self.time = record, None

    def record(self):
        self.time = time.perf_counter()

    def synchronize(self):
        assert self.time is not None
        self.record_of_all.transfer()
        self.record_of_all.waited += 1


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


class CompileException(Exception):
    """As CuPy's: the log is the message."""


class CUDARuntimeError(RuntimeError):
    """As CuPy's, and as its CUDADriverError. status: CUDA's number of what went wrong."""

    def __init__(self, message: str, status: int = 900):
        super().__init__(message)
        self.status = status


def make(record: Record, memory: int | None = None, architecture: str | None = None):
    """A module with what our code uses of CuPy. memory: bytes of the device, beyond which OutOfMemoryError is raised (None: no end).

    architecture: of the PTX that launches run, such as "compute_90"; None: the host kernels.
    """

    def new(array):
        if memory is not None and record.live + array.nbytes > memory:
            raise OutOfMemoryError(
                f"Out of memory allocating {array.nbytes:,} bytes (allocated so far: {record.live:,} bytes)."
            )
        return record.allocate(array)

    def asarray(values, dtype=None):
        if isinstance(values, DeviceArray):
            return values
        array = np.array(values, dtype)
        record.to_device.append(array.nbytes)
        return new(array)

    def alloc_pinned_memory(size):
        record.page_locked.append(size)
        return bytearray(b"?" * size)

    class RawModule:
        def __init__(self, code, options):
            assert "-std=c++17" in options and '#include "' not in code
            self.real = next(option for option in options if option.startswith("-Dreal=")).removeprefix("-Dreal=")
            self.code = code

        def get_function(self, name):
            assert f"KERNEL({name}," in self.code
            run = on_host(name, self.real) if architecture is None else as_ptx(name, self.real)

            def function(grid, block, arguments):
                record.launches.append(Launch(name, grid, block, tuple(map(described, arguments))))
                record.do(lambda: run(*grid, *block, arguments))

            function.max_threads_per_block = MOST_THREADS.get(name, 1024)
            return function

    def on_host(name, real):
        run = host.kernel(name, np.dtype({"float": np.float32, "double": np.float64}[real]))
        kinds = sources.signatures()[name].kinds

        def launch(blocks, threads, arguments):
            pairs = zip(kinds, arguments, strict=True)
            run(1, 1, [as_host(argument, kind.endswith("*")) for kind, argument in pairs])

        return launch

    def as_ptx(name, real):
        program = ptx.program(name, real, architecture)

        def launch(blocks, threads, arguments):
            addresses = [np.uintp(one.data.ptr) if isinstance(one, DeviceArray) else one for one in arguments]
            traffic = None if record.traffic is None else record.traffic.setdefault(name, ptx.Traffic())
            program.run(blocks, threads, addresses, record.arrays(), traffic)

        return launch

    def described(argument):
        if not isinstance(argument, DeviceArray):
            return argument
        aligned = argument.held.ctypes.data % argument.itemsize == 0
        return Pointer(argument.dtype, argument.flags.c_contiguous, aligned)

    def as_host(argument, pointer):
        if isinstance(argument, DeviceArray):
            return argument.held
        return None if pointer and argument == 0 else argument.item()

    class Device:
        def __init__(self, number=0):
            self.id = number
            self.compute_capability = "90"
            self.mem_info = (1 << 30, 2 << 30) if memory is None else (memory - record.live, memory)

        def use(self):
            pass

    class MemoryHook:
        def __enter__(self):
            record.hooks.append(self)
            return self

        def __exit__(self, *_):
            record.hooks.remove(self)

    pool = types.SimpleNamespace(free_all_blocks=lambda: None, total_bytes=lambda: record.peak)
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: 1,
        CUDARuntimeError=CUDARuntimeError,
        getDeviceProperties=lambda number: {"name": b"a device that is not there"},
        runtimeGetVersion=lambda: 12090,
        driverGetVersion=lambda: 13000,
        cudaDevAttrMultiProcessorCount=16,
        cudaDevAttrL2CacheSize=38,
        deviceGetAttribute=lambda attribute, device: {16: PROCESSORS, 38: L2_BYTES}[attribute],
    )
    record.stream = Stream(record)
    module = types.ModuleType("cupy")
    module.__version__ = "14.0"
    module.ndarray, module.RawModule = DeviceArray, RawModule
    module.cuda = types.SimpleNamespace(
        Device=Device,
        device=types.SimpleNamespace(get_cublas_handle=lambda: HANDLE),
        runtime=runtime,
        compiler=types.SimpleNamespace(CompileException=CompileException),
        memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        get_current_stream=lambda: record.stream,
        Stream=functools.partial(Stream, record),
        Event=functools.partial(Event, record),
        alloc_pinned_memory=alloc_pinned_memory,
        MemoryPool=lambda: types.SimpleNamespace(malloc=None, free_all_blocks=lambda: None),
        using_allocator=lambda malloc: contextlib.nullcontext(),
        get_elapsed_time=lambda first, last: (last.time - first.time) * 1e3,
        MemoryHook=MemoryHook,
    )
    module.get_default_memory_pool = lambda: pool
    module.asarray = module.array = asarray
    module.empty = lambda shape, dtype=np.float64: new(np.full(shape, np.array(-77).astype(dtype)))
    module.zeros = lambda shape, dtype=np.float64: new(np.zeros(shape, dtype))
    return module


def install(monkeypatch, memory: int | None = None, architecture: str | None = None) -> Record:
    """Until the test ends, "gpu" means the stand-in; the record of what happens there. memory, architecture: see make."""
    record = Record()
    gpu = f"{kernels.__name__}.gpu"
    monkeypatch.setitem(sys.modules, "cupy", make(record, memory, architecture))
    monkeypatch.setitem(sys.modules, gpu, None)
    del sys.modules[gpu]  # so that it is imported anew; monkeypatch restores what was there
    products = Cublas(record)
    monkeypatch.setattr(cublas, "library", lambda version: products)
    monkeypatch.setattr(device._workspaces, "held", {})
    monkeypatch.setattr(pooling._strays, "waiting", deque())
    monkeypatch.setattr(device, "_mode", "cpu")
    return record
