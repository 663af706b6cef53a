"""The paper's inference as a whole: proposals, our net over them, and where given an FCN beside it and a CRF after it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import kernels
from . import inference
from .ensemble import ensemble
from .proposals import chosen
from .resampling import resize, shrunk, shrunk_size

MAX_SIDE = 1024  # pixels; VOC's images have 500, and the net sees 224 of a window at most
_BAND = 1 << 22  # numbers held at once while a result grows to a large image's size


@dataclass(frozen=True)
class Segmenter:
    """Segments images; what it is made of are functions, so that any of them can be another.

    score: (image, boxes) -> scores (K, H, W), such as partial(segment, net, ...); None for the FCN alone.
    propose: (image id, image) -> boxes (n, 4), best first; the first `count` are taken that, enlarged by `context`,
        have a shorter side of at least `min_side` pixels (facts of the release: 50, 112, 1.2).
    fcn: image -> scores (K, H, W), joined with ours as `how` says (see ensemble); crf: (image, probabilities) ->
        probabilities.
    max_side: an image with a longer side is shrunk to it first (None: never), so that memory stays bounded.
    """

    score: Callable | None
    propose: Callable
    count: int = 50
    min_side: int = 112
    context: float = 1.2
    fcn: Callable | None = None
    how: str = "paper"
    crf: Callable | None = None
    max_side: int | None = MAX_SIDE

    def boxes(self, image_id, image):
        """The boxes (n, 4) of an image (H, W, 3) that go through the net, in pixels of the shrunk image.

        Where no proposal is large enough there is none, and all is background.
        """
        size = shrunk_size(*image.shape[:2], self.max_side)
        proposed = np.asarray(self.propose(image_id, image)).reshape(-1, 4)
        if size != image.shape[:2]:
            factor = np.array([size[1] / image.shape[1], size[0] / image.shape[0]] * 2)
            edges = np.round((proposed + [0, 0, 1, 1]) * factor).astype(np.int64)
            proposed = np.maximum(edges - [0, 0, 1, 1], edges[:, [0, 1, 0, 1]])  # a pixel is left at least
        return chosen(proposed, count=self.count, min_side=self.min_side, context=self.context)

    def probabilities(self, image_id, image, on_device=False, boxes=None):
        """Class probabilities (K, h, w) float32 of an image (H, W, 3) uint8 BGR, of the shrunk image's size.

        on_device: leave them on a GPU where `score` or `fcn` left the scores there; boxes: what self.boxes gave, where it
        is known already.
        """
        work = shrunk(image, self.max_side)
        if self.score and boxes is None:
            boxes = self.boxes(image_id, image)
        scores = self.score(work, boxes) if self.score else None
        if self.score and self.fcn:
            found = ensemble(scores, self.fcn(work), self.how)
        else:
            found = inference.probabilities(scores if self.score else self.fcn(work))
        found = found if on_device and not self.crf else kernels.to_host(found)
        return self.crf(work, found) if self.crf else found

    def __call__(self, image_id, image):
        """The class of each pixel of an image (H, W, 3) uint8 BGR: (H, W) uint8."""
        return grown_classes(self.probabilities(image_id, image, on_device=True), *image.shape[:2])


def grown_classes(found, height, width):
    """The most probable class of each pixel, (height, width) uint8, from (K, h, w) probabilities, NumPy's or CuPy's, band by band."""
    if found.shape[1:] == (height, width):
        return inference.classes_of(found)
    band = max(_BAND // (found.shape[0] * width), 1)
    out = np.empty((height, width), np.uint8)
    for top in range(0, height, band):
        rows = top, min(top + band, height)
        out[slice(*rows)] = inference.classes_of(resize(found, height, width, rows=rows))
    return out
