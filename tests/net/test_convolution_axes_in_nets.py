"""Nets with convolutions over one, three or more spatial axes: devices, graphs, memory, fusion, weights in and out, summaries, drawings."""

import contextlib

import numpy as np
import pytest
import stand_in_cupy
from arrays import numbers
from convolution_text import FILLERS, text_of
from one_layer import OneLayer

from deconvnet.core import kernels
from deconvnet.core.net import Net, NetError, summarize
from deconvnet.core.net.drawing import dot_source
from deconvnet.core.net.fusion import find_fusions
from deconvnet.core.net.upsampling import fill_bilinear
from deconvnet.core.proto import caffe_pb2, parse
from deconvnet.core.solver import get_solver, inference_need, training_need


def layer(name, bottom, top, text):
    return f'layer {{ name: "{name}" bottom: "{bottom}" top: "{top}" {text} }}\n'


def text_of_net(*layers, shape=(2, 3, 3, 6, 5)):
    dims = " ".join(f"dim: {size}" for size in shape)
    return f'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}\n' + "".join(layers)


def net_of(*layers, phase=caffe_pb2.TEST, seed=1, **options):
    net = Net(parse(text_of_net(*layers), caffe_pb2.NetParameter()), phase, seed=seed, **options)
    net.blobs["x"].data[...] = numbers(*net.blobs["x"].shape, dtype=np.float32)
    return net


BN = layer(
    "bn", "a", "a", 'type: "BN" bn_param { bn_mode: INFERENCE scale_filler { type: "uniform" min: 0.5 max: 1.5 } }'
)
RELU = layer("relu", "a", "a", 'type: "ReLU"')
CONV = layer("conv", "x", "a", text_of("Convolution", 16, (3, 3, 3), (1, 2, 2), (1, 1, 1)))
VIDEO_NET = (
    CONV,
    BN,
    RELU,
    layer("up", "a", "b", text_of("Deconvolution", 4, (2, 4, 4), (1, 2, 2), (0, 1, 1), group=2)),
    layer("flat", "b", "c", 'type: "Reshape" reshape_param { shape { dim: 0 dim: 8 dim: -1 } }'),
    layer("row", "c", "y", text_of("Convolution", 5, (3,), (2,), dilation=(2,))),
)


def test_a_net_computes_on_a_gpu_what_it_computes_on_the_cpu(gpu):
    results = []
    for mode in ("cpu", "gpu"):
        kernels.set_mode(mode)
        net = net_of(*VIDEO_NET, phase=caffe_pb2.TRAIN)
        net.force_backward()
        net.clear_param_diffs()
        y = net.forward()["y"].copy()
        net.backward(y=numbers(*y.shape, dtype=np.float32))
        diffs = {f"{name} {k}": blob.diff.copy() for name, blobs in net.params.items() for k, blob in enumerate(blobs)}
        results.append({"y": y, "x": net.blobs["x"].diff.copy()} | diffs)
    for what, wanted in results[0].items():
        assert np.abs(wanted).max() > 1e-3
        np.testing.assert_allclose(results[1][what], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max(), err_msg=what)


