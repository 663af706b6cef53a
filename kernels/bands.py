"""Bands of windows over planes, as a CPU takes them (bands.h): how many rows and columns of windows fit one."""

_BYTES = 8192  # of a band, as in bands.h
_WIDEST = 256  # places of a row, where a plane is cut into columns: shorter rows leave room for more of them
_PHASES = 16  # that a plane is taken apart into: with more a band has hardly a row
_PASSES = 64  # over a band, one for each phase that is written
MOST_TAPS = 128  # of a window that is pooled, or whose weights get a gradient, as in bands.h


def shape(windows: tuple[int, int], reach: tuple[int, int], phases: int, itemsize: int) -> tuple[int, int] | None:
    """(rows, columns) of windows of a band, of so many as there are; None where not one fits.

    reach: how many places of a phase lie beyond a window's own, down and across; phases: of the plane, taken apart by stride
    """
    places = _BYTES // itemsize // phases
    columns = _evenly(windows[1], min(_WIDEST, places // (1 + reach[0])) - reach[1])
    rows = _evenly(windows[0], places // (columns + reach[1]) - reach[0]) if columns else 0
    return (rows, columns) if rows else None


def _evenly(count: int, most: int) -> int:
    """How many a part has, of as few equal parts as have at most so many; 0 where none may have one."""
    return 0 if most < 1 else -(-count // max(1, -(-count // most)))


def of_windows(windows, kernel, stride, dilation, itemsize: int) -> tuple[int, int] | None:
    """`shape` for so many windows that slide over a plane; pairs (down, across). None where bands do not pay."""
    spans = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    down, across = (min(s, span + 1) for s, span in zip(stride, spans, strict=True))
    if down * across > _PHASES:
        return None
    return shape(windows, tuple(span // s for s, span in zip(stride, spans, strict=True)), down * across, itemsize)


def of_places(places, kernel, stride, pad, dilation, itemsize: int) -> tuple[int, int] | None:
    """`shape` for the places of a phase of a plane, which windows reach; pairs (down, across). None where bands do not pay."""
    if stride[0] * stride[1] > _PASSES:
        return None
    rows, columns = ((size + p - 1) // s + 1 for size, p, s in zip(places, pad, stride, strict=True))
    reach = tuple((k - 1) * d // s for k, d, s in zip(kernel, dilation, stride, strict=True))
    return shape((rows, columns), reach, 1, itemsize)
