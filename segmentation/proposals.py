"""Object proposals: edge boxes (Zitnick and Dollar, ECCV 2014), kept on disk, and boxes that were made elsewhere.

Boxes are (n, 4) int32 rows x1 y1 x2 y2 in pixels from 0, both corners inclusive, the best box first.
"""

import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np

from ..blob import replacing
from .edges import forest_edges, gradient_edges, load_forest
from .examples import CONTEXT, scaled
from .voc import DataError

PARAMETERS = {  # name: (default, lowest, highest); see docs/proposals.md
    "long_side": (None, 16, 4000),
    "median": (11, 1, 99),
    "sigma": (2.0, 0, 50),
    "min_area": (0.0025, 0, 1),  # of the image
    "max_aspect_ratio": (3.0, 1, 10),
    "alpha": (0.65, 0.1, 0.95),
    "beta": (0.65, 0.1, 1),
    "eta": (1.0, 0.5, 1),
    "min_score": (0.01, 0, 1),
    "edge_min_mag": (0.1, 0, 1),
    "edge_merge_thr": (0.5, 0, 100),
    "cluster_min_mag": (0.5, 0, 1e6),
    "gamma": (2.0, 0, 100),
    "kappa": (1.5, 0, 10),
}
LONG_SIDE = 320  # pixels: enough to find outlines in, and it hides texture
LONG_SIDE_OF_FOREST = 500  # pixels: the size of VOC's photographs, which forests are used at
SMALLEST_IMAGE = 8  # pixels; nothing is looked for where a side is shorter
_MOST_ENLARGED = 4
_SMALLEST_BOX = 64  # pixels at the working size; with smaller ones OpenCV divides by zero
_OURS = ("long_side", "median", "sigma", "min_area")  # parameters that OpenCV's search does not know
COUNT = 2000  # boxes found for an image where nothing else is asked for
_METHOD = 1  # part of the cache's key: raise it when the same parameters come to give other boxes


