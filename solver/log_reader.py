"""A training read back from its log, this project's or Caffe's own, or from the table of --csv: curves by name over the iterations."""

import csv
import re
from collections import Counter

from .errors import SolverError
from .outputs import numbered, test_name

# name -> [(iteration, value), ...], iterations increasing; names as a solver's listeners hear them, see recorders.py
Curves = dict[str, list[tuple[int, float]]]

_NUMBER = r"([-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf))"
_LOSS = re.compile(rf"Iteration (\d+)(?: \([^)]*\))?, loss = {_NUMBER}")
_RATE = re.compile(rf"Iteration (\d+), lr = {_NUMBER}")
_TEST_PASS = re.compile(r"Iteration (\d+), Testing net \(#(\d+)\)")
_OUTPUT = re.compile(rf"(Train|Test) net output #\d+: (\S+) = {_NUMBER}")


def loss_line(line: str) -> tuple[int, float] | None:
    """The (iteration, loss) that a log line reports, or None for any other line."""
    found = _LOSS.search(line)
    return (int(found[1]), float(found[2])) if found else None


def read_curves(path: str) -> Curves:
    """The curves of a log or of a table of --csv. Raises FileNotFoundError, SolverError for a file that holds none."""
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        curves = _from_table(file) if file.readline().startswith("iteration,") else _from_log(file)
    if not curves:
        raise SolverError(
            f"{path}: holds no training: the log of train_net.py (its stderr) or its --csv file is expected"
        )
    return curves


def read_log(path) -> Curves:
    """The curves of a training log in Caffe's form; lines of another kind are passed over. Raises FileNotFoundError."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return _from_log(file)


def _from_log(file) -> Curves:
    file.seek(0)
    curves: Curves = {}
    iteration, test, count = None, "test", Counter()
    for line in file:
        if found := loss_line(line):
            iteration, count = found[0], Counter()
            _add(curves, "loss", *found)
        elif found := _RATE.search(line):
            _add(curves, "lr", int(found[1]), float(found[2]))
        elif found := _TEST_PASS.search(line):
            iteration, test, count = int(found[1]), test_name(int(found[2])), Counter()
        elif (found := _OUTPUT.search(line)) and iteration is not None:
            name = f"{'train' if found[1] == 'Train' else test}/{found[2]}"
            _add(curves, numbered(name, count[name]), iteration, float(found[3]))
            count[name] += 1
    return curves


def _from_table(file) -> Curves:
    file.seek(0)
    curves: Curves = {}
    _, _, *names = cells_of(file.readline()) or ["", ""]
    for line in file:
        cells = cells_of(line)
        try:
            points = [(name, int(cells[0]), float(cell)) for name, cell in zip(names, cells[2:], strict=True) if cell]
        except (ValueError, IndexError):
            continue  # the last row of a run that was killed
        for point in points:
            _add(curves, *point)
    return curves


def cells_of(line: str) -> list[str]:
    """The cells of a line of CSV; none where it is no such line, as what a machine without power leaves behind."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _add(curves: Curves, name: str, iteration: int, value: float) -> None:
    """A further point; where the iterations begin again, as in the log of a resumed run, it replaces those it repeats."""
    points = curves.setdefault(name, [])
    while points and points[-1][0] >= iteration:
        points.pop()
    points.append((iteration, value))
