"""Im2col and SPP against their definitions."""

import numpy as np
import pytest
from arrays import empty, host, numbers, put, spaced
from gradient_check import check_gradients
from one_layer import OneLayer

from deconvnet.core import kernels
from deconvnet.core.kernels import taps

GEOMETRIES = {
    "kernel_size: 3 pad: 1": ((3, 3), (1, 1), (1, 1), (1, 1)),
    "kernel_size: 2 stride: 2": ((2, 2), (2, 2), (0, 0), (1, 1)),
    "kernel_h: 1 kernel_w: 3 stride: 2 pad_h: 0 pad_w: 2 dilation: 2": ((1, 3), (2, 2), (0, 2), (2, 2)),
    "kernel_size: 1": ((1, 1), (1, 1), (0, 0), (1, 1)),
}


def columns(x, kernel, stride, pad, dilation):
    """Tap after tap."""
    padded = np.pad(x, ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2))
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x.shape[2:], kernel, stride, pad, dilation, strict=True)
    ]
    result = np.empty((len(x), x.shape[1], *kernel, *size))
    for i, j in np.ndindex(*kernel):
        below, right = i * dilation[0], j * dilation[1]
        result[:, :, i, j] = padded[
            :, :, below : below + stride[0] * size[0] : stride[0], right : right + stride[1] * size[1] : stride[1]
        ]
    return result.reshape(len(x), -1, *size)


@pytest.mark.parametrize("text", GEOMETRIES)
@pytest.mark.parametrize("shape", [(2, 2, 5, 6), (1, 1, 4, 5)])
def test_im2col(device, text, shape):
    case = OneLayer(f'type: "Im2col" convolution_param {{ {text} }}', numbers(*shape))
    np.testing.assert_array_equal(case.forward()[0], columns(case.inputs[0], *GEOMETRIES[text]))
    check_gradients(case)


SHAPES = {
    "3x3, three images": ((3, 2, 7, 14), (0, 7), kernels.Geometry((3, 3), pad=(1, 1))),
    "a band of rows": ((1, 2, 7, 14), (2, 3), kernels.Geometry((3, 3), pad=(1, 1))),
    "strides that leave places out": ((2, 1, 9, 8), (0, 3), kernels.Geometry((2, 1), (3, 2))),
    "dilated, padded, rectangular": ((2, 2, 6, 9), (1, 2), kernels.Geometry((2, 3), (2, 1), (1, 2), (3, 2))),
    "dilation that some strides share": ((1, 2, 13, 12), (0, 3), kernels.Geometry((3, 3), (4, 3), (1, 1), (2, 2))),
    "one place": ((1, 1, 1, 1), (0, 1), kernels.Geometry((1, 1))),
}


@pytest.mark.parametrize("run", [5, 1024])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SHAPES)
def test_threads_may_own_places(device, name, dtype, run, monkeypatch):
    """Any run of places gives the very columns and sums that rows give, and they are the definition."""
    monkeypatch.setattr(taps, "_RUN", run)
    (images, channels, height, width), (first, rows), geometry = SHAPES[name]
    out_width = geometry.output_size(height, width)[1]
    sizes = (images, channels, height, width, first, rows, out_width)
    x, results = numbers(images, channels, height, width, dtype=dtype), []
    shape = (channels * geometry.kernel[0] * geometry.kernel[1], images, rows, out_width)
    for by_place in (False, True):
        made, back = empty(*shape, dtype=dtype), put(x)
        taps.to_columns(put(x), made, sizes, geometry.taps, by_place=by_place)
        taps.add_columns(put(numbers(*shape, dtype=dtype)), back, sizes, geometry.taps, by_place=by_place)
        results.append((host(made), host(back)))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(other, one)
    whole = columns(x, *geometry[:4]).transpose(1, 0, 2, 3)
    np.testing.assert_array_equal(results[1][0], whole[:, :, first : first + rows])
    # the adjoint: <columns of x, c> = <x, sums of c>
    added, c = results[1][1].astype(float) - x, numbers(*shape, dtype=dtype)
    assert (added * x).sum() == pytest.approx((results[1][0].astype(float) * c).sum(), rel=1e-4, abs=1e-4)


def test_im2col_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"a window of \(5, 5\) does not fit a map of shape \(1, 1, 4, 4\)"):
        OneLayer('type: "Im2col" convolution_param { kernel_size: 5 }', numbers(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"shape \(N, C, H, W\), not \(4, 4\)"):
        OneLayer('type: "Im2col" convolution_param { kernel_size: 3 }', numbers(4, 4))


SPP = 'type: "SPP" spp_param { pyramid_height: %d pool: %s }'


def pyramid(x, height, reduce):
    """Caffe's cuts: cells of ceil(size / bins) from -ceil(what is left over / 2) on."""
    results = []
    for bins in 2 ** np.arange(height):
        cell = [-(-n // bins) for n in x.shape[2:]]
        first = [-((c * bins - n + 1) // 2) for c, n in zip(cell, x.shape[2:], strict=True)]
        level = np.empty((*x.shape[:2], bins, bins))
        for i, j in np.ndindex(bins, bins):
            top, left = first[0] + i * cell[0], first[1] + j * cell[1]
            window = x[:, :, max(0, top) : top + cell[0], max(0, left) : left + cell[1]]
            # Caffe's average counts the padding on the near sides, and on the far ones as far as it is declared
            tall = min(top + cell[0], x.shape[2] - first[0]) - top
            wide = min(left + cell[1], x.shape[3] - first[1]) - left
            level[:, :, i, j] = reduce(window, tall * wide)
        results.append(level.reshape(len(x), -1))
    return np.concatenate(results, axis=1)


POOLS = {
    "MAX": lambda window, size: window.max(axis=(2, 3)),
    "AVE": lambda window, size: window.sum(axis=(2, 3)) / size,
}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(
    "height, shape", [(1, (2, 3, 4, 5)), (2, (2, 2, 9, 9)), (2, (1, 2, 5, 6)), (3, (2, 1, 8, 12)), (3, (1, 2, 7, 7))]
)
def test_spp(device, pool, height, shape):
    case = OneLayer(SPP % (height, pool), spaced(*shape))
    found = case.forward()[0]
    assert found.ndim == (4 if height == 1 else 2)
    wanted = pyramid(case.inputs[0], height, POOLS[pool]).reshape(found.shape)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)
    check_gradients(case)


def test_spp_refuses_what_it_cannot_cut():
    with pytest.raises(ValueError, match="a map of 3x9 cannot be cut into 4x4: use a smaller pyramid_height"):
        OneLayer(SPP % (3, "MAX"), numbers(1, 1, 3, 9))
    for height in (0, 1 << 31):
        with pytest.raises(ValueError, match=f"pyramid_height must be from 1 to 16, not {height}"):
            OneLayer(SPP % (height, "MAX"), numbers(1, 1, 3, 9))
    with pytest.raises(ValueError, match="pool: STOCHASTIC is not supported"):
        OneLayer(SPP % (1, "STOCHASTIC"), numbers(1, 1, 3, 9))
