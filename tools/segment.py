"""Segment images: proposals, the net over each, their scores joined; on request an FCN beside it and a CRF after it.

    python tools/segment.py IMAGE... --model prototxt/deconvnet_deploy.prototxt --weights inference.caffemodel --out DIR

An IMAGE is a file, a folder of images or a list (.txt, a path a line). DIR receives labels/ID.png (palette PNG, VOC's
colours) and overlays/ID.jpg; a call that was stopped goes on where it stopped.
"""

import argparse
import hashlib
import json
import math
import sys
from functools import partial
from pathlib import Path

import command_line
import numpy as np
from PIL import Image
from tqdm import tqdm

from deconvnet.core import kernels
from deconvnet.core.blob import replacing
from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, find_file
from deconvnet.core.segmentation import inference, voc
from deconvnet.core.segmentation.crf import DenseCrf
from deconvnet.core.segmentation.fcn import fcn_scores
from deconvnet.core.segmentation.figures import decoder_stages
from deconvnet.core.segmentation.overlay import overlay
from deconvnet.core.segmentation.proposals import COUNT, Proposals, StoredBoxes
from deconvnet.core.segmentation.segmenter import MAX_SIDE, Segmenter, grown_classes
from deconvnet.core.segmentation.trace import trace
from deconvnet.core.segmentation.windows import multi_scale_windows

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
MEAN = (104.00698793, 116.66876762, 122.67891434)  # BGR, of the authors' release
LARGEST = 2**31 - 1  # number that OpenCV takes
LITTLE = 0.5  # of an image's area, below which it is told how little the net sees


def main():
    arguments = parse()
    images = find_images(arguments.images, arguments.folder)
    out = Path(arguments.out)
    settings = settings_of(arguments)
    if not arguments.overwrite:
        require_settings(out, settings)
    command_line.use_device(arguments.gpu)
    segmenter, net, classes = build(arguments)
    names = class_names(arguments.classes, classes)
    begin(out, settings, arguments)  # only here: a call with a wrong name leaves earlier results as they are
    waiting = {image_id: path for image_id, path in images.items() if not is_done(out, image_id, path, arguments)}
    if len(waiting) < len(images):
        print(f"{len(images) - len(waiting)} of {len(images)} images are done already", file=sys.stderr)
    failed, seen = 0, {}
    bar = tqdm(waiting.items(), "segment", unit="image", disable=not sys.stderr.isatty())
    for image_id, path in bar:
        try:
            image = voc.read_image(path)
            if arguments.trace:
                draw_trace(segmenter, net, image_id, image, names, arguments)
            seen[image_id] = segment_image(segmenter, image_id, image, out, names, arguments.probabilities)
        except (voc.DataError, FileNotFoundError) as error:
            failed += 1
            bar.write(f"{error}; left out", file=sys.stderr)
    tell_unseen(seen, arguments.min_side)
    print(f"{len(waiting) - failed} images segmented into {out}" + (f", {failed} failed" * bool(failed)))
    if failed:
        sys.exit(1)


def segment_image(segmenter, image_id, image, out, names, with_probabilities):
    """Segment one image and write what is asked for; the label comes last, as the mark that the image is done.

    Returns how much of it the nets saw, as a share of its area: where our net is alone, what its windows cover.
    """
    boxes = segmenter.boxes(image_id, image) if segmenter.score else None
    found = segmenter.probabilities(image_id, image, on_device=True, boxes=boxes)
    label = grown_classes(found, *image.shape[:2])
    if with_probabilities:
        with replacing(out / "probabilities" / f"{image_id}.npz") as file:
            np.savez_compressed(file, probabilities=np.float16(kernels.to_host(found)), size=image.shape[:2])
    with replacing(out / "overlays" / f"{image_id}.jpg") as file:
        Image.fromarray(overlay(image, label, names)).save(file, "JPEG", quality=92)
    voc.write_label(label_of(out, image_id), label)
    if boxes is None or (len(boxes) and segmenter.fcn):
        return 1.0
    return covered(boxes, *found.shape[1:])


def covered(boxes, height, width):
    """The share of an image's area that lies in boxes (n, 4)."""
    inside = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in np.maximum(np.add(boxes, [0, 0, 1, 1]), 0):
        inside[y1:y2, x1:x2] = True
    return inside.mean()


