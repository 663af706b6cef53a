"""What the layers share whose images are named in a list file: the list, the examples made from it, and their settings."""

import os
import warnings
from array import array

import numpy as np

from ..blob import generator, read_list
from ..proto import caffe_pb2, find_file
from .example import Example, ImageCache, Transform, read_image, read_label
from .reading import TransformedImages, first_number, located

# the longest side of a window or an image in pixels, OpenCV's limit for a side
LONGEST = 32767

_LabelType = caffe_pb2.ImageDataParameter


class ExampleList:
    """The lines of a list file: `image label`, `windowed` `image label x1 y1 x2 y2`; no label with label_type NONE.

    Kept small, since 2.7 million windows (stage 2) lie in some thousand images: lines with the same paths share them.
    Raises ValueError naming file and line for a line of another form, and for a list without lines.
    """

    def __init__(self, path: str, label_type: int, windowed: bool):
        self.path = path
        self._label_type = label_type
        self._form = ("image" if label_type == _LabelType.NONE else "image label") + (
            " x1 y1 x2 y2" if windowed else ""
        )
        self._pairs: list[tuple[str, str | int | None]] = []
        self._pair_of_line, self._numbers, corners = array("I"), array("I"), array("i")
        known: dict[str, int] = {}
        for number, line in read_list(path):
            try:
                paths, *window = line.rsplit(None, 4) if windowed else (line,)
                corners.extend(map(int, window))
            except (ValueError, OverflowError):
                raise self._wrong_form(number, line) from None
            if windowed and len(window) != 4:
                raise self._wrong_form(number, line)
            if paths not in known:
                known[paths] = len(known)
                self._pairs.append(self._split(number, line, paths))
            self._pair_of_line.append(known[paths])
            self._numbers.append(number)
        if not self._numbers:
            raise ValueError(f"{path}: the list is empty; lines of the form `{self._form}` are expected")
        self._windows = np.array(corners, np.int32).reshape(-1, 4) if windowed else None
        if windowed:
            self._check_windows()

    def _wrong_form(self, number, line):
        return ValueError(f"{self.path}:{number}: `{self._form}` is expected, not `{line[:80]}`")

    def _split(self, number, line, paths):
        """(image path, label path or class or None) from `paths`, the line without its window."""
        if self._label_type == _LabelType.NONE:
            return paths, None
        image, *rest = paths.rsplit(None, 1)
        if not rest:
            raise self._wrong_form(number, line)
        if self._label_type == _LabelType.PIXEL:
            return image, rest[0]
        if not (rest[0].isdecimal() and int(rest[0]) <= 255):
            raise ValueError(
                f"{self.path}:{number}: with label_type: IMAGE the label is a class from 0 to 255, not `{rest[0]}`; "
                "label_type: PIXEL reads label images"
            )
        return image, int(rest[0])

    def _check_windows(self):
        sides = np.subtract(self._windows[:, 2:], self._windows[:, :2], dtype=np.int64) + 1
        wrong = np.flatnonzero((sides < 1).any(axis=1) | (sides > LONGEST).any(axis=1))
        if wrong.size:
            width, height = sides[wrong[0]]
            raise ValueError(
                f"{self.place(wrong[0])}: a window of {width}x{height} pixels; x1 y1 x2 y2 are inclusive, "
                f"x1 <= x2, y1 <= y2, and a side has at most {LONGEST}"
            )

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int):
        """(image path, label path or class or None, window (4,) or None) of an example."""
        return *self._pairs[self._pair_of_line[index]], None if self._windows is None else self._windows[index]

    def place(self, index: int) -> str:
        """`file:line` of an example, for messages."""
        return f"{self.path}:{self._numbers[index]}"

    def warn_of_missing(self, root: str) -> None:
        """Warn of files that are not there, the first with its line: a run of hours would end where one is drawn."""
        folders: dict[str, set[str]] = {}
        first_pairs: dict[str, int] = {}
        for pair, paths in enumerate(self._pairs):
            for path in paths:
                if isinstance(path, str):
                    first_pairs.setdefault(root + path, pair)
        missing = [path for path in first_pairs if not _is_there(path, folders)]
        if missing and len(missing) < len(first_pairs):  # of all of them the first that is drawn says more
            place = self.place(self._pair_of_line.index(first_pairs[missing[0]]))
            count = f"{len(missing)} of the {len(first_pairs)} files listed are not there"
            warnings.warn(f"{place}: no such file: {missing[0]} ({count}); a run ends where one is drawn", stacklevel=3)


