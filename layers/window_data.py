"""WindowData: windows of images, drawn by how much of an object they hold, as R-CNN is trained."""

import os
import re
from typing import NamedTuple

import numpy as np

from ..blob import generator
from ..proto import find_file
from .example import Example, ImageCache, read_file, read_image, resize_image
from .layer import register
from .listed_images import LONGEST
from .reading import ReadingLayer, located

# `# image_index`, path, channels, height, width, number of windows
_HEADER = re.compile(rb"\s*#\s+-?\d+\s+(\S[^\n]*?)\s+\d+\s+\d+\s+\d+\s+(\d+)(?=\s|\Z)")
_WINDOW = "class overlap x1 y1 x2 y2"


class Windows(NamedTuple):
    """The windows of one kind, in the file's order."""

    corners: np.ndarray  # (n, 4) int32: x1, y1, x2, y2, inclusive
    classes: np.ndarray  # (n,) int32
    lines: np.ndarray  # (n,) uint32: where they stand in the file
    ends: np.ndarray  # per image, how many there are up to its last

    def image(self, index: int) -> int:
        """The number of the image that a window is of."""
        return int(np.searchsorted(self.ends, index, side="right"))


class WindowList:
    """The windows of a window file that can be drawn: `background`, whose overlap is below one threshold, and `foreground`, from another on.

    Kept in arrays, 24 bytes a window, since R-CNN's file names some two thousand for each image. As Caffe reads it, the file may
    break its lines anywhere between two numbers. Raises ValueError naming file and line for what is none, for a foreground window
    without a class and for an empty window.
    """

    def __init__(self, path: str, fg_threshold: float, bg_threshold: float):
        self.path = path
        self.images: list[str] = []
        self.image_lines: list[int] = []
        kinds: tuple[list, list] = ([], [])
        for numbers, lines in self._blocks():
            overlap = numbers[:, 1].astype(np.float32)  # as the thresholds are: 0.3 reaches 0.3
            foreground = overlap >= np.float32(fg_threshold)
            background = (overlap < np.float32(bg_threshold)) & ~foreground
            for kind, chosen in zip(kinds, (background, foreground), strict=True):
                kind.append((numbers[chosen][:, [2, 3, 4, 5, 0]].astype(np.int32), lines[chosen]))
        if not self.images:
            raise ValueError(f"{path}: the list is empty; `# image_index`, path and size of an image are expected")
        self.background, self.foreground = (_gathered(*zip(*kind, strict=True)) for kind in kinds)
        self.background.classes[:] = 0
        self._check()

    def _blocks(self):
        """Of each image its windows as numbers (n, 6) and their lines (n,)."""
        try:
            with open(self.path, "rb") as file:
                stored = file.read().removeprefix(b"\xef\xbb\xbf").rstrip()
        except OSError as error:
            raise ValueError(f"{self.path}: the list cannot be read ({error.strerror})") from None
        position, line = 0, 1
        while position < len(stored):
            header = _HEADER.match(stored, position)
            if header is None:
                raise self._wrong_header(stored, position, line)
            self.images.append(os.fsdecode(header[1]))
            self.image_lines.append(line + stored.count(b"\n", position, header.start(1)))
            line += stored.count(b"\n", position, header.end())
            position = stored.find(b"#", header.end())
            position = position if position >= 0 else len(stored)
            block = stored[header.end() : position]
            yield self._numbers(block, line, int(header[2]))
            line += block.count(b"\n")

    def _numbers(self, block: bytes, line: int, count: int):
        """The `count` windows (n, 6) of a block that begins in that line, and their lines (n,)."""
        space = np.frombuffer(b" " + block, np.uint8) <= 32
        begins = np.flatnonzero(space[:-1] & ~space[1:])
        try:
            numbers = np.fromstring(block, sep=" ") if begins.size else np.empty(0)
        except (ValueError, DeprecationWarning):  # what is no number; an older NumPy warns of it
            raise self._wrong_window(block, line, count) from None
        if not numbers.size == begins.size == 6 * count or not (np.abs(numbers) < 2**31).all():
            raise self._wrong_window(block, line, count)
        numbers = numbers.reshape(-1, 6)
        if (numbers != np.trunc(numbers))[:, [0, 2, 3, 4, 5]].any():
            raise self._wrong_window(block, line, count)
        breaks = np.cumsum(np.frombuffer(block, np.uint8) == 10, dtype=np.uint32)
        return numbers, line + breaks[begins[::6]]

    def _wrong_header(self, stored, position, line):
        text = stored[position:].lstrip()
        line += stored.count(b"\n", position, len(stored) - len(text))
        begin = " ".join(os.fsdecode(text[:80]).split())
        return ValueError(
            f"{self.path}:{line}: `# image_index`, path, channels, height, width and number of windows are expected, not `{begin}`"
        )

    def _wrong_window(self, block, line, count):
        """The error of a block: its first line that is no window, else their number."""
        found = 0
        for number, text in enumerate(os.fsdecode(block).split("\n"), line):
            if text.strip() and not _is_window(text.split()):
                return ValueError(f"{self.path}:{number}: `{_WINDOW}` is expected, not `{text.strip()[:80]}`")
            found += bool(text.strip())
        return ValueError(f"{self.path}:{self.image_lines[-1]}: an image of {count} windows, but {found} follow")

    def _check(self):
        for kind in (self.background, self.foreground):
            wrong = np.flatnonzero((kind.corners[:, 2:] < kind.corners[:, :2]).any(axis=1))
            if wrong.size:
                corners = " ".join(map(str, kind.corners[wrong[0]]))
                raise ValueError(
                    f"{self.path}:{kind.lines[wrong[0]]}: the window {corners} is empty; x1 y1 x2 y2 are inclusive, x1 <= x2, y1 <= y2"
                )
        wrong = np.flatnonzero(self.foreground.classes < 1)
        if wrong.size:
            raise ValueError(
                f"{self.path}:{self.foreground.lines[wrong[0]]}: a window of class {self.foreground.classes[wrong[0]]} whose overlap "
                "reaches fg_threshold; the classes of objects count from 1, 0 is the background"
            )