def edge_boxes(image, count=COUNT, *, model=None, **parameters):
    """The edge boxes of an image (H, W, 3) uint8, BGR: at most `count` boxes (n, 4) int32 and scores (n,) float32.

    Boxes lie inside the image, none twice, in descending order of score; an image with a side under SMALLEST_IMAGE has
    none. `model` is the path of a structured forest, or what edges.load_forest gave; without one the edges are
    edges.gradient_edges. The image is brought to `long_side` pixels (None: 320, with a forest 500; enlarged four times
    at most), so that parameters mean the same, and take as long, for images of every size:

    - `median`, `sigma`: pixels there, see edges.gradient_edges; a forest does not use them
    - `min_area`: the smallest box's share of the image
    - OpenCV's, in its words: `max_aspect_ratio`, `alpha` (step of the search), `beta` (overlap of boxes, intersection
      over union, above which the worse is dropped), `eta`, `min_score`, `edge_min_mag`, `edge_merge_thr`,
      `cluster_min_mag`, `gamma`, `kappa`; the defaults are OpenCV's, but `beta` is 0.65 instead of 0.75

    Raises ValueError for something else than such an image, an unknown parameter or a value out of bounds;
    FileNotFoundError and DataError for the model.
    """
    settings = _settings(count, model, parameters)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image is (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if isinstance(model, (str, os.PathLike)):
        model = load_forest(model)
    if min(image.shape[:2]) < SMALLEST_IMAGE:
        return np.zeros((0, 4), np.int32), np.zeros(0, np.float32)
    small = _at_long_side(image, settings["long_side"])
    edges = (
        gradient_edges(small, settings["median"], settings["sigma"]) if model is None else forest_edges(model, small)
    )
    # a search object keeps parts of its last image: a new one each time
    search = cv2.ximgproc.createEdgeBoxes(
        maxBoxes=int(count),
        minBoxArea=max(settings["min_area"] * small.shape[0] * small.shape[1], _SMALLEST_BOX),
        **{_camel(name): value for name, value in settings.items() if name not in _OURS},
    )
    found, scores = search.getBoundingBoxes(*edges)
    if len(found) == 0:  # an empty tuple, and None for the scores
        return np.zeros((0, 4), np.int32), np.zeros(0, np.float32)
    boxes = _in_image(np.float64(found[: int(count)]), small.shape, image.shape)
    _, first = np.unique(boxes, axis=0, return_index=True)
    kept = np.sort(first)
    return boxes[kept], np.float32(np.ravel(scores)[kept])


def chosen(boxes, count=50, min_side=112, context=CONTEXT):
    """The boxes that a net is shown, as the authors' release takes them: (n, 4) int32, best first, n at most `count`.

    Each box (n, 4) is enlarged about its centre by `context`; where its shorter side is then under `min_side` pixels it
    is passed over. They may reach over the image's border.
    """
    taken = []
    for box in np.asarray(boxes).tolist():
        if len(taken) == count:
            break
        x1, y1, x2, y2 = window = scaled(box, context)
        if min(x2 - x1, y2 - y1) + 1 >= min_side:
            taken.append(window)
    return np.array(taken, np.int32).reshape(-1, 4)


class Proposals:
    """Edge boxes by `proposals(image_id, image)`, each image's kept in the folder `cache` (None: not kept).

    The arguments are those of edge_boxes, with `model` a path or None. A kept file is used where image, parameters, model
    and OpenCV's version are the same, whatever the image's id; a damaged one is made again. Several threads or
    processes may share a cache. Raises what edge_boxes raises, and OSError where the cache cannot be written.
    """

    def __init__(self, count=COUNT, model=None, cache=None, **parameters):
        self.count, self.parameters = count, parameters
        self.forest = None if model is None else load_forest(model)
        self.cache = None if cache is None else Path(cache)
        described = {"method": _METHOD, "opencv": cv2.__version__, "count": int(count)}
        described |= _settings(count, model, parameters)
        described["model"] = model and hashlib.sha256(Path(model).read_bytes()).hexdigest()
        self._described = json.dumps(described, sort_keys=True)

    def __call__(self, image_id, image):
        """The boxes (n, 4) int32 of an image (H, W, 3) uint8, BGR, best first."""
        if self.cache is None:
            return edge_boxes(image, self.count, model=self.forest, **self.parameters)[0]
        path = self.cache / f"{self._key(image)}.npz"
        boxes = _read_kept(path)
        if boxes is None:
            boxes, scores = edge_boxes(image, self.count, model=self.forest, **self.parameters)
            _keep(path, boxes, scores)
        return boxes

    def _key(self, image):
        key = hashlib.sha256(f"{self._described} {image.shape} {image.dtype}".encode())
        key.update(np.ascontiguousarray(image))
        return key.hexdigest()[:40]


class StoredBoxes:
    """Boxes made elsewhere by `stored(image_id, image)`: read from ID.npy, ID.mat or ID.txt in `folder`.

    `layout` is that of read_boxes. Raises DataError where an image has no file, or what read_boxes raises.
    """

    def __init__(self, folder, layout="xyxy"):
        self.folder, self.layout = Path(folder), _known(layout)

    def __call__(self, image_id, image=None):
        """The boxes (n, 4) int32 of the image with that id; the image itself is not looked at."""
        for end in _READERS:
            path = self.folder / f"{image_id}{end}"
            if path.is_file():
                return read_boxes(path, self.layout)
        raise DataError(
            f"{self.folder / image_id}.npy: no such file, nor .mat or .txt; image {image_id} needs its boxes here"
        )


def read_boxes(path, layout="xyxy"):
    """The boxes in a file, (n, 4) int32 rows x1 y1 x2 y2 from 0, inclusive; empty where it holds none.

    .npy: an array (n, 4) or, with scores, (n, 5); .mat (before version 7.3): the variable `boxes` or `bbs`, or the only
    one of such a shape; else text: four or five numbers a line, between blanks or commas, `#` before a comment. With
    scores the best come first, else the file's order stays. Numbers are rounded to whole pixels.

    `layout` says what the four are: "xyxy" as here; "xywh1", first corner and size counted from 1, as the edge-box
    authors' MATLAB code writes; "yxyx1", corners from 1, rows first, as selective search writes.
    Raises FileNotFoundError; DataError where the file is damaged or holds something else; ValueError for the layout.
    """
    path, convert = Path(path), _LAYOUTS[_known(layout)]
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; boxes are expected here")
    rows = np.asarray(_READERS.get(path.suffix.lower(), _read_text)(path))
    if rows.size == 0:
        return np.zeros((0, 4), np.int32)
    if rows.ndim != 2 or rows.shape[1] not in (4, 5) or rows.dtype.kind not in "iuf":
        raise DataError(f"{path}: boxes are n rows of 4 numbers, or 5 with a score, not {rows.dtype} {rows.shape}")
    rows = np.float64(rows)
    if not np.isfinite(rows).all() or (abs(rows[:, :4]) > 2**24).any():
        raise DataError(f"{path}: a box has a number that is not finite or beyond any image")
    if rows.shape[1] == 5:
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    boxes = np.stack(convert(*rows[:, :4].T), axis=1).round().astype(np.int32)
    empty = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if empty.any():
        raise DataError(
            f"{path}: read as {layout}, box {' '.join(map(str, boxes[empty][0]))} ends before it begins;"
            f" is the layout another one of {', '.join(_LAYOUTS)}?"
        )
    return boxes


_LAYOUTS = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "xywh1": lambda x, y, w, h: (x - 1, y - 1, x + w - 2, y + h - 2),
    "yxyx1": lambda y1, x1, y2, x2: (x1 - 1, y1 - 1, x2 - 1, y2 - 1),
}


