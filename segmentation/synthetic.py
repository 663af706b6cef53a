"""The demo's data set: textured shapes over clutter, written to disk in VOC layout.

A class is a shape together with a texture. Hues are drawn alike for every class, so colour tells an object from the
grey background but never one class from another. Each image is drawn from (seed, split, index) alone: the same call
writes the same bytes, and a longer split begins with the images of a shorter one.
"""

from pathlib import Path

import cv2
import numpy as np

from .voc import VOID, VocFolder, write_ids, write_image, write_label

CLASSES = ("background", "disc", "square", "triangle", "star", "ring", "cross")
HEIGHT, WIDTH = 120, 160
DIAMETERS = (13.0, 115.0)  # pixels, drawn log-uniformly: from a twelfth of the image's width to most of its height
SPLITS = ("train", "val")
_OVERSAMPLING = 2  # images are drawn this much larger and shrunk, for smooth edges
_MIN_VISIBLE = 0.5  # share of its drawn pixels that every object keeps when others are laid over it
_ATTEMPTS = 40  # objects tried for one image; a crowded image may end with fewer than it wanted


def write_dataset(root, train=320, val=60, seed=0, progress=iter):
    """Write the data set under `root` and return its VocFolder.

    JPEGImages holds 120x160 BGR photographs, SegmentationClass and SegmentationObject palette PNGs whose borders are
    void (255), ImageSets/Segmentation the lists `train` and `val`. `progress` wraps the loop over the images.
    """
    folder = VocFolder(Path(root))
    for name in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        (folder.root / name).mkdir(parents=True, exist_ok=True)
    jobs = [(split, index) for split, count in zip(SPLITS, (train, val), strict=True) for index in range(count)]
    for split, index in progress(jobs):
        image, classes, objects = draw_image(seed, SPLITS.index(split), index)
        image_id = f"{split}_{index:04d}"
        write_image(folder.image(image_id), image)
        write_label(folder.classes(image_id), classes)
        write_label(folder.objects(image_id), objects)
    for split in SPLITS:
        write_ids(folder.split(split), [f"{name}_{index:04d}" for name, index in jobs if name == split])
    return folder


def draw_image(seed, split, index):
    """One example: image (H, W, 3) uint8 BGR, classes (H, W) uint8 and objects (H, W) uint8, both with void borders."""
    rng = np.random.default_rng([seed, split, index])
    canvas = _background(rng)
    owner, class_of = _lay_objects(rng, canvas)
    image = cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    around = np.ones((3, 3), np.uint8)
    border = cv2.dilate(owner, around) != cv2.erode(owner, around)  # one pixel on either side of every edge
    return image, np.where(border, np.uint8(VOID), class_of[owner]), np.where(border, np.uint8(VOID), owner)


def _lay_objects(rng, canvas):
    """Lay one to four objects over the canvas, in place: the object each pixel belongs to, (H, W) uint8 with 0 for
    the background, and the class of each object."""
    owner = np.zeros((HEIGHT, WIDTH), np.uint8)
    class_of, drawn = [0], []  # drawn: pixels of each object before others hid some
    wanted = rng.integers(1, 5)
    for _ in range(_ATTEMPTS):
        if len(drawn) == wanted:
            break
        kind, number = int(rng.integers(1, len(CLASSES))), len(class_of)
        box, inside, color = _object(rng, kind)
        covered = owner.copy()
        covered[_shrunk(box)][_coverage(inside)] = number
        visible = np.bincount(covered.ravel(), minlength=number + 1)[1:]
        if visible[-1] == 0 or any(visible[:-1] < _MIN_VISIBLE * np.array(drawn)):
            continue  # it would be empty or hide another: draw a new one
        owner = covered
        canvas[box] = np.where(inside[..., None], color, canvas[box])
        class_of.append(kind)
        drawn.append(visible[-1])
    return owner, np.array(class_of, np.uint8)


def _object(rng, kind):
    """One object of class `kind`: its box (two slices into the canvas), its mask and its colours in that box."""
    scale = _OVERSAMPLING
    radius = np.exp(rng.uniform(*np.log(DIAMETERS))) / 2
    aspect = rng.uniform(0.7, 1.0)
    margin = min(radius, 0.6 * radius + 6)  # large objects may be cut by the border, small ones may not
    y, x = rng.uniform(margin, HEIGHT - margin), rng.uniform(margin, WIDTH - margin)
    top, bottom = max(int(y - radius - 1), 0), min(int(y + radius + 2), HEIGHT)
    left, right = max(int(x - radius - 1), 0), min(int(x + radius + 2), WIDTH)
    rows, cols = np.mgrid[top * scale : bottom * scale, left * scale : right * scale].astype(np.float32)
    down, across = (rows + 0.5) / scale - y, (cols + 0.5) / scale - x
    angle = rng.uniform(0, 2 * np.pi)
    u = (np.cos(angle) * across + np.sin(angle) * down) / (radius * aspect)
    v = (np.cos(angle) * down - np.sin(angle) * across) / radius
    first, second = _two_colors(rng)
    texture = _texture(rng, kind, u, v)[..., None]
    box = (slice(top * scale, bottom * scale), slice(left * scale, right * scale))
    return box, _shape(kind, u, v), first * texture + second * (1 - texture)