def _gathered(windows, lines) -> Windows:
    ends = np.cumsum([len(some) for some in lines])
    windows = np.concatenate(windows)
    return Windows(windows[:, :4], windows[:, 4], np.concatenate(lines), ends)


def _is_window(words: list[str]) -> bool:
    try:
        return (
            len(words) == 6
            and np.isfinite(float(words[1]))
            and all(abs(int(words[i])) < 2**31 for i in (0, 2, 3, 4, 5))
        )
    except ValueError:
        return False


class Warp:
    """The way of a window into the blob: its region of the image resized to crop_size, mirrored, less the mean, scaled.

    The region is the window; with context_pad it is larger, so that this many pixels of the result lie around the window on each
    side; with crop_mode square it is as wide as high. What of a region lies outside the image is 0, the mean, in the result.

    mean: (C, 1, 1), or (C, H, W), of which the part of crop_size x crop_size is subtracted whose place in the mean's width is the middle.
    """

    def __init__(self, param, mean: np.ndarray, scale: float, dtype):
        windows, crop = param.window_data_param, param.transform_param.crop_size
        self._crop, self._context, self._square = crop, windows.context_pad, windows.crop_mode == "square"
        self._scale = scale
        if mean.shape[1:] != (1, 1):
            first = (mean.shape[2] - crop) // 2  # for the rows too, as in Caffe
            if first < 0 or first + crop > mean.shape[1]:
                raise ValueError(
                    f"the mean of mean_file is {mean.shape[1]}x{mean.shape[2]} (height x width): too small for crop_size {crop}"
                )
            mean = mean[:, first : first + crop, first : first + crop]
        self.mean = np.broadcast_to(np.asarray(mean, dtype), (len(mean), crop, crop))

    def __call__(self, image: np.ndarray, window, mirrored: bool) -> np.ndarray:
        """Data (C, crop_size, crop_size) of a window of an image (H, W, C). Raises ValueError where it does not lie in it."""
        height, width = image.shape[:2]
        x1, y1, x2, y2 = self._region(window) if self._context or self._square else map(int, window)
        inside = min(x2, width - 1) >= max(x1, 0) and min(y2, height - 1) >= max(y1, 0)
        if not self._context and not self._square:
            inside = min(x1, y1) >= 0 and x2 < width and y2 < height
        if not inside:
            corners = " ".join(map(str, window))
            raise ValueError(f"the window {corners} does not lie in its image of {height}x{width} (height x width)")
        rows, down, new_height = self._span(y1, y2, height, False)
        columns, right, new_width = self._span(x1, x2, width, mirrored)
        data = np.zeros(self.mean.shape, self.mean.dtype)
        if new_height and new_width:
            part = resize_image(image[rows, columns], new_height, new_width, False)
            part = (part[:, ::-1] if mirrored else part).transpose(2, 0, 1)
            place = np.s_[:, down : down + new_height, right : right + new_width]
            np.subtract(part, self.mean[place], out=data[place])
            data[place] *= self._scale
        return data

    def _region(self, window) -> list[int]:
        """The window with its context; in float32 and with C's rounding, to the same pixels as Caffe."""
        first, last = window[:2].astype(np.int64), window[2:].astype(np.int64)
        half = (last - first + 1).astype(np.float32) / 2
        middle = first.astype(np.float32) + half
        if self._square:
            half[:] = half.max()
        half *= np.float32(self._crop) / np.float32(self._crop - 2 * self._context)
        return [_rounded(corner) for corner in (*(middle - half), *(middle + half))]

    def _span(self, first: int, last: int, length: int, mirrored: bool) -> tuple[slice, int, int]:
        """Along an axis of the image: what of the region lies inside, and where that begins in the result and how long it is."""
        before, after = max(0, -first), max(0, last + 1 - length)
        scale = np.float32(self._crop) / np.float32(last + 1 - first)
        size = _rounded(np.float32(last + 1 - after - first - before) * scale)
        offset = _rounded(np.float32(after if mirrored else before) * scale)
        return slice(first + before, last + 1 - after), offset, min(size, self._crop - offset)


