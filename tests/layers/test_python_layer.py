"""Python layers: the user's class in a net, and only where it is allowed."""

import logging
from pathlib import Path

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from one_layer import OneLayer
from tiny_training import dummy_solver

import deconvnet
from deconvnet.core import proto
from deconvnet.core.blob import Blob
from deconvnet.core.layers import layer_type
from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2
from deconvnet.core.solver import SGDSolver

MODULE = """
import json
import numpy as np
import deconvnet as caffe


class Weighted(caffe.Layer):
    '''y = weight * factor * x^2, the weight learned, the factor from param_str.'''

    def setup(self, bottom, top):
        if len(bottom) != 1:
            raise ValueError("Weighted takes one bottom")
        self.factor = json.loads(self.param_str)["factor"]
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = 3

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data * self.factor * bottom[0].data ** 2

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (self.factor * top[0].diff * bottom[0].data ** 2).sum()
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.blobs[0].data * self.factor * 2 * bottom[0].data


class Phase(caffe.Layer):
    '''A data layer: the phase it runs in.'''

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = self.phase


class Drawing(caffe.Layer):
    '''Numbers drawn from seed, position and phase, added to the bottom where there is one.'''

    setups = 0

    def setup(self, bottom, top):
        self.setups += 1

    def reshape(self, bottom, top):
        top[0].reshape(*(bottom[0].data.shape if bottom else (2, 3)))

    def forward(self, bottom, top):
        self.drawn = (self.seed, self.position)
        top[0].data[...] = np.random.default_rng((*self.drawn, self.phase)).normal(size=top[0].shape)
        if bottom:
            top[0].data[...] += bottom[0].data

    def backward(self, top, propagate_down, bottom):
        if bottom:
            bottom[0].diff[...] = top[0].diff


class OwnNames(caffe.Layer):
    '''Written for pycaffe, with a seed and a position of its own.'''

    position = 10

    def setup(self, bottom, top):
        self.seed = None

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.position += 5
        top[0].data[...] = self.position + 100 * (self.seed is None)


class Made(caffe.Layer):
    '''With an __init__ of its own, and what the script that trains gives it.'''

    def __init__(self, layer_param):
        caffe.Layer.__init__(self, layer_param)
        self.made_as, self.value = layer_param.name, 1

    def setup(self, bottom, top):
        self.asked = self.param_str_

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def set_value(self, value):
        self.value = value

    def forward(self, bottom, top):
        top[0].data[...] = self.value


class OfNothing(caffe.Layer):
    def __init__(self):
        pass


class Bare(caffe.Layer):
    pass


class Stranger:
    pass
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module of layers on Python's path; a fresh one for each test."""
    name = f"layers_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def text_of(module, layer="Weighted", param_str='{"factor": 0.5}'):
    return f"""type: "Python" python_param {{ module: '{module}' layer: '{layer}' param_str: '{param_str}' }}"""


def net_of(layer, **options):
    text = f"""
    force_backward: true
    layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 3 }} }} }}
    layer {{ name: "own" {layer} bottom: "x" top: "y" }}
    """
    return Net(proto.parse(text, caffe_pb2.NetParameter()), caffe_pb2.TRAIN, **options)


def test_a_python_layer_runs_forward_and_backward_in_a_net(device, module):
    net = net_of(text_of(module), allow_python_layers=True)
    for shape in ((2, 3), (4, 5)):
        x, dy = numbers(*shape, dtype=np.float32), numbers(*shape, seed=1, dtype=np.float32)
        np.testing.assert_allclose(net.forward(x=x)["y"], 1.5 * x**2, rtol=1e-6)
        net.clear_param_diffs()
        np.testing.assert_allclose(net.backward(y=dy)["x"], dy * 3 * x, rtol=1e-5)
        np.testing.assert_allclose(net.params["own"][0].diff, [(0.5 * dy * x**2).sum()], rtol=1e-5)


def test_gradients_through_a_python_layer(device, module):
    check_gradients(OneLayer(text_of(module), numbers(2, 3), before_setup={"allowed": True}))


