"""All of the paper's pictures of one image's way through the system (figures 4 to 7), from the parts of a Segmenter."""

from pathlib import Path

import cv2

from .. import kernels
from ..layers.example import cut
from . import figures, inference
from .ensemble import ensemble
from .resampling import shrunk


def trace(folder, image_id, image, segmenter, net, names, truth=None):
    """Draw figures 4 to 7 of an image (H, W, 3) uint8 BGR into `folder` as ID_figure4.png and so on; returns the paths.

    net: the one behind segmenter.score, for its decoder's blobs (see figures.decoder_stages); truth: the label (H, W)
    uint8 for figure 7. The FCN, the ensemble and the CRF are drawn where the segmenter has them. Figures 4 and 6 need a
    proposal at least, figure 4 an unpooling.
    """
    paths = {number: Path(folder) / f"{image_id}_figure{number}.png" for number in (4, 5, 6, 7)}
    work = shrunk(image, segmenter.max_side)
    boxes = segmenter.boxes(image_id, image)
    scores = segmenter.score(work, boxes)
    maps = {"DeconvNet": kernels.to_host(inference.probabilities(scores))}
    if segmenter.fcn:
        whole = segmenter.fcn(work)
        maps = {"FCN": kernels.to_host(inference.probabilities(whole)), **maps}
    figures.draw_class_maps(paths[5], work, maps, names)

    labels = []
    if truth is not None:
        labels.append(("ground truth", cv2.resize(truth, work.shape[1::-1], interpolation=cv2.INTER_NEAREST)))
    labels += [(name, inference.classes_of(p)) for name, p in maps.items()]
    found = maps["DeconvNet"]
    if segmenter.fcn:
        found = kernels.to_host(ensemble(scores, whole, segmenter.how))
        labels.append(("ensemble", inference.classes_of(found)))
    if segmenter.crf:
        labels.append(("with CRF", inference.classes_of(segmenter.crf(work, found))))

    drawn = [5, 7]
    if len(boxes):
        grown = figures.growing_result(segmenter.score, work, boxes)
        figures.draw_labels(paths[6], work, [(_proposals(n), label) for n, label in grown], names)
        drawn.append(6)
    if len(boxes) and figures.decoder_stages(net):
        activations = figures.strongest_activations(net, segmenter.score, work, boxes[0])
        figures.draw_activations(paths[4], cut(work, boxes[0], fill=0), activations)
        drawn.append(4)
    figures.draw_labels(paths[7], work, labels, names)  # the last one, as the mark that all are there
    return [paths[number] for number in sorted(drawn)]


def _proposals(number):
    return "1 proposal" if number == 1 else f"{number} proposals"