def _rounded(value: np.float32) -> int:
    """To the nearest whole number, halves away from zero."""
    return int(value + np.copysign(0.5, np.float64(value)))


class WindowExamples:
    """Example i, for any i from 0 on, made from the parameters, the seed and i alone, so that threads may share this.

    Each batch begins with its background windows.
    """

    def __init__(self, windows: WindowList, param, warp: Warp, root: str, seed: int):
        drawn = param.window_data_param
        self._windows = windows
        self._warp = warp
        self._root = root
        self._mirror = param.transform_param.mirror
        self._seed, self._stream = seed, param.name
        self._batch_size = drawn.batch_size
        # in float32: 0.29 of 100 are 29
        self._background = drawn.batch_size - int(np.float32(drawn.batch_size) * np.float32(drawn.fg_fraction))
        for kind, count, rule in (
            ("background", self._background, f"is below bg_threshold {drawn.bg_threshold:g}"),
            ("foreground", drawn.batch_size - self._background, f"reaches fg_threshold {drawn.fg_threshold:g}"),
        ):
            if count and not len(getattr(windows, kind).lines):
                raise ValueError(
                    f"{windows.path}: no {kind} window, of which each batch takes {count} (fg_fraction {drawn.fg_fraction:g}): "
                    f"no window's overlap {rule}"
                )
        self._cache = ImageCache()
        self._files: list[bytes] | None = None
        if drawn.cache_images:
            self._files = []
            for line, path in zip(windows.image_lines, windows.images, strict=True):
                with self._at(line):
                    self._files.append(read_file(root + path))

    def _draw(self, number):
        """(the windows of its kind, which of them, whether mirrored) of example `number`."""
        background = number % self._batch_size < self._background
        windows = self._windows.background if background else self._windows.foreground
        # both at once: no choice depends on whether another is made
        which, turn = generator(self._seed, self._stream, number).random(2)
        return windows, int(which * len(windows.lines)), self._mirror and turn < 0.5

    def __call__(self, number: int) -> Example:
        """Raises FileNotFoundError or ValueError, naming the window file, the line and the image."""
        windows, index, mirrored = self._draw(number)
        image = windows.image(index)
        with self._at(self._windows.image_lines[image]):
            pixels = self._read(image)
        with self._at(windows.lines[index]):
            data = self._warp(pixels, windows.corners[index], mirrored)
        return Example(data, windows.classes[index], pixels.shape[:2])

    def _read(self, image):
        path = self._root + self._windows.images[image]
        if self._files is None:
            return self._cache.get(read_image, path)
        return read_image(path, stored=self._files[image])

    def _at(self, line):
        """Errors within come from that line of the window file."""
        return located(f"{self._windows.path}:{line}", self._root, self._windows.images[0])


