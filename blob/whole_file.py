"""Files that are there whole or not at all."""

import os
import threading
from contextlib import contextmanager, suppress

_PART = ".part"


@contextmanager
def beside(path):
    """The path of a file beside `path` to fill, renamed to `path` at the end: a kill or an error leaves no half file of that name.

    A device or a pipe, such as /dev/stdout, is given itself, and so is a file that is a part already. Raises OSError that names `path`.
    """
    path = os.fspath(path)
    if path.endswith(_PART):
        yield path
        return
    in_place = os.path.exists(path) and not os.path.isfile(path)
    part = path if in_place else f"{path}.{os.getpid()}.{threading.get_ident()}{_PART}"
    try:
        yield part
        if not in_place:
            os.replace(part, path)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise OSError(f"{path}: cannot be written ({reason})") from error
    finally:
        if not in_place:
            with suppress(OSError):
                os.remove(part)


@contextmanager
def replacing(path):
    """The same as an open binary file."""
    with beside(path) as part, open(part, "wb") as file:
        yield file
