"""Scoring a whole image with a net that sees one window at a time (paper, section 5.1; the release's inference).

The net is known by its interface only, pycaffe's: blobs with `shape`, `data` and `reshape`, `reshape()`, `forward(data=...)`.
Where its blobs have `device_data` too, as ours, windows and score maps never leave the device that computes.
"""

import numpy as np

from .. import kernels
from .resampling import for_kernels

# windows that go through the net at once: on a CPU no more are faster (make bench), and fewer take less memory; on a GPU an image's
BATCH, BATCH_ON_GPU = 10, 50


def segment(net, image, boxes, *, aggregate="sum", antialias=True, on_device=False, **options):
    """Score every pixel of an image from a net's scores in boxes: (K, H, W) float32, all zero where no box lies.

    See score_maps for the net and its options, merge_scores for `aggregate`. on_device: leave the scores where they were
    computed, a CuPy array on a GPU, which `probabilities`, `classes_of` and `ensemble` take as well.
    """
    greatest = _is_greatest(aggregate)
    windows = _Windows(net, image, boxes, antialias=antialias, **options)
    canvas, taps = _canvas(windows.boxes, windows.maps_shape, windows.like, windows.image.shape[:2], antialias)
    for first, maps in windows:
        kernels.merge_maps(maps, taps.of(first, first + len(maps)), canvas, greatest)
    return canvas if on_device else kernels.to_host(canvas)


def score_maps(net, image, boxes, **options):
    """The net's scores of each box of an image: (n, K, h, w) float32, in the net's own size, on the device that computed them.

    image: (H, W, 3) uint8 BGR; boxes: (n, 4) whole numbers x1 y1 x2 y2, inclusive, free to cross the image's border,
    where the net sees zeros before the mean is subtracted. Each crop is resized to the input blob's (h, w), `mean` (a
    number or one per channel, 0) is subtracted, the rest multiplied by `scale` (1); `batch` crops (10, on a GPU 50) go through
    the net at once, from its blob `input` ("data") to its `output` ("seg-score"). `antialias` (True) widens the kernel where the
    crop shrinks, as the release's inference does; without it the resize is plain bilinear. Raises ValueError for a bad
    image, box, option or blob name.
    """
    windows = _Windows(net, image, boxes, **options)
    out = kernels.array_module(windows.like).empty((len(windows.boxes), *windows.maps_shape), windows.like.dtype)
    for first, maps in windows:
        out[first : first + len(maps)] = maps
    return out


def merge_scores(boxes, maps, size, *, aggregate="sum", antialias=True):
    """Merge the score maps (n, K, h, w) of n boxes into one of the image's `size` (H, W): (K, H, W) float32.

    maps: NumPy's, or CuPy's, which are merged on their GPU. A map is resized to its box and counts as zero outside of it:
    `aggregate` "sum" adds the maps (paper, Eq. 2), "max" takes the greatest of them and zero (Eq. 1; the release's canvas
    starts at zero as well), so that a score below zero never counts. Raises ValueError for another `aggregate`, a bad box
    or another number of maps.
    """
    greatest, boxes = _is_greatest(aggregate), _checked(boxes)
    maps = for_kernels(maps)
    if len(maps) != len(boxes):
        raise ValueError(f"there are {len(boxes)} boxes and {len(maps)} score maps")
    canvas, taps = _canvas(boxes, maps.shape[1:], maps, size, antialias)
    kernels.merge_maps(maps, taps, canvas, greatest)
    return kernels.to_host(canvas)


def _is_greatest(aggregate):
    """Whether maps are merged by their maximum."""
    if aggregate not in ("sum", "max"):
        raise ValueError(f"aggregate is 'sum' or 'max', not {aggregate!r}")
    return aggregate == "max"


def _canvas(boxes, maps_shape, like, size, antialias):
    """Zeros (K, H, W) beside `like`, and what merges maps (K, h, w) into them."""
    canvas = kernels.array_module(like).zeros((maps_shape[0], *size), like.dtype)
    return canvas, kernels.map_taps(boxes, maps_shape[1:], size, like, antialias)


