"""Data: images and classes from an LMDB, as Caffe's convert_imageset writes it."""

import gc
import os
import threading
import time
import weakref
from array import array
from contextlib import contextmanager

import cv2
import numpy as np
from google.protobuf.message import DecodeError

from ..blob import generator
from ..proto import caffe_pb2
from .example import Example, Transform, decode_image
from .layer import register
from .reading import TransformedImages, first_number, located

# of the data bases that are open, by device and inode of the file: LMDB allows a process to open each once
_open: weakref.WeakValueDictionary[tuple[int, int] | str, "Records"] = weakref.WeakValueDictionary()
_opening = threading.Lock()
_PATIENCE = (
    0.001,
    0.01,
    0.1,
    1,
)  # seconds between attempts, in which a thread that read ahead for a net that is gone ends


class Records:
    """The values of an LMDB in the order of their keys. Threads may share it.

    The keys alone are held in memory, end to end: a record is then found by its number, so that reading can begin anywhere. They are
    those of the moment when it was opened: once another program has written to it, nothing more is read.
    """

    def __init__(self, path: str, environment=None):
        """environment: of the same LMDB, where it is open.

        Raises ValueError where the file is no LMDB, is cut off or damaged, or the package that reads it is missing.
        """
        self.path = path
        self._environment = environment or _environment(path)
        self._keys, self._ends = bytearray(), array("Q")
        with _lmdb(path), self._environment.begin() as transaction:
            self._version = transaction.id()
            for key in transaction.cursor().iternext(keys=True, values=False):
                self._keys += key
                self._ends.append(len(self._keys))
        if not self._ends:
            raise ValueError(f"{path}: the data base is empty")

    @classmethod
    def of(cls, path: str) -> "Records":
        """The data base at a path; that which is open already, if one is, unless another has taken its place or it was written to."""
        with _opening:
            identity = _identity(path)
            records = _open.get(identity)
            if records is None or records._is_stale():
                records = _open[identity] = cls(path, records and records._environment)
        return records

    def _is_stale(self) -> bool:
        with _lmdb(self.path), self._environment.begin() as transaction:
            return transaction.id() != self._version

    def __len__(self) -> int:
        return len(self._ends)

    def key(self, number: int) -> bytes:
        """The key of record `number`, from 0 on."""
        return bytes(self._keys[self._ends[number - 1] if number else 0 : self._ends[number]])

    def place(self, number: int) -> str:
        """Data base and key of record `number`, for messages."""
        return f"{self.path}, key {self.key(number).decode(errors='backslashreplace')}"

    def __getitem__(self, number: int) -> bytes:
        with _lmdb(self.path), self._environment.begin() as transaction:
            if transaction.id() != self._version:
                raise ValueError(f"{self.path}: was written to after this net had opened it: build the net anew")
            return transaction.get(self.key(number))


def _file(path: str) -> str:
    """The file that holds the LMDB at a path."""
    return os.path.join(path, "data.mdb") if os.path.isdir(path) else path


def _identity(path: str) -> tuple[int, int] | str:
    """What tells an LMDB from one that takes its place; the path where there is none."""
    try:
        status = os.stat(_file(path))
    except OSError:
        return path
    return status.st_dev, status.st_ino


@contextmanager
def _lmdb(path: str):
    """The package, whose errors become ValueErrors that name the data base."""
    try:
        import lmdb  # here: nets without a data base run where there is no lmdb
    except ImportError as error:
        raise ValueError(f"{path}: lmdb cannot be imported ({error}): pip install 'deconvnet[lmdb]'") from None
    try:
        yield lmdb
    except lmdb.Error as error:
        raise ValueError(f"{path}: not an LMDB that can be read ({error})") from None


def _environment(path: str):
    """The LMDB at a path, open for reading without a lock file, so that it may lie where nothing can be written."""
    if os.path.exists(os.path.join(path, "CURRENT")):
        raise ValueError(f"{path}: a LevelDB, which is not read here: copy its records into an LMDB (docs/data.md)")
    if os.path.isdir(path) and not os.path.exists(_file(path)):
        raise ValueError(f"{path}: a folder without data.mdb is no LMDB: give the folder that holds it")
    environment = _opened(path)
    # LMDB maps the file, and what is missing at its end would kill the process
    wanted = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    size = os.path.getsize(_file(path))
    if size < wanted:
        environment.close()
        raise ValueError(f"{path}: the data base is cut off: {size} bytes of {wanted}")
    return environment


