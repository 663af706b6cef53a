"""Example lists of whole images, as an FCN is trained on (Long et al., 2015): each as it is, or at several scales."""

from pathlib import Path

import numpy as np

from .voc import VocFolder, read_ids, read_label, write_ids


def write_whole_images(root, split, path, scales=None, per_image=1, seed=0, progress=iter):
    """Write the list of a split's whole images to `path` and return its lines, for a layer's root_folder `root`.

    Without `scales` an image gives one line `/image.jpg /label.png`, for an ImageSegData layer. With scales (low, high)
    it gives `per_image` lines `/image.jpg /label.png x1 y1 x2 y2`, for a WindowSegData layer: windows with the image's
    sides times a factor drawn log-uniformly, a smaller one anywhere inside the image, a larger one anywhere around it.
    The windows of an image depend on `seed` and its place in the split alone. Raises ValueError for scales that are not
    0 < low <= high, DataError for a list or a label that cannot be read.
    """
    if scales is not None and not 0 < scales[0] <= scales[1]:
        raise ValueError(f"scales {scales} must be a lowest and a highest factor above 0")
    folder, lines = VocFolder(Path(root)), []
    for index, image_id in enumerate(progress(read_ids(folder.split(split)))):
        line = f"/JPEGImages/{image_id}.jpg /SegmentationClass/{image_id}.png"
        if scales is None:
            lines.append(line)
            continue
        rng = np.random.default_rng([seed, index])
        shape = read_label(folder.classes(image_id)).shape
        for _ in range(per_image):
            corners = _window(rng, shape, np.exp(rng.uniform(*np.log(scales))))
            lines.append(f"{line} {' '.join(map(str, corners))}")
    write_ids(path, lines)
    return lines


def _window(rng, shape, scale):
    """A window (x1, y1, x2, y2), inclusive, of an image's (H, W) times `scale`, in it or around it."""
    height, width = (max(round(length * scale), 1) for length in shape)
    y, x = (
        int(rng.integers(min(0, length - side), max(0, length - side) + 1))
        for length, side in zip(shape, (height, width), strict=True)
    )
    return x, y, x + width - 1, y + height - 1
