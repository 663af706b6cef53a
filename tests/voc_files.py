"""A VOCdevkit and an SBD of a few small images, in the files and MATLAB structs of the real ones."""

import cv2
import numpy as np
from scipy.io import savemat
from scipy.sparse import csc_matrix

from deconvnet.core.segmentation import voc

HEIGHT, WIDTH = 24, 36
TRAIN, VAL = ["2007_000032", "2007_000039"], ["2007_000033"]
# SBD's splits are not VOC's: its train has an image of VOC's train and one of VOC's val
SBD_TRAIN, SBD_VAL = ["2007_000039", "2008_000002", "2007_000033"], ["2008_000003"]
AEROPLANE, DOG, PERSON = (voc.CLASSES.index(name) for name in ("aeroplane", "dog", "person"))
# what an image shows: {object number: (class, x1, y1, x2, y2)}
IN_VOC = {1: (AEROPLANE, 2, 2, 13, 11), 2: (PERSON, 20, 8, 29, 21)}
IN_SBD = {1: (PERSON, 4, 4, 15, 19), 2: (DOG, 18, 6, 31, 17)}


def labels(shown, void):
    """Class and object label (HEIGHT, WIDTH) uint8; with `void`, a pixel around each object."""
    classes, objects = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    for number, (kind, x1, y1, x2, y2) in shown.items():
        if void:
            for label in (classes, objects):
                label[y1 - 1 : y2 + 2, x1 - 1 : x2 + 2] = voc.VOID
        classes[y1 : y2 + 1, x1 : x2 + 1], objects[y1 : y2 + 1, x1 : x2 + 1] = kind, number
    return classes, objects


def write_voc(root):
    """VOCdevkit/VOC2012 under `root`: train and val with labels, and photographs that only SBD labels; its VocFolder."""
    folder = voc.VocFolder(root / "VOCdevkit/VOC2012")
    for name in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        (folder.root / name).mkdir(parents=True)
    for image_id in dict.fromkeys(TRAIN + VAL + SBD_TRAIN + SBD_VAL):
        draw = np.random.default_rng(int(image_id[-6:]))
        voc.write_image(folder.image(image_id), draw.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8))
    for image_id in TRAIN + VAL:
        classes, objects = labels(IN_VOC, void=True)
        voc.write_label(folder.classes(image_id), classes)
        voc.write_label(folder.objects(image_id), objects)
    for name, ids in (("train", TRAIN), ("val", VAL), ("trainval", sorted(TRAIN + VAL))):
        voc.write_ids(folder.split(name), ids)
    return folder


def write_sbd(root):
    """benchmark_RELEASE/dataset under `root`, without its copies of the photographs; returns its path."""
    folder = root / "benchmark_RELEASE/dataset"
    for name in ("cls", "inst"):
        (folder / name).mkdir(parents=True)
    for name, ids in (("train", SBD_TRAIN), ("val", SBD_VAL)):
        voc.write_ids(folder / f"{name}.txt", ids)
        for image_id in ids:
            write_mats(folder, image_id, *labels(IN_SBD, void=False))
    return folder


def write_mats(folder, image_id, classes, objects):
    """SBD's two files of an image: segmentations as uint8, boundaries as cells of sparse matrices."""
    kinds = [[int(classes[objects == number][0])] for number in range(1, int(objects.max()) + 1)]
    structs = {"cls": ("GTcls", classes, 20), "inst": ("GTinst", objects, len(kinds))}
    for place, (name, label, cells) in structs.items():
        boundaries = np.empty((cells, 1), object)
        for cell in range(cells):
            boundaries[cell, 0] = csc_matrix(np.eye(*label.shape) > 0)
        struct = {"Boundaries": boundaries, "Segmentation": label}
        if name == "GTinst":
            struct["Categories"] = np.array(kinds, np.uint8)
        savemat(folder / place / f"{image_id}.mat", {name: struct}, do_compression=True)


def cut(path):
    """Leave the first half of a file."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return cv2.imread(str(path))