def test_its_parameters_are_saved_and_loaded_and_learn(device, module, tmp_path):
    net = net_of(text_of(module), allow_python_layers=True)
    assert [parameter.name for parameter in net.learnable] == ["own/0"]
    net.params["own"][0].data[...] = 7
    net.save(tmp_path / "own.caffemodel")
    other = net_of(text_of(module), allow_python_layers=True)
    other.copy_from(tmp_path / "own.caffemodel")
    assert other.params["own"][0].data.tolist() == [7]


def test_a_layer_without_bottoms_knows_its_phase(device, module):
    text = f'layer {{ name: "phase" {text_of(module, "Phase", "")} top: "phase" }}'
    for phase in (caffe_pb2.TRAIN, caffe_pb2.TEST):
        net = Net(proto.parse(text, caffe_pb2.NetParameter()), phase, allow_python_layers=True)
        assert net.forward()["phase"].tolist() == [phase]


def test_a_layer_is_told_the_seed_and_how_many_passes_came_before(device, module):
    net = net_of(text_of(module, "Drawing"), allow_python_layers=True, seed=7)
    user, seen = net.layer_dict["own"], []
    for _ in range(3):
        net.forward(x=np.zeros((2, 3)))
        seen.append(user.drawn)
    assert seen == [(7, 0), (7, 1), (7, 2)]


def test_a_reseed_hands_on_the_seed_and_runs_no_setup_again(device, module):
    text = f'layer {{ name: "own" {text_of(module, "Drawing", "")} top: "x" }}'
    net = Net(proto.parse(text, caffe_pb2.NetParameter()), caffe_pb2.TRAIN, allow_python_layers=True, seed=7)
    net.reseed(8)
    net.forward()
    user = net.layer_dict["own"]
    assert (user.drawn, user.setups) == ((8, 0), 1)


def test_the_net_shows_the_users_own_object(device, module):
    """As Faster R-CNN's trainer does: solver.net.layers[0].set_roidb(roidb)."""
    net = net_of(text_of(module, "Made"), allow_python_layers=True)
    user = net.layers[list(net.layer_dict).index("own")]
    assert user is net.layer_dict["own"] and isinstance(user, deconvnet.Layer)
    assert (user.type, user.made_as, user.asked) == ("Python", "own", '{"factor": 0.5}')
    user.set_value(9)
    assert net.forward()["y"] == 9


def test_an_init_that_takes_no_parameter_is_said_with_its_layer(module):
    with pytest.raises(
        NetError, match=r"layer 'own' .Python.: the class 'OfNothing' .* must take its LayerParameter: def __init__"
    ):
        net_of(text_of(module, "OfNothing"), allow_python_layers=True)


def test_a_seed_and_a_position_of_the_users_own_stay_theirs(device, module):
    text = f'layer {{ name: "own" {text_of(module, "OwnNames", "")} top: "x" }}'
    net = Net(proto.parse(text, caffe_pb2.NetParameter()), caffe_pb2.TRAIN, allow_python_layers=True)
    assert [net.forward()["x"].item() for _ in range(3)] == [115, 120, 125]


def test_a_layer_alone_has_seed_and_position_zero():
    assert (deconvnet.Layer().seed, deconvnet.Layer().position) == (0, 0)


@pytest.fixture
def drawing_solver(module, tmp_path):
    """Makes a solver whose train and test nets draw twice by Python layers, as data and in the middle, each with a seed of its own."""
    own = text_of(module, "Drawing", "")
    net = f"""
    layer {{ name: "data" {own} top: "data" }}
    layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
      inner_product_param {{ num_output: 3 weight_filler {{ type: "gaussian" std: 0.3 }} }} }}
    layer {{ name: "noise" {own} bottom: "ip" top: "noise" }}
    layer {{ name: "loss" type: "EuclideanLoss" bottom: "noise" bottom: "data" top: "loss" }}
    """
    fields = f'snapshot_prefix: "{tmp_path}/run" iter_size: 2 test_iter: 2 test_interval: 2 max_iter: 8'
    return lambda: SGDSolver(dummy_solver(fields, net), allow_python_layers=True)


