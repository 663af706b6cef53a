"""The predicted memory of a GPU is what arrays take when the same training really runs through the GPU path (stand-in for CuPy)."""

import contextlib
from pathlib import Path

import gpu_ours
import pytest
import stand_in_cupy
import tiny_training

from deconvnet.core import kernels
from deconvnet.core.kernels import device
from deconvnet.core.net import Net, NetError, data_shapes, with_inputs
from deconvnet.core.proto import caffe_pb2, filter_net, parse, read_net, read_solver
from deconvnet.core.solver import CONTEXT, find_train_net, get_solver, inference_need, largest_batch, training_need

ROOT = Path(__file__).resolve().parents[2]
STAGE_2 = ROOT / "solver" / "stage2.prototxt"
NETS = ("demo/stage1_train_val.prototxt", "demo/stage2_train_val.prototxt")


@pytest.fixture
def record(monkeypatch):
    """What happens on the stand-in until the test ends."""
    yield stand_in_cupy.install(monkeypatch)
    kernels.set_mode("cpu")


def run(solver, iterations, precision="FLOAT32"):
    """Train on the device that is not there."""
    kernels.set_mode("gpu")
    with contextlib.closing(get_solver(solver, share=True, precision=precision)) as training:
        training.step(iterations)


def solver_without_files(model):
    """A solver for a net of prototxt/, its data in the place of inputs, trained and tested at the sizes that the net says."""
    fields = 'base_lr: 0.001 lr_policy: "fixed" momentum: 0.9 test_iter: 1 test_interval: 5 solver_mode: CPU'
    solver = parse(fields, caffe_pb2.SolverParameter())
    written = read_net(ROOT / "prototxt" / model)
    for phase, param in ((caffe_pb2.TRAIN, solver.train_net_param), (caffe_pb2.TEST, solver.test_net_param.add())):
        filtered = filter_net(written, caffe_pb2.NetState(phase=phase))
        param.CopyFrom(with_inputs(filtered, data_shapes(filtered)))
    return solver


@pytest.mark.parametrize("model", NETS)
def test_the_prediction_for_the_demos_nets_is_what_a_training_takes(record, model):
    solver = solver_without_files(model)
    predicted = training_need(solver)
    run(solver, 2)
    assert record.peak == pytest.approx(predicted.peak, rel=0.05)


def test_the_prediction_knows_that_tensor_cores_take_other_workspaces(record):
    solver = solver_without_files(NETS[1])
    predicted = training_need(solver, precision="BFLOAT16")
    assert predicted.rest != training_need(solver).rest
    run(solver, 2, "BFLOAT16")
    assert record.peak == pytest.approx(predicted.peak, rel=0.05)


@pytest.mark.parametrize("model", [*NETS, "deconvnet_stage2_train_val.prototxt"])
def test_the_prediction_is_what_arrays_take_of_a_gpu(gpu, monkeypatch, model):
    if gpu == "ptx" or (gpu == "stand-in" and model not in NETS):
        pytest.skip("the full net takes too long where the host does the work of a GPU")
    solver = solver_without_files(model)
    predicted = training_need(solver)
    monkeypatch.setattr(device._workspaces, "held", {})  # those of other tests
    kernels.set_mode("gpu")
    with gpu_ours.watched_memory() as watch:
        run(solver, 2)
        assert watch.peak == pytest.approx(predicted.peak, rel=0.05)


@pytest.mark.parametrize(
    "fields",
    [
        "",
        "test_iter: 2 test_interval: 2",
        "clip_gradients: 1 iter_size: 2",
        'test_iter: 2 test_interval: 2 recompute: true recompute_convolution: "conv"',
    ],
)
def test_the_prediction_covers_data_layers_test_nets_and_clipping(record, tmp_path, fields):
    path = str(tiny_training.write_seg_solver(tmp_path, fields))
    predicted = training_need(read_solver(path), path)
    run(path, 4)
    assert record.peak == pytest.approx(predicted.peak, rel=0.05)


def test_the_prediction_for_a_forward_pass_is_what_it_takes(record):
    model = str(ROOT / "prototxt" / "demo" / "deploy.prototxt")
    predicted = inference_need(model, 3)
    kernels.set_mode("gpu")
    net = Net(with_inputs(read_net(model), {"data": (3, 3, 32, 32)}), caffe_pb2.TEST, seed=1, share=True)
    net.forward()
    assert record.peak == predicted.peak


def test_the_parts_of_a_training_are_told_apart():
    """Stage 2 of the paper: 251.8 million parameters, as many gradients and velocities."""
    need = training_need(read_solver(STAGE_2), str(STAGE_2))
    assert need.parameters == need.gradients == need.momentum == 4 * 251_805_653
    assert need.data > need.diffs > 0 and need.rest > 0
    assert sum(need[1:]) + need.rest == need.peak


