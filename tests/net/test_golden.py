"""Golden cases: nets of one layer and of many, run by BVLC Caffe 1.0 (layers/) and by the authors' 2015 fork (release/) on a CPU.

A case holds a prototxt, its inputs and parameters, and what came out forward and backward; ours must agree to float32's accuracy.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest

from deconvnet.core import proto
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2

GOLDEN = Path(__file__).parents[1] / "golden"

LAYERS = """
absval accuracy accuracy_per_class argmax argmax_val batchnorm_test batchnorm_train bias bias_two_bottoms bnll clip
concat concat_axis2 contrastive conv_1x1 conv_3x3_pad1 conv_3x3_pad1_big conv_7x7_full conv_dilation2 conv_rect
conv_stride2_group2 crop deconv_3x3_pad1 deconv_7x7_from_1x1 deconv_stride2_bilinear dropout_test eltwise_max
eltwise_prod eltwise_prod_unstable eltwise_sum elu embed euclidean exp flatten flatten_axes hinge_l1 hinge_l2 im2col
inplace_chain ip ip_axis2_nobias ip_transpose log lrn_across lrn_within mll mvn mvn_across pool_ave_pad pool_global
pool_max_2x2 pool_max_3x3_s2 pool_max_mask pool_max_pad power prelu prelu_shared reduction_asum reduction_mean
reduction_sum reduction_sumsq relu relu_leaky reshape reshape_mixed scale scale_axis0 scale_two_bottoms sigmoid
sigmoidce sigmoidce_ignore slice slice_even softmax softmax_axis2 softmaxloss softmaxloss_batch_size softmaxloss_full
softmaxloss_ignore softmaxloss_none split_shared spp swish tanh threshold tile
""".split()
RELEASE = """
noh_bn_inference noh_bn_learn noh_bn_learn_stats noh_eltwise_accuracy noh_fcn_auto_crop noh_softmax_loss_normalize_false
noh_softmax_loss_normalize_true noh_tiny_deconvnet noh_tiny_deconvnet_inference noh_unpool_max noh_unpool_max_nomask
noh_unpool_max_odd noh_unpool_max_overlap
""".split()
CASES = [f"layers/{name}" for name in LAYERS] + [f"release/{name}" for name in RELEASE]

# layers that only move values: what comes out is equal to the bit, forward and backward
COPIES = {"ArgMax", "Concat", "Crop", "Flatten", "Reshape", "Silence", "Slice", "Split", "Threshold", "Unpooling"}
TOLERANCE = 1e-4  # of the largest value
TOLERANCE_OF_NETS = 3e-4  # parameter gradients that came through many layers
SMALLEST = 1e-6


def read(case):
    """The case as {"inputs/x": array}, with its attributes."""
    with h5py.File(GOLDEN / f"{case}.h5") as file:
        arrays = {}
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
        return arrays, dict(file.attrs)


def group(arrays, name):
    """The arrays of a group, by the rest of their path."""
    return {path[len(name) + 1 :]: array for path, array in arrays.items() if path.startswith(name + "/")}


def build(arrays, attributes, case, **options):
    """The case's net with its parameters and inputs in place; options as Net's."""
    definition = proto.parse(attributes["prototxt"], caffe_pb2.NetParameter(), f"{case}.prototxt")
    net = Net(definition, caffe_pb2.TRAIN if attributes["phase"] == "TRAIN" else caffe_pb2.TEST, **options)
    for path, values in group(arrays, "params").items():
        layer, number = path.rsplit("/", 1)
        blob = net.params[layer][int(number)]
        blob.data[...] = values.reshape(blob.shape)
    for name, values in group(arrays, "inputs").items():
        net.blobs[name].reshape(*values.shape)
        net.blobs[name].data[...] = values
    return net


def assert_close(ours, theirs, what, tolerance=TOLERANCE, exact=False):
    """Equal counts, and all values as near as the golden cases ask for."""
    assert ours.size == theirs.size, f"{what}: {ours.shape} values, not {theirs.shape}"
    ours = ours.reshape(theirs.shape)
    if exact:
        np.testing.assert_array_equal(ours, theirs, err_msg=what)
        return
    limit = max(SMALLEST, tolerance * float(np.abs(theirs).max(initial=0)))
    error = np.abs(np.asarray(ours, np.float64) - theirs)
    at = np.unravel_index(int(error.argmax()), error.shape) if error.size else ()
    assert not error.size or error.max() <= limit, (
        f"{what} at {at}: ours {ours[at]}, theirs {theirs[at]}, allowed {limit:.3g}"
    )


def exact(layer):
    """Whether a layer's outputs are copies, maxima or switches."""
    maximum = caffe_pb2.PoolingParameter.MAX
    return layer.type in COPIES or (layer.type == "Pooling" and layer.pooling_param.pool == maximum)


