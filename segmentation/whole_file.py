"""Files that are there whole or not at all."""

import os
import threading
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path):
    """A binary file beside `path` to write to, renamed to `path` at the end: a kill or an error leaves no half file.

    A device or a pipe, such as /dev/stdout, is written to itself. Raises OSError that names `path`.
    """
    part = Path(f"{path}.{os.getpid()}.{threading.get_ident()}.part")
    in_place = os.path.exists(path) and not os.path.isfile(path)
    try:
        with open(path if in_place else part, "wb") as file:
            yield file
        if not in_place:
            os.replace(part, path)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
