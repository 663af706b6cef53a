"""The plan of the reproduction at full scale; its hours of training are nobody's test."""

import json
from argparse import Namespace
from pathlib import Path

import pytest
import reproduce_voc

from deconvnet.core.proto import read_solver
from deconvnet.core.segmentation.voc import DataError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory where the committed nets and solvers are found."""
    for folder in ("solver", "prototxt", "tools"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reproduce_voc, "ROOT", tmp_path)
    return tmp_path


def arguments(**given):
    fields = {"voc": "VOCdevkit", "sbd": None, "vgg": "vgg.caffemodel", "weights": None, "fcn_weights": None}
    return Namespace(**{**fields, "gpu": None, "plan": False, **given})


def commands(**given):
    return [" ".join(step.command) for step in reproduce_voc.protocol(arguments(**given))]


def test_every_training_starts_from_what_a_step_before_it_leaves(place):
    left = set()
    for step in reproduce_voc.protocol(arguments()):
        if step.solver:
            assert set(read_solver(step.solver).weights) <= left, step.name
        left.add(str(step.product))


def test_every_row_of_the_papers_table_is_segmented_and_scored(place):
    steps = [step.name for step in reproduce_voc.protocol(arguments())]
    for row in ("FCN-8s", "DeconvNet", "DeconvNet+CRF", "EDeconvNet", "EDeconvNet+CRF"):
        assert steps.index(f"segment with {row}") < steps.index(f"score {row}")


def test_trained_weights_take_the_place_of_training(place):
    assert not [c for c in commands(weights="ours", fcn_weights="fcn", vgg=None) if "train_net" in c]
    assert len([c for c in commands(weights="ours") if "train_net" in c]) == 3
    assert len([c for c in commands(fcn_weights="fcn") if "train_net" in c]) == 2


def test_without_a_start_and_without_trained_weights_the_remedy_is_told(place):
    with pytest.raises(DataError, match="give --vgg"):
        reproduce_voc.protocol(arguments(vgg=None, weights="ours"))


def test_an_interrupted_training_goes_on_from_its_newest_snapshot(place):
    (place / "snapshots").mkdir()
    (place / "snapshots/stage1_iter_500.solverstate").write_text("")
    (command,) = [c for c in commands() if "solver/stage1" in c]
    assert command.endswith("--snapshot snapshots")


def test_every_tool_of_the_plan_knows_its_options(place):
    import subprocess
    import sys

    asked = {}
    for step in reproduce_voc.protocol(arguments(sbd="SBD", gpu=0)):
        asked.setdefault(step.command[0], set()).update(part for part in step.command if part.startswith("--"))
    for tool, options in asked.items():
        told = subprocess.run([sys.executable, tool, "--help"], capture_output=True, text=True, check=True).stdout
        assert [option for option in options if option not in told] == [], tool


def test_what_is_done_is_not_done_again_and_a_failure_names_its_step(place, monkeypatch, capsys):
    ran = []

    def carry_out(number, step):
        ran.append(step.name)
        if step.solver:
            raise DataError(f"step {number}, {step.name}, ended with status 1")

    monkeypatch.setattr(reproduce_voc, "carry_out", carry_out)
    monkeypatch.setattr(reproduce_voc, "parse", arguments)
    (place / "data/voc").mkdir(parents=True)
    (place / "data/voc/stage2_val.txt").write_text("")
    with pytest.raises(DataError, match=r"step \d, training by solver/stage1.prototxt, ended with status 1"):
        reproduce_voc.main()
    assert ran[0].startswith("VGG-16 as the start of") and ran[-1] == "training by solver/stage1.prototxt"
    assert "1. images, labels, proposals and example lists: done (data/voc/stage2_val.txt)" in capsys.readouterr().out


def test_the_table_shows_what_is_scored_beside_what_is_published(place):
    (place / "results/voc/DeconvNet").mkdir(parents=True)
    (place / "results/voc/DeconvNet/scores.json").write_text(json.dumps({"scores": {"mean_iou": 0.6543}}))
    lines = reproduce_voc.table().splitlines()
    assert "| FCN-8s | not yet | 62.2 |" in lines and "| DeconvNet | 65.4 | 69.6 |" in lines


def test_a_net_is_timed_by_an_iteration_here(place):
    assert 0 < reproduce_voc.iteration_seconds("prototxt/demo/stage2_train_val.prototxt", None) < 60
