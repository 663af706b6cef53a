"""PASCAL VOC 2012 merged with the Semantic Boundaries Dataset (SBD; Hariharan et al., ICCV 2011) into VOC layout.

SBD labels the classes and objects of 11,355 VOC images (8,498 train, 2,857 val), most of which VOC itself does not
label, in MATLAB files. Where both label an image, VOC's labels win: they are finer and have a void border. SBD's have
none, and none is made up: that is how the field's augmented labels are, so that scores compare.
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..blob import replacing
from .voc import (
    CLASSES,
    VOID,
    DataError,
    VocFolder,
    read_ids,
    read_label,
    require_one_size,
    size_of_whole_image,
    up_to_date,
    write_ids,
    write_label,
)

VOC_SOURCE = "VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
SBD_SOURCE = "benchmark.tgz from http://home.bharathh.info/pubs/codes/SBD/download.html"
# Images of each list where nothing is missing. trainaug: VOC's 1,464 and, outside of VOC's train and val, 6,820 of
# SBD's train and 2,298 of its val.
IMAGES = {"train": 1464, "val": 1449, "trainval": 2913, "trainaug": 10582, "trainvalaug": 12031}


@dataclass(frozen=True)
class SbdFolder:
    """SBD's `dataset` folder under `root`; every method gives the path of one file."""

    root: Path

    def image(self, image_id):
        """The photograph, the same JPEG as VOC's."""
        return Path(self.root) / "img" / f"{image_id}.jpg"

    def classes(self, image_id):
        """The MATLAB file of classes: struct GTcls, its field Segmentation."""
        return Path(self.root) / "cls" / f"{image_id}.mat"

    def objects(self, image_id):
        """The MATLAB file of objects: struct GTinst, its field Segmentation, numbered from 1."""
        return Path(self.root) / "inst" / f"{image_id}.mat"

    def split(self, name):
        """The list of image ids of `train` or `val`, which are not VOC's."""
        return Path(self.root) / f"{name}.txt"


def find_voc(path):
    """The VocFolder of VOC 2012 at or under `path` (VOCdevkit, VOCdevkit/VOC2012 or what holds VOCdevkit).

    Raises FileNotFoundError that says what is missing, where to get it and where to put it.
    """
    needed = ("JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation")
    return VocFolder(_find(path, ("", "VOC2012", "VOCdevkit/VOC2012"), needed, VOC_SOURCE))


def find_sbd(path):
    """The SbdFolder at or under `path` (benchmark_RELEASE/dataset, benchmark_RELEASE or what holds it).

    Raises FileNotFoundError that says what is missing, where to get it and where to put it.
    """
    needed = ("cls", "inst", "train.txt", "val.txt")
    return SbdFolder(_find(path, ("", "dataset", "benchmark_RELEASE/dataset"), needed, SBD_SOURCE))


def read_classes(path):
    """The classes of SBD's cls/ID.mat, (H, W) uint8. Needs SciPy.

    Raises FileNotFoundError; DataError for another file, and for values that are no class of VOC's.
    """
    label = _read_segmentation(path, "GTcls")
    require_classes(path, label)
    return label


def read_objects(path):
    """The objects of SBD's inst/ID.mat, numbered from 1, (H, W) uint8. Needs SciPy.

    Raises FileNotFoundError; DataError for another file.
    """
    return _read_segmentation(path, "GTinst")


def require_classes(path, label):
    """Raise DataError where a label (H, W) uint8 holds another value than VOC's classes and void."""
    values = np.unique(label)
    unknown = values[(values >= len(CLASSES)) & (values != VOID)]
    if unknown.size:
        raise DataError(
            f"{path}: class index {unknown[0]} is none of VOC's: 0 to {len(CLASSES) - 1}, or {VOID} for void"
        )


def lists(voc, sbd=None):
    """The image ids of each list: {name: [id]}. Raises FileNotFoundError; DataError where one is empty or an id has a blank.

    train, val and trainval are VOC's. With SBD there are trainaug, what the field trains on to be scored on val: VOC's
    train and all of SBD's images, train and val, that are not in VOC's val; and trainvalaug, val as well, which the
    paper trains on to be scored on the test server. IMAGES says how many there are of each.
    """
    train, val = _read_split(voc.split("train")), _read_split(voc.split("val"))
    found = {"train": train, "val": val, "trainval": sorted(train + val)}
    if sbd is not None:
        more = _read_split(sbd.split("train")) + _read_split(sbd.split("val"))
        labelled = set(train + val)
        found["trainaug"] = train + [image_id for image_id in dict.fromkeys(more) if image_id not in labelled]
        found["trainvalaug"] = found["trainaug"] + val
    return found


