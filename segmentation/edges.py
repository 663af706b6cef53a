"""Edge maps for edge boxes: from gradients, which need no file, or from a structured forest that the user has.

An edge map is two (H, W) float32 arrays: how strong the edge through a pixel is, from 0 to 1, thin (one pixel wide), and
the direction across it in radians, from 0 to pi, x to the right and y down.
"""

import math
from pathlib import Path

import cv2
import numpy as np

from .voc import DataError

_FAINTEST = 0.002  # Lab / 100 a pixel, about a blurred step of one unit of L: weaker maxima are noise, not scaled to 1
_FOREST_PATCH = 32  # pixels; a structured forest cannot look at less
_FOREST_LISTS = ("childs", "featureIds", "thresholds", "edgeBoundaries", "edgeBins")


def gradient_edges(image, median=11, sigma=2.0):
    """The edge map of an image (H, W, 3) uint8, BGR, from its gradients in Lab colours.

    A median filter of `median` pixels (odd, 1 for none) takes texture away and leaves outlines, a Gaussian of `sigma`
    pixels (0 for none) takes noise away. The strength is the square root of the larger eigenvalue of the colour
    channels' summed structure tensor (Di Zenzo 1986) over the image's maximum; the direction is its eigenvector's.
    """
    lab = cv2.cvtColor(np.float32(cv2.medianBlur(image, median)) / 255, cv2.COLOR_BGR2Lab) / 100
    if sigma:
        lab = cv2.GaussianBlur(lab, (0, 0), sigma)
    dx, dy = (cv2.Scharr(lab, cv2.CV_32F, *order, scale=1 / 32) for order in ((1, 0), (0, 1)))
    xx, yy, xy = ((a * b).sum(axis=2) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    strength = np.sqrt((xx + yy + np.hypot(xx - yy, 2 * xy)) / 2)
    strength /= max(float(strength.max()), _FAINTEST)
    across = np.mod(np.arctan2(2 * xy, xx - yy) / 2, np.float32(math.pi))
    return thinned(strength, across), across


def thinned(strength, across):
    """An edge map's strength, 0 where one of the two neighbours across the edge, a pixel away, is stronger."""
    rows, columns = np.indices(strength.shape, np.float32)
    dx, dy = np.cos(across), np.sin(across)
    beside = (
        cv2.remap(strength, columns + side * dx, rows + side * dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for side in (-1, 1)
    )
    return np.where(strength >= np.maximum(*beside), strength, np.float32(0))


def forest_edges(forest, image):
    """The edge map of an image (H, W, 3) uint8, BGR, by a structured forest that load_forest gave."""
    height, width = image.shape[:2]
    bottom, right = max(_FOREST_PATCH - height, 0), max(_FOREST_PATCH - width, 0)
    image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    strength = forest.detectEdges(np.float32(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)) / 255)
    across = forest.computeOrientation(strength)
    thin = forest.edgesNms(strength, across, r=2, s=0, m=1, isParallel=False)
    return tuple(np.ascontiguousarray(part[:height, :width]) for part in (thin, across))


def load_forest(path):
    """A structured forest (Dollar and Zitnick 2013) from a .yml or .yml.gz file in OpenCV's format.

    Raises FileNotFoundError; DataError where the file is no such forest, which OpenCV itself would not survive.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path}: no such file; a structured forest for edges (.yml or .yml.gz) is expected here"
        )
    try:
        _check_forest(path)
        return cv2.ximgproc.createStructuredEdgeDetection(str(path))
    except (cv2.error, SystemError) as error:
        raise DataError(_no_forest(path, " ".join(str(error).split())[:200])) from None


def _check_forest(path):
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    trees = file.getNode("options").getNode("numberOfTrees")
    trees = trees.real() if trees.isInt() or trees.isReal() else 0
    sizes = [sum(node.at(i).size() for i in range(node.size())) for node in map(file.getNode, _FOREST_LISTS)]
    nodes = sizes[0]
    if trees < 1 or nodes == 0 or nodes % trees or sizes[1:3] != [nodes, nodes] or sizes[3] <= nodes:
        raise DataError(_no_forest(path, "its trees are missing or of unequal lengths"))


def _no_forest(path, reason):
    return f"{path}: not a structured forest that OpenCV can read ({reason}); leave it out to take edges from gradients"
