"""Products on tensor cores (kernels/tensor_product.cu): what is rounded and how, every index, and the digits that are left.

Without a GPU the host runs the same source, fragments of warps included; integers that bfloat16 holds must come out exactly.
"""

import numpy as np
import pytest
import stand_in_cupy
from arrays import empty, host, numbers, put
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.core import kernels
from deconvnet.core.kernels import Geometry, convolution, tensor_product

BITS = {"TF32": 11, "BFLOAT16": 8}  # of a significand, the leading one included


def rounded(x, precision):
    """x as the tensor cores see it: TF32 with ties away from zero, bfloat16 with ties to even."""
    fraction, exponent = np.frexp(np.asarray(x, np.float64))
    scaled = fraction * 2.0 ** BITS[precision]
    whole = np.rint(scaled) if precision == "BFLOAT16" else np.trunc(scaled + np.copysign(0.5, scaled))
    return np.ldexp(whole / 2.0 ** BITS[precision], exponent)


def integers(*shape, seed=0):
    """Small whole numbers, exact in either precision; so are sums of their products."""
    return np.random.default_rng([seed, *shape]).integers(-9, 10, shape).astype(np.float32)


def maps(geometry, transposed, x, weights, dy, start, precision):
    """(y, dx, dweights) of a convolution (a deconvolution if transposed), dweights added to `start`."""
    geometry = geometry._replace(precision=precision)
    forward, backward = (kernels.conv_forward, kernels.conv_backward)
    if transposed:
        forward, backward = (kernels.deconv_forward, kernels.deconv_backward)
    x, weights, dy, dweights = (put(array) for array in (x, weights, dy, np.full(weights.shape, start, weights.dtype)))
    y, dx = empty(*dy.shape, dtype=dy.dtype), empty(*x.shape, dtype=x.dtype)
    forward(x, weights, None, geometry, y)
    backward(x, weights, dy, geometry, dx, dweights)
    return [host(array) for array in (y, dx, dweights)]


def shapes(shape, outputs, geometry, transposed):
    """Of x, the weights and y."""
    size = (geometry.transposed_size if transposed else geometry.output_size)(*shape[2:])
    channels = (shape[1], outputs) if transposed else (outputs, shape[1])
    return shape, (*channels, *geometry.kernel), (shape[0], outputs, *size)


CASES = {
    "one place": ((1, 1, 1, 1), 1, Geometry((1, 1))),
    "as in the paper": ((2, 5, 7, 9), 6, Geometry((3, 3), pad=(1, 1))),
    "first layer": ((1, 3, 12, 11), 64, Geometry((3, 3), pad=(1, 1))),
    "scores": ((1, 64, 6, 5), 21, Geometry((1, 1))),
    "stride 2": ((2, 3, 9, 8), 5, Geometry((3, 3), (2, 2), (1, 1))),
    "upsampling": ((2, 3, 5, 4), 4, Geometry((4, 4), (2, 2), (1, 1))),
    "dilated with stride": ((1, 2, 9, 11), 3, Geometry((3, 2), (2, 3), (1, 2), (2, 3))),
    "stride beyond the kernel": ((2, 2, 7, 8), 3, Geometry((2, 2), (3, 3))),
    "whole map": ((3, 7, 4, 3), 140, Geometry((4, 3))),
    "whole map with padding": ((2, 3, 4, 3), 5, Geometry((6, 5), pad=(1, 1))),
    "fully connected": ((5, 70, 1, 1), 9, Geometry((1, 1))),
    "tails of every tile": ((1, 33, 3, 43), 129, Geometry((1, 1))),
    "whole tiles": ((2, 32, 8, 8), 128, Geometry((1, 1))),
    "many images of few places": ((70, 4, 1, 2), 4, Geometry((1, 1))),
    "rows in fours": ((2, 8, 6, 6), 20, Geometry((3, 3), pad=(1, 1))),
    "terms looked up twice": ((1, 150, 3, 5), 7, Geometry((1, 1))),
    "largest window": ((1, 2, 17, 16), 3, Geometry((16, 15), pad=(2, 3))),
}


