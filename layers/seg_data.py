"""ImageSegData and WindowSegData (layers of the authors' Caffe), DenseImageData (SegNet's): images with label images, named in a list."""

from array import array

import cv2
import numpy as np

from ..blob import generator
from ..proto import caffe_pb2, find_file
from ..proto.fields import copy_field
from .example import Example, ImageCache, Transform, read_image, read_label
from .layer import register
from .reading import ReadingLayer, located

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
        for number, line in self._lines():
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

    def _lines(self):
        """(line number, text) of the lines that are not blank."""
        try:
            with open(self.path, encoding="utf-8-sig", errors="surrogateescape") as file:
                for number, line in enumerate(file, 1):
                    line = line.strip()
                    if line:
                        yield number, line
        except OSError as error:
            raise ValueError(f"{self.path}: the list cannot be read ({error.strerror})") from None

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
        draw = generator(seed, f"{param.name}/skip")
        self._skipped = int(draw.integers(images.rand_skip)) if images.rand_skip else 0
        self._order: tuple[int, np.ndarray | None] = (-1, None)
        self._cache = ImageCache()

    def line_of(self, number: int) -> int:
        """Which line of the list example `number` is."""
        epoch, place = divmod(number + self._skipped, len(self.lines))
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


class _SegData(ReadingLayer):
    """What both layers share: images, labels and their sizes as tops, batch after batch."""

    tops = (1, 3)
    windowed = False
    param_field = "image_data_param"
    # whether a batch is of images whose sizes are made equal
    _needs_sizes = True
    examples_type: type[Examples] = Examples

    def setup(self, bottom, top):
        images = self._settings("image_data_param")
        check_images(self.param)
        self._transform = Transform(self.param, self._mean(3 if images.is_color else 1), self.dtype)
        if self._transform.size is None and images.batch_size != 1 and self._needs_sizes:
            raise ValueError(
                "images of several sizes make no batch: give crop_size, new_height and new_width, or batch_size: 1"
            )
        self.batch_size, self._workers = images.batch_size, images.workers
        remedy = f"{self.param.type} reads its examples from this list"
        lines = ExampleList(find_file(images.source, self.model_file, remedy), images.label_type, self.windowed)
        root = images.root_folder and self.find(images.root_folder)
        self.examples = self.examples_type(lines, self.param, self._transform, root, self.seed)

    def reshape(self, bottom, top):
        if self._transform.size:
            self._reshape(top, self._transform.size)
        elif len(top[0].shape) != 4:  # before the first forward, which then gives each image's own size
            self._reshape(top, self.examples(self.position).data.shape[1:])

    def _reshape(self, top, size):
        shapes = ((len(self._transform.mean), *size), (1, *size), (1, 1, 2))
        for blob, shape in zip(top, shapes, strict=False):
            blob.reshape(self.batch_size, *shape)

    def forward(self, bottom, top):
        first = self.position
        batch = self._take(top)
        self._reshape(top, self._one_size(batch, first))
        self._fill(top, batch)


@register("ImageSegData")
class ImageSegData(_SegData):
    """Whole images with their labels; the list's lines are `image label` (paths after root_folder, joined as they are).

    label_type PIXEL: the label is an index image, palette or grey; IMAGE: one class for all pixels; NONE: no label.
    Then, in this order: resized to new_height x new_width (bilinear; the label by its nearest pixels; `antialias` takes
    means where the image shrinks); cropped to crop_size (at random in TRAIN, in the centre in TEST; a smaller image is
    padded below and right by the mean, its label by ignore_label); mirrored with probability 1/2 (`mirror`, in TEST
    too); the mean subtracted; scaled. Threads (`workers`) read ahead; what a batch holds does not depend on them.

    tops: images (N, 3, H, W), BGR, or (N, 1, H, W) with is_color: false; labels (N, 1, H, W), ignore_label where there
          is none; height and width of the image file (N, 1, 1, 2)
    Without crop_size, new_height and new_width every image keeps its size (batch_size: 1).
    """


@register("WindowSegData")
class WindowSegData(_SegData):
    """Windows of images with their labels: ImageSegData, but for lines `image label x1 y1 x2 y2` and a first step.

    The window (corners inclusive, free to lie outside the image) is cut out; outside the image lie zeros, and
    ignore_label in the label. The third top still holds the whole image's height and width.
    """

    windowed = True


class DenseExamples(Examples):
    """Examples whose labels are a whole number of times smaller than their images."""

    divisor = 1

    def _make(self, line, number):
        example = super()._make(line, number)
        if self.divisor == 1:
            return example
        size = tuple(side // self.divisor for side in example.data.shape[:0:-1])
        return example._replace(label=cv2.resize(example.label, size, interpolation=cv2.INTER_NEAREST))


@register("DenseImageData")
class DenseImageData(_SegData):
    """Whole images with their label images, as SegNet's and ENet's Caffe reads them; the list's lines are `image label`.

    tops: images (N, 3, H, W), BGR, or (N, 1, H, W) with is_color: false; labels (N, 1, H / label_divide_factor, W / label_divide_factor)
    Images are resized, cropped, mirrored and freed of the mean as ImageSegData does it, and read ahead by threads. Without sizes the images
    of a batch must have one size.
    """

    tops = (2, 2)
    param_field = None
    _needs_sizes = False
    examples_type = DenseExamples
    _resizing = "new_height and new_width, crop_size"

    def setup(self, bottom, top):
        dense = self._settings("dense_image_data_param", moved=())
        if dense.label_divide_factor < 1:
            raise ValueError("label_divide_factor must be at least 1")
        given, self.param = self.param, caffe_pb2.LayerParameter()
        self.param.CopyFrom(given)
        images = self.param.image_data_param
        images.label_type = _LabelType.PIXEL
        for field, value in dense.ListFields():
            if field.name != "label_divide_factor":
                copy_field(images, field.name, value)
        super().setup(bottom, top)
        self.examples.divisor = dense.label_divide_factor

    def _reshape(self, top, size):
        super()._reshape(top, size)
        divisor = self.examples.divisor
        top[1].reshape(self.batch_size, 1, *(side // divisor for side in size))