def tell_unseen(seen, min_side):
    """Say on stderr of which images {id: share} the net saw nothing, or little."""
    unseen = [image_id for image_id, share in seen.items() if not share]
    little = [f"{image_id} {share:.0%}" for image_id, share in seen.items() if 0 < share < LITTLE]
    if unseen:
        said = f"{len(unseen)} images have no proposal with a shorter side of --min-side {min_side} pixels"
        print(f"{said}, so the net sees nothing but background in them: {some(unseen)}", file=sys.stderr)
    if little:
        said = f"of {len(little)} images the windows cover less than {LITTLE:.0%}, and what lies outside is background"
        print(f"{said}: {some(little)}; --grid SIDE covers all, --count takes more", file=sys.stderr)


def some(names, most=5):
    """The first of them, for a message."""
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def draw_trace(segmenter, net, image_id, image, names, arguments):
    """Draw the paper's figures 4 to 7 of one image into the folder of --trace."""
    truth = None
    if arguments.truth:
        truth = voc.read_label(Path(arguments.truth) / f"{image_id}.png")
        if truth.shape != image.shape[:2]:
            raise voc.DataError(f"{arguments.truth}/{image_id}.png: {truth.shape}, but its image is {image.shape[:2]}")
    trace(arguments.trace, image_id, image, segmenter, net, names, truth)


def build(arguments):
    """The Segmenter that the arguments describe, its net and the number of classes. Raises NetError."""
    net, score, fcn, classes = None, None, None, None
    transform = {"mean": arguments.mean, "scale": arguments.scale}
    precision = {"precision": arguments.precision}
    if arguments.weights:
        net, output, classes = load(arguments.model, arguments.weights, arguments.output, arguments.trace, **precision)
        score = partial(
            inference.segment, net, input=net.inputs[0], output=output, aggregate=arguments.aggregate,
            antialias=arguments.antialias, batch=arguments.batch, on_device=True, **transform,
        )  # fmt: skip
    if arguments.fcn_model:
        beside, output, theirs = load(arguments.fcn_model, arguments.fcn_weights, arguments.fcn_output, **precision)
        if classes not in (None, theirs):
            raise NetError(f"{arguments.fcn_model}: has {theirs} classes, but {arguments.model} has {classes}")
        classes, size = theirs, arguments.fcn_size or None
        fcn = partial(fcn_scores, beside, input=beside.inputs[0], output=output, size=size, on_device=True, **transform)
    if arguments.crf:
        command_line.optional(
            "pydensecrf.densecrf", "pip install 'deconvnet[crf]' (Python 3.12 at most), or go without --crf"
        )
    segmenter = Segmenter(
        score=score, propose=propose(arguments), **chosen_windows(arguments), fcn=fcn, how=arguments.ensemble,
        crf=DenseCrf() if arguments.crf else None, max_side=arguments.max_side or None,
    )  # fmt: skip
    return segmenter, net, classes


def propose(arguments):
    """Where the windows come from: a grid, files, or edge boxes."""
    if arguments.grid:
        return lambda _, image: multi_scale_windows(*image.shape[:2], arguments.grid)
    if arguments.boxes:
        return StoredBoxes(arguments.boxes)
    count = min(max(arguments.count, COUNT), LARGEST)
    return Proposals(count=count, cache=arguments.cache, model=arguments.edge_model)


def chosen_windows(arguments):
    """Which of them are taken, and how much larger they are made: of a grid all, as they are."""
    if arguments.grid:
        return {"count": sys.maxsize, "min_side": 1, "context": 1.0}
    return {"count": arguments.count, "min_side": arguments.min_side, "context": arguments.context}


def load(model, weights, output=None, trace=False, **options):
    """A net, its blob of scores and their number. With `trace` the decoder's blobs stay to be drawn; options as Net's.

    Raises NetError where weights are missing, it is not fed by one input of images or there is no such output of scores.
    """
    weights = find_file(weights)
    options.update(weights=weights, share=True)
    net = Net(model, caffe_pb2.TEST, **options)
    if trace:
        command_line.optional("matplotlib", "pip install 'deconvnet[plot]', or go without --trace")
        stages = [blob for blob, _ in decoder_stages(net)]
        if not stages:
            print(f"{model}: has no unpooling, so --trace draws no figure 4", file=sys.stderr)
        net = Net(model, caffe_pb2.TEST, **options, keep=stages)
    command_line.require_weights(net, weights)
    if len(net.inputs) != 1:
        raise NetError(f"{model}: has {len(net.inputs)} inputs; give a deploy net, fed by one input of images")
    if output is None and len(net.outputs) == 1:
        output = net.outputs[0]
    if output not in net.outputs:
        asked = f"has no output '{output}'" if output else "has several outputs: choose one by --output or --fcn-output"
        raise NetError(f"{model}: {asked}; its outputs: {', '.join(net.outputs)}")
    for blob, wanted in ((net.inputs[0], "images (N, 3, H, W)"), (output, "scores (N, classes, H, W)")):
        shape = net.blobs[blob].shape
        if len(shape) != 4 or (blob != output and shape[1] != 3):
            raise NetError(f"{model}: its blob '{blob}' has the shape {shape}, where {wanted} are expected")
    return net, output, net.blobs[output].shape[1]


