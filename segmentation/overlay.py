"""A segmentation as people look at it: the classes' colours over the photograph, with a legend below."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .voc import VOID, palette

_OPACITY = 0.55
_EDGE = (255, 255, 255)
_ROWS = 64  # are tinted at a time: real numbers of a whole large photograph would be gigabytes
_MARGIN = 6  # pixels around the entries of the legend


def overlay(image, label, names):
    """Draw a label (H, W) uint8 over its image (H, W, 3) uint8 BGR: (H + legend, W, 3) uint8 RGB.

    Every class but the background is tinted in VOC's colour and outlined in white; `names` gives the legend the names
    of the classes that are there.
    """
    photograph, colors, borders = np.asarray(image)[..., ::-1], palette(), _borders(label)
    legend = _legend([(names[k], colors[k]) for k in np.unique(label) if k not in (0, VOID)], label.shape[1])
    drawn = np.concatenate([photograph, legend])
    for first in range(0, len(label), _ROWS):
        rows = slice(first, min(first + _ROWS, len(label)))
        tinted = (1 - _OPACITY) * photograph[rows] + _OPACITY * colors[label[rows]]
        drawn[rows] = np.where((label[rows] != 0)[..., None], tinted, photograph[rows])
        drawn[rows][borders[rows]] = _EDGE
    return drawn


def _borders(label):
    """Where a pixel's class differs from that of its right or lower neighbour: (H, W) bool."""
    borders = np.zeros(label.shape, bool)
    borders[:-1] |= label[:-1] != label[1:]
    borders[:, :-1] |= label[:, :-1] != label[:, 1:]
    return borders


def _legend(entries, width):
    """A white strip (h, width, 3) uint8 with a swatch and a name for each (name, colour), as many rows as it takes."""
    size = min(max(width // 28, 11), 28)
    font, row = ImageFont.load_default(size), size + _MARGIN
    places, x, y = [], _MARGIN, _MARGIN
    for name, color in entries:
        length = size + _MARGIN + int(font.getlength(name)) + 1
        if x + length > width and x > _MARGIN:
            x, y = _MARGIN, y + row
        places.append((x, y, name, color))
        x += length + 2 * _MARGIN
    strip = Image.new("RGB", (width, y + row if entries else 0), "white")
    draw = ImageDraw.Draw(strip)
    for x, y, name, color in places:
        draw.rectangle((x, y, x + size - 1, y + size - 1), fill=tuple(int(c) for c in color), outline="black")
        draw.text((x + size + _MARGIN, y + size / 2), name, fill="black", font=font, anchor="lm")
    return np.array(strip).reshape(-1, width, 3)
