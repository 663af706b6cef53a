"""Training through the Python of the GPU path, a stand-in in the place of CuPy: what is uploaded, fetched, launched and kept."""

import contextlib

import numpy as np
import pytest
import stand_in_cupy
import tiny_training
from stand_in_cupy import DeviceArray, Pointer

from deconvnet.core import kernels
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2, parse
from deconvnet.core.solver import SOLVERS, get_solver

# what one reads of a device in an iteration: losses, counts, accuracies
NUMBER = 8
FIELDS = "random_seed: 5 iter_size: 2 clip_gradients: 10 test_iter: 2 test_interval: 2 average_loss: 2"


@pytest.fixture
def record(monkeypatch):
    """What happens on the stand-in until the test ends."""
    yield stand_in_cupy.install(monkeypatch)
    kernels.set_mode("cpu")


def test_a_running_iteration_uploads_its_batches_and_fetches_single_numbers(record, tmp_path):
    path = tiny_training.write_seg_solver(tmp_path, FIELDS.replace("test_iter: 2 test_interval: 2", ""))
    kernels.set_mode("gpu")
    with contextlib.closing(get_solver(path, share=True)) as solver:
        solver.step(1)  # uploads the weights
        record.to_host.clear(), record.to_device.clear()
        solver.step(1)
        batches = [4 * solver.net.blobs[name].count for name in ("data", "label")]
    assert sorted(size for size in record.to_device if size > NUMBER) == sorted(batches * solver.param.iter_size)
    assert max(record.to_host) <= NUMBER


@pytest.mark.parametrize("kind", SOLVERS)
def test_every_solver_type_moves_all_parameters_in_one_launch_as_the_host_does(record, tmp_path, kind):
    momentum = 0 if kind in ("AdaGrad", "RMSProp") else 0.9
    path = tiny_training.write_dummy_solver(
        tmp_path, f'type: "{kind}" momentum: {momentum} random_seed: 5 base_lr: 0.01'
    )
    weights = []
    for mode in ("cpu", "gpu"):
        kernels.set_mode(mode)
        solver = get_solver(path)
        solver.step(3)
        weights.append(solver.net.arrays())
    updates = [launch.name for launch in record.launches if "_update" in launch.name]
    assert updates == [f"{kind.lower()}_update_all"] * 3
    for name, ours in weights[0].items():
        for one, other in zip(ours, weights[1][name], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_an_iteration_takes_no_new_memory(record, tmp_path):
    path = tiny_training.write_seg_solver(tmp_path, FIELDS)
    kernels.set_mode("gpu")
    with contextlib.closing(get_solver(path, share=True)) as solver:
        solver.step(2)
        live, peak = record.live, record.peak
        solver.step(4)
        assert (record.live, record.peak) == (live, peak)


def test_blobs_are_uploaded_when_the_host_wrote_them_and_fetched_when_it_reads(record, tmp_path):
    kernels.set_mode("gpu")
    solver = get_solver(tiny_training.write_dummy_solver(tmp_path))
    weights = solver.net.layers_by_name()["conv"].blobs[0]
    assert isinstance(weights.data, DeviceArray)
    record.to_host.clear(), record.to_device.clear()
    weights.data, weights.data  # noqa: B018
    assert (record.to_host, record.to_device) == ([], [])
    before = solver.net.params["conv"][0].data.copy()
    assert record.to_host == [weights.count * 4]
    solver.net.params["conv"][0].data[...] = before + 1
    np.testing.assert_array_equal(weights.data.get(), before + 1)
    assert record.to_device == [weights.count * 4]


def test_a_forward_pass_uploads_its_input_and_fetches_its_output(record):
    kernels.set_mode("gpu")
    shape = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }'
    net = Net(
        parse(shape + 'layer { name: "relu" type: "ReLU" bottom: "data" top: "y" }', caffe_pb2.NetParameter()),
        caffe_pb2.TEST,
    )
    for _ in range(2):
        record.to_host.clear(), record.to_device.clear()
        assert net.forward(data=np.full((2, 3), 4))["y"].tolist() == [[4, 4, 4]] * 2
        assert (record.to_host, record.to_device) == ([24], [24])


def test_every_launch_of_a_training_has_a_grid_for_the_device_and_aligned_arrays(record, tmp_path):
    kernels.set_mode("gpu")
    with contextlib.closing(get_solver(tiny_training.write_seg_solver(tmp_path, FIELDS), share=True)) as solver:
        solver.step(2)
    assert record.launches
    for launch in record.launches:
        (blocks,), (threads,) = launch.grid, launch.block
        assert threads in range(32, 1025, 32) and 1 <= blocks <= 128 * stand_in_cupy.PROCESSORS
        for argument in launch.arguments:
            assert not isinstance(argument, Pointer) or argument.contiguous and argument.aligned
