"""The example lists of two-stage training (paper, section 4.2) from a data set in VOC layout.

Stage 1 sees one centred object at a time: a list of pre-cropped images for an ImageSegData layer. Stage 2 sees windows
with everything in them: a list of windows for a WindowSegData layer. Paths in a list start with `/` and follow the
layer's root_folder, as the authors' lists do.
"""

from pathlib import Path

import numpy as np

from .voc import VOID, DataError, VocFolder, read_ids, read_image, read_label, write_image, write_label

CONTEXT = 1.2  # the paper enlarges a tight box by this factor
MIN_OVERLAP = 0.5  # neither paper nor release gives a number; see object_overlap for what half means


def write_stage1(root, split, path, crops="stage1", context=CONTEXT, balance=True, progress=iter):
    """Crop every object of a split and write the list of `/image.jpg /label.png` lines to `path`; returns the lines.

    A crop is the object's tight box, `context` times as large, of image and label: the centre object keeps its class,
    void stays void (255), everything else is background; outside the image lie black pixels with void labels. The
    crops go to `root/crops`, in VOC layout. With `balance`, rare classes' lines are repeated (see balanced).
    """
    source, target = VocFolder(Path(root)), VocFolder(Path(root) / crops)
    target.image("").parent.mkdir(parents=True, exist_ok=True)
    target.classes("").parent.mkdir(parents=True, exist_ok=True)
    lines, class_of = [], []
    for image_id in progress(read_ids(source.split(split))):
        image = read_image(source.image(image_id))
        classes, objects = _read_labels(source, image_id)
        for number, box in object_boxes(objects).items():
            kind = _class_of(classes, objects, number)
            label = np.where(objects == number, np.uint8(kind), np.uint8(0))
            label[classes == VOID] = VOID
            window, crop_id = scaled(box, context), f"{image_id}_{number}"
            write_image(target.image(crop_id), crop(image, window, fill=0))
            write_label(target.classes(crop_id), crop(label, window, fill=VOID))
            lines.append(f"/{crops}/JPEGImages/{crop_id}.jpg /{crops}/SegmentationClass/{crop_id}.png")
            class_of.append(kind)
    return _write_lines(path, balanced(lines, class_of) if balance else lines)


def write_stage2(
    root, split, path, per_image=100, around=0.7, zoom=(1.1, 2.5), sides=(28, 150),
    min_overlap=MIN_OVERLAP, balance=True, seed=0, progress=iter,
):  # fmt: skip
    """Draw windows over a split's images and write `/image.jpg /label.png x1 y1 x2 y2` lines to `path`; returns them.

    Windows are square, their corners inclusive and free to lie outside the image. Of `per_image` windows the share
    `around` surrounds an object: the box's longer side times a factor from `zoom`, shifted at random while the
    object's centre stays inside. The others have a side from `sides` (pixels) and lie anywhere in the image. A window
    is kept where object_overlap reaches `min_overlap`; its class, for `balance`, is that of the object it overlaps most.
    The windows of an image depend on `seed` and its place in the split alone. An image without objects gives none.
    """
    folder = VocFolder(Path(root))
    lines, class_of = [], []
    for index, image_id in enumerate(progress(read_ids(folder.split(split)))):
        rng = np.random.default_rng([seed, index])
        classes, objects = _read_labels(folder, image_id)
        boxes = object_boxes(objects)
        for place in range(per_image if boxes else 0):
            if place < around * per_image:
                window = _window_around(rng, boxes[rng.choice(list(boxes))], zoom)
            else:
                window = _window_anywhere(rng, objects.shape, sides)
            number, overlap = object_overlap(objects, window)
            if overlap >= min_overlap:
                corners = " ".join(map(str, window))
                lines.append(f"/JPEGImages/{image_id}.jpg /SegmentationClass/{image_id}.png {corners}")
                class_of.append(_class_of(classes, objects, number))
    return _write_lines(path, balanced(lines, class_of) if balance else lines)


def object_boxes(objects):
    """The tight box of each object in a label image (H, W) uint8: {number: (x1, y1, x2, y2)}, inclusive."""
    boxes = {}
    for number in np.unique(objects):
        if number not in (0, VOID):
            rows, cols = np.nonzero(objects == number)
            boxes[int(number)] = (int(cols.min()), int(rows.min()), int(cols.max()), int(rows.max()))
    return boxes


