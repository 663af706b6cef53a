"""Images and arrays on their way into a net and back (pycaffe's caffe.io). Images are (H, W, K) float32, RGB, from 0 to 1."""

import importlib
import urllib.request
from http.client import HTTPException

import cv2
import numpy as np

from .core.layers.example import decode_image, read_file
from .core.proto import caffe_pb2

# what skimage, and so pycaffe, takes of red, green and blue for grey
_GREY = np.array([0.2125, 0.7154, 0.0721], np.float32)
_PATIENCE = 60  # seconds
_WEB = ("http://", "https://", "ftp://", "file://")
_CHANNELS = 128  # that OpenCV resizes at once
_INTERPOLATIONS = {0: cv2.INTER_NEAREST, 1: cv2.INTER_LINEAR, 3: cv2.INTER_CUBIC}


def load_image(filename, color: bool = True) -> np.ndarray:
    """An image file (a path, one opened as bytes, or an address of the web) as (H, W, 3) float32, RGB, from 0 to 1; with color=False
    (H, W, 1), grey.

    Alpha is dropped. Raises FileNotFoundError; OSError for an address that gives nothing; ValueError where the file is no image.
    """
    if hasattr(filename, "read"):
        stored = filename.read()
    else:
        stored = _download(filename) if str(filename).startswith(_WEB) else read_file(filename)
    image = decode_image(stored, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f"{filename}: not an image that OpenCV can read")
    if image.dtype.kind == "u":
        image = image / np.float32(np.iinfo(image.dtype).max)
    image = image[:, :, 2::-1].astype(np.float32)  # BGR and BGRA to RGB; one channel stays
    if color:
        return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    return image if image.shape[2] == 1 else (image @ _GREY)[:, :, np.newaxis]


def _download(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=_PATIENCE) as answer:
            return answer.read()
    except (OSError, ValueError, HTTPException) as error:
        raise OSError(f"{address}: cannot be read ({error})") from None


def resize_image(im: np.ndarray, new_dims, interp_order: int = 1) -> np.ndarray:
    """An image (H, W, K) in the size `new_dims` (height, width), float32.

    interp_order: 0 nearest, 1 linear, 3 cubic. Raises ValueError for another.
    """
    if interp_order not in _INTERPOLATIONS:
        raise ValueError(f"interp_order is 0 (nearest), 1 (linear) or 3 (cubic), not {interp_order}")
    height, width = (int(size) for size in new_dims)
    image = np.ascontiguousarray(im, np.float32)
    image = image.reshape(*image.shape[:2], -1)
    parts = [image[:, :, first : first + _CHANNELS] for first in range(0, image.shape[2], _CHANNELS)]
    resized = [cv2.resize(part, (width, height), interpolation=_INTERPOLATIONS[interp_order]) for part in parts]
    return np.concatenate([part.reshape(height, width, -1) for part in resized], axis=2)


def resize(image: np.ndarray, output_shape, order: int = 1, preserve_range: bool = False, **_) -> np.ndarray:
    """What pycaffe has from scikit-image: an image (H, W[, K]), or values (H,), in another size, float64, integers from 0 to 1 unless
    preserve_range.

    As in its versions of pycaffe's time nothing is smoothed first; all other options of it are left aside. Raises ValueError.
    """
    image, shape = np.asarray(image), tuple(int(size) for size in output_shape)
    shape += image.shape[len(shape) :] if len(shape) == 2 else ()
    if not image.ndim <= len(shape) <= 3 or (image.ndim == 1) != (len(shape) == 1):
        raise ValueError(f"an image of shape {image.shape} cannot be resized to {shape}")
    whole = image.dtype.kind in "ui" and not preserve_range
    values = np.divide(image, np.iinfo(image.dtype).max if whole else 1, dtype=np.float64)
    height, width, channels = shape + (1,) * (3 - len(shape))
    planes = values.reshape(*image.shape[:2], -1) if image.ndim > 1 else values[:, None]
    resized = resize_image(planes, (height, width), order)
    if resized.shape[2] != channels:
        resized = resize_image(resized.reshape(height * width, -1), (height * width, channels), order)
    return resized.astype(np.float64).clip(values.min(), values.max()).reshape(shape)


def __getattr__(name):
    """`skimage`, which scripts take from here; pycaffe has it loaded."""
    if name != "skimage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        for part in ("io", "transform"):
            importlib.import_module(f"skimage.{part}")
        return importlib.import_module("skimage")
    except ImportError as error:
        raise AttributeError(f"caffe.io.skimage needs scikit-image: pip install scikit-image ({error})") from error


def oversample(images, crop_dims) -> np.ndarray:
    """Ten crops of each image (H, W, K): four corners, the centre, and the mirror images of these; (10 N, h, w, K) float32.

    Raises ValueError where an image is smaller than crop_dims (height, width).
    """
    height, width = (int(size) for size in crop_dims)
    crops = []
    for image in images:
        down, right = image.shape[0] - height, image.shape[1] - width
        if min(down, right) < 0:
            raise ValueError(
                f"an image of {image.shape[0]}x{image.shape[1]} is smaller than the crops, {height}x{width}"
            )
        corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
        five = [image[y : y + height, x : x + width] for y, x in corners]
        crops += five + [crop[:, ::-1] for crop in five]
    return np.array(crops, np.float32)