@pytest.mark.parametrize("precision", BITS)
@pytest.mark.parametrize("transposed", [False, True], ids=["convolution", "deconvolution"])
@pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))
def test_whole_numbers_come_out_exactly(device, case, transposed, precision):
    """Each goes to its place in a fragment, and no other."""
    shape, outputs, geometry = CASES[case]
    arrays = [integers(*s, seed=k) for k, s in enumerate(shapes(shape, outputs, geometry, transposed))]
    found = maps(geometry, transposed, *arrays, 3, precision)
    expected = maps(geometry, transposed, *arrays, 3, "FLOAT32")
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


windows = st.fixed_dictionaries(
    {
        "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "pad": st.tuples(st.integers(0, 2), st.integers(0, 2)),
        "dilation": st.tuples(st.integers(1, 2), st.integers(1, 3)),
    }
)


@pytest.mark.parametrize("precision", BITS)
@pytest.mark.parametrize("transposed", [False, True], ids=["convolution", "deconvolution"])
@given(window=windows, shape=st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 7)] * 2), outputs=st.integers(1, 20))
def test_any_window_in_float64_is_the_plain_product(device, transposed, precision, window, shape, outputs):
    """There nothing is rounded: the same indices, held to the last digits."""
    geometry = Geometry(**window)
    sizes = shapes(shape, outputs, geometry, transposed)
    if min(sizes[2]) < 1:
        return
    arrays = [numbers(*s, seed=k) for k, s in enumerate(sizes)]
    found = maps(geometry, transposed, *arrays, 0.75, precision)
    expected = maps(geometry, transposed, *arrays, 0.75, "FLOAT32")
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("precision", BITS)
def test_operands_are_rounded_to_the_nearest(device, precision):
    """Read through a weight of one, so that a product is the rounded operand itself; ties stand beside their neighbours."""
    step = 2.0 ** (1 - BITS[precision])  # between neighbours from one on
    ties = 1 + step * (np.arange(16) + 0.5)
    near = np.concatenate([ties, np.nextafter(ties.astype(np.float32), 0), np.nextafter(ties.astype(np.float32), 9)])
    x = np.concatenate([near, -near, near * 2.0**-90, near * 2.0**90, numbers(200), [0, 2.0**127, 3e38]])
    x = x.astype(np.float32).reshape(1, 1, 1, -1)
    one, left, right = (
        np.ones((1, 1, 1, 1), np.float32),
        empty(*x.shape, dtype=np.float32),
        empty(1, 1, 1, x.size, dtype=np.float32),
    )
    geometry = Geometry((1, 1), precision=precision)
    kernels.conv_forward(put(x), put(one), None, geometry, right)
    np.testing.assert_array_equal(host(right), rounded(x, precision).astype(np.float32))
    rows = put(np.ascontiguousarray(x.reshape(-1, 1, 1, 1)))  # the same as weights, the other operand
    left = empty(1, x.size, 1, 1, dtype=np.float32)
    kernels.conv_forward(put(one), rows, None, geometry, left)
    np.testing.assert_array_equal(host(left).ravel(), rounded(x, precision).astype(np.float32).ravel())


@pytest.mark.parametrize("precision", BITS)
@pytest.mark.parametrize("transposed", [False, True], ids=["convolution", "deconvolution"])
@pytest.mark.parametrize("case", ["as in the paper", "first layer", "upsampling", "whole map", "tails of every tile"])
def test_sums_keep_the_digits_of_float32(device, case, transposed, precision):
    """Beside the exact sums of the rounded operands; as many terms as there are may each lose a last digit."""
    shape, outputs, geometry = CASES[case]
    arrays = [numbers(*s, seed=k, dtype=np.float32) for k, s in enumerate(shapes(shape, outputs, geometry, transposed))]
    found = maps(geometry, transposed, *arrays, 0, precision)
    operands = [rounded(array, precision) for array in arrays]
    exact = maps(geometry, transposed, *operands, 0, "FLOAT32")
    sizes = maps(geometry, transposed, *map(np.abs, operands), 0, "FLOAT32")
    taps = np.prod(geometry.kernel)
    terms = (shape[1] * taps, outputs * taps, shape[0] * np.prod(arrays[2].shape[2:]))
    for a, b, size, count in zip(found, exact, sizes, terms, strict=True):
        assert np.all(np.abs(a - b) <= (count + 4) * 2.0**-23 * size)