def find_images(places, folder=None):
    """{id: path} of the images in files, folders and lists (.txt). Raises DataError where two share an id.

    With `folder` a list holds names of images in it, of JPEGs where they have no suffix, as VOC's lists do.
    """
    paths = []
    for place in map(Path, places):
        if place.is_dir():
            inside = sorted(p for p in place.iterdir() if p.suffix.lower() in IMAGES)
            if not inside:
                raise voc.DataError(f"{place}: holds no image ({' '.join(IMAGES)})")
            paths += inside
        elif place.suffix == ".txt":
            lines = [Path(line) for line in voc.read_ids(place)]
            if not lines:
                raise voc.DataError(f"{place}: an empty list; one image a line is expected")
            paths += [folder / (line if line.suffix else f"{line}.jpg") for line in lines] if folder else lines
        else:
            paths.append(place)
    images = {}
    for path in paths:
        if images.setdefault(path.stem, path) != path:
            raise voc.DataError(f"{path} and {images[path.stem]} would write one result: rename one or call twice")
    return images


def settings_of(arguments):
    """{name: value} of what the results depend on, `digests` of the weights' contents among them. Raises OSError."""
    free = ("images", "folder", "out", "gpu", "batch", "cache", "probabilities", "overwrite", "trace", "truth")
    settings = {name: value for name, value in vars(arguments).items() if name not in free}
    weights = {name: settings[name] for name in ("weights", "fcn_weights") if settings[name]}
    return settings | {"digests": {name: digest_of(find_file(path)) for name, path in weights.items()}}