class Transformer:
    """How an image becomes what a net's input holds. `inputs` are the shapes by name: {"data": net.blobs["data"].data.shape}.

    In this order: float32, resized to the input, `transpose`, `channel_swap`, times `raw_scale`, less `mean`, times `input_scale`;
    what is not set is not done.
    """

    def __init__(self, inputs: dict[str, tuple[int, ...]]):
        self.inputs = inputs
        self.transpose: dict[str, tuple[int, ...]] = {}
        self.channel_swap: dict[str, tuple[int, ...]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, float] = {}

    def _shape(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            raise ValueError(f"'{in_}' is no input: those are {', '.join(self.inputs)}")
        return tuple(self.inputs[in_])

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """An image (H, W, K) as the input of that name holds it, (K, h, w) float32; `data` stays as it is."""
        size = self._shape(in_)[2:]
        image = np.array(data, np.float32)
        if image.shape[:2] != size:
            image = resize_image(image, size)
        if in_ in self.transpose:
            image = image.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            image = image[list(self.channel_swap[in_])]
        if in_ in self.raw_scale:
            image *= self.raw_scale[in_]
        if in_ in self.mean:
            image -= self.mean[in_]
        if in_ in self.input_scale:
            image *= self.input_scale[in_]
        return image

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """What an input holds, (K, h, w) or (1, K, h, w), as an image again: preprocess undone, but for the resizing."""
        self._shape(in_)
        image = np.array(data, np.float32)
        image = image.reshape(image.shape[-3:])
        if in_ in self.input_scale:
            image /= self.input_scale[in_]
        if in_ in self.mean:
            image += self.mean[in_]
        if in_ in self.raw_scale:
            image /= self.raw_scale[in_]
        if in_ in self.channel_swap:
            image = image[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            image = image.transpose(np.argsort(self.transpose[in_]))
        return image

    def set_transpose(self, in_: str, order) -> None:
        """The order of an image's axes: (2, 0, 1) makes (K, H, W) of (H, W, K). Raises ValueError."""
        if sorted(order) != list(range(len(self._shape(in_)) - 1)):
            raise ValueError(f"transpose must name the axes 0 to {len(self.inputs[in_]) - 2} once each, not {order}")
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order) -> None:
        """The order of the channels, after transposing: (2, 1, 0) makes BGR of RGB. Raises ValueError."""
        channels = self._shape(in_)[1]
        if sorted(order) != list(range(channels)):
            raise ValueError(f"channel_swap must name the channels 0 to {channels - 1} once each, not {order}")
        self.channel_swap[in_] = tuple(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """What values are multiplied by before the mean is subtracted: 255 for nets that take bytes."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """What is subtracted: (K,), (H, W) or (K, H, W); an image of another size is resized. Raises ValueError."""
        shape = self._shape(in_)[1:]
        mean = np.asarray(mean, np.float32)
        if mean.ndim == 1:
            mean = mean[:, np.newaxis, np.newaxis]
        elif mean.ndim == 2:
            mean = mean[np.newaxis]
        if mean.ndim != 3 or len(mean) not in (1, shape[0]):
            raise ValueError(
                f"a mean of shape {mean.shape} does not fit the input '{in_}', {shape} (channels, height, width)"
            )
        if mean.shape[1:] not in ((1, 1), shape[1:]):
            mean = resize_image(mean.transpose(1, 2, 0), shape[1:]).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """What values are multiplied by at the end."""
        self._shape(in_)
        self.input_scale[in_] = scale


def blobproto_to_array(blob, return_diff: bool = False) -> np.ndarray:
    """A BlobProto's values, or its gradients, in its shape: of a mean file (.binaryproto), (1, K, H, W)."""
    values = (blob.double_diff or blob.diff) if return_diff else (blob.double_data or blob.data)
    legacy = any(blob.HasField(size) for size in ("num", "channels", "height", "width"))
    shape = (blob.num, blob.channels, blob.height, blob.width) if legacy else tuple(blob.shape.dim)
    return np.array(values, np.float64).reshape(shape)


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None):
    """A BlobProto of an array of any shape, with gradients of the same shape where they are given."""
    blob = caffe_pb2.BlobProto(data=np.asarray(arr, np.float32).ravel())
    blob.shape.dim.extend(arr.shape)
    if diff is not None:
        blob.diff.extend(np.asarray(diff, np.float32).ravel())
    return blob


def arraylist_to_blobprotovector_str(arraylist) -> bytes:
    """Arrays as one string of bytes, a BlobProtoVector."""
    return caffe_pb2.BlobProtoVector(blobs=[array_to_blobproto(array) for array in arraylist]).SerializeToString()


def blobprotovector_str_to_arraylist(stored: bytes) -> list[np.ndarray]:
    """The arrays of such a string."""
    return [blobproto_to_array(blob) for blob in caffe_pb2.BlobProtoVector.FromString(stored).blobs]


def array_to_datum(arr: np.ndarray, label: int | None = None):
    """A Datum, as an LMDB holds it, of an array (K, H, W): bytes of uint8, else floats. Raises ValueError for another shape."""
    if arr.ndim != 3:
        raise ValueError(f"a Datum holds an array (channels, height, width), not of shape {arr.shape}")
    held = {"data": arr.tobytes()} if arr.dtype == np.uint8 else {"float_data": np.asarray(arr, np.float32).ravel()}
    channels, height, width = arr.shape
    label = label if label is None else int(label)
    return caffe_pb2.Datum(channels=channels, height=height, width=width, label=label, **held)


def datum_to_array(datum) -> np.ndarray:
    """The array (K, H, W) of a Datum that holds pixels: uint8, or float64. Its label is datum.label."""
    values = np.frombuffer(datum.data, np.uint8).copy() if datum.data else np.array(datum.float_data, np.float64)
    return values.reshape(datum.channels, datum.height, datum.width)
