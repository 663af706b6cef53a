"""The layers of SSD detectors (Liu et al. 2016) about boxes: PriorBox, DetectionOutput."""

import itertools
import math
import warnings
from typing import NamedTuple

import numpy as np

from ..proto import caffe_pb2
from .layer import Layer, register, require_images

_CodeType = caffe_pb2.PriorBoxParameter
_SAME = 1e-6  # aspect ratios nearer to each other are one


def _pair(param, name: str) -> tuple[float, float] | None:
    """(vertical, horizontal) of NAME (or NAME_size), or of NAME_h and NAME_w; None where none is given. Raises ValueError."""
    plain = f"{name}_size" if f"{name}_size" in param.DESCRIPTOR.fields_by_name else name
    given = [field for field in (plain, f"{name}_h", f"{name}_w") if param.HasField(field)]
    if not given:
        return None
    if given not in ([plain], [f"{name}_h", f"{name}_w"]):
        raise ValueError(f"give {plain}, or both {name}_h and {name}_w, not {' and '.join(given)}")
    values = [getattr(param, field) for field in given]
    if not all(0 < value < math.inf for value in values):
        raise ValueError(f"{' and '.join(given)} must be above 0, not {' and '.join(f'{value:g}' for value in values)}")
    return values[0], values[-1]


