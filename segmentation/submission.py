"""What the PASCAL VOC 2012 server takes: an archive of label images in the folders it expects, and a check of one."""

import gzip
import io
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from ..blob import replacing
from ..layers.example import pillow_errors
from .voc import CLASSES, DataError, palette, read_label, write_label

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"  # comp6: any training data; comp5 would be VOC's own only
ARCHIVE = "results.tgz"


def write_submission(out, results, ids, sizes, progress=iter):
    """Write `out`/FOLDER/ID.png for every id from the label image `results`/ID.png, and `out`/ARCHIVE with them all.

    sizes: {id: (height, width)} of the images. The same predictions give the same bytes. Returns a line for each
    prediction that is missing, damaged, of another size than its image, or holds a class that VOC has not; the others
    are written, but an archive only where there is no such line (an old one goes).
    """
    out = Path(out)
    folder, archive = out / FOLDER, out / ARCHIVE
    folder.mkdir(parents=True, exist_ok=True)
    archive.unlink(missing_ok=True)
    faults = []
    for image_id in progress(ids):
        try:
            label = _prediction(Path(results) / f"{image_id}.png", sizes[image_id])
            write_label(folder / f"{image_id}.png", label)
        except (DataError, FileNotFoundError) as error:
            faults.append(str(error))
    if not faults:
        _pack(archive, out, [f"{FOLDER}/{image_id}.png" for image_id in sorted(set(ids))])
    return faults


def check_submission(path, ids, sizes):
    """Whether an archive (.tgz) is what the server takes: a line for each fault, none where it is.

    It must hold FOLDER/ID.png for every id and nothing else, each an 8-bit palette PNG in VOC's colours, of its
    image's size (sizes: {id: (height, width)}) and with VOC's classes only: no colours, no void.
    Nothing is unpacked to disk. Raises DataError where the file is no such archive, FileNotFoundError.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; a .tgz that holds {FOLDER} is expected here")
    missing, found, faults = {f"{FOLDER}/{image_id}.png": image_id for image_id in ids}, set(), []
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.removeprefix("./").rstrip("/")
                if member.isdir() and _leads_to_folder(name):
                    continue
                image_id = missing.pop(name, None)
                if name in found:
                    faults.append(f"{path}: {name} is there twice")
                elif image_id is None:
                    faults.append(f"{path}: {name} does not belong there; expected is {FOLDER}/ID.png for listed ids")
                elif not member.isfile():
                    faults.append(f"{path}: {name} is no plain file")
                else:
                    fault = _fault(archive.extractfile(member), sizes[image_id])
                    faults += [f"{path}: {name} {fault}"] if fault else []
                found.add(name)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path}: not a whole .tgz archive ({error}); pack {FOLDER} with tar czf") from error
    return faults + [f"{path}: {name} is missing" for name in missing]


def _prediction(path, size):
    """A prediction (H, W) uint8, of that size and with classes in range. Raises DataError, FileNotFoundError."""
    label = read_label(path)
    if label.shape != tuple(size):
        raise DataError(f"{path}: {_size(label.shape)} pixels, but its image has {_size(size)}")
    if label.max() >= len(CLASSES):
        raise DataError(f"{path}: holds class {label.max()}, but the classes are 0 to {len(CLASSES) - 1}")
    return label


def _fault(file, size):
    """What is wrong with one label image of an archive, as the rest of a sentence; None where nothing is."""
    try:
        with Image.open(io.BytesIO(file.read())) as image:
            if image.format != "PNG" or image.mode != "P":
                return f"is no palette PNG but {image.format} {image.mode}: write indices, not colours"
            if (image.height, image.width) != tuple(size):
                return f"is {image.height}x{image.width} pixels, but its image {_size(size)}"
            used = np.unique(np.array(image))
            colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    except pillow_errors() as error:
        return f"is not an image that Pillow can read ({error})"
    if used.max() >= len(CLASSES):
        return f"holds class {used.max()}, but the classes are 0 to {len(CLASSES) - 1}"
    if used.max() >= len(colors) or (colors[used] != palette()[used]).any():
        return "has a palette that is not VOC's: are its indices classes?"
    return None


def _leads_to_folder(name):
    """Whether an archive's folder is FOLDER or one above it."""
    return name in ("", ".") or f"{FOLDER}/".startswith(f"{name}/")


def _pack(path, root, names):
    """Pack files below `root` into a .tgz: the same files give the same bytes. A half-written one never has the name."""
    with (
        replacing(path) as file,
        gzip.GzipFile("", "wb", mtime=0, fileobj=file) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in names:
            content = (root / name).read_bytes()
            member = tarfile.TarInfo(name)  # owner 0, mode 644, time 0
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _size(shape):
    return f"{shape[0]}x{shape[1]}"
