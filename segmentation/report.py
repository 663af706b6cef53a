"""The demo's picture: images, ground truth and predictions side by side, and the training curves from the logs."""

from pathlib import Path

import numpy as np

from ..blob import replacing
from .voc import palette

_HEAD, _LEGEND = 0.7, 0.5  # inches above and below the pictures


def draw_report(path, examples, names, curves, accuracy="seg-accuracy", title=""):
    """Draw the report to `path` (PNG).

    examples: (image (H, W, 3) uint8 BGR, label (H, W), prediction (H, W)) triples of one size, shown two a row;
    names: the classes from background on, for the legend in VOC's colours; curves: {stage name: Curves},
    as solver.read_log gives them; `accuracy` names the output of the first test net to draw.
    """
    import matplotlib

    matplotlib.use("Agg")  # no display is needed
    import matplotlib.pyplot as plt

    rows = (len(examples) + 1) // 2
    height, width = examples[0][1].shape
    tile_width, chart_height = 2.1, 3.0  # inches
    picture_height = 1.03 * rows * tile_width * height / width + _HEAD + _LEGEND
    size = (6.3 * tile_width, picture_height + chart_height)
    figure = plt.figure(figsize=size, dpi=110, facecolor="white")
    pictures, chart = figure.subfigures(2, 1, height_ratios=[picture_height, chart_height])
    pictures.subplots_adjust(
        left=0.01, right=0.99, top=1 - _HEAD / picture_height, bottom=_LEGEND / picture_height, wspace=0.03, hspace=0.03
    )
    _draw_examples(pictures, examples, names, rows)
    _draw_curves(chart, curves, accuracy)
    figure.suptitle(title, fontsize=13, fontweight="bold", y=1 - 0.1 / size[1])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        figure.savefig(file, format="png")
    plt.close(figure)


def _draw_examples(figure, examples, names, rows):
    """Two examples a row, three pictures each, with a legend of the classes below."""
    axes = figure.subplots(rows, 7, squeeze=False, width_ratios=[1, 1, 1, 0.08, 1, 1, 1])
    colors = palette()
    for axis in axes.flat:
        axis.axis("off")
    for i, (image, label, prediction) in enumerate(examples):
        places = axes[i // 2, 4 * (i % 2) : 4 * (i % 2) + 3]
        for axis, picture in zip(places, (image[..., ::-1], colors[label], colors[prediction]), strict=True):
            axis.imshow(picture, interpolation="nearest")
    for i in range(min(2, len(examples))):
        for axis, heading in zip(axes[0, 4 * i : 4 * i + 3], ("image", "ground truth", "prediction"), strict=True):
            axis.set_title(heading, fontsize=10)
    entries = [(name, colors[i]) for i, name in enumerate(names)] + [("void", colors[255])]
    figure.legend(
        handles=[_swatch(color, name) for name, color in entries], loc="lower center", ncols=len(entries),
        frameon=False, fontsize=10, handlelength=1.3, handleheight=1.1, columnspacing=1.6,
    )  # fmt: skip


def _swatch(color, name):
    from matplotlib.patches import Patch

    return Patch(facecolor=color / 255, edgecolor="0.4", linewidth=0.6, label=name)


def _draw_curves(figure, curves, accuracy):
    """The training loss on the left, the test nets' accuracy on the right, one line a stage."""
    loss, test = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.06, right=0.98, top=0.9, bottom=0.18, wspace=0.16)
    shades = ("#c44e52", "#4c72b0", "#55a868", "#8172b3")
    for (stage, curve), shade in zip(curves.items(), shades, strict=False):
        for axis, points, mark in ((loss, curve.get("loss"), ""), (test, curve.get(f"test/{accuracy}"), "o")):
            if points:
                axis.plot(*np.transpose(points), color=shade, marker=mark, markersize=4, linewidth=1.6, label=stage)
    for axis, what in ((loss, "training loss"), (test, "pixel accuracy on validation examples")):
        axis.set_title(what, fontsize=10)
        axis.set_xlabel("iteration", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
        if axis.lines:
            axis.legend(frameon=False, fontsize=9)
    loss.set_ylim(bottom=0)