def digest_of(path):
    """A digest of what a file holds, read piece by piece. Raises OSError."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def require_settings(out, settings):
    """Raise DataError where results of other settings or other weights lie in `out`, as its settings.json says."""
    path = out / "settings.json"
    if not path.exists():
        return
    try:
        before = dict(json.loads(path.read_text()))
    except (ValueError, TypeError):
        raise voc.DataError(f"{path}: damaged; give another --out, or --overwrite to begin anew") from None
    known = before.get("digests", {})  # a file of an earlier version has none
    options = [name for name in settings if name != "digests" and before.get(name) != settings[name]]
    weights = [name for name, digest in settings["digests"].items() if known.get(name, digest) != digest]
    other = [f"another --{name.replace('_', '-')}" for name in options]
    other += [f"other weights in {settings[name]}" for name in weights]
    if other:
        raise voc.DataError(
            f"{out}: holds results made with {other[0]}: give another --out, or --overwrite to write them anew"
        )


def begin(out, settings, arguments):
    """Make the folders of `out`, empty them where --overwrite asks for it, and write its settings.json. Raises OSError."""
    if arguments.overwrite:
        for earlier in (*(out / "labels").glob("*.png"), *(out / "probabilities").glob("*.npz")):
            earlier.unlink()
    for folder in ("labels", "overlays", *["probabilities"] * arguments.probabilities):
        (out / folder).mkdir(parents=True, exist_ok=True)
    with replacing(out / "settings.json") as file:
        file.write(json.dumps(settings, indent=1).encode())


def is_done(out, image_id, path, arguments):
    """Whether all that is asked for of an image is there and no older than it: its label, and its probabilities and trace if they are."""
    files = [label_of(out, image_id)]
    if arguments.probabilities:
        files.append(out / "probabilities" / f"{image_id}.npz")
    if arguments.trace:
        files.append(Path(arguments.trace) / f"{image_id}_figure7.png")  # the last that trace draws
    return all(voc.up_to_date(file, Path(path)) for file in files)


def label_of(out, image_id):
    return out / "labels" / f"{image_id}.png"


def class_names(file, count):
    """The names of a net's classes: those in a file, VOC's where there are 21, else numbers. Raises DataError."""
    if file:
        names = voc.read_ids(file)
        if len(names) != count:
            raise voc.DataError(f"{file}: holds {len(names)} names, but the net has {count} classes")
        return names
    return voc.CLASSES if count == len(voc.CLASSES) else [f"class {k}" for k in range(count)]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option, at_least = parser.add_argument, command_line.at_least
    option("images", nargs="+", metavar="IMAGE", help="an image, a folder of images, or a list of them (.txt)")
    option("--folder", type=Path, metavar="DIR", help="where a list's images lie, such as JPEGImages for VOC's lists")
    option("--out", required=True, metavar="DIR", help="where results go")
    option(
        "--model", default="prototxt/deconvnet_deploy.prototxt", metavar="FILE", help="the net (default: %(default)s)"
    )
    option("--weights", metavar="FILE", help="its weights, with folded batch norm (none: the FCN goes alone)")
    option("--output", metavar="BLOB", help="its blob of scores (default: its only output)")
    option(
        "--mean", type=float, nargs="+", default=list(MEAN), metavar="V", help="subtracted from BGR (default: VGG's)"
    )
    option("--scale", type=factor, default=1.0, metavar="S", help="multiplies the rest (default: 1)")
    option("--count", type=at_least(1), default=50, metavar="N", help="proposals for an image (default: %(default)s)")
    told = "the shorter side that a proposal with its context must have (default: %(default)s pixels)"
    option("--min-side", type=at_least(1), default=112, metavar="N", help=told)
    option("--context", type=factor, default=1.2, metavar="F", help="enlarges a proposal (default: %(default)s)")
    told = "windows of these sides at every half of a side, in pixels, in the place of proposals, whatever --count, --min-side and --context"
    option("--grid", type=sides, metavar="SIDE[,SIDE...]", help=told)
    option("--boxes", metavar="DIR", help="boxes made elsewhere, a file an image (.npy, .mat, .txt)")
    option("--edge-model", metavar="FILE", help="OpenCV's structured forest for the edges, of your own")
    option("--cache", metavar="DIR", help="keeps proposals for the next call")
    told = "joins the proposals' scores: Eq. 1 or Eq. 2 (default: %(default)s)"
    option("--aggregate", choices=("max", "sum"), default="max", help=told)
    told = "plain bilinear where a window or a score map shrinks"
    option("--no-antialias", dest="antialias", action="store_false", help=told)
    option(
        "--batch",
        type=at_least(1),
        metavar="N",
        help=f"windows at once (default: {inference.BATCH}, on a GPU {inference.BATCH_ON_GPU})",
    )
    option("--fcn-model", metavar="FILE", help="an FCN for the ensemble")
    option("--fcn-weights", metavar="FILE", help="its weights")
    option("--fcn-output", metavar="BLOB", help="its blob of scores (default: its only output)")
    told = "pads its input to a square of that side, as the release (default: %(default)s; 0: as the image is)"
    option("--fcn-size", type=at_least(0), default=500, metavar="N", help=told)
    told = "the mean of probabilities or the release's product (default: %(default)s)"
    option("--ensemble", choices=("paper", "release"), default="paper", help=told)
    option("--crf", action="store_true", help="refine by the fully connected CRF (needs deconvnet[crf])")
    told = "larger images are shrunk to it (default: %(default)s pixels; 0: never)"
    option("--max-side", type=at_least(0), default=MAX_SIDE, metavar="N", help=told)
    option("--classes", metavar="FILE", help="names of the classes, one a line (default: VOC's)")
    option("--probabilities", action="store_true", help="also write probabilities/ID.npz (float16)")
    told = "draw the paper's figures 4 to 7 of each image (needs deconvnet[plot])"
    option("--trace", metavar="DIR", help=told)
    option("--truth", metavar="DIR", help="labels ID.png for --trace to show beside the results")
    option("--overwrite", action="store_true", help="do not keep earlier results")
    command_line.add_gpu(parser)
    command_line.add_precision(parser)
    arguments = parser.parse_args()
    if bool(arguments.fcn_model) != bool(arguments.fcn_weights):
        parser.error("--fcn-model and --fcn-weights come together")
    if not (arguments.weights or arguments.fcn_weights):
        parser.error("--weights, --fcn-weights or both are needed")
    if len(arguments.mean) not in (1, 3):
        parser.error(f"--mean is one number, or three for blue, green and red, not {len(arguments.mean)}")
    if arguments.grid and (arguments.boxes or arguments.edge_model or arguments.cache):
        parser.error("--grid takes the place of proposals: go without --boxes, --edge-model and --cache")
    if arguments.grid and arguments.trace:
        parser.error("--trace shows proposals: go without --grid")
    if arguments.trace and not arguments.weights:
        parser.error("--trace shows our net: give --weights")
    return arguments


def sides(text):
    """Whole numbers from 1 on with commas between them. Raises ValueError."""
    return [command_line.at_least(1)(part) for part in text.split(",")]


def factor(text):
    """A finite number above 0. Raises ValueError."""
    if not 0 < float(text) < math.inf:
        raise ValueError
    return float(text)


if __name__ == "__main__":
    command_line.run(main)
