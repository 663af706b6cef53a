"""What a running solver is asked to do from outside, and the signals that ask it (`caffe train`'s signal effects)."""

import enum
import os
import signal


class Action(enum.Flag):
    """What a solver does after its current iteration."""

    NONE = 0
    SNAPSHOT = enum.auto()
    STOP = enum.auto()


EFFECTS = {action.name.lower(): action for action in (Action.SNAPSHOT, Action.STOP, Action.NONE)}
_INTERRUPTED = 128 + signal.SIGINT


class SignalActions:
    """Within `with`, SIGINT and SIGHUP ask for these actions; calling it tells which came since the last call.

    SIGTERM, by which batch systems end a job, asks to stop; `terminated` says that it came. A second SIGINT, while the first has yet to stop the run, ends the process at
    once with status 130.
    """

    def __init__(self, sigint: Action = Action.STOP, sighup: Action = Action.SNAPSHOT):
        # Windows has no SIGHUP
        named = {"SIGINT": sigint, "SIGHUP": sighup, "SIGTERM": Action.STOP}
        self._effects = {getattr(signal, name): effect for name, effect in named.items() if hasattr(signal, name)}
        self._asked = Action.NONE
        self._stopping = False
        self.terminated = False
        self._before = {}

    def __enter__(self):
        self._before = {number: signal.signal(number, self._hear) for number in self._effects}
        return self

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> Action:
        asked, self._asked = self._asked, Action.NONE
        return asked

    def _hear(self, number, frame):
        if number == signal.SIGINT and self._stopping:
            _say("interrupted again: ending at once")
            os._exit(_INTERRUPTED)
        effect = self._effects[number]
        self._asked |= effect
        self.terminated |= number == signal.SIGTERM
        if number == signal.SIGINT and effect is Action.STOP:
            self._stopping = True
            _say("interrupted: stopping after this iteration; a second interrupt ends at once")


def _say(line: str) -> None:
    """Write to stderr past Python's buffers, which a signal may find in use."""
    try:
        os.write(2, f"\n{line}\n".encode())
    except OSError:
        pass  # nobody reads it any more
