"""The Python of the GPU path without a GPU: a stand-in for CuPy records each launch and lets the host kernels do the work."""

import importlib
import re
import warnings

import kernel_calls
import numpy as np
import pytest
import stand_in_cupy
from stand_in_cupy import PROCESSORS, DeviceArray, Pointer

from deconvnet.core import kernels
from deconvnet.core.kernels import device, sources

SCALARS = {"int": np.int32, "index": np.int64, "unsigned int": np.uint32, "unsigned long long": np.uint64}
POINTEES = {"int*": np.int32, "double*": np.float64, "index*": np.int64, "unsigned char*": np.uint8}


@pytest.fixture
def record(monkeypatch):
    """What happens on the stand-in until the test ends."""
    return stand_in_cupy.install(monkeypatch)


@pytest.fixture
def launches(record):
    """What was launched since the test began."""
    return record.launches


@pytest.fixture
def to_gpu(record):
    """A NumPy array's copy on the stand-in."""
    return lambda array: record.allocate(np.array(array))


def normal(*shape, dtype=np.float32):
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def convolution(put, dtype):
    x, weights, bias = (
        put(normal(2, 10, 6, 5, dtype=dtype)),
        put(normal(12, 5, 3, 3, dtype=dtype)),
        put(normal(12, dtype=dtype)),
    )
    y, dx, dweights, dbias = (
        put(np.zeros(shape, dtype)) for shape in ((2, 12, 6, 5), (2, 10, 6, 5), (12, 5, 3, 3), 12)
    )
    geometry = kernels.Geometry((3, 3), pad=(1, 1), group=2)
    kernels.conv_forward(x, weights, bias, geometry, y)
    kernels.conv_backward(x, weights, y, geometry, dx, dweights, dbias)
    return y, dx, dweights, dbias


def deconvolution(put, dtype):
    x, weights = put(normal(2, 4, 3, 5, dtype=dtype)), put(normal(4, 3, 4, 4, dtype=dtype))
    y, dx, dweights = (put(np.zeros(shape, dtype)) for shape in ((2, 3, 6, 10), (2, 4, 3, 5), (4, 3, 4, 4)))
    geometry = kernels.Geometry((4, 4), (2, 2), (1, 1))
    kernels.deconv_forward(x, weights, None, geometry, y)
    kernels.deconv_backward(x, weights, y, geometry, dx, dweights)
    return y, dx, dweights


def upsampling(put, dtype):
    x, weights = put(normal(2, 3, 3, 5, dtype=dtype)), put(normal(3, 1, 4, 4, dtype=dtype))
    y, dx, dweights = (put(np.zeros(shape, dtype)) for shape in ((2, 3, 6, 10), (2, 3, 3, 5), (3, 1, 4, 4)))
    geometry = kernels.Geometry((4, 4), (2, 2), (1, 1), group=3)
    kernels.deconv_forward(x, weights, None, geometry, y)
    kernels.deconv_backward(x, weights, y, geometry, dx, dweights)
    return y, dx, dweights


def pooling(put, dtype):
    window = kernels.Window((2, 2), (2, 2))
    x = put(normal(2, 3, 5, 7, dtype=dtype))
    y, switches = (put(np.zeros((2, 3, 3, 4), dtype)) for _ in range(2))
    back, up = (put(np.zeros((2, 3, 5, 7), dtype)) for _ in range(2))
    kernels.max_pool(x, window, y, switches)
    kernels.max_pool_backward(y, switches, window, back)
    kernels.unpool(y, switches, up)
    return y, switches, back, up


def batch_norm(put, dtype):
    x, scale, shift = put(normal(2, 3, 5, 7, dtype=dtype)), put(normal(3, dtype=dtype)), put(normal(3, dtype=dtype))
    kept, y, dx = (put(np.zeros((2, 3, 5, 7), dtype)) for _ in range(3))
    mean, variance, dscale = (put(np.zeros(3, dtype)) for _ in range(3))
    kernels.batch_norm_forward(x, scale, shift, 1e-5, y, mean, variance, kept, rectified=True)
    kernels.batch_norm_backward(y, kept, scale, shift, mean, variance, 1e-5, dx, dscale, None, rectified=True)
    return y, kept, mean, variance, dx, dscale


