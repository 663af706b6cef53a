"""A small data set in VOC layout with predictions that are wrong here and there, for what scores and shows them."""

import cv2
import numpy as np

from deconvnet.core.segmentation import synthetic, voc
from deconvnet.core.segmentation.evaluation import Case

NAMES = synthetic.CLASSES


def write_scored(root, count=4, seed=0):
    """Write `root`/data (its split `val` of `count` images) and `root`/results; returns the Cases in the split's order."""
    folder, results = synthetic.write_dataset(root / "data", train=0, val=count, seed=seed), root / "results"
    results.mkdir()
    rng = np.random.default_rng(seed)
    for image_id in voc.read_ids(folder.split("val")):
        voc.write_label(results / f"{image_id}.png", mistaken(voc.read_label(folder.classes(image_id)), rng))
    return cases_of(root)


def cases_of(root):
    """The Cases of what write_scored wrote."""
    folder = voc.VocFolder(root / "data")
    ids = voc.read_ids(folder.split("val"))
    return [Case(i, folder.classes(i), root / "results" / f"{i}.png", folder.image(i)) for i in ids]


def mistaken(label, rng):
    """A label (H, W) as a net might predict it: no void, borders that waver, some blobs and whole objects wrong."""
    shape = label.shape
    shift = [cv2.GaussianBlur(rng.normal(0, 40, shape).astype(np.float32), (0, 0), 5) for _ in range(2)]
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    out = np.where(label == voc.VOID, 0, label).astype(np.uint8)
    out = cv2.remap(out, columns + shift[0], rows + shift[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    blobs = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 6)
    out[blobs > 2 * blobs.std()] = rng.integers(1, len(NAMES))
    for kind in np.unique(out):
        if kind and rng.random() < 0.3:
            out[out == kind] = rng.integers(0, len(NAMES))
    return out