def test_the_golden_cases_are_those_that_are_expected():
    """A case that is lost fails here, a case that is added must be named."""
    found = {
        f"{file.parent.name}/{file.stem}" for folder in ("layers", "release") for file in (GOLDEN / folder).glob("*.h5")
    }
    solver = {case for case in found if case.startswith(("release/noh_solver", "release/noh_training_curve"))}
    assert found - solver == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_forward_and_backward_agree_with_caffe(device, case):
    """Outputs, every blob that is given, parameters that forward changes, gradients of inputs and of parameters."""
    arrays, attributes = read(case)
    net = build(arrays, attributes, case)
    last = net.layers[-1].param
    net.clear_param_diffs()
    net.forward()
    for name, theirs in {**group(arrays, "blobs"), **group(arrays, "outputs")}.items():
        assert_close(net.blobs[name].data, theirs, f"blob {name}", exact=len(net.params) == 0 and exact(last))
    for path, theirs in group(arrays, "params_after").items():
        layer, number = path.rsplit("/", 1)
        assert_close(net.params[layer][int(number)].data, theirs, f"parameter {path} after forward")
    bottom_diffs, parameter_diffs = group(arrays, "bottom_diffs"), group(arrays, "param_diffs")
    if bottom_diffs or parameter_diffs:
        net.backward(**{name: diff.reshape(net.blobs[name].shape) for name, diff in group(arrays, "top_diffs").items()})
    for name, theirs in bottom_diffs.items():
        copied = last.type in COPIES and len(net.params) == 0
        assert_close(net.blobs[name].diff, theirs, f"gradient of {name}", exact=copied)
    whole = len(net.params) > 1
    for path, theirs in parameter_diffs.items():
        layer, number = path.rsplit("/", 1)
        tolerance = TOLERANCE_OF_NETS if whole else TOLERANCE
        assert_close(net.params[layer][int(number)].diff, theirs, f"gradient of parameter {path}", tolerance)


def test_the_tests_of_the_golden_cases_read_everything_in_them():
    """No group in a case goes unread."""
    known = {"inputs", "params", "outputs", "blobs", "top_diffs", "bottom_diffs", "param_diffs", "params_after"}
    for case in CASES:
        arrays, attributes = read(case)
        assert {path.split("/")[0] for path in arrays} <= known, case
        assert set(attributes) == {"prototxt", "phase", "source"}, case


def test_a_model_file_of_the_fork_holds_the_parameters_of_its_case(device):
    """release/noh_tiny_deconvnet.caffemodel is V1 and 4-D; it loads by layer name into today's shapes."""
    arrays, attributes = read("release/noh_tiny_deconvnet")
    definition = proto.parse(attributes["prototxt"], caffe_pb2.NetParameter())
    net = Net(definition, caffe_pb2.TRAIN, GOLDEN / "release" / "noh_tiny_deconvnet.caffemodel")
    parameters = group(arrays, "params")
    assert {f"{layer}/{number}" for layer, blobs in net.params.items() for number in range(len(blobs))} == set(
        parameters
    )
    for path, theirs in parameters.items():
        layer, number = path.rsplit("/", 1)
        np.testing.assert_array_equal(net.params[layer][int(number)].data.ravel(), theirs.ravel(), err_msg=path)
