"""Snapshots: what is written, exact resume, and files that are no snapshot."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_training import DUMMY_NET, RECURRENT_NET, dummy_solver, write_dummy_solver, write_seg_solver

from deconvnet.core.blob import set_seed
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2
from deconvnet.core.solver import SGDSolver, SolverError, read_state

FORMS = ["BINARYPROTO", "HDF5"]
# every kind of state at once: draws of data layers and Dropout, micro-batches, test passes, plateau, a window of losses
EVERYTHING = """
iter_size: 2 average_loss: 4 lr_policy: "plateau" gamma: 0.7 test_iter: 2 test_interval: 3 max_iter: 11
"""


def state_of(solver):
    """All that a resumed run must have in common with an undisturbed one."""
    parameters = {name: [blob.data.copy() for blob in blobs] for name, blobs in solver.net.params.items()}
    history = [blob.host_data.copy() for blob in solver.history]
    policy = (solver.policy.best, solver.policy.wait, solver.policy.rate, solver.policy.drops)
    positions = [layer.position for net in (solver.net, *solver.test_nets) for layer, *_ in net.connections()]
    return parameters, history, policy, positions, carried_of(solver), list(solver.losses), solver.seed, solver.iter


def carried_of(solver):
    """Copies of what recurrent layers go on from."""
    layers = [layer for net in (solver.net, *solver.test_nets) for layer, *_ in net.connections()]
    return [blob.host_data.copy() for layer in layers for blob in layer.carried]


def assert_same(ours, theirs):
    np.testing.assert_equal(ours, theirs)  # to the bit, whatever the nesting


@pytest.fixture(params=["dummy", "seg", "recurrent"])
def solver_file(request, tmp_path):
    """A solver with everything that a state must hold, on drawn numbers, on image files and on sequences that go on."""
    if request.param == "recurrent":
        return write_dummy_solver(tmp_path, EVERYTHING, RECURRENT_NET)
    write = {"dummy": write_dummy_solver, "seg": write_seg_solver}[request.param]
    return write(tmp_path, EVERYTHING)


@pytest.mark.parametrize("stop", [1, 3, 7])
def test_a_resumed_run_goes_on_to_the_bit_as_if_it_had_never_stopped(solver_file, tmp_path, stop, monkeypatch):
    monkeypatch.setattr("deconvnet.core.blob.randomness._seed", None)  # each solver draws a seed of its own
    undisturbed = SGDSolver(solver_file)
    undisturbed.step(stop)
    path = undisturbed.snapshot()
    undisturbed.step(11 - stop)
    resumed = SGDSolver(solver_file)
    assert resumed.seed != undisturbed.seed
    resumed.restore(path)
    assert resumed.iter == stop
    resumed.step(11 - stop)
    assert_same(state_of(resumed), state_of(undisturbed))
    for solver in (undisturbed, resumed):
        solver.close()


def test_the_rate_drops_in_the_run_that_is_resumed(tmp_path):
    solver = SGDSolver(write_dummy_solver(tmp_path, EVERYTHING))
    solver.step(11)
    assert solver.policy.drops >= 1


def test_plateau_goes_on_waiting_where_it_stopped(tmp_path):
    path = write_dummy_solver(tmp_path, f"{EVERYTHING} plateau_patience: 3")
    solver = SGDSolver(path)
    solver.policy.best, solver.policy.wait, solver.policy.rate = 2.0, 2, 0.01
    resumed = SGDSolver(path)
    resumed.restore(solver.snapshot())
    assert (resumed.policy.best, resumed.policy.wait, resumed.policy.rate) == (2.0, 2, 0.01)
    resumed.test()
    assert resumed.learning_rate == pytest.approx(0.007)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("net", [DUMMY_NET, RECURRENT_NET], ids=["dummy", "recurrent"])
def test_both_formats_hold_the_same_state(tmp_path, form, net):
    path = write_dummy_solver(tmp_path, f"{EVERYTHING} snapshot_format: {form} random_seed: 4", net)
    solver = SGDSolver(path)
    solver.step(7)
    resumed = SGDSolver(path)
    resumed.restore(solver.snapshot())
    assert_same(state_of(resumed), state_of(solver))


def test_states_of_another_number_of_streams_begin_anew_with_a_warning(tmp_path, capsys):
    solver = SGDSolver(write_dummy_solver(tmp_path, "random_seed: 1", RECURRENT_NET))
    solver.step(1)
    state = solver.snapshot()
    wider = RECURRENT_NET.replace("dim: 3 dim: 2", "dim: 3 dim: 4")
    resumed = SGDSolver(write_dummy_solver(tmp_path, "random_seed: 1", wider))
    capsys.readouterr()
    resumed.restore(state)
    assert (
        "layer 'lstm' carried states of the shapes [(2, 5), (2, 5)], here of [(4, 5), (4, 5)]"
        in capsys.readouterr().err
    )
    assert not any(values.any() for values in carried_of(resumed))


def test_a_state_without_carried_ones_leaves_them(tmp_path):
    """Caffe's holds none."""
    solver = SGDSolver(write_dummy_solver(tmp_path, "random_seed: 1", RECURRENT_NET))
    solver.step(1)
    path = Path(solver.snapshot())
    message = caffe_pb2.SolverState.FromString(path.read_bytes())
    del message.carried_state[:]
    path.write_bytes(message.SerializeToString())
    before = carried_of(solver)
    solver.restore(path)
    assert_same(carried_of(solver), before)


