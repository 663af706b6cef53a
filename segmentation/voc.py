"""The PASCAL VOC segmentation layout: where files lie, and how label images hold classes.

A label image is a palette PNG: a pixel's palette index is its class (0 background, 255 void), its colour is for the eye only.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..blob import replacing
from ..layers import example

VOID = 255
CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class DataError(ValueError):
    """Bad data of a user's: an image, label, list or box; the message names the file and the remedy."""


@dataclass(frozen=True)
class VocFolder:
    """A data set in VOC layout under `root`; every method gives the path of one file."""

    root: Path

    def image(self, image_id):
        """The photograph, a JPEG."""
        return Path(self.root) / "JPEGImages" / f"{image_id}.jpg"

    def classes(self, image_id):
        """The label image of classes."""
        return Path(self.root) / "SegmentationClass" / f"{image_id}.png"

    def objects(self, image_id):
        """The label image of objects, numbered from 1."""
        return Path(self.root) / "SegmentationObject" / f"{image_id}.png"

    def split(self, name):
        """The list of image ids of one split, such as `train` or `val`."""
        return Path(self.root) / "ImageSets" / "Segmentation" / f"{name}.txt"


def palette():
    """VOC's 256 colours as (256, 3) uint8, RGB.

    The bits of an index go in turn to red, green and blue, and fill each of them from its highest bit down.
    """
    index = np.arange(256)
    colors = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        color, level = bit % 3, 7 - bit // 3
        colors[:, color] |= (((index >> bit) & 1) << level).astype(np.uint8)
    return colors


def read_ids(path):
    """The image ids of a list file, one a line, as a list of str. Raises FileNotFoundError; DataError where it is no text."""
    _require(path, "a list of image ids")
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise DataError(f"{path}: no text; a list, one name a line, is expected") from None


def write_ids(path, ids):
    """Write a list file of image ids, one a line, with the folders it needs. Raises OSError."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.writelines(f"{image_id}\n".encode() for image_id in ids)


def up_to_date(made, *sources):
    """Whether a file is there and no older than those of the files that it was made from that are there. Paths are Path objects.

    A date in the future says nothing, or what is made of such a file would be made again for ever.
    """
    if not made.exists():
        return False
    then, now = made.stat().st_mtime_ns, time.time_ns()
    return not any(then < source.stat().st_mtime_ns <= now for source in sources if source.exists())


def read_image(path):
    """An image file as (H, W, 3) uint8, BGR: grey is repeated, 16 bits become 8, transparency is dropped.

    An EXIF rotation is not applied: label images follow the stored pixels.
    Raises FileNotFoundError; DataError where the file is no image.
    """
    return _read(example.read_image, path, "an image")


def read_size(path):
    """The (height, width) of an image file as its pixels are stored, from its header alone.

    Raises FileNotFoundError; DataError where the file is no image.
    """
    _require(path, "an image")
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except example.pillow_errors() as error:
        raise DataError(f"{path}: not an image that Pillow can read ({error})") from error


def write_image(path, image):
    """Write (H, W, 3) uint8, BGR, as a JPEG of high quality. Raises OSError where it cannot be written."""
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    with replacing(path) as file:
        file.write(encoded)


def read_label(path):
    """A label image as (H, W) uint8: palette indices (or grey levels), never colours.

    Raises FileNotFoundError; DataError for a file that is no image or holds colours instead of indices.
    """
    return _read(example.read_label, path, "a label image")


def write_label(path, label):
    """Write (H, W) class indices from 0 to 255 as a PNG with VOC's palette, with the folders it needs.

    Raises DataError for anything else, OSError where it cannot be written.
    """
    label = np.asarray(label)
    if label.ndim != 2 or label.dtype.kind not in "bui" or (label.size and not 0 <= label.min() <= label.max() <= 255):
        raise DataError(f"{path}: a label is (H, W) whole numbers from 0 to 255, not {label.dtype} {label.shape}")
    image = Image.fromarray(np.ascontiguousarray(label, np.uint8))
    image.putpalette(palette().tobytes())
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        image.save(file, format="PNG")


def size_of_whole_image(path):
    """(height, width) of an image file that is read to its end; OpenCV fills what is missing of a JPEG with grey.

    Raises FileNotFoundError; DataError where the file is no image or is cut off.
    """
    _require(path, "an image")
    try:
        with Image.open(path) as image:
            image.load()
            return image.height, image.width
    except example.pillow_errors() as error:
        raise DataError(f"{path}: not a whole image ({error}); unpack or fetch it again") from error


def require_one_size(path, size, image_path, image_size):
    """Raise DataError, naming both files, where a label of (height, width) `size` is not as large as its image."""
    if size != image_size:
        (height, width), (image_height, image_width) = size, image_size
        turned = "; EXIF rotation is not applied: save the image as it is shown" if image_size == size[::-1] else ""
        raise DataError(
            f"{path}: the label is {height}x{width} (height x width), but {image_path} is {image_height}x{image_width}{turned}"
        )


def _read(reader, path, what):
    """What the data layers' own reader makes of a file."""
    _require(path, what)
    try:
        return reader(str(path))
    except ValueError as error:
        raise DataError(str(error)) from None


def _require(path, what):
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; {what} in VOC layout is expected here")
