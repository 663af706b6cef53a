"""Files that are there whole or not at all."""

import os
import re
import shutil
import threading
from contextlib import contextmanager, suppress

_PART = re.compile(r"\.(\d+)\.\d+\.part")


@contextmanager
def beside(path):
    """The path of a file beside `path` to fill, renamed to `path` at the end: a kill or an error leaves no half file of that name.

    An earlier file's permissions stay, and so does a link to it. A device or a pipe, such as /dev/stdout, is given itself. Raises OSError (FileNotFoundError where the folder is not there) that names `path`.
    """
    target = os.path.realpath(path)
    in_place = os.path.exists(target) and not os.path.isfile(target)
    part = target if in_place else f"{target}.{os.getpid()}.{threading.get_ident()}.part"
    try:
        yield part
        if not in_place:
            if os.path.exists(target):
                shutil.copymode(target, part)
            os.replace(part, target)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else OSError
        raise kind(f"{path}: cannot be written ({reason})") from error
    finally:
        if not in_place:
            with suppress(OSError):
                os.remove(part)


@contextmanager
def replacing(path):
    """The same as an open binary file."""
    with beside(path) as part, open(part, "wb") as file:
        yield file


def runs(process: int) -> bool:
    """Whether a process of that number runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass  # another user's; no number of a process
    return True


def remove_left(path) -> None:
    """Remove what processes that are no more have left beside a file."""
    folder, name = os.path.split(os.path.realpath(path))
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        match = _PART.fullmatch(entry, len(name)) if entry.startswith(name) else None
        if match and not runs(int(match[1])):
            with suppress(OSError):
                os.remove(os.path.join(folder, entry))
