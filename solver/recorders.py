"""Files that follow a run: named values at each display and after each test pass, as CSV.

A recorder is called with (iteration, {name: value}) and stands in a solver's `listeners`. Names: `lr`; `loss`, the mean of the last
average_loss losses; `train/BLOB` and `test/BLOB` for the nets' outputs, `test1/BLOB` for those of the second test net.
"""

import contextlib
import csv
import io
import os
import time

from .errors import SolverError
from .log import logger
from .log_reader import cells_of
from .outputs import named_values, outputs_of, test_name

_FIRST = ["iteration", "seconds"]


class Recorder:
    """What files that follow a run share: one that cannot be written any more is given up, and the training goes on."""

    path = ""
    _file = None

    def __call__(self, iteration: int, values: dict[str, float]) -> None:
        if self._file is None:
            return
        try:
            self.record(iteration, values)
        except OSError as error:
            logger.warning("%s: %s; the training goes on without this file", self.path, error.strerror or error)
            self.close()

    def begin(self, names: list[str]) -> None:
        """Get ready for values of these names. Raises SolverError, OSError."""

    def record(self, iteration: int, values: dict[str, float]) -> None:
        """Write the values to the file. Raises OSError."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back the file."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # what could not be written has been said
                file.close()


class CsvRecorder(Recorder):
    """A table with a row for each iteration that shows or tests: iteration, seconds of training, and a column for each name.

    A row is on its way to the disk as soon as it is known; a cell whose value was not told at that iteration is empty.
    path: a new file, or with `resumed` one that an earlier part of the run has written: rows from the resumed iteration on are
    written anew, and its seconds go on. Raises SolverError for a file that is there, or (`begin`) whose columns are others; OSError.
    """

    def __init__(self, path: str, resumed: bool = False):
        self.path = path
        self._goes_on = os.path.exists(path) and os.path.getsize(path) > 0
        if self._goes_on and not resumed:
            raise SolverError(f"{path}: is there already; name another file for this run, or remove it")
        self._file = open(path, "rb+" if self._goes_on else "wb+")

    def begin(self, names):
        self._columns = [*_FIRST, *names]
        header = self._line(self._columns)
        if not self._goes_on:
            try:
                self._file.write(header)
                self._file.flush()
            except OSError as error:
                raise SolverError(f"{self.path}: cannot be written ({error.strerror})") from None
        elif self._file.readline() != header:
            raise SolverError(f"{self.path}: its columns are not those of this run: name another file")
        self._start = len(header)  # where the row of the last iteration begins
        self._row: dict[str, str] = {}
        self._begun = time.perf_counter()

    @staticmethod
    def _line(cells: list[str]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue().encode()

    def record(self, iteration, values):
        if self._goes_on:
            self._begun -= self._go_on_from(iteration)
            self._goes_on = False
        if self._row.get("iteration") != str(iteration):
            self._row = {"iteration": str(iteration)}
            self._start = self._file.seek(0, os.SEEK_END)
        self._row["seconds"] = f"{time.perf_counter() - self._begun:.3f}"
        self._row.update((name, f"{value:.7g}") for name, value in values.items())
        self._file.seek(self._start)
        self._file.write(self._line([self._row.get(name, "") for name in self._columns]))
        self._file.truncate()
        self._file.flush()

    def _go_on_from(self, iteration: int) -> float:
        """Drop the rows from an iteration on, and what is left of one cut off; the seconds of the row before."""
        self._file.seek(self._start)
        seconds = 0.0
        for line in self._file.read().splitlines(keepends=True):
            known = self._known(line)
            if known is None or known[0] >= iteration:
                break
            seconds = known[1]
            self._start += len(line)
        self._file.truncate(self._start)
        return seconds

    def _known(self, line: bytes) -> tuple[int, float] | None:
        """The iteration and seconds of a row, None where it is not a whole one."""
        cells = cells_of(line.decode(errors="replace"))
        try:
            whole = line.endswith(b"\n") and len(cells) == len(self._columns)
            return (int(cells[0]), float(cells[1])) if whole else None
        except ValueError:
            return None


def names_of(solver) -> list[str]:
    """The names of all values that a solver tells its listeners."""
    names = ["lr", "loss", *named_values("train", outputs_of(solver.net))]
    for number, net in enumerate(solver.test_nets):
        names.extend(named_values(test_name(number), outputs_of(net)))
    return names
