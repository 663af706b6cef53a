"""The training log in Caffe's form (glog's line prefix, on stderr) and a progress bar that log lines do not garble."""

import logging
import os
import sys
import threading
import time

logger = logging.getLogger("deconvnet")


class GlogFormatter(logging.Formatter):
    """Lines like `I1121 07:23:45.123456  4242 solver.py:218] Iteration 20, lr = 0.01`, for parsers of Caffe's logs."""

    def format(self, record):
        moment = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
        microseconds = int(record.created % 1 * 1_000_000)
        who = f"{threading.get_native_id():5d} {record.filename}:{record.lineno}"
        return f"{record.levelname[0]}{moment}.{microseconds:06d} {who}] {record.getMessage()}"


class _Stderr(logging.Handler):
    """Writes to whatever sys.stderr is at the moment, above a progress bar where there is one."""

    bar = None

    def emit(self, record):
        line = self.format(record)
        try:
            if self.bar is not None:
                self.bar.write(line, file=sys.stderr)
            else:
                print(line, file=sys.stderr, flush=True)
        except OSError:
            pass  # nobody reads the log any more: no reason to end the training


_handler = _Stderr()
_handler.setFormatter(GlogFormatter())


def _set_up() -> None:
    """Log to stderr as Caffe does, unless the program has set up this logger; GLOG_minloglevel=1: warnings only."""
    if not logger.handlers:
        logger.addHandler(_handler)
        logger.propagate = False
    if logger.level == logging.NOTSET:
        quiet = os.environ.get("GLOG_minloglevel", "0")
        logger.setLevel(logging.INFO + 10 * int(quiet) if quiet.isdigit() else logging.INFO)


_set_up()


class Progress:
    """A bar over the iterations of a run, with examples/s and the time left; nothing where stdout is no terminal.

    total, done: iterations; examples: how many one iteration sees.
    """

    def __init__(self, total: int, done: int, examples: int):
        self.total, self.done, self.examples = total, done, max(1, examples)
        self._bar = None
        if sys.stdout.isatty():
            from tqdm import tqdm

            count = {"total": total * self.examples, "initial": done * self.examples}
            self._bar = tqdm(**count, unit=" examples", unit_scale=True, file=sys.stdout, dynamic_ncols=True)

    def __enter__(self):
        _handler.bar = self._bar
        return self

    def advance(self, loss: float) -> None:
        """One more iteration is done, with this loss."""
        self.done += 1
        if self._bar is not None:
            self._bar.set_description_str(f"iteration {self.done}/{self.total}, loss {loss:.4g}", refresh=False)
            self._bar.update(self.examples)

    def __exit__(self, *error):
        _handler.bar = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None
