"""PTX, what NVRTC makes of our kernels for a GPU, read and run on the host by ptx_machine.cpp: so tests without a GPU run its very code.

A stand-in for CuPy (stand_in_cupy.py) that was installed with an architecture launches kernels here, grids and blocks as on a device.
"""

import ctypes
import functools
import itertools
import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import nvrtc

from deconvnet.core.kernels import host_build, sources

HERE = Path(__file__).parent
OPERANDS = 16
_FLAGS = [
    "-std=c++20",
    "-O2",
    "-fPIC",
    "-shared",
    "-ffp-contract=off",
    "-frounding-math",
    "-Wall",
    "-Wextra",
]
_KINDS = ("compute", "load", "store", "branch", "return", "barrier", "shuffle", "product", "matrices", "atomic max")
_SPACES = ("global", "shared", "local", "param")
_SPECIAL = ("%tid.x", "%ntid.x", "%ctaid.x", "%nctaid.x")
_ENTRY = re.compile(r"^\.visible \.entry (\w+)\((.*?)\)(.*?)^\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_PARAM = re.compile(r"\.param \.\w(\d+) (\w+)")
_MEMORY = re.compile(r"\.(shared|local) \.align (\d+) \.b8 \t?(\w+)\[(\d+)\];")
# calls of the one function that the compiler does not place inline
_POWER = re.compile(
    r"\{ // callseq.*?st\.param\.f64\s+\[param0\+0\], (%fd\d+);.*?st\.param\.f64\s+\[param1\+0\], (%fd\d+);.*?"
    r"__internal_accurate_pow,.*?ld\.param\.f64\s+(%fd\d+), \[retval0\+0\];.*?\} // callseq \d+",
    re.DOTALL,
)
_SCOPE = re.compile(
    r"^\s*\{\s*\n((?:\s*\.reg [^\n]*\n).*?)^\s*\}", re.MULTILINE | re.DOTALL
)  # inline assembly within a kernel
_GUARD = re.compile(r"@(!?)(%\w+)\s+")
_ADDRESS = re.compile(r"\[([%\w$.]+)(?:\+(-?\d+))?\]")
_ACCESS = re.compile(r"(ld|st)(?:\.(global|shared|local|param))?(?:\.nc)?(?:\.v(\d))?\.[bfsu](\d+)")
# instructions of the hardware that one of PTX becomes, about; where it says nothing, one
_COSTS = {
    "mov": 0,
    "cvta": 0,
    "div.s32": 20,
    "div.u32": 20,
    "rem": 20,
    "div.s64": 70,
    "div.u64": 70,
    "div.rn": 10,
    "sqrt.rn": 10,
    "rcp.rn": 6,
    "pow": 60,
}
_NUMBER = re.compile(r"0[fd][0-9A-F]+|-?\d+")


class _Instruction(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_int)
            for name in ("kind", "compute", "guard", "negated", "target", "space", "count", "bytes", "cost")
        ),
        ("offset", ctypes.c_int64),
        ("o", ctypes.c_int * OPERANDS),
    ]


class Traffic(ctypes.Structure):
    """What the warps of launches ask for, summed over all that are given it.

    instructions: of all threads, as the hardware has them, about; sectors: of 32 bytes of global memory, each once for an instruction of a warp; read, written: sectors that
    are at all, each once a launch; passes, least_passes: that the banks of shared memory take, and would without conflicts
    """

    _fields_ = [
        (name, ctypes.c_int64) for name in ("instructions", "sectors", "read", "written", "passes", "least_passes")
    ]


class _Launch(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("code", "slots", "params", "ranges", "traffic")),
        *(
            (name, ctypes.c_int)
            for name in (
                "length", "slot_count", "param_bytes", "range_count", "shared_bytes", "local_bytes", "blocks", "threads",
            )
        ),
    ]  # fmt: skip


class PtxError(RuntimeError):
    """What a GPU would not have done: an address outside of every array, a race, threads that wait for each other for ever."""


