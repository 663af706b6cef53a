"""Turn PASCAL VOC 2012, with SBD or without, into the folder and lists that the paper's two-stage training reads.

What is there already, and no older than what it is made from, is not made again: a call that was stopped goes on.
docs/data.md says what is written.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import command_line
import numpy as np
from tqdm import tqdm

from deconvnet.core.segmentation import examples, sbd
from deconvnet.core.segmentation.proposals import Proposals, StoredBoxes
from deconvnet.core.segmentation.voc import DataError, VocFolder, read_ids, read_label
from deconvnet.core.segmentation.whole_images import write_whole_images

STEPS = ("labels", "stage1", "stage2")
COUNTED = 500  # images at most whose labels' pixels are counted
PAPERS_EXAMPLES = {"stage1": "0.2 M", "stage2": "2.7 M"}  # section 6.1


def main():
    arguments = parse()
    if arguments.sbd:
        command_line.optional(
            "scipy.io", "pip install 'deconvnet[mat]' to read SBD's MATLAB files, or go without --sbd"
        )
    folder = VocFolder(Path(arguments.out))
    damaged, count = merge(folder, arguments)
    for split, name in splits(folder, arguments.train):
        if name == "train":
            tell_classes(folder, split)
        write_whole_images(folder.root, split, folder.root / f"fcn_{name}.txt")
    until = STEPS.index(arguments.until)
    if until >= 1:
        for split, name in splits(folder, arguments.train):
            write_stage1(folder, split, name, arguments)
    if until >= 2:
        for split, name in splits(folder, arguments.train):
            write_stage2(folder, split, name, arguments)
    if damaged:
        raise DataError(
            f"{len(damaged)} of {count} images are damaged and were left out of the lists: {named(damaged)}"
        )


def merge(folder, arguments):
    """Merge VOC and SBD and print the length of each list; returns ({damaged image id: what is wrong}, images)."""
    voc = sbd.find_voc(arguments.voc)
    labels = sbd.find_sbd(arguments.sbd) if arguments.sbd else None
    damaged = sbd.merge(voc, labels, folder, arguments.skip_damaged, arguments.workers, bar("images and labels"))
    for wrong in damaged.values():
        print(f"left out: {wrong}", file=sys.stderr)
    lists = sbd.lists(voc, labels)
    print(f"{'images':14}{'here':>8}{'expected':>10}")
    for name in lists:
        print(f"{name:14}{len(read_ids(folder.split(name))):8}{sbd.IMAGES[name]:10}", flush=True)
    return damaged, max(map(len, lists.values()))


def tell_classes(folder, split):
    """Print how the labels' pixels are shared by classes: labels that mean something else show here first."""
    ids = read_ids(folder.split(split))
    if not ids:
        return
    ids = ids[:: -(-len(ids) // COUNTED)]
    pixels = sum(np.bincount(read_label(folder.classes(image_id)).ravel(), minlength=256) for image_id in ids)
    shares = [f"{number} {pixels[number] / pixels.sum():.1%}" for number in np.flatnonzero(pixels)]
    print(f"classes of the pixels of {len(ids)} images of {split}: {', '.join(shares)}", flush=True)
    if not pixels[0] and pixels[1:255].any():
        print(f"{split}: no pixel is of class 0, the background: are the classes numbered from 1?", file=sys.stderr)


def splits(folder, train):
    """The split that each kind of list is made from: (split, train or val). Raises DataError."""
    train = train or ("trainaug" if folder.split("trainaug").exists() else "train")
    if not folder.split(train).exists():
        raise DataError(f"{folder.split(train)}: no such list; {train} needs SBD's labels: give --sbd")
    return (train, "train"), ("val", "val")


def write_stage1(folder, split, name, arguments):
    """Write the crops and the list of stage 1 from a split."""
    lines = examples.write_stage1(
        folder.root, split, folder.root / f"stage1_{name}.txt", count=arguments.stage1_examples, keep=True,
        workers=arguments.workers, progress=bar(f"{split} objects"),
    )  # fmt: skip
    tell(folder, "stage1", "crops", split, name, lines)


def write_stage2(folder, split, name, arguments):
    """Write the list of stage 2 from the proposals in a split's images."""
    if arguments.proposals:
        proposals = StoredBoxes(arguments.proposals, arguments.layout)
    else:
        proposals = Proposals(model=arguments.edge_model, cache=folder.root / "proposals")
    lines = examples.write_stage2(
        folder.root, split, folder.root / f"stage2_{name}.txt", examples.proposal_windows(proposals, arguments.min_iou),
        count=arguments.stage2_examples, workers=arguments.workers, progress=bar(f"{split} proposals"),
    )  # fmt: skip
    tell(folder, "stage2", "windows", split, name, lines)


def tell(folder, stage, kind, split, name, lines):
    """Print what a list holds, and beside the training list's length the paper's. Raises DataError where that is nothing."""
    if not lines:
        path = folder.root / f"{stage}_{name}.txt"
        path.unlink()  # no layer reads an empty list
        raise DataError(
            f"{path}: not written, since no image of {folder.split(split)} gives one of its {kind}: objects have numbers "
            "from 1 in SegmentationObject and a class in SegmentationClass, and windows must overlap one by --min-iou"
        )
    paper = f" (paper: {PAPERS_EXAMPLES[stage]})" if name == "train" else ""
    said = f"{len(set(lines)):,} {kind} of {split}, balanced {len(lines):,} examples{paper}"
    print(f"{stage}_{name}.txt: {said}", flush=True)


def named(damaged, most=5):
    """The first of the damaged images' ids, for a message."""
    return ", ".join(list(damaged)[:most]) + (" ..." if len(damaged) > most else "")


def bar(what):
    """A function that shows a progress bar for images, where stderr is a terminal."""
    return partial(tqdm, desc=what, unit="image", disable=None)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--voc", required=True, metavar="FOLDER", help="VOC 2012: VOCdevkit/VOC2012 or the folder above it"
    )
    parser.add_argument(
        "--sbd",
        metavar="FOLDER",
        help="the Semantic Boundaries Dataset: benchmark_RELEASE/dataset or the folder above it",
    )
    parser.add_argument("--out", default="data/voc", metavar="FOLDER", help="where to write (default: %(default)s)")
    parser.add_argument(
        "--until", choices=STEPS, default=STEPS[-1], help="stop after the labels or the first stage's examples"
    )
    parser.add_argument(
        "--train", choices=("train", "trainaug", "trainvalaug"), metavar="LIST",
        help="train, trainaug or trainvalaug: the images to take training examples from (default: trainaug with SBD, else train)",
    )  # fmt: skip
    parser.add_argument(
        "--proposals", metavar="FOLDER", help="boxes made elsewhere, a file for each image (default: edge boxes)"
    )
    parser.add_argument(
        "--layout", choices=("xyxy", "xywh1", "yxyx1"), default="xyxy",
        help="what the four numbers of those boxes are, see docs/data.md (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--edge-model", metavar="FILE", help="a structured forest for the edge boxes' edges")
    parser.add_argument(
        "--min-iou", type=share, default=examples.MIN_IOU, metavar="X",
        help="intersection over union with an object's box from which on a proposal is taken (default: %(default)s)",
    )  # fmt: skip
    for stage in PAPERS_EXAMPLES:
        parser.add_argument(
            f"--{stage}-examples", type=command_line.at_least(1), metavar="N",
            help="examples in the list, as many of each class (default: as the most frequent class has)",
        )  # fmt: skip
    parser.add_argument(
        "--skip-damaged", action="store_true", help="leave damaged images out and go on; the exit status says so"
    )
    command_line.add_workers(parser)
    return parser.parse_args()


def share(text):
    """A number above 0, up to 1. Raises ValueError."""
    if not 0 < float(text) <= 1:
        raise ValueError
    return float(text)


if __name__ == "__main__":
    command_line.run(main)
