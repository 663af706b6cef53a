"""Regions of interest: boxes of maps as grids of cells, of their maxima (Fast R-CNN) or of means of maps of their own (R-FCN)."""

import numpy as np

from .device import launch, to_host
from .pooling import require_switches


def region_pool(x, regions, scale: float, out, places) -> None:
    """out (R, C, h, w) = the maxima of the cells of each region of x (N, C, H, W); places, alike, their flat indices in the plane, or -1.

    regions: (R, 5), image x1 y1 x2 y2 in pixels, of which `scale` makes places of x; an empty cell gives 0.
    Raises ValueError for a region of an image that x does not hold, and a plane too large for float32 places.
    """
    require_switches(x, places)
    _require_images(regions, x.shape[0])
    count, channels, *cells = out.shape
    arrays = (x, regions, out, places)
    launch("region_pool_forward", count * channels, cells[0] * cells[1], *arrays, count, *x.shape[1:], *cells, scale)


def _require_images(regions, count: int) -> None:
    images = to_host(regions)[:, 0]
    strange = np.flatnonzero(~((images >= 0) & (images < count) & (images == np.floor(images))))
    if strange.size:
        number = strange[0]
        raise ValueError(f"region {number} is one of image {images[number]:g}; the maps are of images 0 to {count - 1}")


def region_pool_backward(dy, regions, places, out) -> None:
    """out (N, C, H, W) = the gradient of `region_pool`: dy (R, C, h, w) at the places, summed."""
    images, channels, height, width = out.shape
    sizes = (dy.shape[0], images, channels, height * width, dy.shape[2] * dy.shape[3])
    launch("region_pool_backward", channels, height * width, dy, regions, places, out, *sizes)


def region_means(x, regions, scale: float, out) -> None:
    """out (R, O, g, g) = the means of the cells of each region, each of the map of x (N, O * g * g, H, W) that is its own.

    regions: as for `region_pool`; an empty cell gives 0. Raises ValueError for a region of an image that x does not hold.
    """
    _require_images(regions, x.shape[0])
    count, outputs, group, _ = out.shape
    sizes = (count, outputs, *x.shape[2:], group, scale)
    launch("region_means_forward", count * outputs, group * group, x, regions, out, *sizes)


def region_means_backward(dy, regions, scale: float, out) -> None:
    """out (N, O * g * g, H, W) = the gradient of `region_means` from dy (R, O, g, g)."""
    count, outputs, group, _ = dy.shape
    images, channels, height, width = out.shape
    sizes = (count, images, outputs, height, width, group, scale)
    launch("region_means_backward", channels, height * width, dy, regions, out, *sizes)