def object_overlap(objects, window):
    """Which object a window shows best and how well: (number, overlap); (0, 0.0) where it shows none.

    The overlap is the number of the object's pixels inside the window, divided by the smaller of the object's pixels
    and the window's area. At one half the window shows half of the object or is half filled by it; with less there is
    little in it by which a class could be told.
    """
    x1, y1, x2, y2 = window
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    inside = np.bincount(objects[max(y1, 0) : max(y2 + 1, 0), max(x1, 0) : max(x2 + 1, 0)].ravel(), minlength=256)
    overlap = inside / np.clip(np.bincount(objects.ravel(), minlength=256), 1, area)
    overlap[[0, VOID]] = 0
    number = int(overlap.argmax())
    return number, float(overlap[number])


def scaled(box, factor):
    """A box (x1, y1, x2, y2), inclusive, enlarged about its centre by `factor`, in whole pixels."""
    corners = []
    for low, high in ((box[0], box[2]), (box[1], box[3])):
        length = max(round((high - low + 1) * factor), 1)
        start = round((low + high + 1 - length) / 2)
        corners.append((start, start + length - 1))
    (x1, x2), (y1, y2) = corners
    return x1, y1, x2, y2


def crop(array, window, fill):
    """The window (x1, y1, x2, y2), inclusive, of an (H, W) or (H, W, C) array, with `fill` outside of the array."""
    x1, y1, x2, y2 = (int(corner) for corner in window)
    if x2 < x1 or y2 < y1:
        raise ValueError(f"window {x1} {y1} {x2} {y2} is empty: the second corner lies before the first")
    height, width = array.shape[:2]
    out = np.full((y2 - y1 + 1, x2 - x1 + 1, *array.shape[2:]), fill, array.dtype)
    top, bottom, left, right = max(y1, 0), min(y2 + 1, height), max(x1, 0), min(x2 + 1, width)
    if top < bottom and left < right:
        out[top - y1 : bottom - y1, left - x1 : right - x1] = array[top:bottom, left:right]
    return out


def balanced(lines, class_of):
    """Repeat the lines of rare classes, in turn, until every class has as many as the most frequent one.

    `class_of[i]` is the class of `lines[i]`. Classes come one after the other: let the data layer shuffle.
    """
    by_class = {}
    for line, kind in zip(lines, class_of, strict=True):
        by_class.setdefault(kind, []).append(line)
    most = max(map(len, by_class.values()), default=0)
    return [members[i % len(members)] for _, members in sorted(by_class.items()) for i in range(most)]


def _window_around(rng, box, zoom):
    """A square window, a factor from `zoom` larger than the box, that holds the box's centre."""
    x1, y1, x2, y2 = box
    longer = max(x2 - x1, y2 - y1) + 1
    side = max(round(longer * rng.uniform(*zoom)), 1)
    slack = abs(side - longer) / 2 + 1  # at most this far off centre, so that an object may touch the border
    x, y = (x1 + x2 + 1 - side) / 2 + rng.uniform(-slack, slack), (y1 + y2 + 1 - side) / 2 + rng.uniform(-slack, slack)
    return round(x), round(y), round(x) + side - 1, round(y) + side - 1


def _window_anywhere(rng, shape, sides):
    """A square window with a side from `sides`, inside the image (H, W) where it fits, else over its border."""
    side = int(rng.integers(sides[0], sides[1] + 1))
    y, x = (int(rng.integers(min(0, length - side), max(0, length - side) + 1)) for length in shape)
    return x, y, x + side - 1, y + side - 1


def _read_labels(folder, image_id):
    """The class and object label of one image, each (H, W) uint8, checked to be of one size."""
    classes, objects = read_label(folder.classes(image_id)), read_label(folder.objects(image_id))
    if classes.shape != objects.shape:
        raise DataError(
            f"{folder.objects(image_id)}: its size {objects.shape} differs from {classes.shape} of the class label"
        )
    return classes, objects


def _class_of(classes, objects, number):
    """The class that most pixels of an object carry."""
    return int(np.bincount(classes[objects == number]).argmax())


def _write_lines(path, lines):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(f"{line}\n" for line in lines))
    return lines
