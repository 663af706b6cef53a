"""Golden cases: nets of one layer and of many, run by BVLC Caffe 1.0 (layers/, drawn.h5) and by the authors' 2015 fork (release/) on a CPU.

A case holds a prototxt, its inputs and parameters, and what came out forward and backward; ours must agree to float32's accuracy.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest
from golden_case import check, group, read

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
DRAWN = GOLDEN / "drawn.h5"  # written by tests/against_caffe/compare.py --record
with h5py.File(DRAWN) as file:
    DRAWN_CASES = [f"drawn/{name}" for name in file]
CASES = [f"layers/{name}" for name in LAYERS] + [f"release/{name}" for name in RELEASE] + DRAWN_CASES


def read_case(name):
    """The arrays and attributes of a case, such as layers/relu or drawn/ReLU_11000."""
    folder, _, own = name.partition("/")
    return read(DRAWN, own) if folder == "drawn" else read(GOLDEN / f"{name}.h5")


def test_the_golden_cases_are_those_that_are_expected():
    """A case that is lost fails here, a case that is added must be named."""
    found = {
        f"{file.parent.name}/{file.stem}" for folder in ("layers", "release") for file in (GOLDEN / folder).glob("*.h5")
    }
    solver = {case for case in found if case.startswith(("release/noh_solver", "release/noh_training_curve"))}
    assert found - solver == set(CASES) - set(DRAWN_CASES)
    assert len(DRAWN_CASES) == 100


@pytest.mark.parametrize("case", CASES)
def test_forward_and_backward_agree_with_caffe(device, case):
    check(*read_case(case), case)


def test_the_tests_of_the_golden_cases_read_everything_in_them():
    """No group in a case goes unread."""
    known = {"inputs", "params", "outputs", "blobs", "top_diffs", "bottom_diffs", "param_diffs", "params_after"}
    for case in CASES:
        arrays, attributes = read_case(case)
        assert {path.split("/")[0] for path in arrays} <= known, case
        assert set(attributes) - {"passes"} == {"prototxt", "phase", "source"}, case


def test_a_model_file_of_the_fork_holds_the_parameters_of_its_case(device):
    """release/noh_tiny_deconvnet.caffemodel is V1 and 4-D; it loads by layer name into today's shapes."""
    arrays, attributes = read_case("release/noh_tiny_deconvnet")
    definition = proto.parse(attributes["prototxt"], caffe_pb2.NetParameter())
    net = Net(definition, caffe_pb2.TRAIN, GOLDEN / "release" / "noh_tiny_deconvnet.caffemodel")
    parameters = group(arrays, "params")
    assert {f"{layer}/{number}" for layer, blobs in net.params.items() for number in range(len(blobs))} == set(
        parameters
    )
    for path, theirs in parameters.items():
        layer, number = path.rsplit("/", 1)
        np.testing.assert_array_equal(net.params[layer][int(number)].data.ravel(), theirs.ravel(), err_msg=path)