def test_a_run_with_drawing_layers_is_resumed_to_the_bit(drawing_solver, capsys, monkeypatch):
    whole = drawing_solver()
    whole.step(3)
    state = whole.snapshot()
    capsys.readouterr()
    whole.step(3)
    expected = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    monkeypatch.setattr("deconvnet.core.blob.randomness._seed", whole.seed + 1)
    resumed = drawing_solver()
    resumed.restore(state)
    capsys.readouterr()
    resumed.step(3)
    assert [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()] == expected
    assert list(resumed.losses) == list(whole.losses)
    np.testing.assert_equal(resumed.net.arrays(), whole.net.arrays())


def test_a_snapshot_that_holds_no_position_of_a_python_layer_still_loads(drawing_solver):
    solver = drawing_solver()
    solver.step(3)
    path = solver.snapshot()
    state = caffe_pb2.SolverState.FromString(Path(path).read_bytes())
    places = {(cursor.layer, cursor.test_net): cursor.position for cursor in state.data_cursor}
    assert places == {("data", -1): 6, ("noise", -1): 6, ("data", 0): 4, ("noise", 0): 4}
    del state.data_cursor[:]
    Path(path).write_bytes(state.SerializeToString())
    resumed = drawing_solver()
    resumed.restore(path)
    assert [layer.position for layer in resumed.net.layers if layer.type == "Python"] == [0, 0]


def test_it_runs_only_where_it_is_allowed(module, tmp_path):
    (tmp_path / f"{module}.py").write_text("raise SystemExit('this was run')")
    with pytest.raises(
        NetError,
        match=rf"layer 'own' \(Python\): runs code .* '{module}', .*allow_python_layers=True.*--allow-python-layers",
    ):
        net_of(text_of(module))


def test_the_log_names_the_module(module, caplog):
    with caplog.at_level(logging.INFO, logger="deconvnet"):
        net_of(text_of(module), allow_python_layers=True)
    assert f"layer 'own' imports the Python module '{module}'" in caplog.text


@pytest.mark.parametrize(
    "layer, said",
    [
        ("Missing", "has no class 'Missing' that derives from deconvnet.Layer"),
        ("Stranger", "has no class 'Stranger' that derives from deconvnet.Layer"),
        ("json", "has no class 'json' that derives from deconvnet.Layer"),
    ],
)
def test_a_class_that_is_no_layer_is_named(module, layer, said):
    with pytest.raises(NetError, match=said):
        net_of(text_of(module, layer), allow_python_layers=True)


def test_a_missing_module_is_named():
    for name in ("no_such_module", "no_such_package.module"):
        with pytest.raises(NetError, match=f"there is no Python module '{name}': put its folder on PYTHONPATH"):
            net_of(text_of(name), allow_python_layers=True)


def test_an_import_that_fails_inside_the_module_is_shown_as_it_is(module, tmp_path):
    (tmp_path / f"{module}.py").write_text("import no_such_thing")
    with pytest.raises(ModuleNotFoundError, match="no_such_thing"):
        net_of(text_of(module), allow_python_layers=True)


def test_module_and_layer_must_be_given():
    with pytest.raises(NetError, match="python_param needs module .* and layer"):
        net_of('type: "Python"', allow_python_layers=True)


def test_a_layers_own_error_names_the_layer_in_the_net(module):
    text = f"""layer {{ name: "x" type: "Input" top: "x" top: "z" }}
    layer {{ name: "own" {text_of(module)} bottom: "x" bottom: "z" top: "y" }}"""
    with pytest.raises(NetError, match=r"layer 'own' \(Python\): .*\.py:12: Weighted takes one bottom"):
        Net(proto.parse(text, caffe_pb2.NetParameter()), caffe_pb2.TRAIN, allow_python_layers=True)


def test_a_step_that_is_not_defined_is_named(module):
    with pytest.raises(NotImplementedError, match="Bare must define reshape"):
        net_of(text_of(module, "Bare"), allow_python_layers=True)
    bare = deconvnet.Layer()
    for step, said in (
        (bare.forward, "must define forward"),
        (lambda a, b: bare.backward(a, [], b), "must define backward"),
    ):
        with pytest.raises(NotImplementedError, match=said):
            step([], [])


def test_a_python_layer_made_without_a_net_is_not_allowed(module):
    param = proto.parse(text_of(module), caffe_pb2.LayerParameter())
    with pytest.raises(ValueError, match="must be allowed"):
        layer_type("Python")(param).setup([Blob((1,))], [Blob()])
