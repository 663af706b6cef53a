"""The files of snapshots: their names, the newest whole pair of them, those that are one too many, and what a kill left."""

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from ..blob import runs
from ..net.weights import open_weights
from .errors import SolverError
from .log import logger
from .solverstate import read_state

_NAME = re.compile(
    r"(?P<prefix>.*)_iter_(?P<iteration>\d+)\.(caffemodel|solverstate)(\.h5)?((\.(?P<process>\d+))?\.part)?", re.DOTALL
)


def paths(prefix: str, iteration: int, hdf5: bool) -> tuple[str, str]:
    """The model and the state file of an iteration, named as Caffe names them."""
    end = ".h5" if hdf5 else ""
    return f"{prefix}_iter_{iteration}.caffemodel{end}", f"{prefix}_iter_{iteration}.solverstate{end}"


class _File(NamedTuple):
    iteration: int
    path: str

    @property
    def is_state(self) -> bool:
        return self.path.endswith((".solverstate", ".solverstate.h5"))


def _files(prefix: str) -> list[_File]:
    """All files of a prefix, finished or not, the newest iteration first."""
    folder, name = os.path.split(prefix)
    found = []
    for entry in os.listdir(folder or ".") if os.path.isdir(folder or ".") else ():
        match = _NAME.fullmatch(entry)
        if match and match["prefix"] == name:
            found.append(_File(int(match["iteration"]), os.path.join(folder, entry)))
    return sorted(found, reverse=True)


# --------------------------------------------------------------------------------------------------------- writing


def write_pair(first: tuple[str, Callable[[str], None]], second: tuple[str, Callable[[str], None]]) -> None:
    """Write two files, (path, what fills the file of a path), so that the second never stands beside a first of old.

    Both are filled beside their places and flushed to disk; then the first takes its place, then the second.
    Raises SolverError naming the file that cannot be written; then all files are as they were, and nothing lies beside.
    """
    path = first[0]
    try:
        for path, fill in (first, second):
            fill(_part(path))
            _flush(_part(path))
        remove(second[0])
        for path, _ in (first, second):
            os.replace(_part(path), path)
            _flush(os.path.dirname(path) or ".")
    except OSError as error:
        _remove_parts(first[0], second[0])
        reason = error.strerror or " ".join(str(error).split())
        raise SolverError(
            f"the snapshot {path} cannot be written: {reason}; the snapshots before it are whole"
        ) from None
    except BaseException:
        _remove_parts(first[0], second[0])
        raise


def _part(path: str) -> str:
    """Where a file is written before it takes its place: two runs that share a prefix by mistake have two of them."""
    return f"{path}.{os.getpid()}.part"


def _remove_parts(*files: str) -> None:
    for path in files:
        remove(_part(path))


def _flush(path: str) -> None:
    """Have a file or folder on disk, not only in the system's memory."""
    if os.path.isdir(path) and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: str) -> None:
    """Remove a file where there is one."""
    if os.path.exists(path):
        os.remove(path)


def require_writable(prefix: str) -> None:
    """Make the folder of a snapshot_prefix and try to write there, before days of training. Raises SolverError."""
    if not prefix:
        raise SolverError("snapshot_prefix is missing: the files are named PREFIX_iter_N.caffemodel and .solverstate")
    probe = f"{prefix}.probe"
    try:
        os.makedirs(os.path.dirname(prefix) or ".", exist_ok=True)
        with open(probe, "wb"):
            pass
        os.remove(probe)
    except OSError as error:
        raise SolverError(f"snapshots cannot be written to snapshot_prefix '{prefix}': {error.strerror}") from None


def remove_parts(prefix: str) -> None:
    """Remove the half-written files that a killed run left; only for the run that is about to write there itself."""
    for file in _files(prefix):
        if file.path.endswith(".part") and not _is_in_use(_NAME.fullmatch(os.path.basename(file.path))["process"]):
            remove(file.path)


def _is_in_use(process: str | None) -> bool:
    """Whether another process that runs is writing its part. In a container every run may have the same number."""
    return process not in (None, str(os.getpid())) and runs(int(process))


def keep_newest(prefix: str, iteration: int, count: int) -> None:
    """Remove all pairs older than the `count` newest up to that iteration, which has just been written.

    Models whose state is gone are left alone, and so are later iterations: those of a run before this one.
    """
    states = [file for file in _files(prefix) if file.is_state and file.iteration <= iteration]
    for number, (_, state) in enumerate(states):
        if number >= count:
            try:
                # the model first: a state that a kill leaves is found here the next time
                remove(_model_beside(state))
                remove(state)
            except OSError as error:
                logger.warning("the old snapshot %s cannot be removed: %s", state, error.strerror)


