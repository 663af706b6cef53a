"""tools/test_net.py as users call it: the mean of each output on stdout."""

import pytest
from tiny_training import write_seg_solver
from tool_call import call, call_apart, only_line

from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2
from deconvnet.core.solver import SGDSolver

TOOL = "test_net"


def printed(finished):
    """{output: value} of the lines on stdout."""
    assert finished.returncode == 0, finished.stderr
    pairs = [line.split(" = ") for line in finished.stdout.splitlines()]
    return {name: float(value) for name, value in pairs}


@pytest.fixture
def trained(tmp_path):
    """A folder with solver/s.prototxt, prototxt/net.prototxt and w.caffemodel."""
    write_seg_solver(tmp_path, "test_iter: 4 test_interval: 5")
    solver = SGDSolver(tmp_path / "solver/s.prototxt")
    solver.net.save(tmp_path / "w.caffemodel")
    solver.close()
    return tmp_path


def means(folder, batches):
    """What the test net gives over so many batches, computed here."""
    net = Net(folder / "prototxt/net.prototxt", caffe_pb2.TEST, folder / "w.caffemodel", seed=0)
    sums = {name: 0.0 for name in net.outputs}
    for _ in range(batches):
        for name, value in net.forward().items():
            sums[name] += float(value.sum())
    net.close()
    return {name: pytest.approx(value / batches, rel=1e-4) for name, value in sums.items()}


def test_the_solvers_test_net_is_run_over_its_test_iter_batches(trained):
    finished = call_apart(TOOL, trained, "--solver", "solver/s.prototxt", "--weights", "w.caffemodel")
    assert printed(finished) == means(trained, 4)


def test_a_model_is_run_over_the_iterations_that_are_asked_for(trained):
    finished = call(TOOL, trained, "--model", "prototxt/net.prototxt", "--weights", "w.caffemodel", "--iterations", "2")
    assert printed(finished).keys() == {"accuracy", "loss"}
    assert finished.stdout.splitlines()[0].startswith("accuracy = 0.")


def test_what_became_of_the_weights_is_said_on_stderr(trained):
    finished = call(TOOL, trained, "--model", "prototxt/net.prototxt", "--weights", "w.caffemodel", "--iterations", 1)
    assert finished.stderr == "w.caffemodel: 3 layers loaded\n"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--model", "prototxt/net.prototxt", "--weights", "gone.caffemodel"], "no such file: gone.caffemodel"),
        (["--model", "gone.prototxt", "--weights", "w.caffemodel"], "gone.prototxt: no such file"),
        (["--model", "prototxt/net.prototxt", "--weights", "list.txt"], "list.txt: not a whole .caffemodel"),
        (["--solver", "trains.prototxt", "--weights", "w.caffemodel"], "trains.prototxt: has no test net"),
        (
            ["--model", "inputs.prototxt", "--weights", "w.caffemodel"],
            "inputs.prototxt: nothing fills its inputs (data)",
        ),
    ],
)
def test_bad_input_ends_in_one_line(trained, arguments, said):
    (trained / "inputs.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 } } }'
    )
    (trained / "trains.prototxt").write_text('net: "prototxt/net.prototxt" base_lr: 1')
    assert said in only_line(call(TOOL, trained, *arguments), TOOL)
