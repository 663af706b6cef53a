"""Convolution over three spatial axes or more, by that over one less: what the taps of the first axis see becomes channels.

    y (N, O, A', ...) = x (N, C, A, ...) correlated with weights (O, C / group, k, ...)

At each of the A' places where the window stops along the first axis its k taps meet k slices of x, zeros beyond the map. Side by side they
are one map of k * C channels, over which the window moves along the other axes. So N * A' such maps and weights (O, k * C / group, ...)
have the N * A' slices of y for results. The adjoints go the same way back; there every slice is added where it came from.

Each function's `below` does the work: a function of convolution.py, which comes back here until two axes are left.
"""

import math
from typing import NamedTuple

from .device import workspace

_BYTES = 64 << 20  # of slices and results at once


class _Part(NamedTuple):
    """What goes through one convolution: whole images, or some places of the first axis of one image."""

    image: int
    images: int
    first: int
    places: int

    def of(self, maps):
        """Its part of maps (N, A', ...)."""
        return maps[self.image : self.image + self.images, self.first : self.first + self.places]


def correlate(below, x, weights, geometry, out) -> None:
    """out (N, O, A', ...) = x (N, C, A, ...) correlated with weights (O, C / group, k, ...)."""
    filters, inner, results = _filters(weights, geometry), _inner(geometry), _exchanged(out)
    filters[...] = _exchanged(weights)
    for part in _parts(x, out, geometry):
        slices, found = _seen(part, x, geometry), _results(part, out, geometry)
        below(_merged(slices, inner), _channels(filters), None, inner, _merged(found, inner))
        part.of(results)[...] = found


def correlate_backward_data(below, dy, weights, geometry, dx) -> None:
    """dx (N, C, A, ...) = the gradient of `correlate` with respect to x, from dy (N, O, A', ...)."""
    filters, inner, gradients = _filters(weights, geometry), _inner(geometry), _exchanged(dy)
    filters[...] = _exchanged(weights)
    dx[...] = 0
    for part in _parts(dx, dy, geometry):
        slices, found = _slices(part, dx, geometry), _results(part, dy, geometry)
        found[...] = part.of(gradients)
        below(_merged(found, inner), _channels(filters), None, inner, _merged(slices, inner))
        for met, origin in _meetings(part, slices, dx, geometry):
            origin += met


def correlate_backward_weights(below, x, dy, geometry, dweights) -> None:
    """dweights (O, C / group, k, ...) += the gradient of `correlate` with respect to its weights."""
    filters, inner, gradients = _filters(dweights, geometry), _inner(geometry), _exchanged(dy)
    filters[...] = 0
    for part in _parts(x, dy, geometry):
        slices, found = _seen(part, x, geometry), _results(part, dy, geometry)
        found[...] = part.of(gradients)
        below(_merged(slices, inner), None, _merged(found, inner), inner, dweights=_channels(filters))
    dweights += _exchanged(filters)


def _inner(geometry):
    """How the window moves along the other axes."""
    kernel, stride, pad, dilation = (sizes[1:] for sizes in geometry[:4])
    return geometry._replace(kernel=kernel, stride=stride, pad=pad, dilation=dilation)


def _parts(x, y, geometry) -> list[_Part]:
    """Cut a batch so that the slices and the results of a part stay within the bytes."""
    images, places = y.shape[0], y.shape[2]
    values = geometry.kernel[0] * x.shape[1] * math.prod(x.shape[3:]) + y.shape[1] * math.prod(y.shape[3:])
    most = max(1, _BYTES // (values * y.itemsize))
    if most < places:
        firsts = [(image, first) for image in range(images) for first in range(0, places, most)]
        return [_Part(image, 1, first, min(most, places - first)) for image, first in firsts]
    together = most // places
    return [_Part(image, min(together, images - image), 0, places) for image in range(0, images, together)]


def _seen(part: _Part, x, geometry):
    """What the taps see, in scratch."""
    slices = _slices(part, x, geometry)
    if geometry.pad[0]:
        slices[...] = 0
    for met, origin in _meetings(part, slices, x, geometry):
        met[...] = origin
    return slices


def _meetings(part: _Part, slices, x, geometry):
    """(those of a part's slices, the slices of x that they are) for each tap of the first axis, where it meets the map."""
    images, channels, size, *rest = x.shape
    group, stride = geometry.group, geometry.stride[0]
    maps = x[part.image : part.image + part.images].reshape(part.images, group, channels // group, size, *rest)
    maps = maps.transpose(0, 3, 1, 2, *range(4, maps.ndim))
    for tap in range(geometry.kernel[0]):
        # the window at place p sees slice p * stride + shift by this tap
        shift = tap * geometry.dilation[0] - geometry.pad[0]
        first = max(part.first, -(shift // stride))
        end = min(part.first + part.places, (size - 1 - shift) // stride + 1)
        if first < end:
            seen = maps[:, first * stride + shift : (end - 1) * stride + shift + 1 : stride]
            yield slices[:, first - part.first : end - part.first, :, tap], seen


def _slices(part: _Part, x, geometry):
    """Scratch for what the taps see (images, places, group, k, C / group, ...): channels that meet the same filters lie together."""
    group = geometry.group
    shape = (part.images, part.places, group, geometry.kernel[0], x.shape[1] // group, *x.shape[3:])
    return _scratch(x, geometry, "slices", shape)


def _results(part: _Part, y, geometry):
    """Scratch for the slices of y (images, places, O, ...)."""
    return _scratch(y, geometry, "results", (part.images, part.places, y.shape[1], *y.shape[3:]))


def _filters(weights, geometry):
    """Scratch for weights in the order of the slices (O, k, C / group, ...)."""
    return _scratch(weights, geometry, "filters", _exchanged(weights).shape)


def _scratch(like, geometry, purpose: str, shape: tuple[int, ...]):
    """An array for the time of a call; the convolutions below, of fewer axes, take others."""
    return workspace(like, math.prod(shape), f"{purpose}, {len(geometry.kernel)} axes").reshape(shape)


def _exchanged(array):
    """A view with the second and the third axis exchanged."""
    return array.transpose(0, 2, 1, *range(3, array.ndim))


def _merged(slices, inner):
    """(images, places, channels ..., spatial axes of `inner` ...) as maps (images * places, channels, ...)."""
    axes = len(inner.kernel)
    return slices.reshape(slices.shape[0] * slices.shape[1], math.prod(slices.shape[2:-axes]), *slices.shape[-axes:])


def _channels(filters):
    """(O, k, C / group, ...) as weights (O, k * C / group, ...)."""
    return filters.reshape(filters.shape[0], filters.shape[1] * filters.shape[2], *filters.shape[3:])
