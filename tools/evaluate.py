"""Score predicted label images against true ones, and pack predictions for the PASCAL VOC server.

    python tools/evaluate.py --data data/voc --split val --results DIR [--csv F] [--json F] [--html report.html]
    python tools/evaluate.py --labels DIR --results DIR [--photos DIR] --classes background,cat,dog
    python tools/evaluate.py --data data/voc --split test --results DIR --submission OUT
    python tools/evaluate.py --data data/voc --split test --check-submission FILE.tgz

Predictions are DIR/ID.png: class indices, 8-bit palette or grey. Void pixels (255) of the labels are not counted. An image whose
prediction or label is missing, damaged, of another size or of unknown classes is named and left out, and the status is 1.
"""

import argparse
import os
import platform
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path

import command_line
import numpy as np
import PIL

import deconvnet
from deconvnet.core.segmentation import voc
from deconvnet.core.segmentation.evaluation import Case, evaluate, scores, table
from deconvnet.core.segmentation.report_html import write_report
from deconvnet.core.segmentation.score_files import write_csv, write_json
from deconvnet.core.segmentation.submission import ARCHIVE, check_submission, write_submission


def main():
    arguments = parse()
    if arguments.submission or arguments.check_submission:
        submit(arguments)
    else:
        score(arguments)


def score(arguments):
    """Print the table and write the files asked for; raises DataError at the end where images were left out."""
    cases, names = cases_of(arguments), arguments.classes
    evaluation = evaluate(
        cases, len(names), arguments.workers, arguments.missing_as_background,
        progress=command_line.progress("evaluate", "image"),
    )  # fmt: skip
    complain(reason for _, reason in evaluation.left_out)
    if not evaluation.images:
        raise voc.DataError(f"{arguments.results}: none of {len(cases)} images could be scored")
    print_table(evaluation, names)
    made = provenance(arguments, evaluation)
    if arguments.csv:
        write_csv(arguments.csv, evaluation.matrix, names)
    if arguments.json:
        write_json(arguments.json, evaluation, names, made)
    if arguments.html:
        title = f"{arguments.results} on {arguments.split or arguments.labels}"
        write_report(arguments.html, evaluation, names, title, arguments.images, made)
    if evaluation.left_out:
        raise voc.DataError(
            f"{len(evaluation.left_out)} of {len(cases)} images are left out of the scores, as said above"
        )


def cases_of(arguments):
    """The images to score: those of a split, or every label image of a folder."""
    results = Path(arguments.results)
    if arguments.labels:
        labels, photos = sorted(Path(arguments.labels).glob("*.png")), photos_in(arguments.photos)
        if not labels:
            raise voc.DataError(f"{arguments.labels}: no label images (ID.png) in this folder")
        return [Case(path.stem, path, results / path.name, photos.get(path.stem)) for path in labels]
    folder = voc.VocFolder(Path(arguments.data))
    ids = ids_of(folder, arguments.split)
    return [Case(i, folder.classes(i), results / f"{i}.png", folder.image(i)) for i in ids]