def _read_split(path):
    """The ids of a list, which the example lists can hold."""
    ids = read_ids(path)
    if not ids:
        raise DataError(f"{path}: an empty list; one image id a line is expected")
    blank = next((image_id for image_id in ids if len(image_id.split()) > 1), None)
    if blank:
        raise DataError(
            f"{path}: the id '{blank}' has a blank, which separates image and label in example lists: "
            "rename its files and write the new name here"
        )
    return ids


def merge(voc, sbd, out, skip_damaged=False, workers=1, progress=iter):
    """Put the labelled images of VOC and SBD (a SbdFolder, or None) into the VocFolder `out`, and write its lists.

    Photographs are hard links where the file system has them, else symbolic links, else copies; labels are palette
    PNGs. What is there already, and no older than what it is made from, is not made again. A photograph is read to its
    end, and labels must be of its size and hold VOC's classes; where that fails the merge stops, or, with `skip_damaged`,
    leaves the image out of the lists.
    Returns {image id: what is wrong with it}.
    Raises DataError, FileNotFoundError, OSError.
    """
    if Path(out.root).resolve() == Path(voc.root).resolve():
        raise DataError(f"{out.root}: is VOC's own folder, which stays as it is; name another to write into")
    for folder in (out.image(""), out.classes(""), out.objects("")):
        folder.parent.mkdir(parents=True, exist_ok=True)
    splits = lists(voc, sbd)
    of_voc = set(splits["trainval"])
    ids = splits.get("trainvalaug", splits["trainval"])

    def place(image_id):
        try:
            _place(image_id, voc, None if image_id in of_voc else sbd, out)
        except (DataError, FileNotFoundError) as error:
            if not skip_damaged:
                raise
            return str(error)

    with ThreadPoolExecutor(workers) as pool:
        found = zip(progress(ids), pool.map(place, ids), strict=True)
        damaged = {image_id: wrong for image_id, wrong in found if wrong}
    for name, members in splits.items():
        write_ids(out.split(name), [image_id for image_id in members if image_id not in damaged])
    return damaged


def _place(image_id, voc, sbd, out):
    """Put one image into the VocFolder `out`, with VOC's labels, or SBD's where an SbdFolder is given."""
    labelled, read = (voc, (read_label, read_label)) if sbd is None else (sbd, (read_classes, read_objects))
    photograph = voc.image(image_id)
    if sbd is not None and not photograph.is_file():
        photograph = sbd.image(image_id)
    paths = labelled.classes(image_id), labelled.objects(image_id)
    places = out.classes(image_id), out.objects(image_id)
    if up_to_date(out.image(image_id), photograph) and all(map(up_to_date, places, paths)):
        return
    size = size_of_whole_image(photograph)
    labels = [read_one(path) for read_one, path in zip(read, paths, strict=True)]
    for path, label in zip(paths, labels, strict=True):
        require_one_size(path, label.shape, photograph, size)
    require_classes(paths[0], labels[0])
    # both, and before the photograph, whose link has a date of its own: crops are older than they then, and made again
    for path, label in zip(places, labels, strict=True):
        write_label(path, label)
    _link(photograph, out.image(image_id))


def _link(source, target):
    """Make `target` the file `source`: a hard link, else a symbolic one, else a copy."""
    if up_to_date(target, source):
        return
    target.unlink(missing_ok=True)  # an earlier photograph, or a link to a file that has gone
    source = source.resolve()
    for link in (os.link, os.symlink):
        try:
            return link(source, target)
        except OSError:  # another file system, or one without links
            continue
    with replacing(target) as file, open(source, "rb") as photograph:
        shutil.copyfileobj(photograph, file)


def _read_segmentation(path, name):
    """The field Segmentation of the struct `name` in a MATLAB file, (H, W) uint8."""
    from scipy.io import loadmat  # an extra: only who has SBD needs it

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; SBD's labels are expected here: {SBD_SOURCE}")
    try:
        label = loadmat(path, variable_names=[name])[name][0, 0]["Segmentation"]
    except Exception as error:  # SciPy raises errors of every kind where a file is something else
        said = " ".join(str(error).split())
        raise DataError(f"{path}: not a MATLAB file of SBD with the struct {name} ({said})") from error
    if label.ndim != 2 or label.dtype != np.uint8 or not label.size:
        raise DataError(f"{path}: {name}.Segmentation is {label.dtype} {label.shape}, but SBD's is uint8 (H, W)")
    return label


def _find(path, places, needed, source):
    """The first of some places under `path` that holds the first of the names that are needed, and the others too."""
    roots = [Path(path) / place for place in places]
    root = next((root for root in roots if (root / needed[0]).exists()), roots[0])
    missing = [name for name in needed if not (root / name).exists()]
    if missing:
        own = " (docs/data.md says how to make it for data of one's own)" if missing[0] == "SegmentationObject" else ""
        raise FileNotFoundError(
            f"{root}: {missing[0]} is missing{own}; unpack {source} so that {', '.join(map(str, roots[:-1]))} or {roots[-1]} "
            f"holds {', '.join(needed)}"
        )
    return root
