"""tools/train_net.py as users call it: training, resuming in a new process, and errors in one line."""

import re

import pytest
from tiny_training import dummy_solver, write_dummy_solver, write_seg_solver
from tool_call import ROOT, call, call_apart, error_of, only_line

from deconvnet.core.proto import caffe_pb2
from deconvnet.core.solver import SGDSolver

TOOL = "train_net"


@pytest.mark.parametrize("write", [write_dummy_solver, write_seg_solver])
def test_a_run_resumed_in_a_new_process_ends_with_the_weights_of_an_undisturbed_one(tmp_path, write):
    fields = "snapshot: 3 max_iter: 8 test_iter: 2 test_interval: 2 lr_policy: 'plateau' iter_size: 2"
    path = write(tmp_path, fields)
    assert call(TOOL, tmp_path, "--solver", path).returncode == 0
    last = tmp_path / "snapshots/run_iter_8.caffemodel"
    undisturbed = last.read_bytes()
    last.unlink()
    resumed = call_apart(TOOL, tmp_path, "--solver", path, "--snapshot", "snapshots/run_iter_3.solverstate")
    assert resumed.returncode == 0, resumed.stderr
    assert last.read_bytes() == undisturbed


def test_the_log_goes_to_stderr_in_caffes_form(tmp_path):
    finished = call(TOOL, tmp_path, "--solver", write_dummy_solver(tmp_path, "display: 4"))
    assert finished.stdout == ""
    assert re.search(r"\] Iteration 4 \(\S+ iter/s, \S+s/4 iters\), loss = ", finished.stderr)
    assert finished.stderr.endswith("Optimization Done.\n")


def test_weights_are_loaded_by_layer_name_from_several_files(tmp_path):
    path = write_dummy_solver(tmp_path, "base_lr: 0")
    solver = SGDSolver(dummy_solver("random_seed: 77"))
    net = caffe_pb2.NetParameter()
    solver.net.save(tmp_path / "all.caffemodel")
    net.ParseFromString((tmp_path / "all.caffemodel").read_bytes())
    for name in ("conv", "ip"):
        part = caffe_pb2.NetParameter(layer=[layer for layer in net.layer if layer.name == name])
        (tmp_path / f"{name}.caffemodel").write_bytes(part.SerializeToString())
    assert call(TOOL, tmp_path, "--solver", path, "--weights", "conv.caffemodel,ip.caffemodel").returncode == 0
    trained = caffe_pb2.NetParameter.FromString((tmp_path / "snapshots/run_iter_8.caffemodel").read_bytes())
    # with rate 0 the weights stay those that were loaded
    stored = {layer.name: list(layer.blobs) for layer in trained.layer if layer.blobs}
    assert stored == {layer.name: list(layer.blobs) for layer in net.layer if layer.blobs}


@pytest.mark.parametrize(
    "stage, missing",
    [(1, "models/vgg16_fully_convolutional.caffemodel"), (2, "snapshots/stage1_iter_20000.caffemodel")],
)
def test_the_papers_training_without_its_files_ends_in_one_line_naming_the_first(tmp_path, stage, missing):
    solver = ROOT / f"solver/stage{stage}.prototxt"
    said = only_line(call_apart(TOOL, tmp_path, "--solver", solver), TOOL)
    assert f"no such file: {missing}" in said
    assert ("it is a snapshot of" if stage == 2 else "see the comments there") in said


@pytest.mark.parametrize("stage", [1, 2])
def test_with_weights_there_the_papers_training_names_its_missing_list_and_where_it_comes_from(tmp_path, stage):
    (tmp_path / "w.caffemodel").touch()
    said = only_line(
        call(TOOL, tmp_path, "--solver", ROOT / f"solver/stage{stage}.prototxt", "--weights", "w.caffemodel"), TOOL
    )
    assert f"no such file: data/voc/stage{stage}_train.txt" in said
    assert f"tools/prepare_voc.py makes stage {stage}'s" in said


def test_a_gpu_that_is_asked_for_and_absent_is_said_with_the_remedy(tmp_path):
    path = write_dummy_solver(tmp_path, "solver_mode: GPU")
    said = only_line(call_apart(TOOL, tmp_path, "--solver", path, CUDA_VISIBLE_DEVICES=""), TOOL)
    assert f"{path} asks for a GPU (solver_mode: GPU); no GPU: " in said
    assert said.endswith("write solver_mode: CPU") or "write solver_mode: CPU to" in said


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--solver", "gone.prototxt"], "gone.prototxt: no such file"),
        (
            ["--solver", "wrong.prototxt"],
            "wrong.prototxt:1: unknown field 'base_rl' in solver; did you mean 'base_lr'?",
        ),
        (["--solver", "solver/s.prototxt", "--weights", "gone.caffemodel"], "no such file: gone.caffemodel"),
        (["--solver", "solver/s.prototxt", "--snapshot", "gone.solverstate"], "no such snapshot: gone.solverstate"),
        (["--solver", "solver/s.prototxt", "--snapshot", "w.caffemodel"], "w.caffemodel: holds weights"),
        (["--solver", "solver/s.prototxt", "--snapshot", "a", "--weights", "b"], "not both"),
    ],
)
def test_bad_input_ends_in_one_line(tmp_path, arguments, said):
    write_dummy_solver(tmp_path)
    (tmp_path / "wrong.prototxt").write_text("base_rl: 1")
    SGDSolver(dummy_solver()).net.save(tmp_path / "w.caffemodel")
    assert said in only_line(call(TOOL, tmp_path, *arguments), TOOL)


def test_a_loss_that_is_not_finite_ends_in_one_line_with_no_snapshot(tmp_path):
    finished = call(TOOL, tmp_path, "--solver", write_dummy_solver(tmp_path, "base_lr: 1e30 snapshot: 1"))
    said = error_of(finished, TOOL)
    assert re.search(r"iteration \d+: the loss is (nan|inf), first in layer '\w+'|parameter \w+/\d is not finite", said)
    assert not (tmp_path / "snapshots/run_iter_8.caffemodel").exists()


def test_a_python_layer_runs_only_when_it_is_allowed(tmp_path, monkeypatch):
    (tmp_path / "doubling.py").write_text(
        "import deconvnet\n\n\nclass Doubling(deconvnet.Layer):\n"
        "    def reshape(self, bottom, top):\n        top[0].reshape(*bottom[0].shape)\n\n"
        "    def forward(self, bottom, top):\n        top[0].data[...] = 2 * bottom[0].data\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "p" type: "Python" bottom: "x" top: "y" python_param { module: "doubling" layer: "Doubling" } }\n'
    )
    solver = tmp_path / "solver.prototxt"
    solver.write_text(f'net: "{net}" base_lr: 0.1 lr_policy: "fixed" max_iter: 1 snapshot_after_train: false\n')
    refused = error_of(call(TOOL, tmp_path, "--solver", solver), TOOL)
    assert "--allow-python-layers" in refused and "'doubling'" in refused
    allowed = call(TOOL, tmp_path, "--solver", solver, "--allow-python-layers")
    assert allowed.returncode == 0, allowed.stderr
    assert "layer 'p' imports the Python module 'doubling'" in allowed.stderr
