"""One training example: an image and its label read, cut, resized, cropped, mirrored and freed of the mean.

The steps and their order are those of the authors' Caffe (its ImageSegData and WindowSegData layers). Until the last
step images are (H, W, C) uint8, BGR or grey, and labels (H, W) uint8.
"""

import threading
import warnings
from collections import OrderedDict
from typing import NamedTuple

import cv2
import numpy as np

from ..proto import caffe_pb2

_DARK = 32  # of 255: an image without brighter pixels is looked at again
_has_warned = False
_JPEG = b"\xff\xd8"  # what such a file begins with: it has 8 bits


class Example(NamedTuple):
    """What a data layer puts into its tops for one image."""

    data: np.ndarray  # (C, H, W), of the net's dtype
    label: np.ndarray | int  # (H, W) uint8, or the class of the whole image
    source_size: tuple[int, int]  # (height, width) of the image file


def read_image(path: str, color: bool = True, stored: bytes | None = None) -> np.ndarray:
    """An image file as (H, W, 3) uint8, BGR, or (H, W, 1), grey. EXIF rotation is not applied: labels are not rotated.

    stored: the file's bytes, where they were read before. Raises FileNotFoundError; ValueError where the file is no image.
    """
    flags = (cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE) | cv2.IMREAD_IGNORE_ORIENTATION
    stored = read_file(path) if stored is None else stored
    image = decode_image(stored, flags)
    if image is None:
        raise ValueError(f"{path}: not an image that OpenCV can read")
    if not _has_warned and not stored.startswith(_JPEG) and image.max(initial=0) < _DARK:
        _warn_of_16_bits(path, stored, flags)
    return image


def _warn_of_16_bits(path: str, stored: bytes, flags: int) -> None:
    """Say once that sensors' values of some bits in 16 are read as nearly black."""
    global _has_warned
    deep = decode_image(stored, flags | cv2.IMREAD_ANYDEPTH)
    if deep is not None and deep.dtype == np.uint16 and deep.any():
        _has_warned = True
        warnings.warn(
            f"{path}: has 16 bits a pixel and no value above {deep.max()}, of 65535, so that it is read as nearly black: spread its values, "
            "or save it in 8 bits",
            stacklevel=3,
        )


def decode_image(stored: bytes, flags: int) -> np.ndarray | None:
    """The bytes of an image file as (H, W, C), BGR or grey, by cv2.imdecode's flags; None where they are no image."""
    try:
        image = cv2.imdecode(np.frombuffer(stored, np.uint8), flags) if stored else None
    except cv2.error:  # sizes beyond OpenCV's limits
        image = None
    return None if image is None else image.reshape(*image.shape[:2], -1)  # OpenCV drops the axis of a single channel


_LOSSY = ("JPEG", "MPO", "JPEG2000")  # Pillow's names of what may not give back the numbers that were put in

# what else than indices of 8 bits an image may hold, by Pillow's names
_OTHER_MODES = {
    "1": "has 1 bit a pixel",
    "I;16": "has 16 bits a pixel, of which 8 are read: save it in 8",
    "I": "has 32 bits a pixel",
    "LA": "has transparency",
}


def pillow_errors() -> tuple[type[Exception], ...]:
    """What Pillow raises for broken files and for sizes that it takes for an attack."""
    from PIL import Image

    return OSError, SyntaxError, ValueError, Image.DecompressionBombError


def read_label(path: str) -> np.ndarray:
    """A label image as (H, W) uint8: palette indices or grey levels, never colours.

    Raises FileNotFoundError; ValueError for a file that is no image or that holds colours.
    """
    from PIL import Image  # here: nets without label images run where there is no Pillow

    try:
        with Image.open(path) as image:
            mode, label = image.mode, np.array(image)
            lossy = image.format in _LOSSY or image.info.get("compression") == "jpeg"
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {path}") from None
    except pillow_errors() as error:
        raise ValueError(f"{path}: not a label image that Pillow can read ({error})") from None
    if lossy:
        raise ValueError(f"{path}: a label image in a JPEG, which changes the numbers of classes: save it as a PNG")
    if mode not in ("P", "L"):
        held = _OTHER_MODES.get(mode, "holds colours")
        raise ValueError(
            f"{path}: a label image holds one class index a pixel (palette or 8-bit grey PNG), but this one {held} ({mode}): convert it to indices"
        )
    return label


