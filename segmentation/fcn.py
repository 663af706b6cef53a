"""Scoring a whole image at once with an FCN (Long et al., 2015), for the ensemble and beside our own result."""

import numpy as np

from ..net import NetError
from .inference import forward
from .resampling import resize, shrunk


def fcn_scores(net, image, *, size=None, input="data", output="score", mean=0.0, scale=1.0, on_device=False):
    """A fully convolutional net's scores of an image: (K, H, W) float32; on_device: where they were computed, as `inference.segment`.

    image: (H, W, 3) uint8 BGR. `mean` (a number or one per channel) is subtracted and the rest multiplied by `scale`.
    With `size` the image is padded by zeros, at the bottom and the right, to a square of that side, and the scores are
    cropped back, as the authors' release does (500); a larger image is shrunk to fit and its scores resized back. The
    net's `output` must be as large as its input. Raises NetError where it is not, ValueError for a wrong blob name.
    """
    height, width = image.shape[:2]
    image = shrunk(image, size)
    h, w = image.shape[:2]
    x = image.transpose(2, 0, 1) - np.reshape(np.float32(mean), (-1, 1, 1))
    if size:
        x = np.pad(x, ((0, 0), (0, size - h), (0, size - w)))
    scores = forward(net, x[None] * np.float32(scale), input, output)[0]
    if scores.shape[1:] != x.shape[1:]:
        raise NetError(f"the net's '{output}' is {scores.shape[1:]} for an input of {x.shape[1:]}: not as large")
    if on_device and hasattr(net.blobs[input], "device_data"):
        scores = net.blobs[output].device_data[0]
    return resize(scores[:, :h, :w].copy(), height, width)
