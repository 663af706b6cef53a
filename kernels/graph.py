"""What a function gives a GPU to do, recorded once as a CUDA graph and given again with one call."""

import contextlib

from . import device


class Graph:
    """A recording of what `work` launches; `play` launches all of it again, on the same arrays, behind whatever was launched before.

    `work` runs twice: once as ever, so that kernels are compiled and memory is taken, then for the recording, in which nothing is computed.
    It must launch the same each time and neither fetch nor upload; the arrays that it finds must stay where they are while the graph
    is in use. Those that it makes itself, and the workspaces, the graph keeps.
    """

    _graph = _pool = None

    def __init__(self, work):
        cuda = device.array_module().cuda
        cuda.get_current_stream().synchronize()
        # temporary arrays come from a pool of its own: freed, they belong to the graph still, which will write to them
        self._pool = cuda.MemoryPool()
        stream = cuda.Stream(non_blocking=True)  # only such a stream can record
        with cuda.using_allocator(self._pool.malloc), stream:
            work()
            stream.synchronize()
            stream.begin_capture()
            try:
                work()
            except BaseException:
                with contextlib.suppress(Exception):  # what went wrong may have ended the recording
                    stream.end_capture()
                raise
            self._graph = stream.end_capture()
        self._workspaces = device.workspaces()

    def play(self) -> None:
        """Launch it on the current stream."""
        self._graph.launch()

    def __del__(self):
        self._graph = None  # it writes to what the pool holds, which nobody else gives back
        if self._pool is not None:
            self._pool.free_all_blocks()