def read_file(path: str) -> bytes:
    """The bytes of a file. Raises FileNotFoundError, and ValueError where it cannot be read, naming it."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {path}") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None


class ImageCache:
    """The arrays last read from files, up to `budget` bytes of them. Threads may share it."""

    def __init__(self, budget: int = 256 * 2**20):
        self.budget = budget
        self.bytes = 0
        self._arrays: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, read, *args) -> np.ndarray:
        """read(*args), or what it gave last time; not to be written to."""
        key = (read, *args)
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        # outside the lock: two threads may read one file at once, which costs less than waiting for each other
        array = read(*args)
        array.flags.writeable = False
        with self._lock:
            if key not in self._arrays and array.nbytes <= self.budget:
                self._arrays[key] = array
                self.bytes += array.nbytes
                while self.bytes > self.budget:
                    self.bytes -= self._arrays.popitem(last=False)[1].nbytes
        return array


def cut(pixels: np.ndarray, window, fill: int) -> np.ndarray:
    """The window (x1, y1, x2, y2), inclusive, of an image or label; what lies outside is `fill`."""
    x1, y1, x2, y2 = (int(corner) for corner in window)
    height, width = y2 - y1 + 1, x2 - x1 + 1
    inside = pixels[max(y1, 0) : max(y2 + 1, 0), max(x1, 0) : max(x2 + 1, 0)]
    if inside.shape[:2] == (height, width):
        return inside
    result = np.full((height, width, *pixels.shape[2:]), fill, pixels.dtype)
    top, left = max(-y1, 0), max(-x1, 0)
    result[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return result


def resize_image(image: np.ndarray, height: int, width: int, antialias: bool) -> np.ndarray:
    """The image in another size, bilinear; with `antialias`, an axis that shrinks takes means over areas."""
    if antialias:
        shrunk = (min(width, image.shape[1]), min(height, image.shape[0]))
        if shrunk != (image.shape[1], image.shape[0]):
            image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    if image.shape[:2] != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image.reshape(height, width, -1)  # OpenCV drops the axis of a single channel


def resize_label(label: np.ndarray, height: int, width: int, antialias: bool) -> np.ndarray:
    """The label in another size, each pixel the nearest of the old ones.

    By the release's rule (OpenCV's INTER_NEAREST) that is the one at the upper left corner of the area that a new pixel
    covers; with `antialias`, where the image's pixel is the mean of that area, the one in its middle.
    """
    if label.shape == (height, width):
        return label
    shift = 1 if antialias else 0
    rows, cols = (
        (2 * np.arange(new) + shift) * old // (2 * new) for new, old in zip((height, width), label.shape, strict=True)
    )
    return label.take(rows, axis=0).take(cols, axis=1)


class Transform:
    """The way of an image and its label into the blobs, by image_data_param, transform_param and phase.

    mean: (C, 1, 1), or (C, H, W) for images of that size (after resizing); dtype: of the data.
    """

    def __init__(self, param, mean: np.ndarray, dtype):
        images, transform = param.image_data_param, param.transform_param
        self.new_size = (images.new_height, images.new_width) if images.new_height and images.new_width else None
        self.antialias = images.antialias
        self.ignore_label = images.ignore_label
        self.crop = transform.crop_size
        self.random_crop = bool(self.crop) and param.phase == caffe_pb2.TRAIN
        self.mirror = transform.mirror
        self.scale = transform.scale
        self.mean = np.asarray(mean, dtype)
        self.dtype = np.dtype(dtype)
        # (height, width) of every result; None where each image keeps its own
        self.size = (self.crop, self.crop) if self.crop else self.new_size
        # whether it needs random numbers
        self.draws = self.random_crop or self.mirror

    def __call__(self, image, label, window=None, draw: np.random.Generator | None = None):
        """Data (C, H, W) and label (H, W) uint8 from an image and its label, both whole; `draw` where `draws` says so.

        Raises ValueError where the image does not fit the mean.
        """
        if window is not None:
            image, label = cut(image, window, 0), cut(label, window, self.ignore_label)
        if self.new_size:
            image = resize_image(image, *self.new_size, self.antialias)
            label = resize_label(label, *self.new_size, self.antialias)
        if self.mean.shape[1:] not in ((1, 1), image.shape[:2]):
            sizes = [f"{height}x{width}" for height, width in (self.mean.shape[1:], image.shape[:2])]
            raise ValueError(f"the mean of mean_file is {sizes[0]} and the image {sizes[1]} (height x width)")
        # all three at once: no choice depends on whether another is made
        down, right, turn = draw.random(3) if self.draws else (0, 0, 1)
        mirrored = self.mirror and turn < 0.5
        size = self.size or image.shape[:2]
        offset = [
            self._offset(old, new, where) for old, new, where in zip(image.shape, size, (down, right), strict=False)
        ]
        return self._place_image(image, offset, size, mirrored), self._place_label(label, offset, size, mirrored)

    def of_image(self, image, draw: np.random.Generator | None = None) -> np.ndarray:
        """Data (C, H, W) from an image without a label for its pixels."""
        unlabelled = np.broadcast_to(np.uint8(0), image.shape[:2])  # a view of one value
        return self(image, unlabelled, None, draw)[0]

    def _offset(self, old: int, new: int, where: float) -> int:
        """Where the crop begins along an axis; `where` is in [0, 1)."""
        excess = max(old - new, 0)
        return int(where * (excess + 1)) if self.random_crop else excess // 2

    def _place_image(self, image, offset, size, mirrored):
        """The crop, less the mean, scaled, mirrored; a smaller image is padded below and right by the mean, 0 now."""
        y, x = offset
        part = image[y : y + size[0], x : x + size[1]]
        height, width, channels = part.shape
        data = (np.empty if (height, width) == tuple(size) else np.zeros)((channels, *size), self.dtype)
        target = (data[:, :, ::-1] if mirrored else data)[:, :height, :width]
        mean = self.mean if self.mean.shape[1:] == (1, 1) else self.mean[:, y : y + height, x : x + width]
        np.subtract(part.transpose(2, 0, 1), mean, out=target)
        if self.scale != 1:
            target *= self.scale
        return data

    def _place_label(self, label, offset, size, mirrored):
        """The crop, then mirrored; ignore_label below and right of a smaller label."""
        y, x = offset
        label = cut(label, (x, y, x + size[1] - 1, y + size[0] - 1), self.ignore_label)
        return label[:, ::-1] if mirrored else label