# --------------------------------------------------------------------------------------------------------- finding


def model_of(state: str, learned_net: str) -> str:
    """The model written with a state: beside it under its name (folders get moved), else where the state says.

    Raises FileNotFoundError naming the model.
    """
    sibling = _model_beside(state)
    named = os.path.join(os.path.dirname(state), os.path.basename(learned_net.replace("\\", "/")))
    for place in (sibling, named, learned_net):
        if place != state and os.path.isfile(place):
            return place
    raise FileNotFoundError(f"no such file: {sibling}, the weights written with {state}; put them beside it")


def _model_beside(state: str) -> str:
    folder, name = os.path.split(state)
    return os.path.join(folder, name.replace(".solverstate", ".caffemodel"))


def check_pair(state: str) -> None:
    """Read a state and its model as far as it takes to know that both are whole.

    Raises FileNotFoundError, SolverError, CorruptModel.
    """
    message = read_state(state).message
    model = model_of(state, message.learned_net)
    size = os.path.getsize(model)
    if message.HasField("learned_net_bytes") and size != message.learned_net_bytes:
        raise SolverError(f"{model}: has {size} bytes, not the {message.learned_net_bytes} written with its state")
    with open_weights(model):
        pass


def find_snapshot(place: str, prefix: str = "") -> str:
    """The .solverstate that `place` means: that file itself, or of a prefix or folder the newest whole one.

    place: a file, a snapshot_prefix or a folder; prefix: whose snapshots count in a folder that holds several's.
    Newer files that are broken or unfinished are skipped with one line in the log.
    Raises FileNotFoundError where there is no snapshot, SolverError where none is whole or several prefixes are meant.
    """
    if os.path.isfile(place):
        read_state(place)
        return place
    prefix = _prefix_in(place, prefix) if os.path.isdir(place) else place
    files = _files(prefix)
    broken: dict[int, str] = {}
    for iteration, state in (file for file in files if file.is_state):
        try:
            check_pair(state)
        except (OSError, ValueError) as error:
            broken[iteration] = str(error)
            continue
        _tell_skipped([file for file in files if file.iteration > iteration], broken, state)
        return state
    if not broken:
        raise FileNotFoundError(f"no such snapshot: {place} (a .solverstate file, a folder or a snapshot_prefix)")
    raise SolverError(f"no snapshot of {prefix} is whole: {'; '.join(broken.values())}")


def warn_of_earlier(prefix: str) -> None:
    """Log where an earlier run's snapshots lie, which a new run overwrites one by one."""
    newest = next((file for file in _files(prefix) if file.is_state), None)
    if newest is not None:
        logger.warning(
            "%s is of an earlier run, whose snapshots this one will overwrite; to go on from it, stop and resume from %s",
            newest.path,
            prefix,
        )


def _tell_skipped(files: list[_File], broken: dict[int, str], taken: str) -> None:
    if files:
        names = ", ".join(os.path.basename(file.path) for file in files)
        reasons = "; ".join(broken.values()) or "never finished"
        logger.warning("Resuming from %s; newer files are skipped: %s (%s)", taken, names, reasons)


def _prefix_in(folder: str, prefix: str) -> str:
    """The snapshot_prefix of a folder's states: the given one, else the only one. Raises as find_snapshot."""
    matches = (_NAME.fullmatch(entry) for entry in os.listdir(folder))
    names = sorted({match["prefix"] for match in matches if match and match[3] == "solverstate" and not match[5]})
    if os.path.basename(prefix) in names:
        return os.path.join(folder, os.path.basename(prefix))
    if names and prefix:
        raise SolverError(
            f"{folder}: holds no snapshots of this solver's snapshot_prefix '{prefix}', but of "
            f"{', '.join(os.path.join(folder, name) for name in names)}; name the one that is meant"
        )
    if not names:
        raise FileNotFoundError(f"no such snapshot: the folder {folder} holds no .solverstate")
    if len(names) > 1:
        known = ", ".join(os.path.join(folder, name) for name in names)
        raise SolverError(f"{folder}: holds the snapshots of several runs; name one of {known}")
    return os.path.join(folder, names[0])