def updates(put, dtype):
    arrays = [[put(normal(size, dtype=dtype)) for _ in range(3)] for size in (5, 1, 10000)]
    table, gradients = kernels.ArrayTable(), kernels.ArrayTable()
    rates = {"scale": 0.5, "rate": 0.1, "momentum": 0.9, "decay": 0.01, "l1": False}
    kernels.sgd_update_all([(*row, lr, 1.0) for row, lr in zip(arrays, (1.0, 2.0, 0.0), strict=True)], table, **rates)
    total = kernels.sum_of_squares_all([row[1] for row in arrays], gradients)
    kernels.clear_all([row[1] for row in arrays], gradients)
    return *(array for row in arrays for array in row), put(np.array([total], dtype))


def rules(put, dtype):
    results, numbers = [], {"momentum": 0.9, "keep": 0.8, "first": 0.9, "second": 0.99, "delta": 0.1}
    for rule, names in kernels.RULES.items():
        kept = 2 if rule in ("adadelta", "adam") else 1
        arrays = [[put(abs(normal(size, dtype=dtype))) for _ in range(2 + kept)] for size in (5, 1, 10000)]
        rows = [(*row, lr, 1.0) for row, lr in zip(arrays, (1.0, 2.0, 0.0), strict=True)]
        rates = {"scale": 0.5, "rate": 0.1, "decay": 0.01, "l1": False} | {name: numbers[name] for name in names}
        kernels.rule_update_all(rule, rows, kernels.ArrayTable(), **rates)
        results += [array for row in arrays for array in row]
    return results


def loss(put, dtype):
    scores, labels = put(normal(2, 3, 4, 5, dtype=dtype)), put(np.arange(40, dtype=dtype).reshape(2, 1, 4, 5) % 3)
    probabilities, gradient = (put(np.zeros((2, 3, 4, 5), dtype)) for _ in range(2))
    value, counted = kernels.softmax_loss(scores, labels, 1, None, probabilities)
    kernels.softmax_loss_backward(probabilities, labels, 1, None, 0.5, gradient)
    assert counted == 40
    return probabilities, gradient, put(np.array([value], dtype)), kernels.rank_labels(scores, labels, 1, 1, None, True)


def elementwise(put, dtype):
    x, y, weights, velocity = (put(normal(1000, dtype=dtype)) for _ in range(4))
    kernels.relu(x, 0.1, out=y)
    kernels.dropout(y, 2**63 + 5, 0.5, y, 2.0)
    rates = {"scale": 0.5, "rate": 0.1, "momentum": 0.9, "decay": 0.01, "l1": True}
    kernels.sgd_update(weights, x, velocity, **rates)
    return y, weights, put(np.array([kernels.sum_of_squares(velocity)], dtype))


def resampling(put, dtype):
    image, mean = put(np.arange(90, dtype=np.uint8).reshape(5, 6, 3)), put(normal(3, dtype=dtype))
    boxes = [(-2, 1, 4, 9), (0, 0, 5, 4), (3, 3, 3, 3)]
    x, canvas = put(np.zeros((3, 3, 4, 7), dtype)), put(np.zeros((3, 5, 6), dtype))
    kernels.resize_windows(image, kernels.window_taps(boxes, (4, 7), x), mean, 0.5, x)
    taps = kernels.map_taps(boxes, (4, 7), (5, 6), x)
    kernels.merge_maps(x, taps, canvas)
    kernels.merge_maps(x.reshape(3, 3, 4, 7)[1:], taps.of(1, 3), canvas, greatest=True)
    return x, canvas, *taps[1:]


