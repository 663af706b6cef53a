"""Net(precision=...): products of TF32 or bfloat16, everything else in float32, from the net to its layers, solvers and programs."""

from pathlib import Path

import numpy as np
import pytest
import stand_in_cupy
from golden_case import assert_close, build, group, read
from tiny_training import DUMMY_NET
from tool_call import call

from deconvnet.core import kernels
from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2, parse
from deconvnet.core.solver import get_solver

LOWER = ("TF32", "BFLOAT16")
FOLDER = Path(__file__).parents[1] / "golden" / "layers"
# four roundings of a half of the last bit, of the largest value
BOUNDS = {"TF32": 2.0**-9, "BFLOAT16": 2.0**-6}
GOLDEN = """
conv_1x1 conv_3x3_pad1 conv_3x3_pad1_big conv_7x7_full conv_dilation2 conv_rect conv_stride2_group2 deconv_3x3_pad1
deconv_7x7_from_1x1 deconv_stride2_bilinear ip ip_axis2_nobias ip_transpose
""".split()


@pytest.mark.parametrize("precision", LOWER)
@pytest.mark.parametrize("case", GOLDEN)
def test_products_agree_with_caffe_to_the_digits_that_are_kept(device, case, precision):
    arrays, attributes = read(FOLDER / f"{case}.h5")
    net = build(arrays, attributes, case, precision=precision)
    net.clear_param_diffs()
    net.forward()
    for name, theirs in group(arrays, "outputs").items():
        assert_close(net.blobs[name].data, theirs, f"blob {name}", BOUNDS[precision])
    net.backward(**{name: diff.reshape(net.blobs[name].shape) for name, diff in group(arrays, "top_diffs").items()})
    for name, theirs in group(arrays, "bottom_diffs").items():
        assert_close(net.blobs[name].diff, theirs, f"gradient of {name}", BOUNDS[precision])
    for path, theirs in group(arrays, "param_diffs").items():
        layer, number = path.rsplit("/", 1)
        assert_close(net.params[layer][int(number)].diff, theirs, f"gradient of parameter {path}", BOUNDS[precision])


NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 10 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "bn" type: "BN" bottom: "conv" top: "conv" bn_param { bn_mode: INFERENCE scale_filler { type: "uniform" min: 0.5 max: 1.5 }
  shift_filler { type: "gaussian" std: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "up" type: "Deconvolution" bottom: "conv" top: "up"
  convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "uprelu" type: "ReLU" bottom: "up" top: "up" }
layer { name: "score" type: "InnerProduct" bottom: "up" top: "score" inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.3 } } }
"""


def net_of(precision, **options):
    net = Net(parse(NET, caffe_pb2.NetParameter()), caffe_pb2.TEST, seed=1, precision=precision, **options)
    net.blobs["data"].data[...] = np.random.default_rng(0).normal(size=net.blobs["data"].shape)
    return net


def test_a_net_keeps_the_digits_that_it_was_asked_to_keep(device):
    """The lower the precision, the further from float32; by digits of operands, not of sums."""
    exact = net_of("FLOAT32").forward()["score"].copy()
    errors = [np.abs(net_of(precision).forward()["score"] - exact).max() / np.abs(exact).max() for precision in LOWER]
    assert 2.0**-16 < errors[0] < 2.0**-9 and 2.0**-13 < errors[1] < 2.0**-6 and errors[0] < errors[1] / 2


@pytest.mark.parametrize("precision", LOWER)
def test_layers_that_convolutions_stand_for_change_nothing(device, precision):
    """With share=True bias, batch norm and ReLU are applied while the products are written."""
    alone, shared = net_of(precision).forward()["score"], net_of(precision, share=True).forward()["score"]
    np.testing.assert_allclose(alone, shared, rtol=0, atol=2.0**-7 * np.abs(alone).max())


@pytest.mark.parametrize("precision", LOWER)
def test_only_products_are_rounded(device, precision):
    net = net_of(precision)
    net.force_backward()
    weights = net.params["conv"][0].data
    weights[...] = 1 + 2.0**-20  # more digits than either precision holds
    net.forward()
    net.backward(score=np.ones((2, 5), np.float32))
    assert np.all(net.params["conv"][0].data == np.float32(1 + 2.0**-20))
    assert {layer.precision for layer, *_ in net.connections()} == {precision}
    for blob in (*net.blobs.values(), *(blob for blobs in net.params.values() for blob in blobs)):
        assert blob.data.dtype == blob.diff.dtype == np.float32


def test_a_precision_that_is_unknown_or_would_round_doubles_is_refused():
    with pytest.raises(NetError, match="precision is 'FP16': it must be FLOAT32, TF32 or BFLOAT16"):
        net_of("FP16")
    with pytest.raises(NetError, match="precision TF32 rounds float32, and the net's dtype is float64: choose FLOAT32"):
        net_of("TF32", dtype=np.float64)
    assert net_of("FLOAT32", dtype=np.float64).forward()["score"].dtype == np.float64


@pytest.mark.parametrize(
    "capability, refused", [("52", True), ("75", True), ("80", False), ("90", False), ("120", False)]
)
def test_a_gpu_without_such_tensor_cores_is_named(monkeypatch, capability, refused):
    stand_in_cupy.install(monkeypatch)
    kernels.set_mode("gpu")
    monkeypatch.setattr(kernels.device, "_mode", "gpu")
    module = kernels.array_module()
    plain = module.cuda.Device
    monkeypatch.setattr(module.cuda, "Device", lambda *number: _with(plain(*number), capability))
    if refused:
        told = rf"precision TF32: the GPU, of compute capability {capability[0]}\.{capability[1]} has no tensor cores"
        with pytest.raises(kernels.DeviceError, match=told):
            net_of("TF32")
        net_of("FLOAT32").forward()
    else:
        net_of("TF32").forward()


def _with(device, capability):
    device.compute_capability = capability
    return device


@pytest.mark.parametrize("precision", LOWER)
def test_a_solver_gives_its_precision_to_its_nets_and_updates_in_float32(precision):
    lines = 'base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" max_iter: 20 random_seed: 3 test_iter: 1 test_interval: 100 snapshot_after_train: false'
    param = parse(lines, caffe_pb2.SolverParameter())
    param.net_param.CopyFrom(parse(DUMMY_NET, caffe_pb2.NetParameter()))
    solver = get_solver(param, precision=precision)
    assert {net.precision for net in (solver.net, *solver.test_nets)} == {precision}
    solver.step(1)
    before = solver.loss
    solver.step(19)
    assert solver.loss < before / 2
    weights = solver.net.params["conv"][0].data
    assert weights.dtype == np.float32 and np.any(weights.view(np.uint32) & 0x1FFF)  # digits below TF32's
    solver.close()


def test_programs_take_the_precision_and_name_the_ones_there_are(tmp_path):
    (tmp_path / "net.prototxt").write_text(DUMMY_NET)
    timed = call("time_net", tmp_path, "--model", "net.prototxt", "--iterations", 1, "--precision", "BFLOAT16")
    assert timed.returncode == 0, timed.stderr
    for tool in ("time_net", "train_net", "test_net", "segment"):
        refused = call(tool, tmp_path, "--precision", "HALF")
        assert refused.returncode == 2 and "choose from" in refused.stderr and "BFLOAT16" in refused.stderr


NO_IMAGE = """
layer { name: "x" type: "Input" top: "x" top: "none" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 5 } shape { dim: 2 } } }
layer { name: "filter" type: "Filter" bottom: "x" bottom: "none" top: "y" }
layer { name: "z" type: "%s" bottom: "y" top: "z" %s }
"""


@pytest.mark.parametrize("precision", ["FLOAT32", *LOWER])
@pytest.mark.parametrize(
    "layer",
    [
        ("InnerProduct", "inner_product_param { num_output: 4 }"),
        ("Convolution", "convolution_param { num_output: 4 kernel_size: 3 }"),
        ("Deconvolution", "convolution_param { num_output: 4 kernel_size: 3 }"),
    ],
)
def test_a_batch_of_no_image_has_no_results(device, precision, layer):
    net = Net(parse(NO_IMAGE % layer, caffe_pb2.NetParameter()), caffe_pb2.TEST, precision=precision)
    assert net.forward(x=np.ones((2, 3, 5, 5)), none=np.zeros(2))["z"].shape[0] == 0