def _known(layout):
    if layout not in _LAYOUTS:
        raise ValueError(f"a layout of boxes is one of {', '.join(_LAYOUTS)}, not {layout!r}")
    return layout


def _read_numpy(path):
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not a .npy file that NumPy can read ({error}); write it with numpy.save") from None


def _read_matlab(path):
    try:
        from scipy.io import loadmat
    except ImportError:
        raise DataError(
            f"{path}: .mat files are read by SciPy: pip install 'deconvnet[mat]', or save as .npy"
        ) from None
    try:
        variables = loadmat(path)
    except Exception as error:  # a damaged file ends in errors of many kinds
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: not a MATLAB file that SciPy can read ({reason}); save it with -v7, or as .npy"
        ) from None
    found = {
        name: value
        for name, value in variables.items()
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "iuf"
        if value.shape[1] in (4, 5) or value.size == 0
    }
    for name in ("boxes", "bbs", *found):
        if name in found and (name in ("boxes", "bbs") or len(found) == 1):
            return found[name]
    names = ", ".join(name for name in variables if not name.startswith("__")) or "nothing"
    raise DataError(
        f"{path}: boxes are an n x 4 or n x 5 matrix named boxes or bbs, or the only such one; it holds {names}"
    )


def _read_text(path):
    rows = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        fields = line.partition("#")[0].replace(",", " ").split()
        try:
            row = [float(field) for field in fields]
        except ValueError:
            row = [0.0]
        if row and (len(row) not in (4, 5) or len(row) != len(rows[0] if rows else row)):
            raise DataError(
                f"{path}:{number}: {line[:60]!r} is no box: every line has 4 numbers, or every line 5, the last a score"
            )
        rows += [row] if row else []
    return np.array(rows)


_READERS = {".npy": _read_numpy, ".mat": _read_matlab, ".txt": _read_text}


def _settings(count, model, parameters):
    """Every parameter's value. Raises ValueError for an unknown name or a value that OpenCV's search does not survive."""
    if count != int(count) or count < 1:
        raise ValueError(f"the number of boxes must be a whole number from 1 on, not {count}")
    settings = {name: default for name, (default, _, _) in PARAMETERS.items()}
    settings["long_side"] = LONG_SIDE if model is None else LONG_SIDE_OF_FOREST
    for name, value in parameters.items():
        if name not in PARAMETERS:
            raise ValueError(f"edge boxes have no parameter {name!r}; they have {', '.join(PARAMETERS)}")
        default, low, high = PARAMETERS[name]
        if value is None and default is None:
            continue
        if value is None or not low <= value <= high:
            raise ValueError(f"{name} must be from {low} to {high}, not {value}")
        settings[name] = type(settings[name])(value)
    if settings["median"] % 2 != 1:
        raise ValueError(f"median is the side of a window with a middle, an odd number, not {settings['median']}")
    return settings


def _camel(name):
    """A parameter's name as OpenCV writes it: edgeMinMag for edge_min_mag."""
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))


def _at_long_side(image, long_side):
    """The image (H, W, 3) with a longer side of `long_side` pixels, or less where that were too much enlarged."""
    height, width = image.shape[:2]
    scale = min(long_side / max(height, width), _MOST_ENLARGED)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _in_image(found, small, shape):
    """Boxes (n, 4) int32 in an image of `shape` for what OpenCV found in its copy of shape `small`: rows x y w h.

    OpenCV counts from 1, as the authors' MATLAB code did, and w and h lead from the first to the last pixel. A box scores
    by the edges strictly inside of it: what it surrounds is one pixel smaller on every side.
    """
    size = np.array([shape[1], shape[0]])
    ratio = size / [small[1], small[0]]
    low = np.clip(np.round(found[:, :2] * ratio), 0, size - 1)
    high = np.clip(np.round((found[:, :2] + found[:, 2:] - 1) * ratio) - 1, low, size - 1)
    return np.concatenate([low, high], axis=1).astype(np.int32)


def _read_kept(path):
    """The boxes of a file in the cache, None where it is missing or damaged."""
    try:
        with open(path, "rb") as file, np.load(file) as kept:  # a .npz has checksums
            boxes, scores = kept["boxes"], kept["scores"]
    except Exception:  # a damaged file ends in errors of many kinds, and all mean that it is made again
        return None
    return boxes if boxes.dtype == np.int32 and boxes.shape == (len(scores), 4) else None


def _keep(path, boxes, scores):
    """Write a file of the cache. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.savez_compressed(file, boxes=boxes, scores=scores)
