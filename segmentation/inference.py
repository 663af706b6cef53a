"""Scoring a whole image with a net that sees one window at a time (paper, section 4.3; the release's inference).

The net is known by its interface only, pycaffe's: blobs with `shape`, `data` and `reshape`, `reshape()`, `forward(data=...)`.
"""

import numpy as np

from .examples import crop
from .resampling import resize

BATCH = 50  # windows that go through the net at once: the fastest on a CPU (make bench); fewer take less memory


def segment(net, image, boxes, *, aggregate="sum", antialias=True, **options):
    """Score every pixel of an image from a net's scores in boxes: (K, H, W) float32, all zero where no box lies.

    See score_maps for the net and its options, merge_scores for `aggregate`.
    """
    maps = score_maps(net, image, boxes, antialias=antialias, **options)
    return merge_scores(boxes, maps, image.shape[:2], aggregate=aggregate, antialias=antialias)


def score_maps(
    net, image, boxes, *, input="data", output="seg-score", batch=BATCH, mean=0.0, scale=1.0, antialias=True
):  # fmt: skip
    """The net's scores of each box of an image: (n, K, h, w) float32, in the net's own size.

    image: (H, W, 3) uint8 BGR; boxes: (n, 4) whole numbers x1 y1 x2 y2, inclusive, free to cross the image's border,
    where the net sees zeros before the mean is subtracted. Each crop is resized to the input blob's (h, w), `mean` (a
    number or one per channel) is subtracted, the rest multiplied by `scale`; `batch` crops go through the net at once.
    `antialias` widens the kernel where the crop shrinks, as the release's inference does; without it the resize is
    plain bilinear. Raises ValueError for a bad image, box, option or blob name.
    """
    image, boxes = np.asarray(image), _checked(boxes)
    if image.ndim != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"an image is (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    if input not in net.blobs:
        raise ValueError(f"the net has no blob '{input}' to feed; its blobs: {', '.join(net.blobs)}")
    _, channels, height, width = net.blobs[input].shape
    if channels != image.shape[2]:
        raise ValueError(f"blob '{input}' takes {channels} channels, but the image has {image.shape[2]}")

    def windows(chosen):
        crops = (crop(image, box, fill=0).transpose(2, 0, 1) for box in chosen)
        x = np.stack([resize(window, height, width, antialias) for window in crops])
        return (x - np.reshape(np.float32(mean), (-1, 1, 1))) * np.float32(scale)

    if not len(boxes):  # one empty crop still tells how many classes there are
        return forward(net, np.zeros((1, channels, height, width), np.float32), input, output)[:0]
    starts = range(0, len(boxes), batch)
    return np.concatenate([forward(net, windows(boxes[i : i + batch]), input, output).copy() for i in starts])


def merge_scores(boxes, maps, size, *, aggregate="sum", antialias=True):
    """Merge the score maps (n, K, h, w) of n boxes into one of the image's `size` (H, W): (K, H, W) float32.

    A map is resized to its box and counts as zero outside of it: `aggregate` "sum" adds the maps (paper, Eq. 2), "max"
    takes the greatest of them and zero (Eq. 1; the release's canvas starts at zero as well), so that a score below zero
    never counts. Raises ValueError for another `aggregate` or a bad box.
    """
    if aggregate not in _MERGE:
        raise ValueError(f"aggregate is 'sum' or 'max', not {aggregate!r}")
    merge, canvas = _MERGE[aggregate], np.zeros((maps.shape[1], *size), np.float32)
    for (x1, y1, x2, y2), scores in zip(_checked(boxes).tolist(), maps, strict=True):
        top, bottom, left, right = max(y1, 0), min(y2 + 1, size[0]), max(x1, 0), min(x2 + 1, size[1])
        if top < bottom and left < right:
            scores = resize(scores, y2 - y1 + 1, x2 - x1 + 1, antialias)
            part = canvas[:, top:bottom, left:right]
            merge(part, scores[:, top - y1 : bottom - y1, left - x1 : right - x1], out=part)
    return canvas


_MERGE = {"sum": np.add, "max": np.maximum}


def probabilities(scores):
    """The softmax of (K, H, W) scores over the classes, float32."""
    scores = np.exp(scores - scores.max(axis=0))
    return scores / scores.sum(axis=0)


def classes_of(scores):
    """The class of each pixel from (K, H, W) scores: (H, W) uint8; of equal scores the first, so nothing is background."""
    return scores.argmax(axis=0).astype(np.uint8)


def forward(net, x, input, output):
    """Run (n, C, h, w) float32 through the net: its blob `output`, (n, K, h', w'). Raises ValueError for a wrong name."""
    if tuple(net.blobs[input].shape) != x.shape:
        net.blobs[input].reshape(*x.shape)
        net.reshape()
    out = net.forward(**{input: x})
    if output not in out:
        raise ValueError(f"the net has no output '{output}'; its outputs: {', '.join(sorted(out))}")
    return out[output]


def _checked(boxes):
    """Boxes as (n, 4) int64. Raises ValueError for another shape, fractions or an empty box."""
    boxes = np.asarray(boxes)
    if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "iu"):
        raise ValueError(f"boxes are (n, 4) whole numbers x1 y1 x2 y2, not {boxes.shape} {boxes.dtype}")
    boxes = boxes.reshape(-1, 4).astype(np.int64)
    if ((boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])).any():
        raise ValueError("a box is empty: its second corner lies before the first")
    return boxes
