"""Which nets a solver trains and tests, and the weights it starts from."""

import numpy as np
import pytest
from tiny_training import DUMMY_NET, dummy_solver, write_dummy_solver

from deconvnet.core.proto import caffe_pb2, parse
from deconvnet.core.solver import (
    SGDSolver,
    SolverError,
    check_files,
    find_test_nets,
    find_train_net,
    weights_to_load,
)

TEST_ONLY = DUMMY_NET.replace('name: "dummy"', 'name: "apart"')


def solver_param(text):
    return parse(text, caffe_pb2.SolverParameter())


def test_one_net_serves_for_training_and_for_every_test_iter():
    solver = SGDSolver(dummy_solver("test_iter: 1 test_iter: 2 test_interval: 1"))
    assert solver.net.phase == caffe_pb2.TRAIN
    assert [net.phase for net in solver.test_nets] == [caffe_pb2.TEST, caffe_pb2.TEST]
    assert "accuracy" not in solver.net.blobs
    assert "accuracy" in solver.test_nets[0].blobs


def test_test_nets_of_their_own_come_first_then_the_common_net():
    param = dummy_solver("test_iter: 1 test_iter: 2 test_interval: 1")
    parse(TEST_ONLY, param.test_net_param.add())
    assert [net.name for net in SGDSolver(param).test_nets] == ["apart", "dummy"]


def test_train_net_and_test_net_may_be_files_of_their_own(tmp_path):
    (tmp_path / "train.prototxt").write_text(DUMMY_NET)
    (tmp_path / "test.prototxt").write_text(TEST_ONLY)
    param = solver_param(
        f'train_net: "{tmp_path}/train.prototxt" test_net: "{tmp_path}/test.prototxt" test_iter: 1 test_interval: 1'
    )
    assert find_train_net(param).build(0).name == "dummy"
    assert [source.build(0).name for source in find_test_nets(param)] == ["apart"]


def test_states_choose_layers_by_stage_and_level():
    net = DUMMY_NET.replace('name: "drop"', 'name: "drop" include { stage: "deep" min_level: 2 }')
    fields = """
    train_state { stage: "deep" level: 2 } test_iter: 1 test_iter: 1 test_interval: 1
    test_state { level: 2 } test_state { stage: "deep" level: 3 }
    """
    solver = SGDSolver(dummy_solver(fields, net))
    assert ["drop" in net.layer_names for net in (solver.net, *solver.test_nets)] == [True, False, True]


@pytest.mark.parametrize(
    "fields, said",
    [
        ('test_net: "t" test_interval: 1', "0 test_iter for 1 test nets: give one for each"),
        ("test_iter: 1 test_interval: 1", "1 test_iter for 0 test nets: give one for each"),
    ],
)
def test_numbers_of_test_iter_and_test_nets_that_do_not_fit_are_an_error(fields, said):
    with pytest.raises(SolverError, match=said):
        find_test_nets(solver_param(fields))


def test_a_missing_net_file_is_named_with_both_places(tmp_path):
    path = write_dummy_solver(tmp_path)
    (tmp_path / "prototxt/net.prototxt").unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"prototxt/net.prototxt \(nor {tmp_path}/prototxt/net.prototxt\), named in {path}"
    ):
        SGDSolver(path)


def trained_weights(tmp_path, net=DUMMY_NET):
    """The path of weights that differ from every filler's."""
    solver = SGDSolver(dummy_solver("random_seed: 77", net))
    path = tmp_path / "w.caffemodel"
    solver.net.save(path)
    return path, solver.net.params["ip"][0].data.copy()


def test_a_solver_starts_from_the_weights_it_names(tmp_path):
    path, values = trained_weights(tmp_path)
    solver = SGDSolver(dummy_solver(f'weights: "{path}"'))
    assert np.array_equal(solver.net.params["ip"][0].data, values)


def test_weights_given_by_the_caller_take_the_place_of_the_solvers_own(tmp_path):
    path, values = trained_weights(tmp_path)
    solver = SGDSolver(dummy_solver('weights: "absent.caffemodel"'), weights=[str(path)])
    assert np.array_equal(solver.net.params["ip"][0].data, values)
    assert not np.array_equal(
        SGDSolver(dummy_solver('weights: "absent.caffemodel"'), weights=[]).net.params["ip"][0].data, values
    )


def test_what_only_a_test_net_has_is_loaded_too(tmp_path):
    extra = """
    layer { name: "extra" type: "InnerProduct" bottom: "ip" top: "extra" include { phase: TEST }
      inner_product_param { num_output: 2 weight_filler { type: "gaussian" } } }
    """
    source = SGDSolver(dummy_solver("test_iter: 1 test_interval: 1", DUMMY_NET + extra)).test_nets[0]
    source.save(tmp_path / "w.caffemodel")
    solver = SGDSolver(
        dummy_solver(f'test_iter: 1 test_interval: 1 weights: "{tmp_path}/w.caffemodel"', DUMMY_NET + extra)
    )
    assert np.array_equal(solver.test_nets[0].params["extra"][0].data, source.params["extra"][0].data)


def test_missing_weights_are_named_with_the_solver_that_writes_them(tmp_path):
    first = write_dummy_solver(tmp_path, 'snapshot_prefix: "snapshots/first"')
    first = first.rename(first.with_name("first.prototxt"))
    second = write_dummy_solver(tmp_path, 'weights: "snapshots/first_iter_8.caffemodel"')
    with pytest.raises(
        FileNotFoundError, match=f"first_iter_8.caffemodel .*it is a snapshot of {first}: train that first"
    ):
        SGDSolver(second)


def test_missing_weights_that_no_solver_writes_are_named_with_the_file_that_names_them(tmp_path):
    path = write_dummy_solver(tmp_path, 'weights: "models/vgg.caffemodel"')
    with pytest.raises(FileNotFoundError, match=f"models/vgg.caffemodel .*named in {path}; .*put the file in place"):
        SGDSolver(path)


def test_several_weights_may_stand_in_one_field_as_caffe_writes_them(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).touch()
    param = solver_param(f'weights: "{tmp_path}/a, {tmp_path}/b"')
    assert weights_to_load(param) == [f"{tmp_path}/a", f"{tmp_path}/b"]


def test_files_that_layers_name_are_looked_for_before_a_net_is_built(tmp_path):
    net = """
    layer { name: "d" type: "ImageSegData" top: "x" include { phase: TEST } image_data_param { source: "gone.txt" } }
    """
    param = dummy_solver("test_iter: 1 test_interval: 1", net)
    check_files([find_train_net(param)], {})
    with pytest.raises(FileNotFoundError, match="no such file: gone.txt.*; the remedy"):
        check_files(find_test_nets(param), {"ImageSegData": "the remedy"})
