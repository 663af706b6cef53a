"""tools/memory.py: the parts, the table of batches, and what fits."""

import re

import pytest
from tool_call import ROOT, call, only_line

from deconvnet.core.proto import read_solver
from deconvnet.core.solver import CONTEXT, training_need

STAGE_2 = ROOT / "solver" / "stage2.prototxt"
DEPLOY = ROOT / "prototxt" / "demo" / "deploy.prototxt"


def gigabytes(line):
    return float(re.search(r"([\d.]+) GB$", line)[1])


def test_a_solvers_training_is_shown_in_parts_that_sum_up():
    done = call("memory", ROOT, "--solver", STAGE_2, "--batch", 4)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "batch 4"
    parts = {line[:26].strip(): gigabytes(line) for line in lines[: lines.index("")]}
    context, whole = parts.pop("CUDA itself (assumed)"), parts.pop("arrays at the peak")
    assert context == CONTEXT / 1e9
    assert sum(parts.values()) == pytest.approx(whole, abs=0.04)
    assert whole == pytest.approx(training_need(read_solver(STAGE_2), str(STAGE_2), 4).peak / 1e9, abs=0.006)


def test_the_table_holds_the_need_of_each_batch_with_cudas_own_share():
    lines = call("memory", ROOT, "--solver", STAGE_2).stdout.splitlines()
    rows = [line.split() for line in lines[lines.index("  batch        memory") + 1 :]]
    assert [int(row[0]) for row in rows] == [1, 2, 4, 8, 16, 32, 64]
    expected = training_need(read_solver(STAGE_2), str(STAGE_2), 32).peak + CONTEXT
    assert float(rows[5][1]) == pytest.approx(expected / 1e9, abs=0.006)


def test_the_largest_batch_is_named_with_the_iter_size_that_keeps_an_update():
    last = call("memory", ROOT, "--solver", STAGE_2, "--fit", "12GB").stdout.splitlines()[-2:]
    batch = int(re.match(r"the largest batch that fits 12\.00 GB is (\d+),", last[0])[1])
    assert 64 <= batch < 128
    assert last[1] == "for 64 examples an update: batch_size: 64 and iter_size: 1"


def test_what_does_not_fit_at_all_is_said():
    assert call("memory", ROOT, "--solver", STAGE_2, "--fit", "3 GB").stdout.endswith("no batch fits 3.00 GB\n")


def test_a_forward_pass_takes_no_gradients():
    done = call("memory", ROOT, "--model", DEPLOY, "--phase", "TEST", "--fit", "1GiB")
    assert done.returncode == 0, done.stderr
    for name in ("gradients", "momentum", "gradients of blobs"):
        assert re.search(rf"^  {name} +0\.00 GB$", done.stdout, re.MULTILINE)
    assert "the largest batch that fits 1.07 GB is " in done.stdout and "iter_size" not in done.stdout


def test_a_shape_may_be_given_where_the_files_would_say_it(tmp_path):
    net = tmp_path / "net.prototxt"
    net.write_text('layer { name: "d" type: "HDF5Data" top: "x" hdf5_data_param { source: "f" } }')
    line = only_line(call("memory", ROOT, "--model", net), "memory")
    assert f"{net}: layer 'd' (HDF5Data): its files say what shapes it makes" in line
    done = call("memory", ROOT, "--model", net, "--shape", "x=3,2")
    assert done.stdout.startswith("batch 3\n")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--model", "absent.prototxt"], "no such file: absent.prototxt"),
        (["--solver", "absent.prototxt"], "absent.prototxt"),
    ],
)
def test_a_file_that_is_not_there_is_named_in_one_line(arguments, said):
    assert said in only_line(call("memory", ROOT, *arguments), "memory")


@pytest.mark.parametrize("arguments", [["--fit", "12xx"], ["--batch", "0"], ["--phase", "TEST"]])
def test_what_makes_no_sense_is_refused(arguments):
    done = call("memory", ROOT, "--solver", STAGE_2, *arguments)
    assert done.returncode == 2 and "error: " in done.stderr


def test_a_net_that_takes_no_other_batch_is_told_its_own_need(tmp_path):
    """The first axes of its data are not one: here the steps of sequences, and all their labels."""
    shapes = "shape { dim: 3 dim: 2 dim: 4 } shape { dim: 3 dim: 2 } shape { dim: 6 }"
    (tmp_path / "net.prototxt").write_text(f"""
    layer {{ name: "d" type: "DummyData" top: "x" top: "cont" top: "label" dummy_data_param {{ {shapes} }} }}
    layer {{ name: "l" type: "LSTM" bottom: "x" bottom: "cont" top: "h" recurrent_param {{ num_output: 5 }} }}
    layer {{ name: "r" type: "Reshape" bottom: "h" top: "flat" reshape_param {{ shape {{ dim: -1 dim: 5 }} }} }}
    layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "flat" bottom: "label" top: "loss" }}
    """)
    done = call("memory", ROOT, "--model", tmp_path / "net.prototxt")
    assert done.stdout.startswith("batch 3\n") and "arrays at the peak" in done.stdout
    assert done.stderr.startswith("memory: error: net: layer 'loss'")  # the table's


def test_nothing_is_written_for_a_prediction(tmp_path):
    (tmp_path / "net.prototxt").write_text(f"""
    layer {{ name: "d" type: "Input" top: "x" top: "z" input_param {{ shape {{ dim: 3 dim: 2 }} }} }}
    layer {{ name: "out" type: "HDF5Output" bottom: "x" bottom: "z" hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }} }}
    layer {{ name: "mat" type: "MatWrite" bottom: "x" mat_write_param {{ prefix: "{tmp_path}/out_" }} }}
    """)
    done = call("memory", ROOT, "--model", tmp_path / "net.prototxt")
    assert done.returncode == 0, done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["net.prototxt"]
