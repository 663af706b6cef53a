"""Example lists of whole images, as an FCN is trained on: each image as a window of its own aspect, at several scales."""

from pathlib import Path

import numpy as np

from .voc import VocFolder, read_ids, read_label

SCALES = (1.0, 1.0)


def write_whole_images(root, split, path, per_image=1, scales=SCALES, seed=0, progress=iter):
    """Write `/image.jpg /label.png x1 y1 x2 y2` lines for a WindowSegData layer to `path`; returns them.

    Each of an image's `per_image` windows has the image's sides times a factor drawn log-uniformly from `scales`; a
    smaller one lies anywhere inside the image, a larger one anywhere around it. With scales (1, 1) a window is the
    image itself. The windows of an image depend on `seed` and its place in the split alone. Raises ValueError for
    scales that are not 0 < low <= high.
    """
    low, high = scales
    if not 0 < low <= high:
        raise ValueError(f"scales {scales} must be a lowest and a highest factor above 0")
    folder, lines = VocFolder(Path(root)), []
    for index, image_id in enumerate(progress(read_ids(folder.split(split)))):
        rng = np.random.default_rng([seed, index])
        shape = read_label(folder.classes(image_id)).shape
        for _ in range(per_image):
            corners = " ".join(map(str, _window(rng, shape, np.exp(rng.uniform(np.log(low), np.log(high))))))
            lines.append(f"/JPEGImages/{image_id}.jpg /SegmentationClass/{image_id}.png {corners}")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(f"{line}\n" for line in lines))
    return lines


def _window(rng, shape, scale):
    """A window (x1, y1, x2, y2), inclusive, of an image's (H, W) times `scale`, in it or around it."""
    sides = [max(round(length * scale), 1) for length in shape]
    y, x = (
        int(rng.integers(min(0, length - side), max(0, length - side) + 1))
        for length, side in zip(shape, sides, strict=True)
    )
    return x, y, x + sides[1] - 1, y + sides[0] - 1