@pytest.mark.parametrize("precision", BITS)
def test_a_long_sum_of_few_results_is_split_and_merged(device, precision):
    geometry = Geometry((3, 3), pad=(1, 1))
    arrays = [integers(*s, seed=k) for k, s in enumerate(shapes((2, 3, 40, 30), 5, geometry, False))]
    depth = 2 * 40 * 30
    assert -(-depth // tensor_product._share(1, depth)) > 4
    first, again = (maps(geometry, False, *arrays, 1, precision)[2] for _ in range(2))
    np.testing.assert_array_equal(first, maps(geometry, False, *arrays, 1, "FLOAT32")[2])
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("transposed", [False, True], ids=["convolution", "deconvolution"])
@pytest.mark.parametrize(
    "shape, geometry",
    [
        ((2, 3, 4, 5), Geometry((3, 3), pad=(1, 1))),
        ((2, 300, 4, 5), Geometry((3, 3), pad=(1, 1))),
        ((2, 7, 1, 1), Geometry((1, 1))),
        ((2, 7, 1, 1), Geometry((2, 3))),
        ((2, 700, 1, 1), Geometry((2, 3))),
    ],
    ids=["windows", "split sums", "fully connected", "whole map", "whole map, split sums"],
)
def test_bias_batch_norm_and_relu_are_done_while_results_are_written(device, transposed, shape, geometry):
    if not transposed and shape[2:] == (1, 1):
        shape = (*shape[:2], *geometry.kernel)
    sizes, geometry = shapes(shape, 6, geometry, transposed), geometry._replace(precision="TF32")
    x, weights = integers(*sizes[0]), integers(*sizes[1], seed=1)
    bias, gain, shift = (integers(6, seed=seed) for seed in (2, 3, 4))
    forward = kernels.deconv_forward if transposed else kernels.conv_forward
    plain = maps(geometry, transposed, x, weights, integers(*sizes[2]), 0, "FLOAT32")[0] + bias[:, None, None]
    scaled = plain * gain[:, None, None] + shift[:, None, None]
    for after, expected in (
        (None, plain),
        (kernels.After(None, None, True), np.maximum(plain, 0)),
        (kernels.After(put(gain), put(shift), False), scaled),
        (kernels.After(put(gain), put(shift), True), np.maximum(scaled, 0)),
    ):
        y = empty(*sizes[2], dtype=np.float32)
        forward(put(x), put(weights), put(bias), geometry, y, after)
        np.testing.assert_allclose(host(y), expected, rtol=1e-6)


@pytest.mark.parametrize("precision", BITS)
def test_a_nan_reaches_all_that_its_window_reaches_and_nothing_else(device, precision):
    x = numbers(2, 1, 5, 5, dtype=np.float32)
    x[1, 0, 2, 2] = np.nan
    geometry = Geometry((3, 3), pad=(1, 1), precision=precision)
    y = empty(2, 2, 5, 5, dtype=np.float32)
    kernels.conv_forward(put(x), put(numbers(2, 1, 3, 3, seed=1, dtype=np.float32)), None, geometry, y)
    wrong = np.zeros((2, 2, 5, 5), bool)
    wrong[1, :, 1:4, 1:4] = True
    np.testing.assert_array_equal(np.isnan(host(y)), wrong)


@pytest.mark.parametrize("precision", BITS)
def test_infinities_and_every_nan_stay(device, precision):
    """A NaN whose bits are all set would become a zero where rounding carries."""
    nan = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32)
    x = np.array([np.inf, -np.inf, 1, *nan], np.float32).reshape(1, 1, 1, -1)
    y = empty(*x.shape, dtype=np.float32)
    kernels.conv_forward(put(x), put(np.ones((1, 1, 1, 1), np.float32)), None, Geometry((1, 1), precision=precision), y)
    np.testing.assert_array_equal(host(y), x)


