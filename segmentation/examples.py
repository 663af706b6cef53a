"""The example lists of two-stage training (paper, section 4.2) from a data set in VOC layout.

Stage 1 sees one centred object at a time: a list of pre-cropped images for an ImageSegData layer. Stage 2 sees windows
with everything in them: a list of windows for a WindowSegData layer. Paths in a list start with `/` and follow the
layer's root_folder, as the authors' lists do.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..blob import replacing
from ..layers.example import cut
from .voc import (
    VOID,
    VocFolder,
    read_ids,
    read_image,
    read_label,
    require_one_size,
    up_to_date,
    write_image,
    write_label,
)

CONTEXT = 1.2  # the paper enlarges a tight box by this factor
# Neither paper nor release says what overlaps enough.
MIN_OVERLAP = 0.5  # of random windows: see object_overlap for what half means
MIN_IOU = 0.5  # of proposals: from here on detection takes a box for its object's (PASCAL VOC, edge boxes' recall)


def write_stage1(
    root, split, path, crops="stage1", context=CONTEXT, balance=True, count=None, keep=False, workers=1, progress=iter
):
    """Crop every object of a split and write the list of `/image.jpg /label.png` lines to `path`; returns the lines.

    A crop is the object's tight box, `context` times as large, of image and label: the centre object keeps its class,
    void stays void (255), everything else is background; outside the image lie black pixels with void labels. The
    crops go to `root/crops`, in VOC layout; with `keep`, those that are there, and no older than image and labels, are not
    made again. With `balance`, rare classes' lines are repeated (see balanced, also for `count`). So many `workers` threads read and
    write images. Raises DataError, FileNotFoundError, OSError.
    """
    source, target = VocFolder(Path(root)), VocFolder(Path(root) / crops)
    target.image("").parent.mkdir(parents=True, exist_ok=True)
    target.classes("").parent.mkdir(parents=True, exist_ok=True)

    def examples_of(place):
        _, image_id = place
        kinds = _write_crops(source, target, image_id, context, keep)
        folders = (f"/{crops}/JPEGImages", f"/{crops}/SegmentationClass")
        return [(f"{folders[0]}/{name}.jpg {folders[1]}/{name}.png", kind) for name, kind in kinds]

    return _write_list(path, source.split(split), examples_of, balance, count, workers, progress)


def write_stage2(root, split, path, windows, balance=True, count=None, workers=1, progress=iter):
    """Choose windows in a split's images and write `/image.jpg /label.png x1 y1 x2 y2` lines to `path`; returns them.

    windows: random_windows(...), proposal_windows(...) or any function `(index in the split, image id, VocFolder,
    object label) -> [(window, number of the object it shows)]`, called from so many `workers` threads. Corners are
    inclusive and free to lie outside the image. The class of a window, for `balance` (see balanced, also for `count`),
    is that of its object. An image without objects gives none.
    Raises DataError, FileNotFoundError, OSError.
    """
    folder = VocFolder(Path(root))

    def examples_of(place):
        index, image_id = place
        classes, objects = _read_labels(folder, image_id)
        shown = windows(index, image_id, folder, objects)
        kinds = {number: _class_of(classes, objects, number) for number in {number for _, number in shown}}
        paths = f"/JPEGImages/{image_id}.jpg /SegmentationClass/{image_id}.png"
        return [(f"{paths} {' '.join(map(str, window))}", kinds[number]) for window, number in shown if kinds[number]]

    return _write_list(path, folder.split(split), examples_of, balance, count, workers, progress)


def random_windows(per_image=100, around=0.7, zoom=(1.1, 2.5), sides=(28, 150), min_overlap=MIN_OVERLAP, seed=0):
    """Square windows drawn at random, for write_stage2.

    Of `per_image` windows the share `around` surrounds an object: the box's longer side times a factor from `zoom`,
    shifted at random while the object's centre stays inside. The others have a side from `sides` (pixels) and lie
    anywhere in the image. A window is kept where object_overlap reaches `min_overlap`; its object is the one it
    overlaps most. The windows of an image depend on `seed` and its place in the split alone.
    """

    def windows(index, image_id, folder, objects):
        rng = np.random.default_rng([seed, index])
        boxes, kept = object_boxes(objects), []
        for place in range(per_image if boxes else 0):
            if place < around * per_image:
                window = _window_around(rng, boxes[rng.choice(list(boxes))], zoom)
            else:
                window = _window_anywhere(rng, objects.shape, sides)
            number, overlap = object_overlap(objects, window)
            if overlap >= min_overlap:
                kept.append((window, number))
        return kept

    return windows


def proposal_windows(proposals, min_iou=MIN_IOU, context=CONTEXT):
    """Proposals that show an object, for write_stage2 (paper, section 4.2).

    proposals: `(image id, image (H, W, 3) uint8 BGR) -> boxes (n, 4)`. A box is kept where its intersection over union
    with the tight box of an object reaches `min_iou`; its object is the one of highest IoU. Then it is enlarged by
    `context`, as at inference.
    """

    def windows(index, image_id, folder, objects):
        tight = object_boxes(objects)
        if not tight:
            return []
        image = read_image(folder.image(image_id))
        require_one_size(folder.objects(image_id), objects.shape, folder.image(image_id), image.shape[:2])
        boxes = np.asarray(proposals(image_id, image)).reshape(-1, 4)
        overlap = iou(boxes, np.array(list(tight.values())))
        numbers, best = list(tight), overlap.argmax(axis=1)
        enough = np.flatnonzero(overlap[np.arange(len(boxes)), best] >= min_iou)
        return [(scaled([int(corner) for corner in boxes[i]], context), numbers[best[i]]) for i in enough]

    return windows


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


def iou(boxes, others):
    """Intersection over union of boxes (n, 4) with others (m, 4), corners inclusive: (n, m) float64."""
    first, second = np.asarray(boxes, np.int64)[:, None], np.asarray(others, np.int64)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]) + 1
    common = np.prod(np.maximum(sides, 0), axis=-1)
    areas = [np.prod(box[..., 2:] - box[..., :2] + 1, axis=-1) for box in (first, second)]
    return common / (areas[0] + areas[1] - common)


def scaled(box, factor):
    """A box (x1, y1, x2, y2), inclusive, enlarged about its centre by `factor`, in whole pixels."""
    corners = []
    for low, high in ((box[0], box[2]), (box[1], box[3])):
        length = max(round((high - low + 1) * factor), 1)
        start = round((low + high + 1 - length) / 2)
        corners.append((start, start + length - 1))
    (x1, x2), (y1, y2) = corners
    return x1, y1, x2, y2


def balanced(lines, class_of, count=None):
    """Repeat the lines of rare classes, in turn, until every class has as many as the most frequent one.

    `class_of[i]` is the class of `lines[i]`. With `count`, every class gets its share of so many lines instead: those
    of a class that has more are thinned evenly. Classes come one after the other: let the data layer shuffle.
    """
    by_class = {}
    for line, kind in zip(lines, class_of, strict=True):
        by_class.setdefault(kind, []).append(line)
    each = max(map(len, by_class.values()), default=0)
    if count is not None and by_class:
        each = -(-count // len(by_class))
    return [line for _, members in sorted(by_class.items()) for line in _repeated(members, each)]


def _repeated(members, count):
    """`count` of the members: all of them in turn, or evenly spaced ones where there are more."""
    if len(members) <= count:
        return [members[i % len(members)] for i in range(count)]
    return [members[i * len(members) // count] for i in range(count)]


def _write_crops(source, target, image_id, context, keep):
    """Write the crops of one image's objects; returns their (name, class)."""
    classes, objects = _read_labels(source, image_id)
    image, kinds = None, []
    for number, box in object_boxes(objects).items():
        kind, name = _class_of(classes, objects, number), f"{image_id}_{number}"
        if not kind:
            continue
        kinds.append((name, kind))
        labels = source.classes(image_id), source.objects(image_id)
        made = up_to_date(target.image(name), source.image(image_id)) and up_to_date(target.classes(name), *labels)
        if keep and made:
            continue
        if image is None:
            image = read_image(source.image(image_id))
            require_one_size(source.classes(image_id), classes.shape, source.image(image_id), image.shape[:2])
        label = np.where(objects == number, np.uint8(kind), np.uint8(0))
        label[classes == VOID] = VOID
        window = scaled(box, context)
        write_image(target.image(name), cut(image, window, fill=0))
        write_label(target.classes(name), cut(label, window, fill=VOID))
    return kinds


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
    require_one_size(folder.objects(image_id), objects.shape, folder.classes(image_id), classes.shape)
    return classes, objects


def _class_of(classes, objects, number):
    """The class that most pixels of an object carry; 0 where all of them are background or void."""
    counts = np.bincount(classes[objects == number], minlength=VOID)[1:VOID]
    return int(counts.argmax()) + 1 if counts.any() else 0


def _write_list(path, split, examples_of, balance, count, workers, progress):
    """Write the (line, class) examples of each (index, image id) of a split, made in threads; returns the lines."""
    ids = read_ids(split)
    lines, class_of = [], []
    with ThreadPoolExecutor(workers) as pool:
        for _, examples in zip(progress(ids), pool.map(examples_of, enumerate(ids)), strict=True):
            lines += [line for line, _ in examples]
            class_of += [kind for _, kind in examples]
    lines = balanced(lines, class_of, count) if balance else lines
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.writelines(f"{line}\n".encode() for line in lines)
    return lines
