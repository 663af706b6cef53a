"""What colour alone can tell: the yardstick that a data set about shapes and textures must defeat."""

import numpy as np

from .voc import VOID

LEVELS = 16  # per channel


class ColorLookup:
    """Class of a pixel from its colour: the class most often seen with that colour, of 16x16x16 cells, in training."""

    def __init__(self, classes):
        self.counts = np.zeros((LEVELS**3, classes), np.int64)

    def fit(self, image, label):
        """Count an image (H, W, 3) uint8 with its label (H, W) uint8; void pixels are left out."""
        counted = label != VOID
        classes = self.counts.shape[1]
        pairs = _cells(image)[counted] * classes + label[counted]
        self.counts += np.bincount(pairs, minlength=self.counts.size).reshape(self.counts.shape)

    def predict(self, image):
        """Label an image (H, W, 3) uint8: (H, W) uint8; a colour never seen is background."""
        return self.counts.argmax(axis=1).astype(np.uint8)[_cells(image)]


def _cells(image):
    """The number of each pixel's cell, (H, W) int64."""
    b, g, r = np.moveaxis(image.astype(np.int64) * LEVELS // 256, -1, 0)
    return (b * LEVELS + g) * LEVELS + r
