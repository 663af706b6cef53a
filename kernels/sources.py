"""The CUDA sources and the argument lists of the kernels in them, read from the `KERNEL(name, ...)` lines themselves."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

FOLDER = Path(__file__).parent
_INCLUDE = re.compile(r'^#include "(\w+\.h)"\n', re.MULTILINE)
_DECLARATION = re.compile(r"^KERNEL\((\w+),\s*(.*?)\)\s*\{", re.MULTILINE | re.DOTALL)
INT = 1 << 31  # an `int` of a kernel lies below it
# what an array of a kernel holds; of `real*` what its build is for
POINTEES = {
    "int*": np.dtype(np.int32),
    "double*": np.dtype(np.float64),
    "index*": np.dtype(np.int64),
    "unsigned char*": np.dtype(np.uint8),
}
_KINDS = {"real*", *POINTEES, "int", "acc", "index", "unsigned int", "unsigned long long"}


class Signature(NamedTuple):
    """A kernel's file and the kinds of its arguments, e.g. ("real*", "int", "acc")."""

    file: Path
    kinds: tuple[str, ...]
    names: tuple[str, ...]


def too_large(kernel: str, said: str) -> ValueError:
    """The error for a number that no `int` of a kernel can hold."""
    return ValueError(f"kernel {kernel}: {said}, beyond 32 bits: use smaller blobs")


def cuda_files() -> list[Path]:
    """The .cu files, sorted by name."""
    return sorted(FOLDER.glob("*.cu"))


def headers() -> list[Path]:
    """The .h files that kernels include, sorted by name."""
    return sorted(FOLDER.glob("*.h"))


def source_text(file: Path) -> str:
    """A .cu file with our headers in the places of their includes, so that no include path is needed; messages keep file and line."""
    return _with_headers(file, set())


def _with_headers(file: Path, placed: set[str]) -> str:
    """The text of a file, each header in it where it is first included."""
    text, parts, end = file.read_text(), [], 0
    for include in _INCLUDE.finditer(text):
        parts.append(text[end : include.start()])
        if include[1] not in placed:
            placed.add(include[1])
            parts.append(f'#line 1 "{include[1]}"\n{_with_headers(FOLDER / include[1], placed)}')
        end = include.end()
        parts.append(f'#line {text.count(chr(10), 0, end) + 1} "{file.name}"\n')
    return "".join(parts) + text[end:]


def kernels_in(file: Path) -> dict[str, Signature]:
    """The kernels of one .cu file by name."""
    found = {}
    for name, arguments in _DECLARATION.findall(file.read_text()):
        kinds, names = zip(*(_kind_and_name(argument) for argument in arguments.split(",")), strict=True)
        found[name] = Signature(file, kinds, names)
    return found


@cache
def signatures() -> dict[str, Signature]:
    """Every kernel by name."""
    return {name: signature for file in cuda_files() for name, signature in kernels_in(file).items()}


def _kind_and_name(argument: str) -> tuple[str, str]:
    words = argument.replace("const", "").replace("__restrict__", "").replace("*", "* ").split()
    kind, name = " ".join(words[:-1]), words[-1]
    if kind not in _KINDS:
        raise ValueError(f"no kernel takes a '{kind}' such as {name}")
    return kind, name
