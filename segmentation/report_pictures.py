"""The pictures of an evaluation report, as data that stands in the page itself: image files as URIs, charts as SVG."""

import base64
import io
from html import escape

import cv2
import numpy as np
from PIL import Image

from .voc import VOID, palette

LONGEST_SIDE = 512  # pixels; larger pictures are shrunk, so that a page stays a few megabytes
# kinds of errors; their colours (RGB) are told apart by colour-blind eyes too
RIGHT, MISSED, FALSE, CONFUSED, NOT_COUNTED = range(5)
ERROR_KINDS = ("right", "object missed", "background taken for an object", "wrong class", "void")
ERROR_COLORS = np.array([(200, 206, 212), (0, 114, 178), (230, 159, 0), (190, 60, 130), (255, 255, 255)], np.uint8)
_CELL, _MARGIN, _AXIS = 32, 12, 20  # pixels of a confusion matrix
_NUMBERS_UP_TO = 40  # a matrix of more classes has no numbers in its cells
_LONGEST_NAME = 20  # letters beside a matrix; longer names are cut there
_SMALLEST_NUMBER = 0.005  # a share below is no number in a cell
_DEEP = 0.65  # from here on a cell's colour is so strong that its number is drawn in the other colour


def error_map(label, prediction):
    """Where a prediction is wrong, and how: (H, W) uint8 of RIGHT, MISSED (an object's pixel called background), FALSE
    (the reverse), CONFUSED (another object class) and, where the label is void, NOT_COUNTED."""
    kinds = np.where(label == prediction, RIGHT, CONFUSED)
    kinds[(label != 0) & (prediction == 0)] = MISSED
    kinds[(label == 0) & (prediction != 0)] = FALSE
    kinds[label == VOID] = NOT_COUNTED
    return kinds.astype(np.uint8)


def photo_uri(image):
    """An image (H, W, 3) uint8 BGR as a JPEG's data URI."""
    encoded = cv2.imencode(".jpg", _shrunk(image, cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    return _uri("jpeg", encoded.tobytes())


def label_uri(label):
    """A label image (H, W) uint8 as a PNG's data URI, in VOC's colours."""
    return _index_uri(label, palette())


def error_uri(label, prediction):
    """The error map of a prediction as a PNG's data URI, in ERROR_COLORS."""
    return _index_uri(error_map(label, prediction), ERROR_COLORS)


def shown_size(shape):
    """The (height, width) in which a picture of that (height, width) is embedded."""
    height, width = shape[:2]
    factor = min(1, LONGEST_SIDE / max(height, width))
    return max(round(height * factor), 1), max(round(width * factor), 1)


def matrix_svg(matrix, names):
    """A confusion matrix (K, K) as an SVG heat map: a row is a true class, a cell the share of its pixels that were
    predicted as the column's class; the diagonal in one colour, errors in another. Colours are the page's variables."""
    matrix = np.asarray(matrix)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = round(max(_width(_cut(name)) for name in names)) + _MARGIN + _AXIS
    length = side + len(names) * _CELL
    parts = [_heat_row(row, matrix[row], share[row], names, side) for row in range(len(names))]
    for column, name in enumerate(names):
        x, y = side + (column + 0.5) * _CELL, side - 8
        parts.append(f'<text class="name" transform="translate({x + 4:g} {y}) rotate(-90)">{escape(_cut(name))}</text>')
    middle = (side + length) / 2
    parts.append(f'<text class="number axis-name" x="{middle:g}" y="12">predicted class</text>')
    turned = f'transform="translate(12 {middle:g}) rotate(-90)"'
    parts.append(f'<text class="number axis-name" {turned}>true class</text>')
    return (
        f'<svg role="img" aria-label="confusion matrix" class="matrix" width="{length}" height="{length}"'
        f' viewBox="0 0 {length} {length}">{"".join(parts)}</svg>'
    )


def _heat_row(row, counts, share, names, side):
    """The name and the cells of one true class."""
    y = side + row * _CELL
    parts = [f'<text class="name end" x="{side - 8}" y="{y + _CELL / 2 + 4:g}">{escape(_cut(names[row]))}</text>']
    for column, (count, part) in enumerate(zip(counts, share, strict=True)):
        x, kind = side + column * _CELL, "right" if column == row else "wrong"
        told = f"{names[row]} predicted as {names[column]}: {100 * part:.2f} % ({count} pixels)"
        opacity = part if column == row else np.sqrt(part)  # errors are small: their colour rises faster
        parts.append(f'<g><title>{escape(told)}</title><rect class="cell" x="{x}" y="{y}" {_SQUARE}/>')
        if count:
            parts.append(f'<rect class="{kind}" x="{x}" y="{y}" {_SQUARE} fill-opacity="{opacity:.3f}"/>')
        if part >= _SMALLEST_NUMBER and len(names) <= _NUMBERS_UP_TO:
            deep = " deep" if opacity > _DEEP else ""
            place = f'x="{x + _CELL / 2:g}" y="{y + _CELL / 2 + 4:g}"'
            parts.append(f'<text class="number{deep}" {place}>{100 * part:.0f}</text>')
        parts.append("</g>")
    return "".join(parts)


def _cut(name):
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"


def _width(name):
    """About how many pixels a name takes at 12 pixels a line; letters beyond ASCII may be as wide as high."""
    return sum(7.2 if letter.isascii() else 12.5 for letter in name)


_SQUARE = f'width="{_CELL - 1}" height="{_CELL - 1}"'


def histogram_svg(values, bins=10):
    """How many of the values, from 0 to 1, lie in each of `bins` equal parts, as an SVG bar chart; NaN is left out."""
    values = np.asarray(values, np.float64)
    counts = np.histogram(values[~np.isnan(values)], bins, (0, 1))[0]
    width, height, left, top, bottom = 340, 190, 10, 20, 40
    step, tallest = (width - 2 * left) / bins, max(counts.max(), 1)
    parts = []
    for i, count in enumerate(counts):
        tall = (height - top - bottom) * count / tallest
        x, y = left + i * step, height - bottom - tall
        told = f"{i / bins:.1f} to {(i + 1) / bins:.1f}: {count} images"
        parts.append(f"<g><title>{told}</title>")
        parts.append(f'<rect class="right" x="{x + 1:g}" y="{y:.1f}" width="{step - 2:g}" height="{tall:.1f}"/>')
        if count:
            parts.append(f'<text class="number" x="{x + step / 2:g}" y="{y - 5:.1f}">{count}</text>')
        parts.append("</g>")
    for i in range(0, bins + 1, max(bins // 5, 1)):
        x = left + i * step
        parts.append(f'<text class="number" x="{x:g}" y="{height - bottom + 16}">{i / bins:.1f}</text>')
    parts.append(f'<line class="axis" x1="{left}" x2="{width - left}" y1="{height - bottom}" y2="{height - bottom}"/>')
    parts.append(f'<text class="number" x="{width / 2:g}" y="{height - 6}">mean IoU of an image</text>')
    return (
        f'<svg role="img" aria-label="how many images have which IoU" class="histogram" width="{width}"'
        f' height="{height}" viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'
    )


def _index_uri(indices, colors):
    image = Image.fromarray(np.ascontiguousarray(_shrunk(indices, cv2.INTER_NEAREST)))
    image.putpalette(colors.tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return _uri("png", file.getvalue())


def _shrunk(image, how):
    height, width = shown_size(image.shape)
    return image if image.shape[:2] == (height, width) else cv2.resize(image, (width, height), interpolation=how)


def _uri(kind, content):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