@register("WindowData")
class WindowData(ReadingLayer):
    """Windows of images and their classes, drawn at random, in TEST too (Caffe's WindowData).

    The file `source` holds for each image `# image_index`, its path (after root_folder, joined as they are), channels, height, width
    and number of windows, and for each window `class overlap x1 y1 x2 y2` (corners inclusive, from 0). Of each batch the share
    fg_fraction, rounded down, are foreground windows (overlap >= fg_threshold), after background windows (overlap < bg_threshold)
    of class 0. Images are read in colour, with cache_images all of their files once, before the first batch. `Warp` tells
    how a window is resized; mirrored with probability 1/2 (`mirror`), the mean then subtracted, scaled. Threads (`workers`) read
    ahead; what a batch holds does not depend on them.

    tops: windows (N, 3, crop_size, crop_size), BGR; classes (N,)
    """

    tops = (2, 2)

    def setup(self, bottom, top):
        # all but the scale have moved: Caffe reads that of window_data_param, and that alone
        windows = self._settings("window_data_param", moved=("mean_file", "crop_size", "mirror"))
        transform = self.param.transform_param
        self._check_windows(windows, transform)
        scale = windows.scale if windows.HasField("scale") else transform.scale
        self._warp = Warp(self.param, self._mean(3), scale, self.dtype)
        self.batch_size, self._workers = windows.batch_size, windows.workers
        source = find_file(windows.source, self.model_file, "WindowData reads its windows from this file")
        root = windows.root_folder and self.find(windows.root_folder)
        listed = WindowList(source, windows.fg_threshold, windows.bg_threshold)
        self.examples = WindowExamples(listed, self.param, self._warp, root, self.seed)

    def reshape(self, bottom, top):
        top[0].reshape(self.batch_size, *self._warp.mean.shape)
        top[1].reshape(self.batch_size)

    def forward(self, bottom, top):
        self._fill(top, self._take(top))

    def _check_windows(self, windows, transform):
        if not 1 <= transform.crop_size <= LONGEST:
            raise ValueError(
                f"transform_param.crop_size is {transform.crop_size}: it is the side of the resized windows, 1 to {LONGEST} pixels"
            )
        if 2 * windows.context_pad >= transform.crop_size:
            raise ValueError(
                f"window_data_param.context_pad is {windows.context_pad}: on both sides of crop_size {transform.crop_size} it leaves "
                "nothing for the window"
            )
        if windows.crop_mode not in ("warp", "square"):
            raise ValueError(f"window_data_param.crop_mode is '{windows.crop_mode}': it is warp or square")
        if not 0 <= windows.fg_fraction <= 1:
            raise ValueError(f"window_data_param.fg_fraction must lie in 0 to 1, not {windows.fg_fraction:g}")
        if windows.HasField("scale") and transform.HasField("scale"):
            raise ValueError("give window_data_param.scale or transform_param.scale; not both")
        if transform.force_color or transform.force_gray:
            raise ValueError("force_color and force_gray are the Data layer's: WindowData reads images in colour")