@register("PriorBox")
class PriorBox(Layer):
    """Boxes of some sizes and shapes around each place of a map, from which a net tells by how much objects differ (SSD, section 2.2).

    bottoms: map (N, C, h, w), image (N, C', H, W), of which only the sizes count; no gradient
    top:     (1, 2, h * w * P * 4): xmin ymin xmax ymax as shares of the image, place after place in rows, P boxes each; then their variances
    A box's middle is (column + offset) * step. Of each min_size m, with a max_size M and aspect ratios a: m x m, sqrt(m M) x sqrt(m M),
    m sqrt(a) x m / sqrt(a) for each a other than 1 and, with flip, for 1 / a after it.
    """

    only_launches = True
    keeps_tops = True
    bottoms = (2, 2)
    without_gradient = (0, 1)

    def setup(self, bottom, top):
        param = self.param.prior_box_param
        for field in ("min_size", "max_size", "aspect_ratio", "variance"):
            for value in getattr(param, field):
                if not 0 < value < math.inf:
                    raise ValueError(f"{field} must be above 0, not {value:g}")
        if not param.min_size:
            raise ValueError("give at least one min_size")
        if len(param.max_size) not in (0, len(param.min_size)):
            raise ValueError(
                f"has {len(param.min_size)} min_size and {len(param.max_size)} max_size: give none, or one for each"
            )
        for small, large in zip(param.min_size, param.max_size, strict=False):
            if large <= small:
                raise ValueError(f"max_size {large:g} must be greater than its min_size {small:g}")
        if len(param.variance) not in (0, 1, 4):
            raise ValueError(f"has {len(param.variance)} variance: give none, one for all, or four")
        self._image, self._step = _pair(param, "img"), _pair(param, "step")
        self._sizes = np.array(self._sizes_of_boxes())
        self._made = None

    def _sizes_of_boxes(self) -> list[tuple[float, float]]:
        """(width, height) in pixels of the P boxes of a place."""
        param, ratios = self.param.prior_box_param, [1.0]
        for ratio in param.aspect_ratio:
            if all(abs(ratio - other) >= _SAME for other in ratios):
                ratios += [ratio, 1 / ratio] if param.flip else [ratio]
        sizes = []
        for small, large in itertools.zip_longest(param.min_size, param.max_size):
            sizes.append((small, small))
            if large is not None:
                sizes.append((math.sqrt(small * large),) * 2)
            sizes += [(small * math.sqrt(ratio), small / math.sqrt(ratio)) for ratio in ratios[1:]]
        return sizes

    def reshape(self, bottom, top):
        for blob in bottom:
            require_images(blob)
        if self._image is None and not math.prod(bottom[1].shape[2:]):
            raise ValueError(f"an image of shape {bottom[1].shape} has no pixels: boxes cannot be shares of it")
        top[0].reshape(1, 2, math.prod(bottom[0].shape[2:]) * len(self._sizes) * 4)

    def forward(self, bottom, top):
        made = (bottom[0].shape[2:], self._image or bottom[1].shape[2:])
        if made != self._made:
            with np.errstate(all="ignore"):  # what is too large for a number is infinite
                top[0].host_data_to_fill[0] = self._boxes(*made)
            self._made = made

    def _boxes(self, places: tuple[int, int], image: tuple[float, float]) -> np.ndarray:
        """(2, h * w * P * 4): the boxes and their variances."""
        param, size = self.param.prior_box_param, np.array(image[::-1])
        rows, columns = places
        step = self._step or (image[0] / max(rows, 1), image[1] / max(columns, 1))
        middles = np.empty((rows, columns, 1, 2))
        middles[..., 0] = ((np.arange(columns) + param.offset) * step[1])[:, None]
        middles[..., 1] = ((np.arange(rows) + param.offset) * step[0])[:, None, None]
        boxes = np.concatenate([middles - self._sizes / 2, middles + self._sizes / 2], axis=3) / np.tile(size, 2)
        if param.clip:
            boxes = boxes.clip(0, 1)
        variance = np.broadcast_to(list(param.variance) or [0.1], (boxes.size // 4, 4))
        return np.stack([boxes.ravel(), variance.ravel()])

    def backward(self, top, propagate_down, bottom):
        """Boxes follow from sizes alone."""


class _Priors(NamedTuple):
    """Prior boxes and their variances, (P, 4) each: xmin ymin xmax ymax."""

    boxes: np.ndarray
    variances: np.ndarray


def _decoded(code, told: np.ndarray, priors: _Priors) -> np.ndarray:
    """The boxes (n, 4) that differ from their priors by what the net tells of each corner, or of middle and size."""
    told, low, high = told * priors.variances, priors.boxes[:, :2], priors.boxes[:, 2:]
    size = high - low
    if code == _CodeType.CENTER_SIZE:
        middle, half = (low + high) / 2 + told[:, :2] * size, np.exp(told[:, 2:]) * size / 2
        return np.hstack([middle - half, middle + half])
    return priors.boxes + told * (np.hstack([size, size]) if code == _CodeType.CORNER_SIZE else 1)


def _not_suppressed(boxes: np.ndarray, threshold: float, eta: float) -> list[int]:
    """The numbers of the boxes that none kept before them overlaps: intersection over union above the threshold.

    A box kept multiplies a threshold above 0.5 by eta. Boxes that do not meet, or are turned inside out, have nothing in common.
    """
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    areas, most, kept = (right - left) * (bottom - top), np.zeros(len(boxes)), []
    for box in range(len(boxes)):
        if most[box] <= threshold:
            kept.append(box)
            width = np.minimum(right[box], right[box:]) - np.maximum(left[box], left[box:])
            height = np.minimum(bottom[box], bottom[box:]) - np.maximum(top[box], top[box:])
            common = np.maximum(width, 0) * np.maximum(height, 0)
            shares = np.divide(common, areas[box] + areas[box:] - common, out=np.zeros_like(common), where=common > 0)
            np.maximum(most[box:], shares, out=most[box:])
            threshold *= eta if threshold > 0.5 else 1
    return kept


@register("DetectionOutput")
class DetectionOutput(Layer):
    """The objects that a net finds: its boxes, of which the best of those that overlap stay (SSD, section 2.2). No gradient.

    bottoms: differences from P priors (N, P * 4), of each of L classes (N, P * L * 4) where share_location is false; scores (N, P * L);
             priors (1, 2, P * 4) of PriorBox layers
    top:     (1, 1, M, 7): image, label, score, xmin, ymin, xmax, ymax as shares of the image, by image, label and falling score
    Of each image and class the top_k best scores above confidence_threshold go into non-maximum suppression, of what that leaves of an image
    the keep_top_k best into the top; of equal scores the earlier prior, then the lower label. Where no image has any, M is N: each image's
    number, and -1 for all else. Only forward knows M: until then the top has one row.
    """

    bottoms = (3, 3)
    without_gradient = (0, 1, 2)

    def setup(self, bottom, top):
        param = self.param.detection_output_param
        if param.num_classes < 1:
            raise ValueError("give num_classes, with the background")
        if param.nms_param.nms_threshold < 0 or not 0 < param.nms_param.eta <= 1:
            raise ValueError(
                f"nms_threshold must be 0 or more and eta above 0 and 1 at most, not {param.nms_param.nms_threshold:g} and "
                f"{param.nms_param.eta:g}"
            )
        if param.save_output_param.output_directory:
            warnings.warn(
                f"layer '{self.name}' (DetectionOutput): writes no files into output_directory; its top holds the detections",
                stacklevel=2,
            )
        if param.visualize:
            warnings.warn(
                f"layer '{self.name}' (DetectionOutput): shows no windows; its top holds the detections", stacklevel=2
            )
        self._boxes = 1 if param.share_location else param.num_classes  # of each prior
        self._top_k = param.nms_param.top_k if param.nms_param.HasField("top_k") else -1
        self._least = param.confidence_threshold if param.HasField("confidence_threshold") else -math.inf

    def reshape(self, bottom, top):
        param = self.param.detection_output_param
        location, scores, priors = (blob.shape for blob in bottom)
        if len(priors) != 3 or priors[:2] != (1, 2) or priors[2] % 4:
            raise ValueError(f"the third bottom has the shape {priors}: priors (1, 2, 4 * P) are expected")
        count = priors[2] // 4
        told, rated = 4 * count * self._boxes, count * param.num_classes
        for shape, wanted, what in ((location, told, "differences"), (scores, rated, "scores")):
            if not shape or math.prod(shape[1:]) != wanted or shape[0] != location[0]:
                raise ValueError(
                    f"{count} priors and num_classes {param.num_classes} take {wanted} {what} of each image, not a bottom of shape {shape}"
                )
        top[0].reshape(1, 1, 1, 7)

    def forward(self, bottom, top):
        param = self.param.detection_output_param
        location, scores, priors = (blob.fetched_data for blob in bottom)
        images, count = len(location), priors.shape[2] // 4
        location = location.reshape(images, count, self._boxes, 4)
        scores = scores.reshape(images, count, param.num_classes)
        priors = _Priors(*priors.reshape(2, count, 4))
        if param.variance_encoded_in_target:
            priors = priors._replace(variances=np.ones_like(priors.variances))
        found = [self._found(*of_image, priors) for of_image in zip(location, scores, strict=True)]
        rows = [np.insert(rows, 0, number, axis=1) for number, rows in enumerate(found)]
        if not any(map(len, rows)):
            rows = [[[number] + [-1] * 6] for number in range(images)]
        top[0].reshape(1, 1, sum(map(len, rows)), 7)
        if rows:
            top[0].host_data_to_fill[0, 0] = np.concatenate(rows)

    def _found(self, location: np.ndarray, scores: np.ndarray, priors: _Priors) -> np.ndarray:
        """(n, 6): label, score and box of what one image shows, from (P, 1 or L, 4) and (P, L)."""
        param, found = self.param.detection_output_param, [np.empty((0, 6))]
        for label in range(param.num_classes):
            if label == param.background_label_id:
                continue
            chosen = _best(scores[:, label], self._least, self._top_k)
            with np.errstate(all="ignore"):  # a net that knows nothing yet tells of boxes without end
                told = location[chosen, label if self._boxes > 1 else 0]
                boxes = _decoded(param.code_type, told, _Priors(*(array[chosen] for array in priors)))
                kept = _not_suppressed(boxes, param.nms_param.nms_threshold, param.nms_param.eta)
            found.append(np.column_stack([np.full(len(kept), label), scores[chosen[kept], label], boxes[kept]]))
        found = np.concatenate(found)
        return found[np.sort(_best(found[:, 1], -math.inf, param.keep_top_k))]

    def backward(self, top, propagate_down, bottom):
        """Nothing flows through a choice."""


def _best(scores: np.ndarray, least: float, count: int) -> np.ndarray:
    """Where the `count` (-1: all) greatest scores above `least` are, the greatest first, of equal ones the first."""
    above = np.flatnonzero(scores > least)
    order = np.argsort(-scores[above], kind="stable")
    return above[order if count < 0 else order[:count]]
