"""HDF5Data and HDF5Output: batches from and into HDF5 files."""

import os

import h5py
import numpy as np

from ..blob import PatientFile, generator, read_list
from .layer import Layer, register


@register("HDF5Data")
class HDF5Data(Layer):
    """Batches of rows of HDF5 files (Caffe's HDF5Data). tops: datasets of their names, batch_size rows each; no gradients.

    source lists the files, one a line; every file holds every dataset, with equal numbers of rows and equal sizes of a row. A batch
    runs on into the next file and the next epoch; `shuffle` draws, for each epoch, an order of the files and of the rows of each.
    """

    bottoms = (0, 0)
    tops = (1, float("inf"))
    position = 0

    def setup(self, bottom, top):
        param = self.param.hdf5_data_param
        if self.param.HasField("transform_param"):
            raise ValueError("transform_param does not apply to HDF5 data: write the files transformed")
        if not param.source:
            raise ValueError("hdf5_data_param.source is missing: it names the list of HDF5 files")
        if param.batch_size < 1:
            raise ValueError("hdf5_data_param.batch_size must be at least 1")
        self._names = list(self.param.top)
        self._files = self._read_list(self.find(param.source))
        sizes = [self._rows_of(file) for file in self._files]
        for file, (_, rows) in zip(self._files, sizes, strict=True):
            if rows != sizes[0][1]:
                raise ValueError(
                    f"{file}: its rows have the sizes {rows}, those of {self._files[0]} {sizes[0][1]}: they must be the same"
                )
        self._counts, self._row_shapes = [count for count, _ in sizes], sizes[0][1]
        if not sum(self._counts):
            raise ValueError(f"{param.source}: its files hold no rows")
        self._loaded: tuple[int, list[np.ndarray]] = (-1, [])
        self._order: tuple[tuple[int, int], np.ndarray | None] = ((-1, -1), None)

    def _read_list(self, source: str) -> list[str]:
        if h5py.is_hdf5(source):
            raise ValueError(
                f"{source}: is HDF5 data itself; source names a text file that lists such files, one a line"
            )
        files = [self.find(line) for _, line in read_list(source)]
        if not files:
            raise ValueError(f"{source}: the list of HDF5 files is empty")
        return files

    def _rows_of(self, path: str) -> tuple[int, tuple]:
        """The number of rows of a file's datasets, and per top the shape of a row. Raises ValueError naming file and dataset."""
        with _opened(path) as file:
            sets = []
            for name in self._names:
                found = file[name] if file.get(name, getclass=True) is h5py.Dataset else None
                if found is None:
                    raise ValueError(
                        f"{path}: has no dataset '{name}', as the layer's top is called (it has: {', '.join(file) or 'none'})"
                    )
                if not found.shape or found.dtype.kind not in "biuf":
                    raise ValueError(
                        f"{path}: dataset '{name}' must hold rows of numbers, not {found.dtype} of shape {found.shape}"
                    )
                sets.append(found)
            counts = [len(found) for found in sets]
            if len(set(counts)) > 1:
                raise ValueError(
                    f"{path}: its datasets {', '.join(self._names)} have {counts} rows: they must be as many"
                )
            return counts[0], tuple(found.shape[1:] for found in sets)

    def reshape(self, bottom, top):
        for blob, row in zip(top, self._row_shapes, strict=True):
            blob.reshape(self.param.hdf5_data_param.batch_size, *row)

    def forward(self, bottom, top):
        size, taken = self.param.hdf5_data_param.batch_size, 0
        targets = [blob.host_data_to_fill for blob in top]
        while taken < size:
            number, rows = self._rows_from(*divmod(self.position + taken, sum(self._counts)))
            rows = rows[: size - taken]
            for target, array in zip(targets, self._load(number), strict=True):
                target[taken : taken + len(rows)] = array[rows]
            taken += len(rows)
        self.position += size

    def _rows_from(self, epoch: int, place: int) -> tuple[int, np.ndarray]:
        """The file that holds row `place` of the epoch, and that row with those that follow it there."""
        for number in self._shuffled(epoch, -1, len(self._files)):
            if place < self._counts[number]:
                break
            place -= self._counts[number]
        if self._order[0] != (epoch, number):
            self._order = ((epoch, number), self._shuffled(epoch, number, self._counts[number]))
        return int(number), self._order[1][place:]

    def _shuffled(self, epoch: int, file: int, count: int) -> np.ndarray:
        """The order of the files (-1) or of the rows of one in an epoch."""
        if not self.param.hdf5_data_param.shuffle:
            return np.arange(count)
        return generator(self.seed, f"{self.name}/{file}", epoch).permutation(count)

    def _load(self, number: int) -> list[np.ndarray]:
        """The arrays of a file; the last one read is kept."""
        if self._loaded[0] != number:
            path = self._files[number]
            with _opened(path) as file:
                try:
                    self._loaded = (number, [file[name][()] for name in self._names])
                except OSError as error:
                    raise ValueError(f"{path}: its datasets cannot be read, the file is damaged ({error})") from None
        return self._loaded[1]


