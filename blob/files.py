"""Files that layers name: lists, and arrays that stand alone (.binaryproto), the mean of images or the matrix of a loss."""

import math
from collections.abc import Iterator

import numpy as np
from google.protobuf.message import DecodeError

from ..proto import caffe_pb2


def read_list(path: str) -> Iterator[tuple[int, str]]:
    """(line number, text) of the lines of a list file that are not blank. Raises ValueError where it cannot be read."""
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                line = line.strip()
                if "\0" in line:
                    raise ValueError(f"{path}:{number}: no text of a list; save it as UTF-8")
                if line:
                    yield number, line
    except OSError as error:
        raise ValueError(f"{path}: the list cannot be read ({error.strerror})") from None


def read_blob(path: str, what: str) -> np.ndarray:
    """The array of a BlobProto file; of four axes where the file is of the old kind.

    what: the file is to hold, for messages. Raises ValueError for anything else than a BlobProto with values.
    """
    blob = caffe_pb2.BlobProto()
    try:
        with open(path, "rb") as file:
            blob.ParseFromString(file.read())
    except (OSError, DecodeError):
        raise ValueError(f"{path}: {what} is expected, in a BlobProto (.binaryproto); this file is none") from None
    values = np.array(blob.double_data or blob.data)
    shape = tuple(blob.shape.dim) or (blob.num, blob.channels, blob.height, blob.width)
    if not values.size or min(shape) < 0 or math.prod(shape) != values.size:
        raise ValueError(f"{path}: {what} is expected, not {shape} with {values.size} values")
    return values.reshape(shape)