@functools.cache
def _machine():
    """The machine, built anew by each process."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "ptx_machine.so")
        command = [host_build.compiler(), *_FLAGS, "-o", str(library), str(HERE / "ptx_machine.cpp")]
        subprocess.run(command, check=True)
        machine = ctypes.CDLL(str(library))
    machine.run.restype = ctypes.c_char_p
    return machine


class Program(NamedTuple):
    """One kernel: its instructions, what its slots hold at first, where its parameters lie, and the memory that it takes, in bytes.

    params: (offset, size) of each
    """

    name: str
    code: ctypes.Array
    slots: np.ndarray
    params: list[tuple[int, int]]
    shared: int
    local: int

    def run(self, blocks: int, threads: int, arguments, ranges, traffic: Traffic | None = None) -> None:
        """Launch it. arguments: NumPy scalars, addresses as uintp; ranges: (begin, end) of every array; traffic: to be added to.

        Raises PtxError.
        """
        size = sum(self.params[-1])
        params = np.zeros(size, np.uint8)
        for (offset, width), argument in zip(self.params, arguments, strict=True):
            assert argument.nbytes == width
            params[offset : offset + width] = np.frombuffer(argument.tobytes(), np.uint8)
        ranges = np.array(sorted(ranges), np.uint64).reshape(-1, 2)
        pointers = [ctypes.addressof(self.code), *(array.ctypes.data for array in (self.slots, params, ranges))]
        pointers.append(None if traffic is None else ctypes.addressof(traffic))
        sizes = (len(self.code), len(self.slots), size, len(ranges), self.shared, self.local, blocks, threads)
        said = _machine().run(ctypes.byref(_Launch(*pointers, *sizes)))
        if said:
            raise PtxError(f"{self.name}, {blocks} blocks of {threads} threads: {said.decode()}")


@functools.cache
def program(name: str, real: str, architecture: str) -> Program:
    """A kernel for an architecture such as "compute_90", as CuPy would have it compiled. Raises ValueError for what the machine cannot do."""
    return program_in(_ptx(sources.signatures()[name].file, real, architecture), name)


@functools.cache
def _ptx(file: Path, real: str, architecture: str) -> str:
    return compiled(sources.source_text(file), file.name, architecture, f"-Dreal={real}")


def compiled(text: str, name: str, architecture: str, *options: str) -> str:
    """The PTX of a CUDA source."""
    return _nvrtc().ptx(text, name, [f"--gpu-architecture={architecture}", "-std=c++17", *options, *nvrtc.CUPY_OPTIONS])


@functools.cache
def _nvrtc() -> nvrtc.Nvrtc:
    return nvrtc.Nvrtc()


def program_in(text: str, name: str) -> Program:
    """A kernel of PTX. Raises ValueError for what the machine cannot do."""
    kernels = {found: rest for found, *rest in _ENTRY.findall(text)}
    params, _, body = kernels[name]
    return _Reader(name, params, body, outside=_ENTRY.sub("", text)).program()


def _with_own_registers(scope: str, number: int) -> str:
    """The text of a scope, whose own registers may bear the names of others, with names that nobody else bears."""
    for name in re.findall(r"\.reg \.\w+\s+(%\w+);", scope):
        scope = re.sub(rf"{name}\b", f"{name}_{number}", scope)
    return scope


class _Reader:
    """Turns the text of one kernel into numbered slots and instructions."""

    def __init__(self, name: str, params: str, body: str, outside: str):
        self.name = name
        self._slots: dict[str, int] = {special: number for number, special in enumerate(_SPECIAL)}
        self._values: list[int] = [0] * len(_SPECIAL)
        self._places: dict[str, int] = {}
        self.params, end = [], 0
        for bits, param in _PARAM.findall(params):
            size = int(bits) // 8
            offset = -(-end // size) * size
            self.params.append((offset, size))
            self._places[param], end = offset, offset + size
        self._sizes = {"shared": 0, "local": 0}
        for space, align, variable, size in _MEMORY.findall(outside + body):
            begin = -(-self._sizes[space] // int(align)) * int(align)
            self._places[variable], self._sizes[space] = begin, begin + int(size)
        self._lines = self._statements(body)

    def _statements(self, body: str) -> list[str]:
        """Instructions, one a line; the labels before them go into `labels`."""
        body = re.sub(r"//.*", "", _POWER.sub(r"pow.f64 \3, \1, \2;", body))
        numbers = itertools.count()
        body = _SCOPE.sub(lambda scope: _with_own_registers(scope[1], next(numbers)), body)
        self.labels, found = {}, []
        for statement in re.findall(r"\$\w+:|[^;{}\n]*(?:\{[^{};\n]*\}[^;{}\n]*)*;", body):
            statement = " ".join(statement.rstrip(";").split())
            if statement.endswith(":"):
                self.labels[statement[:-1]] = len(found)
            elif statement and not statement.startswith("."):
                found.append(statement)
        return found

    def program(self) -> Program:
        code = (_Instruction * len(self._lines))(*map(self._instruction, self._lines))
        slots = np.array(self._values, np.uint64)
        return Program(self.name, code, slots, self.params, self._sizes["shared"], self._sizes["local"])

    def _slot(self, operand: str) -> int:
        """Of a register, a constant or the address of a variable."""
        if operand not in self._slots:
            value = 0
            if operand in self._places:
                value = self._places[operand]
            elif _NUMBER.fullmatch(operand):
                value = int(operand[2:], 16) if operand[:2] in ("0f", "0d") else int(operand) % (1 << 64)
            elif not operand.startswith(("%", "temp")):
                raise ValueError(f"{self.name}: {operand} is no register, number or variable")
            self._slots[operand] = len(self._values)
            self._values.append(value)
        return self._slots[operand]

    def _instruction(self, statement: str) -> _Instruction:
        guard, negated = -1, 0
        if found := _GUARD.match(statement):
            guard, negated, statement = self._slot(found[2]), int(found[1] == "!"), statement[found.end() :]
        word, _, rest = statement.partition(" ")
        word = word.replace(
            ".ftz", ""
        )  # the machine flushes what is below the smallest normal number in all that it does
        made = self._made(word, rest)
        made.guard, made.negated = guard, negated
        made.cost = next((cost for start, cost in _COSTS.items() if word.startswith(start)), 1)
        return made

    def _made(self, word: str, rest: str) -> _Instruction:
        operands = re.findall(r"[%\w$.-]+", rest)
        if word in ("bra", "bra.uni"):
            return self._of("branch", target=self.labels[rest])
        if word == "ret":
            return self._of("return")
        if word == "bar.sync" and rest == "0":
            return self._of("barrier")
        if word == "bar.red.or.pred" and operands[1] == "0":
            return self._of("barrier", [operands[0], operands[2]], count=1)
        if found := _ACCESS.fullmatch(word):
            return self._access(found, rest)
        if word == "atom.global.max.s32":
            result, value = operands[0], operands[-1]
            return self._at(rest, self._of("atomic max", [result, value]))
        if found := re.fullmatch(r"shfl\.sync\.(bfly|idx)\.b32", word):
            return self._of("shuffle", operands, count=int(found[1] == "bfly"))
        if found := re.fullmatch(r"mma\.sync\.aligned\.m16n8k(8|16)\.row\.col\.f32\.(tf32|bf16)\.\2\.f32", word):
            return self._of("product", operands, bytes={"tf32": 4, "bf16": 2}[found[2]])
        if word == "ldmatrix.sync.aligned.m8n8.x4.shared.b16":
            return self._at(rest, self._of("matrices", operands[:4], space=_SPACES.index("shared"), count=4, bytes=4))
        if word == "mov.b64" and "{" in rest:
            word = "unpack.b64" if rest.startswith("{") else "pack.b64"
        number = _machine().compute_of(word.encode())
        if number < 0:
            raise ValueError(f"{self.name}: the machine does not know '{word} {rest}'")
        return self._of("compute", operands, compute=number)

    def _of(self, kind: str, operands=(), **fields) -> _Instruction:
        slots = (ctypes.c_int * OPERANDS)(*map(self._slot, operands))
        return _Instruction(kind=_KINDS.index(kind), o=slots, **fields)

    def _access(self, found, rest: str) -> _Instruction:
        way, space, count, bits = found.groups()
        values = re.findall(r"%\w+", re.sub(r"\[.*?\]", "", rest))
        made = self._of("load" if way == "ld" else "store", values, count=int(count or 1), bytes=int(bits) // 8)
        made.space = _SPACES.index(space or "global")  # generic addresses are global ones here
        return self._at(rest, made)

    def _at(self, rest: str, made: _Instruction) -> _Instruction:
        """With its address before its other operands."""
        base, offset = _ADDRESS.search(rest).groups()
        made.o[1:] = made.o[:-1]
        made.o[0], made.offset = self._slot(base), int(offset or 0)
        return made