def test_solve_resumes_from_a_snapshot_and_ends_at_max_iter(tmp_path):
    path = write_dummy_solver(tmp_path, "snapshot: 4 random_seed: 1")
    whole = SGDSolver(path)
    whole.solve()
    resumed = SGDSolver(path)
    resumed.solve(tmp_path / "snapshots/run_iter_4.solverstate")
    assert resumed.iter == 8
    assert_same(resumed.net.arrays(), whole.net.arrays())


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_snapshots_are_named_as_caffe_names_them_and_the_folder_is_made(tmp_path):
    SGDSolver(write_dummy_solver(tmp_path, "snapshot: 4")).solve()
    names = [f"run_iter_{n}.{kind}" for n in (4, 8) for kind in ("caffemodel", "solverstate")]
    assert files(tmp_path / "snapshots") == names


@pytest.mark.parametrize(
    "fields, iterations", [("snapshot: 3", [3, 6, 8]), ("snapshot: 3 snapshot_after_train: false", [3, 6])]
)
def test_the_end_is_snapshotted_unless_snapshot_after_train_is_false(tmp_path, fields, iterations):
    SGDSolver(write_dummy_solver(tmp_path, fields)).solve()
    assert files(tmp_path / "snapshots")[::2] == [f"run_iter_{n}.caffemodel" for n in iterations]


def test_the_weights_of_a_snapshot_are_read_by_protobuf_alone(tmp_path):
    solver = SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/x"'))
    solver.snapshot()
    net = caffe_pb2.NetParameter.FromString((tmp_path / "x_iter_0.caffemodel").read_bytes())
    stored = {
        layer.name: [np.array(blob.data, np.float32) for blob in layer.blobs] for layer in net.layer if layer.blobs
    }
    assert_same(stored, {name: [a.ravel() for a in arrays] for name, arrays in solver.net.arrays().items()})


def test_an_hdf5_snapshot_is_in_caffes_layout(tmp_path):
    solver = SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/x" snapshot_format: HDF5'))
    solver.step(1)
    solver.snapshot()
    with (
        h5py.File(tmp_path / "x_iter_1.caffemodel.h5") as model,
        h5py.File(tmp_path / "x_iter_1.solverstate.h5") as state,
    ):
        assert np.array_equal(model["data/ip/0"], solver.net.params["ip"][0].data)
        assert "diff" not in model
        assert np.array_equal(state["history/0"], solver.history[0].host_data)
        assert int(state["iter"][0]) == 1
        kind = state["learned_net"].id.get_type()  # C programs read up to a zero
        assert kind.get_strpad() == h5py.h5t.STR_NULLTERM
        assert kind.get_size() == len(f"{tmp_path}/x_iter_1.caffemodel.h5") + 1


@pytest.mark.parametrize("form", FORMS)
def test_snapshot_diff_stores_the_last_update_beside_the_weights(tmp_path, form):
    fields = f'snapshot_prefix: "{tmp_path}/x" snapshot_format: {form} snapshot_diff: true'
    solver = SGDSolver(dummy_solver(fields))
    before = {name: [array.copy() for array in arrays] for name, arrays in solver.net.arrays().items()}
    solver.step(1)
    resumed = SGDSolver(dummy_solver(fields))
    resumed.restore(solver.snapshot())
    assert_same(resumed.net.arrays(), solver.net.arrays())
    for name, updates in diffs_in(tmp_path, form).items():
        for update, old, new in zip(updates, before[name], solver.net.arrays()[name], strict=True):
            np.testing.assert_allclose(update, old - new, rtol=0, atol=1e-7)
            assert update.any()


def diffs_in(folder, form):
    """The diffs of the snapshot of iteration 1, by h5py or protobuf alone."""
    if form == "HDF5":
        with h5py.File(folder / "x_iter_1.caffemodel.h5") as file:
            return {name: [layer[str(i)][()] for i in range(len(layer))] for name, layer in file["diff"].items()}
    net = caffe_pb2.NetParameter.FromString((folder / "x_iter_1.caffemodel").read_bytes())
    return {
        layer.name: [np.array(blob.diff, np.float32).reshape(tuple(blob.shape.dim)) for blob in layer.blobs]
        for layer in net.layer
        if layer.blobs
    }