@pytest.mark.parametrize("transposed", [False, True], ids=["convolution", "deconvolution"])
def test_a_batch_beyond_32_bits_is_cut_into_parts(device, monkeypatch, transposed):
    geometry = Geometry((3, 3), pad=(1, 1))
    arrays = [integers(*s, seed=k) for k, s in enumerate(shapes((5, 2, 4, 5), 3, geometry, transposed))]
    whole = maps(geometry, transposed, *arrays, 2, "TF32")
    monkeypatch.setattr(tensor_product, "_LARGEST", 2 * 3 * 4 * 5)
    assert len(tensor_product._parts(arrays[0], arrays[2])) == 3
    for a, b in zip(maps(geometry, transposed, *arrays, 2, "TF32"), whole, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_precision_takes_tensor_cores_where_channels_are_not_grouped(monkeypatch):
    monkeypatch.setenv("DECONVNET_CONVOLUTION", "winograd")
    geometry, shape = Geometry((3, 3), pad=(1, 1), precision="TF32"), (1, 64, 56, 56)
    for gpu in (False, True):
        assert kernels.algorithm(geometry, shape, shape, gpu=gpu) == "tensor"
        assert kernels.algorithm(geometry, shape, shape, transposed=True, gpu=gpu) == "tensor"
        assert kernels.algorithm(geometry._replace(group=2), shape, shape, gpu=gpu) == ("product" if gpu else "direct")
    assert kernels.algorithm(geometry._replace(group=64), shape, shape, transposed=True) == "gather"


def test_windows_of_more_rows_and_columns_than_bits_keep_float32(monkeypatch):
    monkeypatch.delenv("DECONVNET_CONVOLUTION", raising=False)
    shape = (1, 2, 20, 20)
    assert kernels.algorithm(Geometry((16, 15), precision="TF32"), shape, (1, 2, 5, 6)) == "tensor"
    assert kernels.algorithm(Geometry((16, 16), precision="TF32"), shape, (1, 2, 5, 5)) == "product"


@pytest.mark.parametrize("precision", BITS)
def test_arrays_may_begin_anywhere(device, precision):
    """Rows of a multiple of four values are read by fours, but not from an address that allows none."""
    geometry = Geometry((1, 1), precision=precision)
    arrays = [integers(*shape, seed=seed) for seed, shape in enumerate([(2, 8, 2, 2), (12, 8, 1, 1)])]
    x, weights = (put(np.append(np.float32(0), array))[1:].reshape(array.shape) for array in arrays)
    y = empty(2, 12, 2, 2, dtype=np.float32)
    kernels.conv_forward(x, weights, None, geometry, y)
    np.testing.assert_array_equal(host(y), np.einsum("nchw,oc->nohw", arrays[0], arrays[1][:, :, 0, 0]))


@pytest.mark.parametrize("precision", BITS)
def test_a_gpu_gets_blocks_of_four_warps_one_for_each_tile(monkeypatch, precision):
    record = stand_in_cupy.install(monkeypatch)
    kernels.set_mode("gpu")
    arrays = [
        integers(*s, seed=k) for k, s in enumerate(shapes((2, 3, 40, 30), 130, CASES["as in the paper"][2], False))
    ]
    found = maps(CASES["as in the paper"][2], False, *arrays, 3, precision)
    kernels.set_mode("cpu")
    expected = maps(CASES["as in the paper"][2], False, *arrays, 3, "FLOAT32")
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    products = [launch for launch in record.launches if launch.name != "merge_splits"]
    assert {launch.name for launch in products} == {tensor_product._KERNELS[precision]} and len(products) == 3
    for launch in products:
        rows, columns, _, _, splits = launch.arguments[8:13]
        assert launch.block == (128,) and launch.grid == (-(-rows // 128) * -(-columns // 128) * splits,)
    # a result of 130 x 2400 makes blocks enough, one of 130 x 27 and one of 3 x 2400 do not
    assert [int(launch.arguments[12]) for launch in products] == [1, 9, 4]
    assert len(record.launches) == 5


def test_a_window_over_the_whole_map_has_no_idle_taps(monkeypatch):
    """A deconvolution from one place: each tap has its own place in the result, and no sum meets the others'."""
    seen = []
    monkeypatch.setattr(
        tensor_product, "_product", lambda geometry, sizes, depth, *rest, **named: seen.append((sizes, depth))
    )
    geometry = Geometry((7, 7), precision="TF32")
    x, weights, y = (np.zeros(s, np.float32) for s in shapes((2, 8, 1, 1), 4, geometry, True))
    convolution.deconv_forward(x, weights, None, geometry, y)
    assert seen == [((4 * 49, 2, 1), 8)]
