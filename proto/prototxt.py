"""Prototxt: the text form of Caffe's messages, read with errors that name file, line and the nearest known name."""

import os
import re
import warnings

from google.protobuf import text_format

from .diagnosis import MISSPELT, did_you_mean, field_lines, find_problem, nearest, printable

__all__ = ["MISSPELT", "PrototxtError", "did_you_mean", "nearest", "parse", "printable", "read"]

_BINARY_SUFFIXES = (".caffemodel", ".solverstate", ".binaryproto", ".h5")
_COMMENT = re.compile(r"""(?P<quoted>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')|\#[^\n]*""")
_STRAY = re.compile("[\udc80-\udcff]")  # a byte that is no UTF-8
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")


class PrototxtError(ValueError):
    """A prototxt that cannot be used: one line, "FILE:LINE: what is wrong; what was probably meant"."""


def parse(text, message, name="<string>"):
    """Read `text` into `message` and return it.

    text: prototxt (str). message: an empty message, such as caffe_pb2.NetParameter(). name: what errors call the text.
    Raises PrototxtError for whatever is wrong with the text: unknown fields and values, braces, quotes, wrong types,
    a missing required field.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, about escapes in strings such as "C:\data"
            text_format.Parse(text, message)
    except text_format.ParseError as error:
        last_line = text.count("\n") + 1
        line, problem = error.GetLine() or last_line, _bare(str(error))
        found = find_problem(text, message.DESCRIPTOR)
        # Beyond protobuf's line it would be another, later problem.
        if found and found[0] <= line:
            line, problem = found
        raise PrototxtError(f"{name}:{line}: {problem}") from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        found = find_problem(text, message.DESCRIPTOR) or (1, f"not readable as text format ({_bare(str(error))})")
        raise PrototxtError(f"{name}:{found[0]}: {found[1]}") from None
    missing = message.FindInitializationErrors()
    if missing:
        inside, _, field = missing[0].rpartition(".")
        line = field_lines(text, message.DESCRIPTOR).get(inside, 1)
        raise PrototxtError(f"{name}:{line}: '{field}' is missing; {inside} needs it")
    return message


def read(path, message):
    """Read the prototxt file at `path` into `message` and return it.

    Raises FileNotFoundError naming the path, and PrototxtError for what is wrong inside, a binary file included.
    """
    return parse(read_text(path), message, name=os.fspath(path))


def read_text(path):
    """The text of a prototxt file. Raises FileNotFoundError, or PrototxtError for a folder, a file that is no text or may not be read."""
    path = os.fspath(path)
    if os.path.isdir(path):
        raise PrototxtError(f"{path}: a folder, where a prototxt file is expected")
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        message = f"{path}: no such file; a prototxt is expected there (working directory: {os.getcwd()})"
        raise FileNotFoundError(message) from None
    except OSError as error:
        raise PrototxtError(f"{path}: cannot be read ({error.strerror})") from None
    control = _CONTROL.search(data)
    if control and (path.endswith(_BINARY_SUFFIXES) or b"\0" in data):
        kind = os.path.splitext(path)[1] if path.endswith(_BINARY_SUFFIXES) else "binary"
        raise PrototxtError(f"{path}: a {kind} file is given where a prototxt is expected")
    text = data.decode("utf-8-sig", errors="surrogateescape").replace("\r\n", "\n")
    if not _STRAY.search(text):
        return text
    text = _COMMENT.sub(_readable, text)
    for number, line in enumerate(text.split("\n"), 1):
        if stray := _STRAY.search(line):
            byte = ord(stray[0]) - 0xDC00
            raise PrototxtError(f"{path}:{number}: not UTF-8 text (byte 0x{byte:02x}): save the file as UTF-8")
    return text


def _readable(match):
    """A comment without bytes that are no UTF-8; a text in quotes as it is."""
    return match[0] if match["quoted"] else _STRAY.sub("\ufffd", match[0])


def _bare(message):
    """protobuf's message as one printable line, without the "line:column :" it begins with."""
    message = " ".join(message.encode("utf-8", "backslashreplace").decode().split())
    return re.sub(r"^\d+:\d+ ?: ?", "", message).rstrip(".")
