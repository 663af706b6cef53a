"""Writing HDF5 files so that a full disk is an error and no more."""

import contextlib
import io

import h5py


class PatientFile(io.RawIOBase):
    """A new file for h5py.File that keeps its first error of writing in `error` and then takes what comes without writing it.

    The HDF5 library cannot close a file that it cannot write: it complains on stderr and may take the process with it.
    Raises OSError where the file cannot be made.
    """

    def __init__(self, path: str):
        self._file = open(path, "w+b", buffering=0)
        self._at = 0
        self.error: OSError | None = None

    def close(self):
        self._file.close()
        super().close()

    def readable(self):
        return True

    def seekable(self):
        return True

    def writable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self._at = self._file.seek(offset, whence)
        return self._at

    def tell(self):
        return self._at

    def readinto(self, buffer):
        count = self._file.readinto(buffer)
        self._at += count
        return count

    def write(self, data):
        rest = memoryview(data).cast("B")
        length = len(rest)
        try:
            while rest and self.error is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = error
        self._at += length
        return length

    def truncate(self, size=None):
        try:
            self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
        return size


@contextlib.contextmanager
def create_hdf5(path: str):
    """A new h5py.File to fill within `with`. Raises OSError where the file cannot be written, at the end at the latest."""
    with PatientFile(path) as plain:
        with h5py.File(plain, "w") as file:
            yield file
        if plain.error is not None:
            raise plain.error