def test_more_examples_take_more_memory_and_the_largest_batch_is_the_last_that_fits():
    param = read_solver(STAGE_2)

    def need(batch):
        return training_need(param, str(STAGE_2), batch)

    limit = 9_000_000_000
    batch = largest_batch(need, limit)
    assert batch > 1 and need(batch).peak <= limit < need(batch + 1).peak
    assert largest_batch(need, 1000) == 0


@pytest.mark.parametrize("stage", [1, 2])
def test_the_papers_training_takes_as_few_batches_an_update_as_12_gb_allow(stage):
    path = str(ROOT / "solver" / f"stage{stage}.prototxt")
    param = read_solver(path)
    net = read_net(find_train_net(param, path).model)
    batch = next(layer for layer in net.layer if layer.type.endswith("SegData")).image_data_param.batch_size
    room = 12_000_000_000 - CONTEXT
    assert batch * param.iter_size == 64
    assert training_need(param, path, batch).peak <= room < training_need(param, path, 2 * batch).peak


def test_what_is_computed_again_lets_a_gpu_of_12_gb_train_batches_of_64():
    param = read_solver(STAGE_2)
    everything = training_need(param, str(STAGE_2), 64)
    param.ClearField("recompute_convolution")
    maps = training_need(param, str(STAGE_2), 64)
    param.recompute = False
    nothing = training_need(param, str(STAGE_2), 64)
    assert everything.peak < 12_000_000_000 - CONTEXT < maps.peak
    assert maps.data < 0.6 * nothing.data and maps.diffs == nothing.diffs
    assert everything.data + everything.diffs < 0.75 * (maps.data + maps.diffs)
    said = [f"{(need.peak + CONTEXT) / 1e9:.1f}" for need in (everything, maps, nothing)]
    for name in ("solver/stage1.prototxt", "solver/stage2.prototxt", "docs/gpu.md", "docs/kernels.md"):
        text = (ROOT / name).read_text()
        assert all(f"{size} GB" in text for size in said), name
    assert f"in one batch, which takes {said[0]} GB of a GPU" in (ROOT / "README.md").read_text()


def test_the_convolutions_of_stage_2_that_are_computed_again_take_a_twentieth_of_its_products():
    param = read_solver(STAGE_2)
    net = Net(
        param.net, caffe_pb2.TRAIN, fill=False, input_shapes={"data": (1, 3, 224, 224), "label": (1, 1, 224, 224)}
    )
    products = {layer.name: layer.multiply_adds(bottom, top) for layer, bottom, top in net.connections()}
    again = sum(products[name] for name in param.recompute_convolution)
    assert 0.045 < again / (3 * sum(products.values())) < 0.05  # a training step: forward, and two products backward


def test_a_dry_run_takes_no_memory_of_this_machine_and_leaves_the_mode(record):
    before = kernels.mode()
    need = training_need(read_solver(STAGE_2), str(STAGE_2), 8192)
    assert need.peak > 1e12 and kernels.mode() == before
    assert record.peak == 0


def test_data_whose_shapes_only_its_files_say_must_be_given():
    net = parse(
        'layer { name: "d" type: "HDF5Data" top: "x" hdf5_data_param { source: "f" } }', caffe_pb2.NetParameter()
    )
    solver = parse('base_lr: 1 lr_policy: "fixed"', caffe_pb2.SolverParameter(net_param=net))
    with pytest.raises(
        NetError, match=r"layer 'd' \(HDF5Data\): its files say what shapes it makes: give shapes for x"
    ):
        training_need(solver)
    assert training_need(solver, shapes={"x": (1, 2)}).parameters == 0


def test_shapes_and_batch_are_of_the_train_net_where_a_test_net_says_its_own():
    net = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: %d dim: %d } } }
    layer { name: "power" type: "Power" bottom: "x" top: "y" }
    """

    def data(train, **options):
        solver = parse('base_lr: 1 lr_policy: "fixed" test_iter: 1 test_interval: 1', caffe_pb2.SolverParameter())
        solver.train_net_param.CopyFrom(parse(net % train, caffe_pb2.NetParameter()))
        solver.test_net_param.add().CopyFrom(parse(net % (7, 900), caffe_pb2.NetParameter()))
        return training_need(solver, **options).data

    assert data((1, 100), shapes={"x": (2, 2000)}) == data((2, 2000)) > data((1, 100)) > 4 * 7 * 900
    assert data((1, 100), batch=50) == data((50, 100))
    assert data((1, 100), batch=50, shapes={"x": (2, 2000)}) == data((50, 2000))
    with pytest.raises(NetError, match="'z' is no input or data of the net: those are x"):
        data((1, 1), shapes={"z": (1,)})
