"""Files are data: nothing that is read from one is unpickled or evaluated."""

import ast
from pathlib import Path

import pytest

from deconvnet.core import kernels

ROOT = Path(kernels.__file__).parents[1]
ROOMS = ["blob", "deconvnet", "kernels", "layers", "net", "proto", "segmentation", "solver", "tools"]
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "runpy", "code"}
CALLS = {"eval", "exec", "compile", "__import__"}


def runs_code(source):
    """What in a source could run code from a file: modules, calls, and np.load that unpickles."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from MODULES & {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            yield from MODULES & {(node.module or "").partition(".")[0]}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield from CALLS & {node.func.id}
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and getattr(node.value, "value", True):
            yield "allow_pickle"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_or_evaluated(path):
    assert list(runs_code(path.read_text())) == []


def test_what_could_run_code_is_seen():
    for source in ("import pickle", "from marshal import loads", "eval('1')", "np.load(f, allow_pickle=True)"):
        assert list(runs_code(source))