def _is_there(path: str, folders: dict[str, set[str]]) -> bool:
    """Whether a file is, by the names in its folder, which `folders` keeps; or by itself, where a file system takes other names for the same."""
    folder, name = os.path.split(path)
    if folder not in folders:
        try:
            folders[folder] = set(os.listdir(folder or "."))
        except OSError:
            folders[folder] = set()
    return name in folders[folder] or os.path.exists(path)


class Examples:
    """Example i, for any i from 0 on, made from the parameters, the seed and i alone, so that threads may share this.

    Every epoch takes each line once, in the list's order or (shuffle) in one drawn for the epoch.
    """

    def __init__(self, lines: ExampleList, param, transform: Transform, root: str, seed: int):
        images = param.image_data_param
        self.lines = lines
        self._transform = transform
        self._root = root
        self._color = images.is_color
        self._ignore_label = images.ignore_label
        self._shuffle = images.shuffle
        self._seed, self._stream = seed, param.name
        self._first = first_number(seed, param.name, images.rand_skip)
        self._order: tuple[int, np.ndarray | None] = (-1, None)
        self._cache = ImageCache()

    def line_of(self, number: int) -> int:
        """Which line of the list example `number` is."""
        epoch, place = divmod(number + self._first, len(self.lines))
        if not self._shuffle:
            return place
        known, order = self._order
        if known != epoch:
            order = generator(self._seed, f"{self._stream}/order", epoch).permutation(len(self.lines))
            self._order = (epoch, order)
        return int(order[place])

    def place(self, number: int) -> str:
        """`file:line` of example `number`, for messages."""
        return self.lines.place(self.line_of(number))

    def __call__(self, number: int) -> Example:
        """Raises FileNotFoundError or ValueError, naming the list, the line and the file."""
        line = self.line_of(number)
        with located(self.lines.place(line), self._root, self.lines[line][0]):
            return self._make(line, number)

    def _make(self, line, number):
        image_path, labelled, window = self.lines[line]
        image = self._cache.get(read_image, self._root + image_path, self._color)
        size = image.shape[:2]
        if isinstance(labelled, str):
            label = self._cache.get(read_label, self._root + labelled)
        else:
            label = np.full(size, self._ignore_label if labelled is None else labelled, np.uint8)
        if label.shape != size:
            raise ValueError(
                f"the label {self._root}{labelled} is {label.shape[0]}x{label.shape[1]} (height x width) "
                f"and its image {self._root}{image_path} {size[0]}x{size[1]}"
            )
        draw = generator(self._seed, self._stream, number) if self._transform.draws else None
        return Example(*self._transform(image, label, window, draw), size)


def check_images(param) -> None:
    """Raise ValueError for settings of a layer that reads images from a list that cannot be."""
    images = param.image_data_param
    if bool(images.new_height) != bool(images.new_width):
        raise ValueError("give new_height and new_width, or neither")
    for field, size in (
        ("image_data_param.new_height", images.new_height),
        ("image_data_param.new_width", images.new_width),
        ("transform_param.crop_size", param.transform_param.crop_size),
    ):
        if size > LONGEST:
            raise ValueError(f"{field} is {size}: a side has at most {LONGEST} pixels")
    if not 0 <= images.ignore_label <= 255:
        raise ValueError(
            f"image_data_param.ignore_label must be a value of label images, 0 to 255, not {images.ignore_label}"
        )
    if param.transform_param.force_color or param.transform_param.force_gray:
        raise ValueError("force_color and force_gray are the Data layer's: use image_data_param.is_color")


class ListedImages(TransformedImages):
    """A layer of image_data_param: images named in the list `source`, as `_read_list` reads it, made into `examples_type`."""

    param_field = "image_data_param"
    examples_type = Examples

    def _read_list(self, path: str) -> ExampleList:
        raise NotImplementedError

    def setup(self, bottom, top):
        images = self._settings("image_data_param")
        check_images(self.param)
        self._transform = Transform(self.param, self._mean(3 if images.is_color else 1), self.dtype)
        self.batch_size, self._workers = images.batch_size, images.workers
        lines = self._read_list(
            find_file(images.source, self.model_file, f"{self.type} reads its examples from this list")
        )
        root = images.root_folder and self.find(images.root_folder)
        lines.warn_of_missing(root)
        self.examples = self.examples_type(lines, self.param, self._transform, root, self.seed)