def test_a_snapshot_may_be_moved_with_its_model(tmp_path):
    solver = SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/old/x" snapshot: 5 random_seed: 1'))
    solver.step(1)
    solver.snapshot()
    shutil.move(tmp_path / "old", tmp_path / "new")
    resumed = SGDSolver(dummy_solver(""))
    resumed.restore(tmp_path / "new/x_iter_1.solverstate")
    assert_same(resumed.net.arrays(), solver.net.arrays())


def test_a_state_without_its_model_is_one_line_naming_the_model(tmp_path):
    solver = SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/x"'))
    path = solver.snapshot()
    (tmp_path / "x_iter_0.caffemodel").unlink()
    with pytest.raises(FileNotFoundError, match="no such file: .*/x_iter_0.caffemodel, the weights written with"):
        solver.restore(path)


def test_a_model_that_lacks_layers_is_not_resumed_from(tmp_path):
    solver = SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/x"'))
    path = solver.snapshot()
    model = tmp_path / "x_iter_0.caffemodel"
    net = caffe_pb2.NetParameter.FromString(model.read_bytes())
    next(layer for layer in net.layer if layer.name == "ip").ClearField("blobs")
    model.write_bytes(net.SerializeToString())
    with pytest.raises(SolverError, match=f"^{model}: lacks the weights of ip, so {path} cannot be resumed from"):
        solver.restore(path)


def test_another_environment_is_one_warning(tmp_path, monkeypatch, capsys):
    solver = SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/x"'))
    path = solver.snapshot()
    solver.restore(path)
    assert "last bits may differ" not in capsys.readouterr().err
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    solver.restore(path)
    assert capsys.readouterr().err.count("77 threads") == 1


@pytest.mark.parametrize("form", FORMS)
def test_another_precision_is_one_warning(tmp_path, form, capsys):
    param = dummy_solver(f'snapshot_prefix: "{tmp_path}/x" snapshot_format: {form}')
    path = SGDSolver(param, precision="TF32").snapshot()
    SGDSolver(param, precision="TF32").restore(path)
    assert "trained with" not in capsys.readouterr().err
    SGDSolver(param).restore(path)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "trained with" in line]
    said = "was trained with precision TF32; here: FLOAT32; resume with precision TF32 (--precision) to go on as it was"
    assert line.endswith(f"{path} {said}")


def test_a_state_that_names_no_precision_is_resumed_from_without_a_word(tmp_path, capsys):
    path = SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/x"')).snapshot()
    state = caffe_pb2.SolverState.FromString(Path(path).read_bytes())
    state.ClearField("precision")
    Path(path).write_bytes(state.SerializeToString())
    SGDSolver(dummy_solver(""), precision="TF32").restore(path)
    assert "trained with" not in capsys.readouterr().err


@pytest.mark.parametrize("fields", ["snapshot: 1", ""])
def test_a_prefix_that_cannot_be_written_is_an_error_before_training(tmp_path, fields):
    (tmp_path / "file").touch()
    with pytest.raises(SolverError, match=f"snapshot_prefix '{tmp_path}/file/x'"):
        SGDSolver(dummy_solver(f'{fields} snapshot_prefix: "{tmp_path}/file/x" base_lr: 1e30')).solve()


def test_a_solver_without_a_prefix_is_an_error_before_training():
    with pytest.raises(SolverError, match="snapshot_prefix is missing"):
        SGDSolver(dummy_solver("base_lr: 1e30")).solve()


@pytest.mark.parametrize(
    "place, value, said",
    [
        ("deconvnet.core.solver.snapshot._processor", lambda: "another processor", "another processor; "),
        ("numpy.__version__", "9.9", "numpy 9.9, "),
        (
            "numpy.show_config",
            lambda mode: {"Build Dependencies": {"blas": {"name": "mkl", "version": "1"}}},
            "mkl 1; ",
        ),
    ],
)
def test_another_processor_or_blas_is_one_warning(tmp_path, monkeypatch, capsys, place, value, said):
    solver = SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/x"'))
    path = solver.snapshot()
    monkeypatch.setattr(place, value)
    solver.restore(path)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "last bits may differ" in line]
    assert said in line.partition("; here: ")[2]