def _opened(path: str) -> h5py.File:
    """An HDF5 file to read. Raises ValueError where it is none."""
    try:
        return h5py.File(path, "r")
    except OSError:
        raise ValueError(f"{path}: not an HDF5 file that can be read") from None


@register("HDF5Output")
class HDF5Output(Layer):
    """Two bottoms into the datasets `data` and `label` of a file (Caffe's HDF5Output); each forward appends along the first axis.

    The first forward makes the file anew. Arrays have four axes at least, as Caffe's: those that a bottom lacks are of one place.
    """

    bottoms = (2, 2)
    tops = (0, 0)
    without_gradient = (0, 1)
    _file: h5py.File | None = None
    _plain: PatientFile

    def setup(self, bottom, top):
        self.path = self.param.hdf5_output_param.file_name
        if not self.path:
            raise ValueError("hdf5_output_param.file_name is missing")
        folder = os.path.dirname(os.path.abspath(self.path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"no such folder: {folder}, where {self.path} would be written; make it first")

    def reshape(self, bottom, top):
        shapes = [blob.shape for blob in bottom]
        if not all(shapes) or shapes[0][0] != shapes[1][0]:
            raise ValueError(f"its bottoms have the shapes {shapes}: they must hold the same number of items")

    def forward(self, bottom, top):
        arrays = [blob.host_data.reshape(*blob.shape, *(1,) * (4 - len(blob.shape))) for blob in bottom]
        if self._file is None:
            self._file = self._created()
            for name, array in zip(("data", "label"), arrays, strict=True):
                item = array.shape[1:]
                self._file.create_dataset(name, (0, *item), self.dtype, maxshape=(None, *item), chunks=True)
        for name, array in zip(("data", "label"), arrays, strict=True):
            rows, item = self._file[name], array.shape[1:]
            if rows.shape[1:] != item:
                raise ValueError(
                    f"{self.path}: items of {name} had the shape {rows.shape[1:]}, now {item}: they must be the same"
                )
            rows.resize(len(rows) + len(array), axis=0)
            rows[len(rows) - len(array) :] = array
        self._file.flush()
        if self._plain.error is not None:
            raise self._unwritable(self._plain.error)

    def _created(self) -> h5py.File:
        try:
            self._plain = PatientFile(self.path)
        except OSError as error:
            raise self._unwritable(error) from None
        return h5py.File(self._plain, "w")

    def _unwritable(self, error: OSError) -> ValueError:
        return ValueError(f"{self.path}: cannot be written ({error.strerror})")

    def backward(self, top, propagate_down, bottom):
        """What is written has no gradient."""

    def close(self):
        if self._file is not None:
            self._file.close()
            self._plain.close()
            self._file = None