def photos_in(folder):
    """The photographs of a folder by their names without suffix."""
    if not folder:
        return {}
    return {path.stem: path for path in Path(folder).iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")}


def ids_of(folder, split):
    """The ids of a split. Raises DataError where it is empty or names an image twice."""
    ids = voc.read_ids(folder.split(split))
    if not ids:
        raise voc.DataError(f"{folder.split(split)}: an empty list; one image id a line is expected")
    twice = next((i for i in ids if ids.count(i) > 1), None) if len(set(ids)) < len(ids) else None
    if twice is not None:
        raise voc.DataError(f"{folder.split(split)}: names {twice} twice")
    return ids


def print_table(evaluation, names):
    """The scores, the mean IoU last, and how many images they are of."""
    absent = sum(image.absent for image in evaluation.images)
    print(table(evaluation.matrix, names))
    print(f"mean IoU                {scores(evaluation.matrix).mean_iou:.3f}\n")
    print(f"images scored           {len(evaluation.images)}")
    if absent:
        print(f"  of them no prediction {absent}, counted as background")
    print(f"images left out         {len(evaluation.left_out)}", flush=True)


def provenance(arguments, evaluation):
    """What made these scores: {what: text or number}."""
    return {
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "labels": str(arguments.labels or f"{arguments.data}, split {arguments.split}"),
        "results": str(arguments.results),
        "images scored": len(evaluation.images),
        "images left out": len(evaluation.left_out),
        "pixels counted": int(evaluation.matrix.sum()),
        "versions": f"deconvnet {deconvnet.__version__}, Python {platform.python_version()}, NumPy {np.__version__},"
        f" Pillow {PIL.__version__}",
    }


def submit(arguments):
    """Write a submission to the server, or check one; raises DataError where it would not be taken."""
    folder = voc.VocFolder(Path(arguments.data))
    ids = ids_of(folder, arguments.split)
    sizes = {image_id: voc.read_size(folder.image(image_id)) for image_id in ids}
    if arguments.submission:
        path = Path(arguments.submission) / ARCHIVE
        bar = command_line.progress("submission", "image")
        faults = write_submission(arguments.submission, arguments.results, ids, sizes, progress=bar)
        done, failed = f"{path}: {len(ids)} label images", f"{path}: not written"
    else:
        path = arguments.check_submission
        faults = check_submission(path, ids, sizes)
        done, failed = f"{path}: what the server takes, {len(ids)} label images", f"{path}: not what the server takes"
    complain(faults)
    if faults:
        raise voc.DataError(f"{failed}, for the {len(faults)} faults said above")
    print(done)


def complain(lines):
    for line in lines:
        print(f"evaluate: error: {line}", file=sys.stderr)


def class_names(text):
    """The names of --classes: the lines of a file, or names with commas between them."""
    if os.path.isfile(text):  # which is false of a text too long for a name
        names = voc.read_ids(text)
    elif "," in text:
        names = [name.strip() for name in text.split(",")]
    else:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a file of names, one a line, nor names with commas")
    if len(names) < 2 or len(names) > voc.VOID or "" in names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r}: from 2 to 255 names that differ are expected")
    return names


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="a data set in VOC layout")
    parser.add_argument("--split", metavar="NAME", help="its list of images to score, such as val")
    parser.add_argument("--labels", metavar="DIR", help="instead of both: a folder of label images ID.png")
    parser.add_argument("--photos", metavar="DIR", help="with --labels: the images themselves, for sizes and the page")
    parser.add_argument("--results", metavar="DIR", help="the folder of predictions ID.png")
    parser.add_argument(
        "--classes", type=class_names, default=list(voc.CLASSES), metavar="FILE|NAMES",
        help="class names in the order of their indices, one a line or with commas between them (default: VOC's 21)",
    )  # fmt: skip
    command_line.add_workers(parser)
    background = "count a missing prediction as background instead of leaving its image out"
    parser.add_argument("--missing-as-background", action="store_true", help=background)
    parser.add_argument("--csv", metavar="FILE", help="write a table of the classes")
    parser.add_argument("--json", metavar="FILE", help="write everything, image by image, and what made it")
    parser.add_argument("--html", metavar="FILE", help="write a page with scores, confusions and images")
    parser.add_argument(
        "--images",
        type=command_line.at_least(0),
        default=6,
        metavar="N",
        help="worst and best images on it, each (default: 6)",
    )
    parser.add_argument("--submission", metavar="OUT", help="score nothing: pack the predictions for the VOC server")
    parser.add_argument("--check-submission", metavar="FILE", help="score nothing: check such a .tgz archive")
    arguments = parser.parse_args()
    check(parser, arguments)
    return arguments


def check(parser, arguments):
    """Options that need or exclude each other."""
    packing = arguments.submission or arguments.check_submission
    if bool(arguments.labels) == bool(arguments.data) or bool(arguments.data) != bool(arguments.split):
        parser.error("give --data and --split, or --labels")
    if packing and arguments.labels:
        parser.error("a submission needs --data and --split: it is of a list of images")
    if packing and arguments.classes != list(voc.CLASSES):
        parser.error("a submission has VOC's classes: leave --classes out")
    if arguments.submission and arguments.check_submission:
        parser.error("give --submission or --check-submission, not both")
    if not arguments.results and not arguments.check_submission:
        parser.error("give --results, the folder of predictions")
    if arguments.photos and not arguments.labels:
        parser.error("--photos goes with --labels: with --data the images are its JPEGImages")


if __name__ == "__main__":
    command_line.run(main)
