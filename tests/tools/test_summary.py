"""tools/summary.py as users call it."""

import subprocess
import sys

import pytest
from tiny_training import DUMMY_NET
from tool_call import ROOT, call, call_apart, only_line

TOOL = "summary"


def test_the_paper_s_net_by_layers_and_in_total(tmp_path):
    finished = call_apart(TOOL, tmp_path, "--model", ROOT / "prototxt/deconvnet_deploy.prototxt")
    assert finished.returncode == 0, finished.stderr
    lines = [line.split() for line in finished.stdout.splitlines()]
    assert ["conv1_1", "Convolution", "conv1_1", "1x64x224x224", "1,792", "86,704,128", "12.85", "MB"] in lines
    assert ["relu1_1", "ReLU", "conv1_1", "1x64x224x224"] in lines
    assert "(251.8 M, 1,007.22 MB)" in finished.stdout
    assert "(32.75 G)" in finished.stdout


def test_phase_and_shapes_are_chosen(tmp_path):
    (tmp_path / "net.prototxt").write_text(DUMMY_NET)
    small = ("--model", "net.prototxt", "--shape", "data=1,2,5,5", "--shape", "label=1")
    test, train = (call(TOOL, tmp_path, *small, "--phase", phase).stdout for phase in ("TEST", "TRAIN"))
    assert "accuracy" in test and "accuracy" not in train
    assert "conv 1x3x3x3" in test


@pytest.mark.parametrize("text", ["data", "data=", "=1", "data=1,x", "data=0,3"])
def test_a_shape_of_another_form_is_said(tmp_path, text):
    finished = call(TOOL, tmp_path, "--model", "net.prototxt", "--shape", text)
    assert finished.returncode == 2
    assert f"{text!r} is no shape: NAME=N,C,H,W with sizes from 1 on is expected" in finished.stderr


def test_a_model_that_is_not_there_is_said_in_one_line(tmp_path):
    assert "gone.prototxt" in only_line(call(TOOL, tmp_path, "--model", "gone.prototxt"), TOOL)


@pytest.mark.parametrize("tool", [TOOL, "time_net"])
def test_where_the_data_is_not_there_it_is_said_how_to_go_without(tmp_path, tool):
    data = 'layer { name: "d" type: "ImageData" top: "data" top: "label" image_data_param { source: "gone.txt" batch_size: 2 } }'
    (tmp_path / "net.prototxt").write_text(data)
    said = only_line(call(tool, tmp_path, "--model", "net.prototxt"), tool)
    assert "gone.txt" in said
    assert said.endswith("to go without the data give its shapes: --shape data=N,C,H,W --shape label=N,C,H,W")


def test_who_reads_the_first_line_only_hears_of_no_error(tmp_path):
    model = ROOT / "prototxt/deconvnet_deploy.prototxt"
    command = f"{sys.executable} {ROOT}/tools/summary.py --model {model} | head -1"
    finished = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert finished.stdout.startswith("layer ") and finished.stderr == ""
