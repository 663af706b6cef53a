"""What the layers that read examples from files share: threads that read ahead, a position to go on from, the mean to subtract."""

import functools
from contextlib import contextmanager

import cv2
import numpy as np

from ..blob import generator, read_blob, require_memory
from ..kernels import threads
from .example import Transform
from .layer import Layer
from .prefetch import Prefetch

_MOST_WORKERS = 64
# settings that were of the data layers themselves before they came into transform_param
_MOVED = ("scale", "mean_file", "crop_size", "mirror")


@functools.cache
def _limit_opencv_threads() -> None:
    """OpenCV takes as many threads as our kernels do; once for the process."""
    cv2.setNumThreads(threads.count())


@contextmanager
def located(place: str, root: str = "", path: str = ""):
    """Put the place where an example is named before the errors of reading it.

    root, path: of a file that may not be there: a slash that is missing between them is hinted at.
    """
    try:
        yield
    except FileNotFoundError as error:
        slashless = root and not root.endswith("/") and not path.startswith("/")
        hint = f" (paths are root_folder plus the list's text: write root_folder: '{root}/')" if slashless else ""
        raise FileNotFoundError(f"{place}: {error}{hint}") from None
    except (ValueError, cv2.error) as error:
        raise ValueError(f"{place}: {error}") from None


class ReadingLayer(Layer):
    """Batches of examples, which threads make ahead. No gradients.

    A subclass's `setup` sets `examples` (examples(i) makes example i, for any i from 0 on, in any thread), `batch_size` and
    `_workers`, from what `_settings` gives.
    """

    bottoms = (0, 0)
    batches_ahead = 3
    _position = 0
    _prefetch: Prefetch | None = None

    def _settings(self, name: str, moved=_MOVED):
        """The layer's message of that name. Raises ValueError for settings that cannot be, or have moved into transform_param."""
        param = getattr(self.param, name)
        if not param.source:
            raise ValueError(f"{name}.source is missing: it names the examples")
        if param.batch_size < 1:
            raise ValueError(f"{name}.batch_size must be at least 1")
        if param.workers > _MOST_WORKERS:
            raise ValueError(f"{name}.workers is {param.workers}: at most {_MOST_WORKERS} threads read ahead")
        for field in moved:
            if param.HasField(field):
                raise ValueError(f"{name}.{field} is of the old syntax: write transform_param {{ {field}: ... }}")
        _limit_opencv_threads()
        return param

    def _mean(self, channels: int) -> np.ndarray:
        """(channels, 1, 1), or (channels, H, W) from a mean_file."""
        transform = self.param.transform_param
        if transform.mean_file and transform.mean_value:
            raise ValueError("give mean_file or mean_value; not both")
        if transform.mean_file:
            return read_mean(self.find(transform.mean_file), channels)
        values = list(transform.mean_value) or [0.0]
        if len(values) not in (1, channels):
            raise ValueError(f"has {len(values)} mean_value for {channels} channels: give one, or one for each")
        return np.resize(np.array(values), (channels, 1, 1))

    def _take(self, top) -> list:
        """The examples of the next batch. Raises MemoryError, before any is read, where they and those ahead are too many."""
        if self._prefetch is None:
            ahead = self.batches_ahead if self._workers else 0
            try:
                require_memory(sum(blob.count for blob in top) + ahead * top[0].count, self.dtype)
            except MemoryError as error:
                raise MemoryError(f"{1 + ahead} batches of {self.batch_size} at once: {error}") from None
            items_ahead = self.batches_ahead * self.batch_size
            self._prefetch = Prefetch(self.examples, self._position, self._workers, items_ahead)
        batch = self._prefetch.take(self.batch_size)
        self._position += self.batch_size
        return batch

    def _fill(self, top, batch) -> None:
        """Put the examples into the tops, which have their shapes."""
        for number, blob in enumerate(top):
            values = blob.host_data_to_fill
            for index, example in enumerate(batch):
                values[index] = example[number]

    @property
    def position(self) -> int:
        """The number of examples that forward passes have taken; set it to go on from there."""
        return self._position

    @position.setter
    def position(self, position: int) -> None:
        self.close()
        self._position = position

    def close(self):
        if self._prefetch is not None:
            self._prefetch.close()
            self._prefetch = None


class TransformedImages(ReadingLayer):
    """Images of the size that `_transform` makes, else of their own, one for all of a batch.

    `examples` has a `place(i)` that says for messages where example i comes from.
    """

    _transform: Transform
    # what makes images of several sizes one size
    _resizing = "crop_size"

    def _shapes(self, size: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
        """What an example of that (height, width) puts into each top."""
        raise NotImplementedError

    def reshape(self, bottom, top):
        if self._transform.size:
            self._reshape(top, self._transform.size)
        elif len(top[0].shape) != 4:  # before the first forward, which then gives the images' own size
            self._reshape(top, self.examples(self.position).data.shape[1:])

    def _reshape(self, top, size):
        for blob, shape in zip(top, self._shapes(size), strict=False):
            blob.reshape(self.batch_size, *shape)

    def place_in_batch(self, number: int) -> str:
        """Where that example of the last batch is named, for messages."""
        return self.examples.place(self.position - self.batch_size + number)

    def forward(self, bottom, top):
        first = self.position
        batch = self._take(top)
        sizes = [example.data.shape[1:] for example in batch]
        for number, size in enumerate(sizes):
            if size != sizes[0]:
                raise ValueError(
                    f"{self.examples.place(first + number)}: an image of {size[0]}x{size[1]} in a batch of "
                    f"{sizes[0][0]}x{sizes[0][1]} (height x width): give {self._resizing}, or batch_size: 1"
                )
        self._reshape(top, sizes[0])
        self._fill(top, batch)


def first_number(seed: int, layer: str, rand_skip: int) -> int:
    """Which example a layer begins with: drawn below `rand_skip`, the first where that is 0."""
    return int(generator(seed, f"{layer}/skip").integers(rand_skip)) if rand_skip else 0


def read_mean(path: str, channels: int) -> np.ndarray:
    """The mean image of a BlobProto file (.binaryproto), (channels, H, W). Raises ValueError for anything else."""
    what = f"a mean of shape (1, {channels}, H, W)"
    values = read_blob(path, what)
    shape = values.shape[1:] if values.ndim == 4 and len(values) == 1 else values.shape
    if len(shape) != 3 or shape[0] != channels:
        raise ValueError(f"{path}: {what} is expected, not {values.shape}")
    return values.reshape(shape)
