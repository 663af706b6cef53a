"""The paper's figures 4 to 7 for an image of one's own: what the decoder does, and how a result comes about.

All need matplotlib (the extra `plot`), write one PNG and show labels in VOC's colours with a legend of the classes.
"""

from pathlib import Path

import numpy as np

from ..blob import replacing
from . import inference
from .voc import VOID, palette

_PANEL = 2.1  # inches, the longer side of a picture
_HEADING, _LEGEND = 0.3, 0.4  # inches above each row of pictures, and below all of them


def decoder_stages(net):
    """The blobs of figure 4, in order: after each unpooling but the first, and at the end of each stage of the decoder.

    A stage goes from an unpooling to the next, the last one to the net's last layer. Build the net with keep= these
    names, or without share. Returns [(blob, "unpooling" or "deconvolution")]; [] for a net without unpooling.
    """
    names = [name for name, layer in net.layer_dict.items() if layer.type == "Unpooling"]
    if not names:
        return []
    after = [net.bottom_names[name][0] for name in (*names[1:], list(net.layer_dict)[-1])]
    unpooled = [None, *(net.top_names[name][0] for name in names[1:])]
    return [
        (blob, kind)
        for pair in zip(unpooled, after, strict=True)
        for blob, kind in zip(pair, ("unpooling", "deconvolution"), strict=True)
        if blob
    ]


def strongest_activations(net, score, image, box):
    """Run one box of an image through the net by `score(image, boxes)`: [(caption, map (h, w) float32)] for figure 4.

    Each map is the channel with the largest sum in its blob, as "most representative" is read here (paper, section 3.2.3
    does not define it).
    """
    score(image, np.asarray(box)[None])
    shown = []
    for blob, kind in decoder_stages(net):
        maps = np.array(net.blobs[blob].data[0])
        channel = int(maps.sum(axis=(1, 2)).argmax())
        shown.append((f"{maps.shape[2]}x{maps.shape[1]} {kind}\n{blob}, channel {channel}", maps[channel]))
    return shown


def draw_activations(path, window, activations):
    """Figure 4: a window (H, W, 3) uint8 BGR and the strongest activation of each decoder stage, coarse to fine."""
    panels = [("input", window[..., ::-1]), *activations]
    columns = len(panels) if len(panels) < 7 else 5
    with _Page(path, panels, columns, window.shape[:2], heading=2 * _HEADING) as axes:
        for axis, (caption, picture) in zip(axes, panels, strict=False):
            _show(axis, picture, caption, **({} if picture.ndim == 3 else {"cmap": "inferno"}))


def draw_class_maps(path, image, maps, names, most=4):
    """Figure 5: where each net sees the classes that are most in the image.

    maps: {net's name: probabilities (K, H, W)}, a row of pictures each; a class's picture runs from 0 (black) to 1. The
    background comes first, then the `most` classes with the greatest sum over all nets.
    """
    weight = sum(p.sum(axis=(1, 2)) for p in maps.values())
    weight[0] = np.inf
    shown = np.argsort(-weight, kind="stable")[: most + 1]
    panels = [(net, k) for net in maps for k in (None, *shown)]
    with _Page(path, panels, len(shown) + 1, image.shape[:2]) as axes:
        for axis, (net, k) in zip(axes, panels, strict=False):
            if k is None:
                _show(axis, image[..., ::-1], net)
            else:
                _show(axis, maps[net][k], f"{net}: {names[k]}", cmap="inferno", vmin=0, vmax=1)


def growing_result(score, image, boxes, steps=(1, 3, 6, 12, 25, 50)):
    """Figure 6: the result as proposals are added in decreasing size: [(number, label (H, W) uint8)].

    score: (image, boxes) -> scores (K, H, W). The last step is always all of the boxes.
    """
    boxes = np.asarray(boxes).reshape(-1, 4)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
    boxes = boxes[np.argsort(-areas, kind="stable")]
    counts = sorted({min(step, len(boxes)) for step in (*steps, len(boxes))} - {0})
    return [(n, inference.classes_of(score(image, boxes[:n]))) for n in counts]


def draw_labels(path, image, labels, names):
    """Figures 6 and 7: an image (H, W, 3) uint8 BGR beside labels [(caption, (H, W) uint8)], with a legend."""
    panels = [("image", image[..., ::-1]), *((caption, palette()[label]) for caption, label in labels)]
    present = sorted(set(np.unique(np.concatenate([np.unique(label) for _, label in labels]))) - {VOID})
    legend = [(names[k], palette()[k]) for k in present]
    if any((label == VOID).any() for _, label in labels):
        legend.append(("void", palette()[VOID]))
    with _Page(path, panels, min(len(panels), 7), image.shape[:2], legend) as axes:
        for axis, (caption, picture) in zip(axes, panels, strict=False):
            _show(axis, picture, caption)


class _Page:
    """Pictures in a grid, as a context that gives their axes and then writes the file."""

    def __init__(self, path, panels, columns, size, legend=(), heading=_HEADING):
        self.path, self.legend = Path(path), legend
        self.columns, self.rows = columns, -(-len(panels) // columns)
        scale = _PANEL / max(size)
        self.width, self.height = max(size[1] * scale, 0.9), max(size[0] * scale, 0.5)
        self.heading = heading

    def __enter__(self):
        import matplotlib

        matplotlib.use("Agg")  # no display is needed
        import matplotlib.pyplot as plt

        gap = 0.12
        foot = _LEGEND if len(self.legend) else gap
        width = max(self.columns * (self.width + gap) + gap, 4)
        height = self.rows * (self.height + self.heading) + foot
        self.page = plt.figure(figsize=(width, height), dpi=120, facecolor="white")
        axes = []
        for place in range(self.rows * self.columns):
            row, column = divmod(place, self.columns)
            left = gap + column * (self.width + gap)
            bottom = height - (row + 1) * (self.height + self.heading)
            shape = (left / width, bottom / height, self.width / width, self.height / height)
            axes.append(self.page.add_axes(shape))
            axes[-1].axis("off")
        return axes

    def __exit__(self, kind, *_):
        import matplotlib.pyplot as plt
        from matplotlib.patches import Patch

        if kind is None:
            handles = [Patch(facecolor=c / 255, edgecolor="0.4", linewidth=0.6, label=name) for name, c in self.legend]
            if handles:
                self.page.legend(
                    handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=8,
                    handlelength=1.2, handleheight=1.0, columnspacing=1.4, borderaxespad=0.2,
                )  # fmt: skip
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as file:
                self.page.savefig(file, format="png")
        plt.close(self.page)


def _show(axis, picture, caption, **how):
    axis.imshow(picture, interpolation="nearest", aspect="auto", **how)
    axis.set_title(caption, fontsize=8, pad=3)
