"""tools/draw_net.py as users call it."""

import shutil

import pytest
from tool_call import ROOT, call, call_apart, error_of, only_line

TOOL = "draw_net"
MODEL = ROOT / "prototxt/demo/stage2_train_val.prototxt"


def test_a_graph_as_text_needs_no_program(tmp_path):
    finished = call_apart(TOOL, tmp_path, "--model", MODEL, "--output", "net.dot", PATH="")
    assert finished.returncode == 0, finished.stderr
    assert '[label="conv1_1\\nConvolution' in (tmp_path / "net.dot").read_text()


def test_phase_and_direction_are_chosen(tmp_path):
    call(TOOL, tmp_path, "--model", MODEL, "--output", "net.dot", "--phase", "TEST", "--rankdir", "LR")
    text = (tmp_path / "net.dot").read_text()
    assert "seg-accuracy" in text and "rankdir=LR" in text


def test_sizes_stand_on_the_arrows(tmp_path):
    model = ROOT / "prototxt/demo/deploy.prototxt"
    call(TOOL, tmp_path, "--model", model, "--output", "net.dot", "--shape", "data=2,3,64,64")
    assert "2x3x64x64" in (tmp_path / "net.dot").read_text()


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
@pytest.mark.parametrize("form, start", [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_graphviz_draws_it(tmp_path, form, start):
    finished = call(TOOL, tmp_path, "--model", MODEL, "--output", f"net.{form}")
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / f"net.{form}").read_bytes().startswith(start)


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_a_drawing_that_cannot_be_written_ends_in_one_line(tmp_path):
    said = error_of(call(TOOL, tmp_path, "--model", MODEL, "--output", "gone/net.svg"), TOOL)
    assert "gone/net.svg: No such file or directory" in said


def test_without_graphviz_the_line_says_how_to_install_it(tmp_path):
    said = only_line(call_apart(TOOL, tmp_path, "--model", MODEL, "--output", "net.svg", PATH=""), TOOL)
    assert "the program dot is not installed: install graphviz (Debian: apt-get install graphviz" in said


def test_a_suffix_that_is_no_form_is_said(tmp_path):
    said = only_line(call(TOOL, tmp_path, "--model", MODEL, "--output", "net.jpg"), TOOL)
    assert "net.jpg: the suffix chooses the form of the drawing: one of .svg, .png, .pdf, .dot" in said