OPERATIONS = (
    convolution,
    deconvolution,
    upsampling,
    pooling,
    batch_norm,
    loss,
    elementwise,
    updates,
    rules,
    resampling,
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_arrays_on_the_gpu_stay_there_and_give_what_the_host_gives(launches, to_gpu, operation, dtype):
    expected = operation(np.array, dtype)
    assert not launches
    got = operation(to_gpu, dtype)
    assert launches
    for on_gpu, on_host in zip(got, expected, strict=True):
        np.testing.assert_allclose(on_gpu.get(), on_host, rtol=1e-5, atol=1e-6 * max(1, abs(on_host).max()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_launch_passes_the_types_that_its_kernel_declares(launches, to_gpu, operation, dtype):
    operation(to_gpu, dtype)
    for launch in launches:
        for kind, argument in zip(sources.signatures()[launch.name].kinds, launch.arguments, strict=True):
            if isinstance(argument, Pointer):
                assert argument == (POINTEES.get(kind, dtype), True, True)
            elif kind.endswith("*"):  # an absent array
                assert argument.nbytes == 8 and argument == 0
            else:
                assert type(argument) is SCALARS.get(kind, dtype)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_blocks_are_whole_warps_and_a_grid_fits_the_device(launches, to_gpu, operation):
    operation(to_gpu, np.float32)
    for launch in launches:
        (blocks,), (threads,) = launch.grid, launch.block
        assert threads in range(32, stand_in_cupy.MOST_THREADS.get(launch.name, 1024) + 1, 32)
        assert 1 <= blocks and blocks * threads <= 4096 * PROCESSORS


@pytest.mark.parametrize(
    "rows, width, grid, block",
    [
        (8, 1000, 8, 256),
        (8, 40, 8, 64),
        (3, 1000, 3, 1000 // 32 * 32 + 32),  # fewer rows than two a processor: larger blocks
        (3, 10**6, 3, 1024),
        (10**6, 1000, 64, 256),
        (10**6, 14, 512, 32),  # narrow rows: more blocks
        (0, 0, 1, 32),
    ],
)
def test_rows_become_blocks_and_their_width_threads(launches, to_gpu, rows, width, grid, block):
    x = to_gpu(normal(10))
    device.launch("relu_forward", rows, width, x, x, 0.0, x.size)
    assert [(launch.grid, launch.block) for launch in launches] == [((grid,), (block,))]


def test_a_kernel_of_many_registers_gets_no_larger_blocks_than_it_can_have(launches, to_gpu):
    loss(to_gpu, np.float32)
    found = {launch.name: launch.block for launch in launches}
    assert found["softmax_loss_forward"] == (768,) and found["softmax_loss_backward"] == (32,)


def test_single_values_are_computed_in_blocks_of_many(launches, to_gpu):
    x = to_gpu(normal(10**5))
    kernels.neuron("sigmoid", x, x)
    assert [(launch.grid, launch.block) for launch in launches] == [((64,), (256,))]


def test_narrow_maps_are_laid_out_by_blocks_no_wider_than_they_are(launches, to_gpu):
    convolution(to_gpu, np.float32)
    blocks = {launch.name: launch.block for launch in launches}
    assert blocks["im2col_places"] == blocks["col2im_places"] == (32,)  # 6 x 5 places


def test_channels_are_shared_by_several_blocks(launches, to_gpu):
    """64 channels of 224 x 224 would leave half of the processors of a large GPU idle."""
    kernels.bias_backward(to_gpu(normal(1, 3, 100, 200)), to_gpu(np.zeros(3, np.float32)))
    assert [(launch.name, launch.grid, launch.block) for launch in launches] == [
        ("channel_products", (15,), (256,)),
        ("merge_products", (3,), (32,)),
    ]


def test_all_parameters_are_moved_in_one_launch_and_their_table_is_uploaded_once(record, launches, to_gpu):
    arrays, table = [[to_gpu(normal(size)) for _ in range(3)] for size in (5, 9000, 3)], kernels.ArrayTable()
    rule = {"scale": 0.5, "rate": 0.1, "momentum": 0.9, "decay": 0.01, "l1": False}
    for _ in range(3):
        kernels.sgd_update_all([(*row, 1.0, 1.0) for row in arrays], table, **rule)
        uploaded = list(record.to_device)
    assert [(launch.name, launch.grid, launch.block) for launch in launches] == [("sgd_update_all", (4,), (1024,))] * 3
    assert len(uploaded) == 3 and record.to_host == []
    arrays[1][2] = to_gpu(normal(9000))  # a blob whose memory was made anew
    kernels.sgd_update_all([(*row, 1.0, 1.0) for row in arrays], table, **rule)
    assert len(record.to_device) == 6


def test_the_other_rules_move_all_parameters_in_one_launch_each(launches, to_gpu):
    rules(to_gpu, np.float32)
    assert [(launch.name, launch.grid) for launch in launches] == [
        (f"{rule}_update_all", (4,)) for rule in kernels.RULES
    ]


def test_lost_switches_are_counted_without_waiting_and_warned_of_at_the_end(record, to_gpu):
    x, switches = to_gpu(normal(1, 2, 1, 2)), to_gpu(np.array([[[[0, 99]], [[3, 1]]]], np.float32))
    out = to_gpu(np.zeros((1, 2, 2, 2), np.float32))
    kernels.unpool(x, switches, out, distinct=True)
    assert record.to_host == []
    with pytest.warns(UserWarning, match="1 switches lie outside a plane of 2 x 2"):
        kernels.warn_of_strays()
    for _ in range(100):  # nobody asks, and no memory is held for ever
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kernels.unpool(x, switches, out, distinct=True)
    assert record.live < 50 * 512


@pytest.mark.parametrize("wrong", [normal(10, dtype=np.float64), normal(20)[::2]])
def test_an_array_of_another_type_or_with_gaps_is_refused_by_name(record, launches, to_gpu, wrong):
    x = to_gpu(normal(10))
    with pytest.raises(ValueError, match="kernel relu_forward: y must be a contiguous float32 array"):
        kernels.relu(x, 0.0, out=DeviceArray(wrong, record))
    assert not launches


def test_a_1x1_convolution_of_no_image_gives_none(to_gpu):
    x, y, weights = to_gpu(normal(0, 3, 8, 8)), to_gpu(normal(0, 2, 8, 8)), to_gpu(normal(2, 3, 1, 1))
    dx, dweights, geometry = (
        to_gpu(normal(0, 3, 8, 8)),
        to_gpu(np.zeros((2, 3, 1, 1), np.float32)),
        kernels.Geometry((1, 1)),
    )
    kernels.conv_forward(x, weights, None, geometry, y)
    kernels.conv_backward(x, weights, y, geometry, dx, dweights, None)
    assert not dweights.get().any()


def test_a_gpu_is_asked_for_by_mode_and_number(launches, monkeypatch):
    monkeypatch.setattr(device, "_mode", "cpu")
    kernels.set_mode("gpu")
    assert kernels.array_module() is importlib.import_module("cupy")
    with pytest.raises(kernels.DeviceError, match="GPU 1 does not exist: there are 1"):
        kernels.set_gpu(1)


# a GPU takes the product where the host has kernels of its own
HOST_ONLY = re.compile("dense_|direct_|winograd_(?!batched_)")


def test_every_kernel_is_reached_and_gives_what_the_host_gives(record):
    expected, _ = kernel_calls.run(dtypes=["float64"])
    kernels.set_mode("gpu")
    found, _ = kernel_calls.run(dtypes=["float64"])
    kernels.set_mode("cpu")
    assert {launch.name for launch in record.launches} == {
        name for name in sources.signatures() if not HOST_ONLY.match(name)
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-11, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("rows, number", [(1, 1 << 31), (1, -(1 << 31) - 1), (1 << 31, 1)])
def test_a_number_beyond_32_bits_is_refused_by_name(record, to_gpu, rows, number):
    x = to_gpu(normal(10))
    with pytest.raises(
        ValueError, match="kernel add_bias: (size is -?2147483648|size is -2147483649|2147483648 rows)"
    ) as error:
        device.launch("add_bias", rows, 10, x, x, 1, 1, number)
    assert "beyond 32 bits" in str(error.value) and not record.launches


def test_an_array_on_the_gpu_is_never_copied_to_the_host_by_a_kernels_function(record, to_gpu):
    """Save single numbers: a loss, a count."""
    for operation in OPERATIONS:
        operation(to_gpu, np.float32)
    assert max(record.to_host) <= 8