class _Windows:
    """The windows of an image on their way through a net: iterates over (number of the batch's first box, its scores), which the next
    batch overwrites.

    image, boxes: checked; like: an array where the net computes; maps_shape: (K, h, w) of the scores. What a GPU needs is sent to it
    here, so that it does not wait for the host between batches.
    """

    def __init__(
        self, net, image, boxes, *, input="data", output="seg-score", batch=None, mean=0.0, scale=1.0, antialias=True
    ):  # fmt: skip
        batch = (BATCH_ON_GPU if kernels.mode() == "gpu" else BATCH) if batch is None else batch
        self.image, self.boxes = np.ascontiguousarray(image), _checked(boxes)
        if self.image.ndim != 3 or self.image.dtype != np.uint8 or 0 in self.image.shape:
            raise ValueError(f"an image is (H, W, 3) uint8, not {self.image.shape} {self.image.dtype}")
        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        if input not in net.blobs:
            raise ValueError(f"the net has no blob '{input}' to feed; its blobs: {', '.join(net.blobs)}")
        _, channels, *size = net.blobs[input].shape
        if channels != self.image.shape[2]:
            raise ValueError(f"blob '{input}' takes {channels} channels, but the image has {self.image.shape[2]}")
        self._net, self._input, self._output, self._batch, self._scale = net, input, output, batch, float(scale)
        self._on_device = hasattr(net.blobs[input], "device_data")
        if self._on_device:
            _require_output(output, net.outputs)
            if net.inputs != [input]:
                raise ValueError(f"the net's inputs are {', '.join(net.inputs)}, and only '{input}' is fed")
        x = self.like = self._fitted(max(min(batch, len(self.boxes)), 1))
        mean = np.ravel(np.asarray(mean, x.dtype))
        if len(mean) not in (1, channels):
            raise ValueError(f"mean is one number or {channels}, not {len(mean)}")
        mean = np.array(np.broadcast_to(mean, channels))
        self._mean, self._image = kernels.beside(x, mean), kernels.beside(x, self.image)
        self._taps = kernels.window_taps(self.boxes, size, x, antialias)
        self._first = None if self._on_device else self._scores(0)  # such a net tells its scores' shape by them alone
        self.maps_shape = net.blobs[output].shape[1:] if self._on_device else self._first.shape[1:]

    def __iter__(self):
        for first in range(0, len(self.boxes), self._batch):
            known, self._first = self._first, None
            yield first, self._scores(first) if known is None else known

    def _fitted(self, count):
        """Let the net take so many windows; the array that they are written to."""
        blob = self._net.blobs[self._input]
        shape = (count, *blob.shape[1:])
        if not self._on_device:
            return np.zeros(shape, np.float32)
        if tuple(blob.shape) != shape:
            blob.reshape(*shape)
            self._net.reshape()
        return blob.device_data

    def _scores(self, first):
        """(n, K, h, w) of the batch from there on; of one empty window where there is no box."""
        taps = self._taps.of(first, first + self._batch)
        count = len(taps.axes) // 2
        x = self._fitted(max(count, 1))
        if count:
            kernels.resize_windows(self._image, taps, self._mean, self._scale, x)
        if not self._on_device:
            return np.ascontiguousarray(forward(self._net, x, self._input, self._output), np.float32)
        self._net.forward_loss()
        return self._net.blobs[self._output].device_data


def probabilities(scores):
    """The softmax of (K, H, W) scores over the classes, float32, on the device of the scores."""
    scores = for_kernels(scores)
    out = kernels.array_module(scores).empty(scores.shape, scores.dtype)
    kernels.softmax(scores, 0, out)
    return out


def classes_of(scores):
    """The class of each pixel from (K, H, W) scores: (H, W) uint8; of equal scores the first, so nothing is background.

    The scores are NumPy's or CuPy's, the classes NumPy's.
    """
    if isinstance(scores, np.ndarray):
        return scores.argmax(axis=0).astype(np.uint8)
    out = kernels.array_module(scores).empty(scores.shape[1:], np.uint8)
    kernels.class_map(scores, out)
    return kernels.to_host(out)


def forward(net, x, input, output):
    """Run (n, C, h, w) float32 through the net: its blob `output`, (n, K, h', w'). Raises ValueError for a wrong name."""
    if tuple(net.blobs[input].shape) != x.shape:
        net.blobs[input].reshape(*x.shape)
        net.reshape()
    out = net.forward(**{input: x})
    _require_output(output, out)
    return out[output]


def _require_output(output, there):
    if output not in there:
        raise ValueError(f"the net has no output '{output}'; its outputs: {', '.join(sorted(there))}")


def _checked(boxes):
    """Boxes as (n, 4) int64. Raises ValueError for another shape, fractions or an empty box."""
    boxes = np.asarray(boxes)
    if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "iu"):
        raise ValueError(f"boxes are (n, 4) whole numbers x1 y1 x2 y2, not {boxes.shape} {boxes.dtype}")
    boxes = boxes.reshape(-1, 4).astype(np.int64)
    if ((boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])).any():
        raise ValueError("a box is empty: its second corner lies before the first")
    return boxes
