"""--stage and --level of the tools that take a model."""

import pytest
from tool_call import call, only_line

from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2
from deconvnet.core.solver import inference_need

# one data layer for each stage, as in Caffe's examples/mnist/mnist_autoencoder.prototxt
DATA = """layer { name: "%s" type: "DummyData" top: "data" include { phase: %s %s }
  dummy_data_param { shape { dim: %d dim: 4 } data_filler { value: 1 } } }"""
NET = "\n".join(
    [
        DATA % ("train", "TRAIN", "", 3),
        DATA % ("on_train", "TEST", 'stage: "test-on-train"', 5),
        DATA % ("on_test", "TEST", 'stage: "test-on-test" stage: "whole"', 7),
        'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }',
        'layer { name: "deep" type: "TanH" bottom: "ip" top: "tanh" include { min_level: 2 } }',
    ]
)
MODEL = ("--model", "net.prototxt")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    Net(tmp_path / "net.prototxt", caffe_pb2.TRAIN).save(tmp_path / "w.caffemodel")
    return tmp_path


def test_the_stages_choose_the_layers(folder):
    finished = call("summary", folder, *MODEL, "--stage", "test-on-test,whole")
    assert finished.returncode == 0, finished.stderr
    assert "data 7x4" in finished.stdout and "on_train" not in finished.stdout and "deep" not in finished.stdout
    assert "tanh 5x2" in call("summary", folder, *MODEL, "--stage", "test-on-train", "--level", 2).stdout
    assert "makes its bottom 'data'" in only_line(call("summary", folder, *MODEL), "summary")


def test_a_net_is_tested_in_a_stage(folder):
    tested = (*MODEL, "--weights", "w.caffemodel", "--iterations", 1)
    assert call("test_net", folder, *tested, "--stage", "test-on-train", "--level", 2).stdout.count("tanh = ") == 10
    assert call("test_net", folder, *tested, "--stage", "test-on-train").stdout.count("ip = ") == 10


def test_a_solvers_test_nets_have_states_of_their_own(folder):
    (folder / "s.prototxt").write_text(
        'net: "net.prototxt" test_iter: 1 test_interval: 1 base_lr: 1 lr_policy: "fixed"'
    )
    said = only_line(
        call("test_net", folder, "--solver", "s.prototxt", "--weights", "w.caffemodel", "--level", 1), "test_net"
    )
    assert "--stage and --level go with --model" in said


def test_a_net_is_timed_and_drawn_in_a_stage(folder):
    stage = ("--phase", "TEST", "--stage", "test-on-train")
    assert "on_train\tforward" in call("time_net", folder, *MODEL, *stage, "--iterations", 1).stderr
    call("draw_net", folder, *MODEL, *stage, "--sizes", "--output", "net.dot")
    assert "on_train" in (folder / "net.dot").read_text() and "on_test" not in (folder / "net.dot").read_text()


def test_the_memory_is_that_of_the_stage(folder):
    model = str(folder / "net.prototxt")
    small, large = (inference_need(model, stages=stages) for stages in (["test-on-train"], ["test-on-test", "whole"]))
    deep = inference_need(model, stages=["test-on-train"], level=2)
    assert (small.data, large.data) == (4 * 5 * (4 + 2), 4 * 7 * (4 + 2))
    assert deep.data == small.data + 4 * 5 * 2