def test_a_resumed_run_tests_on_the_images_that_were_next(tmp_path, capsys):
    # 7 images in passes of 2 and 3 batches of 3: each pass sees others; resumed before the passes of iteration 4
    fields = "test_iter: 2 test_iter: 3 test_interval: 2 max_iter: 8 random_seed: 2 snapshot: 4"
    path = write_seg_solver(tmp_path, fields)

    def tested(resume=None):
        solver = SGDSolver(path)
        solver.solve(resume)
        solver.close()
        lines = capsys.readouterr().err.splitlines()
        shown = [line.partition("] ")[2] for line in lines]
        return [line for line in shown if "Test net output" in line or "Testing net" in line]

    whole = tested()
    first = whole.index("Iteration 4, Testing net (#0)")
    assert tested(tmp_path / "snapshots/run_iter_4.solverstate") == whole[first:]
    cursors = read_state(tmp_path / "snapshots/run_iter_4.solverstate").message.data_cursor
    positions = {cursor.test_net: cursor.position for cursor in cursors if cursor.layer == "data"}
    assert positions == {-1: 4 * 3, 0: 2 * 2 * 3, 1: 2 * 3 * 3}


@pytest.fixture
def pair(tmp_path):
    """(solver, model, state): a snapshot after one step."""
    solver = SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/x"'))
    solver.step(1)
    return solver, tmp_path / "x_iter_1.caffemodel", solver.snapshot()


def test_weights_given_as_a_snapshot_are_recognised(pair, tmp_path):
    solver, model, _ = pair
    solver.net.save_hdf5(tmp_path / "w.caffemodel.h5")
    for path in (model, tmp_path / "w.caffemodel.h5"):
        with pytest.raises(SolverError, match=f"^{path}: holds weights, .*--snapshot X.solverstate.*--weights"):
            solver.restore(path)


@pytest.mark.parametrize("form", FORMS)
def test_a_state_cut_off_anywhere_is_refused_and_nothing_is_changed(tmp_path, form):
    param = dummy_solver(f'snapshot_prefix: "{tmp_path}/x" snapshot_format: {form}')
    path = SGDSolver(param).snapshot()
    solver = SGDSolver(param)
    solver.step(1)
    before = state_of_any(solver)
    with open(path, "rb") as file:
        whole = file.read()
    for size in range(0, len(whole) - 1, max(1, len(whole) // 150)):
        with open(path, "wb") as file:
            file.write(whole[:size])
        with pytest.raises(SolverError, match="iter_0.solverstate"):
            solver.restore(path)
    assert_same(state_of_any(solver), before)


def state_of_any(solver):
    return [solver.net.arrays(), [blob.host_data.copy() for blob in solver.history], solver.iter, list(solver.losses)]


@pytest.mark.parametrize("content", [b"", b"nonsense", bytes(range(200, 256)), b"name: 'net'"])
def test_a_file_that_is_no_state_is_refused(tmp_path, content):
    (tmp_path / "x.solverstate").write_bytes(content)
    with pytest.raises(SolverError, match="x.solverstate: "):
        read_state(tmp_path / "x.solverstate")


def test_a_missing_state_and_a_folder_are_said_plainly(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such snapshot: .*gone.solverstate"):
        read_state(tmp_path / "gone.solverstate")
    with pytest.raises(SolverError, match="a folder"):
        read_state(tmp_path)


def test_the_state_of_another_net_is_refused_with_both_shapes(pair):
    _, _, state = pair
    net = "layer { name: 'd' type: 'DummyData' top: 'd' dummy_data_param { shape { dim: 1 dim: 2 } } }"
    net += "layer { name: 'ip' type: 'InnerProduct' bottom: 'd' top: 'ip' inner_product_param { num_output: 5 } }"
    with pytest.raises(SolverError, match=r"4 arrays of momentum \(3x2x3x3, 3, .*type and net keep 2 \(5x2, 5\)"):
        SGDSolver(dummy_solver("", net)).restore(state)


def test_a_state_is_read_by_protobuf_alone_with_our_fields_beside_caffes(pair):
    solver, model, path = pair
    with open(path, "rb") as file:
        state = caffe_pb2.SolverState.FromString(file.read())
    assert (state.iter, state.learned_net, state.random_seed) == (1, str(model), solver.seed)
    assert {(c.layer, c.test_net): c.position for c in state.data_cursor} == {("data", -1): 1, ("drop", -1): 1}
    for blob, velocity in zip(state.history, solver.history, strict=True):
        assert np.array_equal(np.array(blob.data, np.float32), velocity.host_data.ravel())


def test_the_snapshot_net_loads_as_weights(pair):
    solver, model, _ = pair
    net = Net(solver.param.net_param, caffe_pb2.TEST, model)
    assert_same(net.arrays(), solver.net.arrays())


def test_a_set_seed_does_not_change_what_a_resumed_run_draws(pair, monkeypatch):
    solver, _, path = pair
    monkeypatch.setattr("deconvnet.core.blob.randomness._seed", None)
    set_seed(12345)
    resumed = SGDSolver(dummy_solver(""))
    resumed.restore(path)
    resumed.step(1)
    solver.step(1)
    assert_same(resumed.net.arrays(), solver.net.arrays())