def _opened(path: str):
    """The environment of an LMDB, once a net that is gone has closed it. Raises ValueError where there is none or it stays open."""
    for seconds in (*_PATIENCE, 0):
        with _lmdb(path) as lmdb:
            try:
                return lmdb.open(path, subdir=os.path.isdir(path), readonly=True, lock=False)
            except lmdb.Error as error:
                if "already open in this process" not in str(error):
                    raise
        gc.collect()  # a net that is gone may have it still
        time.sleep(seconds)
    raise ValueError(
        f"{path}: this program itself has it open, outside of any net, and LMDB opens a data base once: close that first (env.close())"
    )


def read_datum(stored: bytes, flags: int) -> tuple[np.ndarray, int]:
    """(image (H, W, C), label) of a Datum message: uint8, or float32 where it holds floats; cv2.imdecode's flags decode a file.

    Raises ValueError for anything else.
    """
    datum = caffe_pb2.Datum()
    try:
        datum.ParseFromString(stored)
    except DecodeError:
        raise ValueError("the record is not a Datum") from None
    if datum.encoded:
        image = decode_image(datum.data, flags)
        if image is None or image.dtype != np.uint8:
            raise ValueError("the record holds no image of 8 bits that OpenCV can read")
        return image, datum.label
    shape = (datum.channels, datum.height, datum.width)
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
    if min(shape) < 1 or values.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f"the record says {shape} (channels, height, width) and holds {values.size} values")
    return values.reshape(shape).transpose(1, 2, 0), datum.label


def _decoding(param) -> int:
    """cv2.imdecode's flags for images that are files. Raises ValueError where they are to be both in colour and grey."""
    transform = param.transform_param
    if transform.force_color and transform.force_gray:
        raise ValueError("force_color and force_gray exclude each other")
    if transform.force_color or param.data_param.force_encoded_color:
        return cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    if transform.force_gray:
        return cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.IMREAD_UNCHANGED


class DatumExamples:
    """Example i, for any i from 0 on, made from the records, the parameters, the seed and i alone, so that threads may share this."""

    def __init__(self, records: Records, param, transform: Transform, flags: int, seed: int):
        self._records = records
        self._transform = transform
        self._flags = flags
        self._seed, self._stream = seed, param.name
        self._first = first_number(seed, param.name, param.data_param.rand_skip)

    def _record(self, number):
        return (number + self._first) % len(self._records)

    def place(self, number: int) -> str:
        """Data base and key of example `number`, for messages."""
        return self._records.place(self._record(number))

    def __call__(self, number: int) -> Example:
        """Raises ValueError naming data base and key."""
        with located(self.place(number)):
            image, label = read_datum(self._records[self._record(number)], self._flags)
            channels = len(self._transform.mean)
            if image.shape[2] != channels:
                raise ValueError(
                    f"an image of {image.shape[2]} channels where the first has {channels}: give force_color or force_gray"
                )
            draw = generator(self._seed, self._stream, number) if self._transform.draws else None
            return Example(self._transform.of_image(image, draw), label, image.shape[:2])


@register("Data")
class Data(TransformedImages):
    """Images and their classes from an LMDB of Datum messages, in the order of its keys, over and over (Caffe's Data).

    transform_param crops, mirrors, subtracts the mean and scales as for ImageData; images in the LMDB as files (encoded) are decoded,
    in colour or grey where force_color or force_gray says so. `prefetch` batches are read ahead, by `workers` threads.

    tops: images (N, C, H, W), C as in the first record; classes (N,)
    """

    tops = (1, 2)

    def setup(self, bottom, top):
        param = self._settings("data_param")
        self.batch_size, self._workers, self.batches_ahead = param.batch_size, param.workers, max(param.prefetch, 1)
        records, flags = Records.of(self.find(param.source)), _decoding(self.param)
        with located(records.place(0)):
            channels = read_datum(records[0], flags)[0].shape[2]
        self._transform = Transform(self.param, self._mean(channels), self.dtype)
        self.examples = DatumExamples(records, self.param, self._transform, flags, self.seed)

    def _shapes(self, size):
        return (len(self._transform.mean), *size), ()
