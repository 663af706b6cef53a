"""docs/write_a_layer.md: its code runs as it stands there, and the layer it makes keeps what the page promises."""

import re
from pathlib import Path

import numpy as np
import pytest
from arrays import spaced
from gradient_check import check_gradients
from one_layer import OneLayer
from tiny_training import dummy_solver

from deconvnet.core.layers import layer
from deconvnet.core.solver import SGDSolver

PAGE = Path(__file__).resolve().parents[2] / "docs/write_a_layer.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
SHRINK = 'type: "Shrink" scale_param { filler { value: 0.5 } }'


@pytest.fixture
def written(monkeypatch):
    """The names of the page after all its code has run; the layer is known within the test only."""
    monkeypatch.setattr(layer, "_registry", dict(layer._registry))
    names = {"__name__": "page"}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    return names


def test_the_pages_code_runs_layer_test_and_net(device, written):
    assert len(BLOCKS) == 4
    assert written["shrunk"].ravel() == pytest.approx([-1.5, 0, 0, 1.0])


def test_the_pages_layer_has_the_gradients_it_states(device, written):
    check_gradients(OneLayer(SHRINK, spaced(2, 3, 4, 5) + 0.01))


def test_a_gradient_that_is_wrong_does_not_pass_the_pages_check(written, monkeypatch):
    right = written["Shrink"].backward

    def wrong(self, top, propagate_down, bottom):
        right(self, top, propagate_down, bottom)
        self.gradient_of(0)[...] *= 2

    monkeypatch.setattr(written["Shrink"], "backward", wrong)
    with pytest.raises(AssertionError, match="gradient of parameter 0"):
        exec(BLOCKS[1], written)


def test_the_pages_layer_refuses_what_it_cannot_do(written):
    with pytest.raises(ValueError, match="cannot work in place"):
        OneLayer(SHRINK, np.ones((1, 2, 3, 3)), in_place=True)
    with pytest.raises(ValueError, match="needs a bottom of shape"):
        OneLayer(SHRINK, np.ones((1, 2)))


def test_a_run_on_the_pages_python_layer_is_resumed_to_the_bit(tmp_path, monkeypatch):
    (tmp_path / "noise.py").write_text(BLOCKS[3])
    monkeypatch.syspath_prepend(tmp_path)
    (line,) = re.findall(r"in the net: (layer .*)", BLOCKS[3])
    net = f"""{line}
    layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {{ num_output: 2 }} }}
    layer {{ name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "x" top: "loss" }}"""
    whole, resumed = (
        SGDSolver(dummy_solver(f'snapshot_prefix: "{tmp_path}/x"', net), allow_python_layers=True) for _ in range(2)
    )
    whole.step(2)
    path = whole.snapshot()
    whole.step(3)
    resumed.restore(path)
    resumed.step(3)
    np.testing.assert_equal(resumed.net.arrays(), whole.net.arrays())
