"""Segmenting a whole image with a net that sees one window at a time (paper, section 5.1).

The net is known by its interface only, pycaffe's: blobs with `data` and `reshape`, `reshape()`, `forward(data=...)`.
"""

import cv2
import numpy as np

from .examples import crop


def segment(
    net, image, boxes, *, input="data", output="seg-score", batch=32, mean=0.0, scale=1.0, aggregate="sum", antialias=True
):  # fmt: skip
    """Score every pixel of an image from a net's scores in boxes: (K, H, W) float32, all zero where no box lies.

    image: (H, W, 3) uint8 BGR; boxes: (n, 4) whole numbers x1 y1 x2 y2, inclusive, free to cross the image's border,
    where the net sees zeros. Each crop is resized to the input blob's (h, w), `mean` (a number or one per channel) is
    subtracted, the rest multiplied by `scale`; `batch` crops go through the net at once. The scores of the blob
    `output`, (n, K, h', w'), are resized to their boxes and merged, as zeros outside of a box:
    `aggregate` "sum" adds them (Eq. 2), "max" takes the greatest of them and zero (Eq. 1, with the release's canvas
    that starts at zero: a score below zero never counts). `antialias` averages areas where a resize shrinks, as the
    release's inference does; without it both resizes are plain bilinear.
    Raises ValueError for a bad image, box, option or blob name.
    """
    image, boxes = np.asarray(image), np.asarray(boxes)
    _check(net, image, boxes, input, batch, aggregate)
    boxes = boxes.reshape(-1, 4).astype(np.int64)
    channels, height, width = net.blobs[input].data.shape[1:]
    if channels != image.shape[2]:
        raise ValueError(f"blob '{input}' takes {channels} channels, but the image has {image.shape[2]}")
    merge, canvas = _MERGE[aggregate], None
    for start in range(0, max(len(boxes), 1), batch):
        chosen = boxes[start : start + batch]
        # without a box one empty crop still tells how many classes there are
        crops = [crop(image, box, fill=0) for box in chosen] or [np.zeros((1, 1, channels), image.dtype)]
        x = np.stack([resize(window, height, width, antialias) for window in crops])
        scores = _forward(net, input, output, (x - np.float32(mean)) * np.float32(scale))
        if canvas is None:
            canvas = np.zeros((scores.shape[1], *image.shape[:2]), np.float32)
        for box, score in zip(chosen, scores, strict=False):
            _lay(canvas, box, score, merge, antialias)
    return canvas


def classes_of(scores):
    """The class of each pixel from (K, H, W) scores: (H, W) uint8; of equal scores the first, so nothing is background."""
    return scores.argmax(axis=0).astype(np.uint8)


def resize(array, height, width, antialias=True):
    """Resize (h, w, C) to (height, width, C) float32, bilinear; with `antialias` a side that shrinks averages areas."""
    array = np.ascontiguousarray(array, np.float32)
    if antialias:  # the sides that shrink first: OpenCV's area filter turns bilinear where another side grows
        array = _resize(array, min(height, array.shape[0]), min(width, array.shape[1]), cv2.INTER_AREA)
    return _resize(array, height, width, cv2.INTER_LINEAR)


def _resize(array, height, width, how):
    if array.shape[:2] == (height, width):
        return array
    out = np.empty((height, width, array.shape[2]), np.float32)
    for k in range(0, array.shape[2], 4):  # OpenCV's area filter takes at most four channels
        part = np.ascontiguousarray(array[..., k : k + 4])
        out[..., k : k + 4] = cv2.resize(part, (width, height), interpolation=how).reshape(height, width, -1)
    return out


_MERGE = {"sum": np.add, "max": np.maximum}


def _forward(net, input, output, x):
    """Run (n, h, w, C) float32 through the net: its scores (n, K, h', w')."""
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)
    if net.blobs[input].data.shape != x.shape:
        net.blobs[input].reshape(*x.shape)
        net.reshape()
    out = net.forward(**{input: x})
    if output not in out:
        raise ValueError(f"the net has no output '{output}'; its outputs: {', '.join(sorted(out))}")
    return out[output]


def _lay(canvas, box, score, merge, antialias):
    """Merge one score map (K, h, w) into the canvas (K, H, W), in place, where its box overlaps the image."""
    x1, y1, x2, y2 = (int(corner) for corner in box)
    top, bottom, left, right = max(y1, 0), min(y2 + 1, canvas.shape[1]), max(x1, 0), min(x2 + 1, canvas.shape[2])
    if top >= bottom or left >= right:
        return
    score = resize(score.transpose(1, 2, 0), y2 - y1 + 1, x2 - x1 + 1, antialias)
    part = canvas[:, top:bottom, left:right]
    merge(part, score[top - y1 : bottom - y1, left - x1 : right - x1].transpose(2, 0, 1), out=part)


def _check(net, image, boxes, input, batch, aggregate):
    if image.ndim != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"an image is (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "iu"):
        raise ValueError(f"boxes are (n, 4) whole numbers x1 y1 x2 y2, not {boxes.shape} {boxes.dtype}")
    if boxes.size and ((boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])).any():
        raise ValueError("a box is empty: its second corner lies before the first")
    if aggregate not in _MERGE:
        raise ValueError(f"aggregate is 'sum' or 'max', not {aggregate!r}")
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    if input not in net.blobs:
        raise ValueError(f"the net has no blob '{input}' to feed; its blobs: {', '.join(net.blobs)}")