def test_a_graph_plays_what_a_pass_computes(gpu):
    plain = net_of(*VIDEO_NET)
    kernels.set_mode("gpu")
    graph = net_of(*VIDEO_NET, share=True, cuda_graph=True)
    for seed in range(3):
        x = numbers(2, 3, 3, 6, 5, seed=seed, dtype=np.float32)
        kernels.set_mode("cpu")
        wanted = plain.forward(x=x)["y"].copy()
        kernels.set_mode("gpu")
        np.testing.assert_allclose(graph.forward(x=x)["y"], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.fixture
def record(monkeypatch):
    """What happens on the stand-in for CuPy until the test ends."""
    yield stand_in_cupy.install(monkeypatch)
    kernels.set_mode("cpu")


def test_the_predicted_memory_of_a_forward_pass_is_what_it_takes(record, tmp_path):
    model = tmp_path / "net.prototxt"
    model.write_text(text_of_net(*VIDEO_NET))
    predicted = inference_need(str(model))
    kernels.set_mode("gpu")
    net_of(*VIDEO_NET, share=True).forward()
    assert record.peak == predicted.peak


def test_the_predicted_memory_of_a_training_is_what_it_takes(record):
    text = text_of_net(*VIDEO_NET, layer("loss", "y", "loss", 'type: "Reduction" loss_weight: 1'))
    solver = parse('base_lr: 0.001 lr_policy: "fixed" momentum: 0.9', caffe_pb2.SolverParameter())
    solver.train_net_param.CopyFrom(parse(text, caffe_pb2.NetParameter()))
    predicted = training_need(solver)
    kernels.set_mode("gpu")
    with contextlib.closing(get_solver(solver, share=True)) as training:
        training.step(2)
    assert record.peak == pytest.approx(predicted.peak, rel=0.05)


def test_batch_norm_and_relu_go_along(device):
    plain, shared = net_of(*VIDEO_NET), net_of(*VIDEO_NET, share=True)
    assert find_fusions(shared, forward_only=True) == {1: 3}
    np.testing.assert_allclose(shared.forward()["y"], plain.forward()["y"], rtol=0, atol=1e-5)


def test_batch_norm_of_other_channels_goes_by_itself():
    """BN's channels are those of axis 1, whichever are the convolution's."""
    conv = layer("conv", "x", "a", text_of("Convolution", 3, (2,), more=f"{FILLERS} axis: 2"))
    plain, shared = net_of(conv, BN, RELU), net_of(conv, BN, RELU, share=True)
    assert find_fusions(shared, forward_only=True) == {}
    np.testing.assert_array_equal(shared.forward()["a"], plain.forward()["a"])


@pytest.mark.parametrize("precision, bound", [("TF32", 2.0**-9), ("BFLOAT16", 2.0**-6)])
def test_products_keep_the_digits_that_they_are_asked_to_keep(device, precision, bound):
    exact, rounded = (net_of(*VIDEO_NET, precision=one).forward()["y"] for one in ("FLOAT32", precision))
    error = np.abs(rounded - exact).max() / np.abs(exact).max()
    assert bound / 2**7 < error < bound


@pytest.mark.parametrize("form", ["w.caffemodel", "w.caffemodel.h5", "w.npz", "w.safetensors"])
def test_weights_of_any_number_of_axes_load_again(tmp_path, form):
    saved, loaded = net_of(*VIDEO_NET), net_of(*VIDEO_NET, seed=2)
    shapes = {name: blobs[0].shape for name, blobs in saved.params.items()}
    assert shapes["conv"] == (16, 3, 3, 3, 3) and shapes["up"] == (16, 2, 2, 4, 4) and shapes["row"] == (5, 8, 3)
    saved.save(tmp_path / form)
    report = loaded.copy_from(tmp_path / form)
    assert len(report.matched) == 4 and not report.missing
    np.testing.assert_array_equal(loaded.forward()["y"], saved.forward()["y"])


def test_weights_of_the_old_four_axes_load_into_as_many_numbers(tmp_path):
    """A row's weights from a net that wrote it as a plane of one line."""
    model = caffe_pb2.NetParameter()
    blob = model.layer.add(name="row").blobs.add(num=5, channels=8, height=1, width=3)
    blob.data.extend(range(120))
    (tmp_path / "w.caffemodel").write_bytes(model.SerializeToString())
    net = net_of(*(one.replace("bias_term: true", "bias_term: false") for one in VIDEO_NET))
    net.copy_from(tmp_path / "w.caffemodel")
    np.testing.assert_array_equal(net.params["row"][0].data, np.arange(120).reshape(5, 8, 3))


@pytest.mark.parametrize("filler, deviation", [("xavier", (1 / 108) ** 0.5), ("msra", (2 / 108) ** 0.5)])
def test_a_filler_counts_all_that_an_output_sees(filler, deviation):
    more = f'weight_filler {{ type: "{filler}" }}'
    case = OneLayer(text_of("Convolution", 400, (3, 3, 3), more=more), numbers(1, 4, 3, 3, 3))
    assert case.parameters[0].std() == pytest.approx(deviation, rel=0.02)


def test_bilinear_weights_are_for_planes():
    with pytest.raises(
        ValueError, match=r"bilinear filler is for square kernels \(N, C, k, k\), not \(2, 1, 4, 4, 4\)"
    ):
        OneLayer(
            text_of("Deconvolution", 2, (4,) * 3, group=2, more='weight_filler { type: "bilinear" }'),
            numbers(1, 2, 3, 3, 3),
        )
    up = text_of("Deconvolution", 3, (4,), (2,), bias=False, more='weight_filler { type: "constant" value: 7 }')
    net = net_of(layer("up", "x", "a", up))
    assert fill_bilinear(net) == [] and (net.params["up"][0].data == 7).all()


@pytest.mark.parametrize(
    "text, parameters, multiply_adds",
    [
        (text_of("Convolution", 4, (2, 3, 1)), 4 * 3 * 6 + 4, 2 * 4 * (2 * 4 * 5) * 3 * 6),
        (text_of("Convolution", 3, (2, 3, 1), group=3), 3 * 6 + 3, 2 * 3 * (2 * 4 * 5) * 6),
        (text_of("Deconvolution", 4, (2, 3, 1), bias=False), 3 * 4 * 6, 2 * 3 * (3 * 6 * 5) * 4 * 6),
        (text_of("Convolution", 4, (2,), more="axis: 3", bias=False), 4 * 6 * 2, 2 * 3 * 3 * 4 * 4 * 6 * 2),
    ],
)
def test_a_summary_counts_every_tap(text, parameters, multiply_adds):
    row = summarize(
        Net(parse(text_of_net(layer("one", "x", "y", text)), caffe_pb2.NetParameter()), caffe_pb2.TEST, fill=False)
    )[1]
    assert (row.parameters, row.multiply_adds) == (parameters, multiply_adds)


def test_a_box_of_a_drawing_tells_every_size():
    net = parse(text_of_net(*VIDEO_NET), caffe_pb2.NetParameter())
    assert "Convolution 16, 3x3x3" in dot_source(net)


def test_only_planes_have_a_coordinate_map():
    for shape, kernel in (((1, 2, 5), (3,)), ((1, 2, 5, 5, 5), (3, 3, 3))):
        for kind in ("Convolution", "Deconvolution"):
            assert OneLayer(text_of(kind, 2, kernel), numbers(*shape)).layer.coordinate_map() is None
    crop = 'type: "Crop" bottom: "x" crop_param { computed: true }'
    with pytest.raises(NetError, match="its offset cannot be computed: give crop_param { offset }"):
        net_of(CONV, layer("crop", "a", "c", crop))
