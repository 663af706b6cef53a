"""What the layers are defined to compute, in plain NumPy loops over float64: slow, obvious, and without a line of the kernels in it."""

import math

import numpy as np


def conv(x, weights, bias=None, stride=None, pad=None, dilation=None, group=1):
    """y (N, O, H', W') of x (N, C, H, W) and weights (O, C / group, kh, kw): the definition of Caffe's Convolution, of any number of axes.

    stride, pad, dilation: a number for each spatial axis; 1, 0 and 1 where they are not given.
    """
    outputs, depth, *kernel = weights.shape
    stride, pad, dilation = stride or (1,) * len(kernel), pad or (0,) * len(kernel), dilation or (1,) * len(kernel)
    padded = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in pad)))
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [(n - span) // s + 1 for n, span, s in zip(padded.shape[2:], spans, stride, strict=True)]
    y = np.zeros((len(x), outputs, *size))
    for o, *place in np.ndindex(outputs, *size):
        first = o // (outputs // group) * depth
        window = [slice(n * s, n * s + span, d) for n, s, span, d in zip(place, stride, spans, dilation, strict=True)]
        seen = padded[(slice(None), slice(first, first + depth), *window)]
        y[(slice(None), o, *place)] = (seen * weights[o]).sum(axis=tuple(range(1, seen.ndim)))
    return y if bias is None else y + bias.reshape(-1, *(1,) * len(kernel))


def deconv(x, weights, bias=None, stride=None, pad=None, dilation=None, group=1):
    """y (N, O, H', W') of x (N, C, H, W) and weights (C, O / group, kh, kw): each value paints its window (Caffe's Deconvolution). As `conv`."""
    channels, share, *kernel = weights.shape
    stride, pad, dilation = stride or (1,) * len(kernel), pad or (0,) * len(kernel), dilation or (1,) * len(kernel)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    full = [s * (n - 1) + span for n, s, span in zip(x.shape[2:], stride, spans, strict=True)]
    y = np.zeros((len(x), share * group, *full))
    for c, *place in np.ndindex(x.shape[1:]):
        first = c // (channels // group) * share
        window = [slice(n * s, n * s + span, d) for n, s, span, d in zip(place, stride, spans, dilation, strict=True)]
        value = x[(slice(None), c, *place)].reshape(len(x), *(1,) * weights[c].ndim)
        y[(slice(None), slice(first, first + share), *window)] += value * weights[c]
    y = y[(slice(None), slice(None), *(slice(p, n - p) for n, p in zip(full, pad, strict=True)))]
    return y if bias is None else y + bias.reshape(-1, *(1,) * len(kernel))


def windows(size, kernel, stride, pad):
    """(first, end, end with padding) of each pooling window along one axis: rounded up, the last one starts in the padded image."""
    count = math.ceil((size + 2 * pad - kernel) / stride) + 1
    if pad and (count - 1) * stride >= size + pad:
        count -= 1
    for number in range(count):
        start = number * stride - pad
        yield max(start, 0), min(start + kernel, size), min(start + kernel, size + pad) - start


def max_pool(x, kernel, stride, pad):
    """(y, switches) of Caffe's max-pooling: the first of equal maxima wins, switches are flat indices in the plane."""
    rows = list(windows(x.shape[2], kernel[0], stride[0], pad[0]))
    columns = list(windows(x.shape[3], kernel[1], stride[1], pad[1]))
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    switches = np.zeros_like(y)
    for n, c, i, j in np.ndindex(y.shape):
        (top, bottom, _), (left, right, _) = rows[i], columns[j]
        patch = x[n, c, top:bottom, left:right]
        if not patch.size:  # a stride larger than the kernel, rounded up: beyond the map
            y[n, c, i, j], switches[n, c, i, j] = np.finfo(np.float32).min, -1
            continue
        at = np.unravel_index(np.argmax(patch), patch.shape)
        y[n, c, i, j] = patch[at]
        switches[n, c, i, j] = (top + at[0]) * x.shape[3] + left + at[1]
    return y, switches


def max_pool_backward(dy, switches, shape):
    """dx of `shape`: dy summed at its switches."""
    dx = np.zeros(shape)
    for n, c, i, j in np.ndindex(dy.shape):
        if switches[n, c, i, j] >= 0:
            dx[n, c].flat[int(switches[n, c, i, j])] += dy[n, c, i, j]
    return dx


def average_pool(x, kernel, stride, pad):
    """y of Caffe's average pooling: the sum of the window over its size, which counts padding but not what lies beyond it."""
    rows = list(windows(x.shape[2], kernel[0], stride[0], pad[0]))
    columns = list(windows(x.shape[3], kernel[1], stride[1], pad[1]))
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for n, c, i, j in np.ndindex(y.shape):
        (top, bottom, height), (left, right, width) = rows[i], columns[j]
        y[n, c, i, j] = x[n, c, top:bottom, left:right].sum() / (height * width) if height > 0 and width > 0 else 0
    return y


def average_pool_backward(dy, shape, kernel, stride, pad):
    """dx of `shape`: each dy over its window in equal shares."""
    rows = list(windows(shape[2], kernel[0], stride[0], pad[0]))
    columns = list(windows(shape[3], kernel[1], stride[1], pad[1]))
    dx = np.zeros(shape)
    for n, c, i, j in np.ndindex(dy.shape):
        (top, bottom, height), (left, right, width) = rows[i], columns[j]
        if height > 0 and width > 0:
            dx[n, c, top:bottom, left:right] += dy[n, c, i, j] / (height * width)
    return dx


def unpool(x, switches, height, width):
    """y (N, C, height, width): values written at their switches in scan order, so that the last one stays; outside writes nothing."""
    y = np.zeros((*x.shape[:2], height, width))
    for n, c, i, j in np.ndindex(x.shape):
        at = switches[n, c, i, j]
        if 0 <= at < height * width:
            y[n, c].flat[int(at)] = x[n, c, i, j]
    return y


def unpool_backward(dy, switches):
    """dx of the switches' shape: dy read at each switch, 0 for one outside."""
    dx = np.zeros(switches.shape)
    for n, c, i, j in np.ndindex(switches.shape):
        at = switches[n, c, i, j]
        if 0 <= at < dy[n, c].size:
            dx[n, c, i, j] = dy[n, c].flat[int(at)]
    return dx


def unpool_spread(x, height, width, kernel, stride, shares):
    """y (N, C, height, width): each value added to every place of its window, clipped to the plane, divided by its size if `shares`."""
    y = np.zeros((*x.shape[:2], height, width))
    for n, c, i, j in np.ndindex(x.shape):
        part = y[n, c, i * stride[0] : i * stride[0] + kernel[0], j * stride[1] : j * stride[1] + kernel[1]]
        part += x[n, c, i, j] / (part.size if shares else 1)
    return y


def unpool_spread_backward(dy, shape, kernel, stride, shares):
    """dx of `shape`: the sum of dy over each window, divided by its size if `shares`."""
    dx = np.zeros(shape)
    for n, c, i, j in np.ndindex(shape):
        part = dy[n, c, i * stride[0] : i * stride[0] + kernel[0], j * stride[1] : j * stride[1] + kernel[1]]
        dx[n, c, i, j] = part.sum() / (part.size if shares else 1)
    return dx


def batch_norm(x, scale, shift, eps=1e-9):
    """(y, normal, mean, variance) of the release's BN; x (N, C, H, W), scale and shift (C,), biased variance."""
    mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    normal = (x - mean[:, None, None]) / np.sqrt(variance + eps)[:, None, None]
    return scale[:, None, None] * normal + shift[:, None, None], normal, mean, variance


def softmax(x, axis):
    """exp(x) over its sum along the axis."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def softmax_loss(x, labels, ignored=None):
    """(sum of -log p[label], counted places, gradient of the sum) over axis 1 of x (N, C, ...); labels (N, ...)."""
    p = softmax(x, 1)
    total, counted, gradient = 0.0, 0, np.zeros_like(p)
    for place in np.ndindex(labels.shape):
        label = int(labels[place])
        if label == ignored:
            continue
        own = (place[0], slice(None), *place[1:])
        total -= np.log(max(p[own][label], 1.17549435e-38))
        counted += 1
        gradient[own] = p[own]
        gradient[(place[0], label, *place[1:])] -= 1
    return total, counted, gradient


def ranked(x, labels, top_k, ignored=None, ties_are_errors=True):
    """1, 0 or -1 (ignored) for each place: whether fewer than top_k classes of x (N, C, ...) rank above its label."""
    right = np.full(labels.shape, -1)
    for place in np.ndindex(labels.shape):
        label = int(labels[place])
        if label == ignored:
            continue
        scores = x[(place[0], slice(None), *place[1:])]
        above = 0
        for number, score in enumerate(scores):
            tied = score == scores[label] and number != label and (ties_are_errors or number > label)
            above += bool(score > scores[label] or tied)
        right[place] = above < top_k
    return right
