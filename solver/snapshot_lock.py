"""That no two trainings write snapshots of one prefix at the same time: they would overwrite each other's."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .errors import SolverError

try:
    import fcntl
except ImportError:  # on Windows: there nothing is locked
    fcntl = None


@contextmanager
def claimed(prefix: str) -> Iterator[None]:
    """Keep other trainings from writing snapshots of that prefix meanwhile, by a lock that goes with the process and those that it forks, however
    they end.

    Raises SolverError where another one writes them already, or where the file of the lock cannot be opened.
    """
    path = f"{prefix}.lock"
    try:
        file = _locked(path)
    except BlockingIOError as error:
        raise SolverError(
            f"another training{error} writes snapshots of snapshot_prefix '{prefix}' at this moment: give each training a prefix of its own"
        ) from None
    except OSError as error:
        raise SolverError(
            f"{path}: cannot be opened ({error.strerror}); if no training runs there, remove it"
        ) from None
    with file:
        with suppress(OSError):  # the number is for the message alone
            file.truncate(0)
            file.write(str(os.getpid()).encode())
        try:
            yield
        finally:
            with suppress(OSError):
                if _is_at(file, path):
                    os.remove(path)


def _locked(path: str):
    """The file, open and locked where the file system has locks. Raises BlockingIOError that names the process where another holds it."""
    while True:
        file = open(path, "ab+", buffering=0)
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                number = file.read(20)
            raise BlockingIOError(f" (process {number.decode()})" if number.isdigit() else "") from None
        except OSError:
            return file
        # whoever held it before may have removed the file since it was opened here
        with suppress(FileNotFoundError):
            if _is_at(file, path):
                return file
        file.close()


def _is_at(file, path: str) -> bool:
    """Whether an open file is the one of that path. Raises FileNotFoundError."""
    return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
