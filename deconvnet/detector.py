"""A net that tells the classes of windows of images (pycaffe's caffe.Detector), as R-CNN does."""

import cv2
import numpy as np

from . import io
from .image_net import ImageNet

# to which R-CNN brings an image before it proposes windows, and below which a side is too short for one
_PROPOSAL_WIDTH, _SHORTEST = 500, 20


class Detector(ImageNet):
    """A net in TEST over windows (ymin, xmin, ymax, xmax) of images, each brought to the size of the net's input.

    mean, input_scale, raw_scale, channel_swap: as io.Transformer's; context_pad: how many pixels of the input around the window show
    what surrounds it in the image, the mean where the image ends (the input is square then); net_options, such as
    allow_python_layers: as Net's. Raises what Net raises, and ValueError.
    """

    def __init__(
        self,
        model_file,
        pretrained_file,
        mean=None,
        input_scale=None,
        raw_scale=None,
        channel_swap=None,
        context_pad=None,
        **net_options,
    ):
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap, **net_options)
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad: int | None) -> None:
        """Let so many pixels of the input show the surroundings. Raises ValueError where they leave nothing for the window."""
        name = self.inputs[0]
        channels, height, width = self.blobs[name].shape[1:]
        if context_pad and not (height == width > 2 * context_pad > 0):
            raise ValueError(
                f"context_pad {context_pad} needs a square input wider than twice that, not {height}x{width} (height x width)"
            )
        self.context_pad = context_pad
        self.crop_dims = np.array((height, width, channels))
        # what becomes 0 in the input
        self.crop_mean = self.transformer.deprocess(name, np.zeros((channels, height, width)))

    def detect_windows(self, images_windows) -> list[dict]:
        """The net's first output for each window: [{"window": window, "prediction": array, "filename": path}], in the order given.

        images_windows: pairs of an image file and its windows. Raises FileNotFoundError, ValueError.
        """
        batch, detections = self.blobs[self.inputs[0]].shape[0], []
        for path, windows in images_windows:
            image, windows = io.load_image(path), list(windows)
            for first in range(0, len(windows), batch):
                some = windows[first : first + batch]
                predictions = self.predict_crops([self.crop(image, window) for window in some])
                detections += [
                    {"window": window, "prediction": prediction, "filename": path}
                    for window, prediction in zip(some, predictions, strict=True)
                ]
        return detections

    def detect_selective_search(self, image_fnames) -> list[dict]:
        """detect_windows over the windows that selective search, in OpenCV's fast mode, proposes for each image."""
        return self.detect_windows((path, selective_search(io.load_image(path))) for path in image_fnames)

    def crop(self, im: np.ndarray, window) -> np.ndarray:
        """A window of an image (H, W, K), with its context where there is some. Raises ValueError where it does not lie in the image."""
        if not self.context_pad:
            top, left, bottom, right = (int(corner) for corner in window)
            part = im[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
            self._require_pixels(part, im, window)
            return part
        size = int(self.crop_dims[0])
        first, last = np.array(window[:2], np.float64), np.array(window[2:], np.float64)
        half = (last - first + 1) / 2
        middle, reach = first + half, half * size / (size - 2 * self.context_pad)
        begin, end = np.round(middle - reach), np.round(middle + reach)
        scale = size / (end - begin + 1)
        offset = np.round(np.maximum(-begin, 0) * scale).astype(int)
        limits = np.array(im.shape[:2])
        begin, end = np.clip(begin, 0, limits), np.clip(end, 0, limits)
        inside = np.minimum(np.round((end - begin + 1) * scale).astype(int), size - offset)
        (top, left), (bottom, right) = begin.astype(int), end.astype(int)
        part = im[top:bottom, left:right]
        self._require_pixels(part, im, window)
        result = self.crop_mean.copy()
        if inside.min() > 0:
            result[offset[0] : offset[0] + inside[0], offset[1] : offset[1] + inside[1]] = io.resize_image(part, inside)
        return result

    def _require_pixels(self, part, im, window) -> None:
        if not part.size:
            corners = ", ".join(str(corner) for corner in window)
            raise ValueError(
                f"the window {corners} (ymin, xmin, ymax, xmax) holds nothing of an image of {im.shape[0]}x{im.shape[1]} (height x width)"
            )


def selective_search(image: np.ndarray) -> np.ndarray:
    """Windows (n, 4) int64, ymin, xmin, ymax, xmax, of an image (H, W, 3), RGB from 0 to 1, in the order of their corners.

    The image is looked at in R-CNN's width of 500, and windows narrower or lower than 20 there are left out.
    """
    scale = image.shape[1] / _PROPOSAL_WIDTH
    small = io.resize_image(image, (max(1, round(image.shape[0] / scale)), _PROPOSAL_WIDTH))
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(np.round(small[:, :, ::-1] * 255).clip(0, 255).astype(np.uint8)))
    search.switchToSelectiveSearchFast()
    found = np.asarray(search.process(), np.float64).reshape(-1, 4)  # x, y, width, height
    found = found[found[:, 2:].min(axis=1) >= _SHORTEST]
    corners = np.stack([found[:, 1], found[:, 0], found[:, 1] + found[:, 3], found[:, 0] + found[:, 2]], axis=1)
    return np.unique(np.round(corners * scale).astype(np.int64), axis=0)
