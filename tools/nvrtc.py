"""NVRTC, CUDA's run-time compiler, which works without a GPU: from the pip wheel nvidia-cuda-nvrtc-cu12, through ctypes."""

import contextlib
import ctypes
import importlib.util
from pathlib import Path

CUPY_OPTIONS = ("--device-as-default-execution-space", "-ftz=true")  # options that CuPy adds to ours


class NvrtcMissing(RuntimeError):
    """The compiler's library is not installed."""


class Nvrtc:
    """The run-time compiler, through ctypes. Raises NvrtcMissing where the wheel is not installed."""

    def __init__(self):
        package = importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.cuda_nvrtc")
        folders = package.submodule_search_locations if package else []
        found = [path for folder in folders for path in sorted(Path(folder, "lib").glob("libnvrtc.so.*"))]
        if not found:
            raise NvrtcMissing("NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")
        self._library = ctypes.CDLL(str(found[0]))

    def version(self) -> str:
        """MAJOR.MINOR."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def architectures(self) -> set[str]:
        """Those it can compile for, as "sm_90"."""
        count = ctypes.c_int()
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        numbers = (ctypes.c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", numbers)
        return {f"sm_{number}" for number in numbers}

    def compile(self, text: str, name: str, options: list[str]) -> tuple[bool, str]:
        """Compile a source to machine code; (whether it did, the compiler's log)."""
        with self._program(text, name) as program:
            compiled = self._compiled(program, options)
            return compiled, self._text(program, "nvrtcGetProgramLog")

    def ptx(self, text: str, name: str, options: list[str]) -> str:
        """A source compiled to PTX, for a virtual architecture such as compute_90. Raises RuntimeError with the compiler's log."""
        with self._program(text, name) as program:
            if not self._compiled(program, options):
                raise RuntimeError(f"{name} does not compile: {self._text(program, 'nvrtcGetProgramLog')}")
            return self._text(program, "nvrtcGetPTX")

    @contextlib.contextmanager
    def _program(self, text: str, name: str):
        program = ctypes.c_void_p()
        self._call("nvrtcCreateProgram", ctypes.byref(program), text.encode(), name.encode(), 0, None, None)
        try:
            yield program
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _compiled(self, program, options: list[str]) -> bool:
        arguments = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        return self._library.nvrtcCompileProgram(program, len(options), arguments) == 0

    def _text(self, program, function: str) -> str:
        """What a pair of functions, one for the size, says of a program."""
        size = ctypes.c_size_t()
        self._call(f"{function}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self._call(function, program, text)
        return text.value.decode()

    def _call(self, function: str, *arguments) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            raise RuntimeError(f"{function} failed with status {status}")
