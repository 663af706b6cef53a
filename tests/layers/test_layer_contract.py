"""What every layer keeps: shapes that change, gradients that are not wanted, parameters that do not learn, counts of bottoms and tops."""

import contextlib

import numpy as np
import pytest
from arrays import numbers, spaced
from one_layer import TRAIN, OneLayer

from deconvnet.core.layers import layer, layer_type, layer_types

FILLERS = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "gaussian" std: 0.5 }'


def labels(*shape):
    return np.random.default_rng(shape).integers(0, 3, shape).astype(float)


def bvlc_layers(x, images, height, width):
    """The examples of BVLC Caffe's further layers."""
    return {
        "BatchNorm": ('type: "BatchNorm"', [x], 1),
        "BatchNorm, running": ('type: "BatchNorm" batch_norm_param { use_global_stats: true eps: 0.5 }', [x], 1),
        "Scale": ('type: "Scale" scale_param { bias_term: true }', [x], 1),
        "Scale, two bottoms": ('type: "Scale"', [x, x[0, :, 0, 0] + 1], 1),
        "Bias": ('type: "Bias"', [x], 1),
        "Bias, two bottoms": ('type: "Bias"', [x, x[0, :, 0, 0] + 1], 1),
        "LRN": ('type: "LRN"', [x], 1),
        "LRN, within": ('type: "LRN" lrn_param { norm_region: WITHIN_CHANNEL }', [x], 1),
        "MVN": ('type: "MVN" mvn_param { eps: 0.5 }', [x], 1),
        "PReLU": ('type: "PReLU"', [x], 1),
        "PReLU, shared": ('type: "PReLU" prelu_param { channel_shared: true }', [x], 1),
        "Sigmoid": ('type: "Sigmoid"', [x], 1),
        "TanH": ('type: "TanH"', [x], 1),
        "AbsVal": ('type: "AbsVal"', [x], 1),
        "Power": ('type: "Power" power_param { power: 2 scale: 0.5 shift: 0.25 }', [x], 1),
        "Exp": ('type: "Exp" exp_param { scale: 0.1 }', [x], 1),
        "Log": ('type: "Log" log_param { shift: 40 }', [x], 1),
        "ELU": ('type: "ELU"', [x], 1),
        "BNLL": ('type: "BNLL"', [x], 1),
        "Clip": ('type: "Clip" clip_param { min: -0.5 max: 0.6875 }', [x], 1),
        "Swish": ('type: "Swish"', [x], 1),
        "Threshold": ('type: "Threshold"', [x], 1),
        "Flatten": ('type: "Flatten"', [x], 1),
        "Reshape": ('type: "Reshape" reshape_param { shape { dim: 0 dim: 2 dim: -1 } }', [x], 1),
        "Slice": ('type: "Slice"', [x], 2),
        "Tile": ('type: "Tile" tile_param { tiles: 2 }', [x], 1),
        "Reduction": ('type: "Reduction" reduction_param { axis: 1 operation: SUMSQ }', [x], 1),
        "ArgMax": ('type: "ArgMax" argmax_param { axis: 1 top_k: 2 }', [x], 1),
        "EuclideanLoss": ('type: "EuclideanLoss"', [x, x + 1], 1),
        "SigmoidCrossEntropyLoss": ('type: "SigmoidCrossEntropyLoss"', [x, (x > 0).astype(float)], 1),
        "MultinomialLogisticLoss": ('type: "MultinomialLogisticLoss"', [np.exp(x / 10), labels(images)], 1),
        "ContrastiveLoss": (
            'type: "ContrastiveLoss" contrastive_loss_param { margin: 99 }',
            [x, x + 1, labels(images)],
            1,
        ),
        "Embed": (
            f'type: "Embed" embed_param {{ num_output: 3 input_dim: 3 {FILLERS} }}',
            [labels(images, height, width)],
            1,
        ),
        "Im2col": ('type: "Im2col" convolution_param { kernel_size: 3 stride: 2 pad: 1 }', [x], 1),
        "SPP": ('type: "SPP" spp_param { pyramid_height: 1 pool: AVE }', [x], 1),
        "HingeLoss": ('type: "HingeLoss"', [x, labels(images)], 1),
        "InfogainLoss": (
            'type: "InfogainLoss"',
            [x, labels(images, 1, height, width), spaced(4, 4, seed=1)],
            2,
        ),
        "BatchReindex": ('type: "BatchReindex"', [x, np.arange(images)[::-1] // 2], 1),
        "Filter": ('type: "Filter"', [x, x[:, 0, 0], np.arange(images) % 2], 2),
    }


def detection_layers(x):
    """The examples of SSD's and Fast R-CNN's layers; PriorBox and DetectionOutput work with one prior at each place."""
    images, _, height, width = x.shape
    regions = np.array([(image, 1, 0, 2 * width, height) for image in range(images)])
    rois = "roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.5 }"
    corners = np.abs(numbers(2, height * width * 4)) / 8 + np.tile([0, 0, 1, 1], height * width)
    return {
        "ROIPooling": (f'type: "ROIPooling" {rois}', [x, regions], 1),
        "PSROIPooling": (
            'type: "PSROIPooling" psroi_pooling_param { output_dim: 1 group_size: 2 spatial_scale: 0.5 }',
            [x, regions],
            1,
        ),
        "L1Loss": ('type: "L1Loss"', [x, x + 1], 1),
        "SmoothL1Loss": ('type: "SmoothL1Loss"', [x, x + 1, x / 9, x / 8], 1),
        "Transpose": ('type: "Transpose" transpose_param { dim: [0, 1, 3, 2] }', [x], 1),
        "Reverse": ('type: "Reverse" reverse_param { axis: 2 }', [x], 1),
        "Permute": ('type: "Permute" permute_param { order: 0 order: 2 order: 3 order: 1 }', [x], 1),
        "Normalize": ('type: "Normalize"', [x], 1),
        "Normalize, places": (
            'type: "Normalize" norm_param { across_spatial: false channel_shared: false }',
            [x],
            1,
        ),
        "PriorBox": ('type: "PriorBox" prior_box_param { min_size: 3 aspect_ratio: 2 }', [x, x[:, :3]], 1),
        "DetectionOutput": (
            'type: "DetectionOutput" detection_output_param { num_classes: 3 code_type: CENTER_SIZE keep_top_k: 9 }',
            [x.reshape(images, -1) / 99, spaced(images, 3 * height * width, seed=1), corners[None]],
            1,
        ),
    }


def mobile_layers(x):
    """The examples of the layers of the forks for MobileNet, ShuffleNet and SENet."""
    window = f"convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 {FILLERS} }}"
    return {
        "DepthwiseConvolution": (f'type: "DepthwiseConvolution" {window}', [x], 1),
        "ConvolutionDepthwise": (f'type: "ConvolutionDepthwise" {window}', [x], 1),
        "ReLU6": ('type: "ReLU6"', [x], 1),
        "ShuffleChannel": ('type: "ShuffleChannel" shuffle_channel_param { group: 2 }', [x], 1),
        "Axpy": ('type: "Axpy"', [x[:, :, 0, 0], x, x + 1], 1),
    }


def recurrent_layers(x):
    """Sequences that begin with the first step, so that nothing goes over from one forward pass to the next, or whose states are shown."""
    steps, streams = x.shape[:2]
    cont, state = np.ones((steps, streams)), numbers(1, streams, 3)
    cont[0] = 0
    param = f"recurrent_param {{ num_output: 3 {FILLERS} }}"
    exposed = f"recurrent_param {{ num_output: 3 expose_hidden: true {FILLERS} }}"
    return {
        "RNN": (f'type: "RNN" {param}', [x, cont], 1),
        "RNN, exposed": (f'type: "RNN" {exposed}', [x, np.ones_like(cont), state], 2),
        "LSTM": (f'type: "LSTM" {param}', [x, cont, numbers(streams, 2)], 1),
        "LSTM, exposed": (f'type: "LSTM" {exposed}', [x, np.ones_like(cont), state, -state], 3),
        "Lstm": (f'type: "Lstm" lstm_param {{ num_output: 3 {FILLERS} }}', [x], 1),
        "LSTMUnit": (
            'type: "LSTMUnit"',
            [numbers(1, steps, 3), numbers(1, steps, 12), cont[:1, :1].repeat(steps, 1)],
            2,
        ),
    }


def like(images, height, width):
    """The bottoms of each example for a batch of images: {name: (text, bottoms, tops)}."""
    x = spaced(images, 4, height, width)
    half = spaced(images, 4, -(-height // 2), -(-width // 2))
    window = f"num_output: 6 kernel_size: 3 stride: 2 pad: 1 {FILLERS}"
    switches = np.tile(np.arange(half[0, 0].size, dtype=float).reshape(half.shape[2:]), (images, 4, 1, 1))
    return {
        "Convolution": (f'type: "Convolution" convolution_param {{ {window} }}', [x], 1),
        "Convolution in groups": (f'type: "Convolution" convolution_param {{ {window} group: 2 }}', [x], 1),
        "Deconvolution": (f'type: "Deconvolution" convolution_param {{ {window} }}', [x], 1),
        "Deconvolution in groups": (f'type: "Deconvolution" convolution_param {{ {window} group: 2 }}', [x], 1),
        "Pooling": ('type: "Pooling" pooling_param { pool: MAX kernel_size: 2 stride: 2 }', [x], 1),
        "Pooling, overlapping": ('type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 }', [x], 2),
        "Pooling, average": ('type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }', [x], 1),
        "Pooling, global": ('type: "Pooling" pooling_param { pool: AVE global_pooling: true }', [x], 1),
        "Unpooling": (
            'type: "Unpooling" unpooling_param { kernel_size: 2 stride: 2 unpool_size: 9 }',
            [half, switches],
            1,
        ),
        "Unpooling, average": (
            'type: "Unpooling" unpooling_param { unpool: AVE kernel_size: 2 stride: 2 unpool_size: 9 }',
            [half],
            1,
        ),
        "Upsample": ('type: "Upsample" upsample_param { upsample_h: 9 upsample_w: 9 }', [half, switches], 1),
        "Interp": ('type: "Interp" interp_param { zoom_factor: 3 }', [x], 1),
        "Interp, like another": ('type: "Interp"', [x, half], 1),
        "BN": ('type: "BN"', [x], 3),
        "BN, with running statistics": ('type: "BN" bn_param { eps: 0.5 }', [x], 1),
        "BN, frozen": ('type: "BN" bn_param { frozen: true }', [x], 1),
        "BN, inference": ('type: "BN" bn_param { bn_mode: INFERENCE }', [x], 1),
        "ReLU": ('type: "ReLU"', [x], 1),
        "Dropout": ('type: "Dropout"', [x], 1),
        "Softmax": ('type: "Softmax"', [x], 1),
        "SoftmaxWithLoss": ('type: "SoftmaxWithLoss"', [x, labels(images, 1, height, width)], 2),
        "Accuracy": ('type: "Accuracy"', [x, labels(images, 1, height, width)], 2),
        "SegAccuracy": ('type: "SegAccuracy"', [x, labels(images, 1, height, width)], 1),
        "EltwiseAccuracy": ('type: "EltwiseAccuracy"', [x, labels(images, 1, height, width)], 1),
        "Eltwise": ('type: "Eltwise"', [x, -2 * x], 1),
        "Eltwise, product": ('type: "Eltwise" eltwise_param { operation: PROD }', [x, x + 1], 1),
        "Eltwise, maximum": ('type: "Eltwise" eltwise_param { operation: MAX }', [x, -2 * x], 1),
        "Split": ('type: "Split"', [x], 2),
        "Concat": ('type: "Concat"', [x, x[:, :1]], 1),
        "Crop": ('type: "Crop" crop_param { offset: 1 }', [x, x[:, :, 1:-1, 1:]], 1),
        "Silence": ('type: "Silence"', [x], 0),
        "InnerProduct": (
            f'type: "InnerProduct" inner_product_param {{ num_output: 3 axis: 2 {FILLERS} }}',
            [x.reshape(images, 4, -1)],
            1,
        ),
        **bvlc_layers(x, images, height, width),
        **detection_layers(x),
        **mobile_layers(x),
        **recurrent_layers(x.reshape(images, 4, -1)),
    }


EXAMPLES = list(like(1, 3, 3))
FIXED_SIZE = {"InnerProduct", *recurrent_layers(spaced(1, 4, 9))}  # their weights know the size
SHARES_GRADIENTS = {"Flatten", "Reshape"}  # with their bottoms: nothing is written, wanted or not
ELSEWHERE = {"HDF5Output", "MatWrite", "Python"}  # files and a module: in tests of their own


def example(name, images=2, height=5, width=7, **options):
    text, bottoms, tops = like(images, height, width)[name]
    return OneLayer(text, *bottoms, tops=tops, phase=TRAIN, **options)


def test_every_type_with_bottoms_has_an_example():
    with_bottoms = {name for name, kind in layer._registry.items() if kind.bottoms[1] > 0}
    assert {name.split(",")[0].split(" in ")[0] for name in EXAMPLES} | ELSEWHERE == with_bottoms


@pytest.mark.parametrize("name", EXAMPLES)
def test_after_a_reshape_a_layer_is_as_if_made_for_the_new_shape(device, name):
    """Larger, smaller, another batch; no value of an earlier shape shows."""
    case = example(name)
    for sizes in [
        (3, 5, 7) if name in FIXED_SIZE else (3, 8, 6),
        (1, 5, 7) if name in FIXED_SIZE else (1, 3, 4),
        (2, 5, 7),
    ]:
        fresh = example(name, *sizes, parameters=case.parameters)
        case.reshape(*fresh.inputs)
        if case.layer.position is not None:
            case.layer.position = 0
        ours, theirs = case.forward(), fresh.forward()
        assert [y.shape for y in ours] == [y.shape for y in theirs]
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        diffs = [numbers(*y.shape, seed=k) for k, y in enumerate(ours)]
        for a, b in zip(case.backward(*diffs), fresh.backward(*diffs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", EXAMPLES)
def test_forward_again_gives_the_same_and_keeps_the_bottoms(device, name):
    case = example(name)
    first = case.forward()
    if case.layer.position is not None:
        case.layer.position = 0
    for a, b in zip(first, case.forward(), strict=True):
        np.testing.assert_array_equal(a, b)
    for blob, array in zip(case.bottom, case.inputs, strict=True):
        np.testing.assert_array_equal(blob.host_data, array)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in SHARES_GRADIENTS])
def test_a_gradient_that_is_not_wanted_is_not_written(device, name):
    """propagate_down false for one bottom after another; the others get what they get anyway."""
    case = example(name)
    diffs = [numbers(*y.shape, seed=k) for k, y in enumerate(case.forward())]
    everything = case.backward(*diffs)
    for left_out in range(len(case.bottom)):
        if left_out in case.layer.without_gradient:
            continue
        wanted = [
            number != left_out and number not in case.layer.without_gradient for number in range(len(case.bottom))
        ]
        found = case.backward(*diffs, propagate_down=wanted)
        for number, (a, b) in enumerate(zip(found, everything, strict=True)):
            np.testing.assert_array_equal(a, np.full(a.shape, np.nan) if number == left_out else b)


LEARNERS = [name for name in EXAMPLES if len(example(name).layer.blobs) > len(example(name).layer.statistics)]


@pytest.mark.parametrize("name", LEARNERS)
def test_a_parameter_that_does_not_learn_gets_no_gradient(device, name):
    case = example(name)
    diffs = [numbers(*y.shape, seed=k) for k, y in enumerate(case.forward())]
    for frozen in range(len(case.parameters)):
        learn = [number != frozen and number not in case.layer.statistics for number in range(len(case.parameters))]
        case.layer.param_propagate_down = learn
        for diff in case.parameter_diffs:
            diff[...] = 0
        case.backward(*diffs)
        assert [bool(diff.any()) for diff in case.parameter_diffs] == learn


@pytest.mark.parametrize("name", EXAMPLES)
def test_backward_leaves_data_and_the_tops_gradients_alone(device, name):
    case = example(name)
    tops = case.forward()
    diffs = [numbers(*y.shape, seed=k) for k, y in enumerate(tops)]
    case.backward(*diffs)
    for blob, data, diff in zip(case.top, tops, diffs, strict=True):
        np.testing.assert_array_equal(blob.host_data, data)
        np.testing.assert_array_equal(blob.host_diff, diff)
    for blob, array in zip(case.bottom, case.inputs, strict=True):
        np.testing.assert_array_equal(blob.host_data, array)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if not name.startswith(("RNN", "LSTM", "Lstm"))])
def test_a_batch_of_no_items_costs_and_teaches_nothing(device, name):
    """A Filter may select none. Recurrent layers refuse it: their first axis is time."""
    case = example(name)
    whole = case.forward()
    case.reshape(*[values[:0] if len(values) == 2 else values for values in case.inputs])
    parameters = [np.array(values) for values in case.parameters]
    for diff in case.parameter_diffs:
        diff[...] = 0.5
    tops = case.forward()
    case.backward(*[np.ones(y.shape) for y in tops])
    if name != "DetectionOutput":  # whose second axis counts what was found
        assert [y.shape[1:] for y in tops] == [y.shape[1:] for y in whole]  # the layers above were made for that
    assert all(np.isfinite(y).all() for y in tops)
    assert [float(y) for y in tops if y.shape == ()] == [0.0 for y in tops if y.shape == ()]
    for values, before, diff in zip(case.parameters, parameters, case.parameter_diffs, strict=True):
        np.testing.assert_array_equal(values, before)
        np.testing.assert_array_equal(diff, 0.5)


# of other axes than the examples, and of none of something
ODD = [(), (3,), (2, 3), (2, 4, 3), (2, 4, 3, 3, 2), (0,), (2, 0), (2, 0, 3, 3), (2, 4, 0, 3)]


@pytest.mark.parametrize("later", [False, True], ids=["from the start", "after a reshape"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_bottoms_of_other_axes_are_worked_with_or_refused(name, later):
    """Each bottom in turn, then all: nothing but a ValueError comes of it."""
    text, bottoms, tops = like(2, 5, 7)[name]
    for shape in ODD:
        for changed in [{number} for number in range(len(bottoms))] + [set(range(len(bottoms)))]:
            arrays = [np.zeros(shape) if i in changed else array for i, array in enumerate(bottoms)]
            with contextlib.suppress(ValueError):
                case = OneLayer(text, *(bottoms if later else arrays), tops=tops)
                case.reshape(*arrays)
                case.backward(*[np.ones(y.shape) for y in case.forward()])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_layer_works_in_place_as_apart_or_refuses_to(device, name):
    text, bottoms, tops = like(2, 5, 7)[name]
    if not tops:
        return
    apart = example(name)
    if not apart.layer.in_place:
        with pytest.raises(ValueError, match="cannot work in place: give the top a name of its own"):
            OneLayer(text, *bottoms, tops=tops, in_place=True)
        return
    in_place = OneLayer(text, *bottoms, in_place=True, parameters=apart.parameters)
    ours, theirs = in_place.forward()[0], apart.forward()
    np.testing.assert_array_equal(ours, theirs[0])
    if 0 in apart.layer.without_gradient:
        return
    diff = numbers(*ours.shape)
    np.testing.assert_array_equal(in_place.backward(diff)[0], apart.backward(diff)[0])


@pytest.mark.parametrize("name", EXAMPLES)
def test_float32_agrees_with_float64(device, name):
    single, double = example(name, dtype=np.float32), example(name)
    for values, theirs in zip(double.parameters, single.parameters, strict=True):
        values[...] = theirs
    for a, b in zip(single.forward(), double.forward(), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * max(1, np.abs(b).max(initial=0)))


# a window of three does not fit one place, nothing is left to crop
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("Pooling, overlapping", "Crop")])
def test_a_layer_works_on_a_map_of_one_place(device, name):
    case = example(name, 1, 1, 1)
    assert all(np.isfinite(y).all() for y in case.forward())


@pytest.mark.parametrize(
    "text, bottoms, tops, said",
    [
        ('type: "ReLU"', 0, 1, "takes 1 bottom, not 0"),
        ('type: "ReLU"', 1, 2, "takes 1 top, not 2"),
        ('type: "Unpooling"', 3, 1, "takes 1 to 2 bottoms, not 3"),
        ('type: "SoftmaxWithLoss"', 1, 1, "takes 2 bottoms, not 1"),
        ('type: "Concat"', 0, 1, "takes at least 1 bottoms, not 0"),
        ('type: "Silence"', 1, 1, "takes 0 tops, not 1"),
    ],
)
def test_the_numbers_of_bottoms_and_tops_are_checked(text, bottoms, tops, said):
    with pytest.raises(ValueError, match=said):
        OneLayer(text, *[numbers(1, 1, 2, 2)] * bottoms, tops=tops)


def test_an_unknown_type_is_answered_with_the_nearest_and_all_known_ones():
    with pytest.raises(ValueError, match=r"unknown layer type 'Convolutoin'.*Convolution.*known types: .*Unpooling"):
        layer_type("Convolutoin")


def test_parameters_follow_from_seed_layer_name_and_their_number():
    def weights(seed=1, name="a"):
        text = f'name: "{name}" type: "InnerProduct" inner_product_param {{ num_output: 4 {FILLERS} }}'
        return [np.array(p) for p in OneLayer(text, numbers(1, 4), seed=seed).parameters]

    first, again = weights(), weights()
    np.testing.assert_array_equal(first[0], again[0])
    for other in (weights(seed=2)[0], weights(name="b")[0]):
        assert not np.array_equal(first[0], other)
    assert not np.array_equal(first[0].ravel()[:4], first[1])


# of BVLC Caffe 1.0, and Clip and Swish, which came after it
CAFFE = """
AbsVal Accuracy ArgMax BatchNorm BatchReindex Bias BNLL Clip Concat ContrastiveLoss Convolution Crop Data Deconvolution Dropout DummyData
ELU Eltwise Embed EuclideanLoss Exp Filter Flatten HDF5Data HDF5Output HingeLoss Im2col ImageData InfogainLoss InnerProduct Input LRN LSTM
LSTMUnit Log MVN MemoryData MultinomialLogisticLoss PReLU Parameter Pooling Power Python RNN ReLU Reduction Reshape SPP Scale
SigmoidCrossEntropyLoss Sigmoid Silence Slice Softmax SoftmaxWithLoss Split Swish TanH Threshold Tile WindowData
"""


def test_every_layer_type_of_caffe_is_here():
    assert set(CAFFE.split()) <= set(layer_types())