def _shape(kind, u, v):
    """Whether the points (u, v), the shape's own axes with its circumscribed circle at 1, lie in the shape."""
    r = np.hypot(u, v)
    if CLASSES[kind] == "disc":
        return r < 0.95
    if CLASSES[kind] == "square":
        return np.maximum(abs(u), abs(v)) < 0.75
    if CLASSES[kind] == "triangle":
        return np.maximum(v, abs(u) * np.sqrt(0.75) - v / 2) < 0.5
    if CLASSES[kind] == "star":
        sector = abs((np.arctan2(u, -v) + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)  # angle from the nearest point
        tip, notch, half = 1.0, 0.45, np.pi / 5
        edge = tip * notch * np.sin(half) / (notch * np.sin(half - sector) + tip * np.sin(sector))
        return r < edge
    if CLASSES[kind] == "ring":
        return (r > 0.45) & (r < 0.97)
    return (np.minimum(abs(u), abs(v)) < 0.33) & (np.maximum(abs(u), abs(v)) < 0.92)  # cross


def _texture(rng, kind, u, v):
    """The share of the first of two colours at (u, v), from 0 to 1; the period is about a fifth of the diameter."""
    period = rng.uniform(0.36, 0.46)
    shift_u, shift_v = rng.uniform(0, period, 2)
    if CLASSES[kind] == "disc":  # concentric
        return (np.hypot(u, v) % period < period / 2).astype(np.float32)
    if CLASSES[kind] == "square":  # checks
        return (((u + shift_u) % period < period / 2) ^ ((v + shift_v) % period < period / 2)).astype(np.float32)
    if CLASSES[kind] == "triangle":  # stripes
        return ((v + shift_v) % period < period / 2).astype(np.float32)
    if CLASSES[kind] == "star":  # plain
        return np.ones_like(u)
    if CLASSES[kind] == "ring":  # dots
        centre = period / 2
        return (np.hypot((u + shift_u) % period - centre, (v + shift_v) % period - centre) < 0.3 * period).astype(
            np.float32
        )
    noise = (rng.random((16, 16)) < 0.5).astype(np.float32)  # cross: coarse noise
    cells = 2 / period
    return noise[np.int32((u + 1.5) * cells) % 16, np.int32((v + 1.5) * cells) % 16]


def _two_colors(rng):
    """Two lively BGR colours that differ in hue and lightness, drawn alike for every class."""
    hue = rng.uniform(0, 360)
    pair = [(hue, rng.uniform(0.6, 1), rng.uniform(0.8, 1)), ((hue + rng.uniform(60, 300)), 0.8, rng.uniform(0.3, 0.6))]
    rng.shuffle(pair)
    hsv = np.array([[(h % 360, s, v) for h, s, v in pair]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0] * 255


def _background(rng):
    """A dark, greyish, cluttered canvas (H, W, 3) float32, BGR, at drawing size."""
    height, width = HEIGHT * _OVERSAMPLING, WIDTH * _OVERSAMPLING
    coarse = rng.random((4, 5, 3), dtype=np.float32)
    grey = coarse.mean(axis=2, keepdims=True)
    canvas = 40 + 90 * cv2.resize(grey + 0.2 * (coarse - grey), (width, height), interpolation=cv2.INTER_CUBIC)
    cells = tuple(rng.integers(12, 60, 2))
    canvas += 30 * cv2.resize(rng.random(cells, dtype=np.float32) - 0.5, (width, height))[..., None]
    for _ in range(rng.integers(1, 4)):
        _lay_patch(rng, canvas)
    for _ in range(rng.integers(8, 20)):
        color, thick = _grey(rng), int(rng.integers(1, 6))
        x, y, x2, y2 = (int(t) for t in rng.integers(0, (width, height, width, height)))
        match rng.integers(3):
            case 0:
                cv2.line(canvas, (x, y), (x2, y2), color, thick)
            case 1:
                axes, angle, sweep = rng.integers(10, 120, 2), rng.uniform(0, 360), rng.uniform(40, 300)
                cv2.ellipse(canvas, (x, y), tuple(int(a) for a in axes), angle, 0, sweep, color, thick)
            case _:
                axes, angle = rng.integers(4, 40, 2), rng.uniform(0, 360)
                cv2.ellipse(canvas, (x, y), tuple(int(a) for a in axes), angle, 0, 360, color, -1)
    return np.clip(canvas, 0, 255)


def _lay_patch(rng, canvas):
    """Lay one striped or checked rectangle, half transparent, over the canvas (H, W, 3) in place."""
    height, width = canvas.shape[:2]
    h, w = rng.integers(30, height // 2), rng.integers(30, width // 2)
    y, x = rng.integers(0, height - h), rng.integers(0, width - w)
    rows, cols = np.mgrid[:h, :w]
    angle, period = rng.uniform(0, np.pi), rng.uniform(8, 30)
    wave = np.cos(angle) * rows + np.sin(angle) * cols
    if rng.random() < 0.5:
        marks = (wave % period < period / 2) ^ ((np.cos(angle) * cols - np.sin(angle) * rows) % period < period / 2)
    else:
        marks = wave % period < period / 2
    colors = np.array([_grey(rng), _grey(rng)], np.float32)
    canvas[y : y + h, x : x + w] = 0.4 * canvas[y : y + h, x : x + w] + 0.6 * colors[marks.astype(int)]


def _grey(rng):
    """A dark BGR colour with a slight tint, as a tuple of float."""
    return tuple(float(c) for c in rng.uniform(25, 135) + rng.uniform(-12, 12, 3))


def _shrunk(box):
    """The same box in pixels of the final image."""
    return tuple(slice(side.start // _OVERSAMPLING, side.stop // _OVERSAMPLING) for side in box)


def _coverage(inside):
    """Which final pixels a mask at drawing size covers at least by half."""
    height, width = (n // _OVERSAMPLING for n in inside.shape)
    return inside.reshape(height, _OVERSAMPLING, width, _OVERSAMPLING).mean(axis=(1, 3)) >= 0.5
