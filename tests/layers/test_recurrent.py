"""RNN, LSTM and LSTMUnit against their definition step by step, and what goes over from one forward pass to the next."""

import numpy as np
import pytest
from arrays import numbers
from gradient_check import check_gradients
from one_layer import TEST, OneLayer

import deconvnet as caffe
from deconvnet.core import kernels, proto
from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import caffe_pb2

FILLERS = 'weight_filler { type: "gaussian" std: 0.7 } bias_filler { type: "gaussian" std: 0.7 }'
TYPES = {"RNN": 1, "LSTM": 2}  # and their numbers of states
CONTS = {"all go on": lambda t, n: np.ones((t, n)), "all begin": lambda t, n: np.zeros((t, n))}
CONTS["some begin within"] = lambda t, n: np.arange(t * n).reshape(t, n) % 3 != 1
CONTS["by parts"] = lambda t, n: np.linspace(0, 1, t * n).reshape(t, n)


def text(kind, size=3, more=""):
    return f'type: "{kind}" recurrent_param {{ num_output: {size} {FILLERS} {more} }}'


def layer_of(
    kind, steps=4, streams=3, size=3, cont="some begin within", inputs=(2,), static=(), exposed=False, **options
):
    bottoms = [numbers(steps, streams, *inputs), CONTS[cont](steps, streams)]
    if static:
        bottoms.append(numbers(streams, *static, seed=1))
    states = TYPES[kind] if exposed else 0
    bottoms += [numbers(1, streams, size, seed=2 + k) for k in range(states)]
    return OneLayer(text(kind, size, "expose_hidden: true" if exposed else ""), *bottoms, tops=1 + states, **options)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def define(kind, parameters, x, cont, static=None, states=None):
    """The outputs of every step, and the states after the last."""
    inputs, bias, *of_static, hidden = parameters[: 3 + (static is not None)]
    size, outputs = hidden.shape[1], []
    states = list(states or [np.zeros((x.shape[1], size))] * TYPES[kind])
    for x_t, cont_t in zip(x, cont, strict=True):
        before = [np.where(cont_t[:, None] == 0, 0, cont_t[:, None] * state) for state in states]
        total = x_t.reshape(len(x_t), -1) @ inputs.T + bias + before[0] @ hidden.T
        if static is not None:
            total = total + static.reshape(len(static), -1) @ of_static[0].T
        if kind == "RNN":
            states = [np.tanh(total)]
            outputs.append(np.tanh(states[0] @ parameters[-2].T + parameters[-1]))
        else:
            i, f, o, g = np.split(total, 4, axis=1)
            cell = sigmoid(f) * before[1] + sigmoid(i) * np.tanh(g)
            states = [sigmoid(o) * np.tanh(cell), cell]
            outputs.append(states[0])
    return np.array(outputs), states


SHAPES = {
    "plain": {},
    "one step": {"steps": 1},
    "one stream": {"streams": 1},
    "one value": {"size": 1},
    "more values than a block takes": {"size": 259, "streams": 2},
    "inputs of several axes": {"inputs": (2, 1, 3)},
    "inputs without an axis": {"inputs": ()},
    "static": {"static": (2, 2)},
    "exposed": {"exposed": True},
    "static and exposed": {"static": (5,), "exposed": True},
}


@pytest.mark.parametrize("cont", CONTS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", TYPES)
def test_the_outputs_are_those_of_the_definition(device, kind, shape, cont):
    case = layer_of(kind, cont=cont, **SHAPES[shape])
    static = case.inputs[2] if "static" in SHAPES[shape] else None
    states = [array[0] for array in case.inputs[-TYPES[kind] :]] if "exposed" in SHAPES[shape] else None
    expected, ends = define(kind, case.parameters, case.inputs[0], case.inputs[1], static, states)
    tops = case.forward()
    np.testing.assert_allclose(tops[0], expected, rtol=1e-12, atol=1e-13)
    for top, state in zip(tops[1:], ends, strict=False):
        np.testing.assert_allclose(top, state[None], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("cont", CONTS)
@pytest.mark.parametrize("shape", [name for name in SHAPES if "block" not in name])
@pytest.mark.parametrize("kind", TYPES)
def test_gradients(device, kind, shape, cont):
    """Of every bottom but cont and of every parameter; a state that goes over from pass to pass is cut off, as in Caffe."""
    case = layer_of(kind, cont=cont, **SHAPES[shape])
    if not case.layer.exposed:
        begin = [numbers(*blob.shape, seed=5) for blob in case.layer.carried]
        forward = case.forward

        def forward_from_there():
            for blob, values in zip(case.layer.carried, begin, strict=True):
                blob.host_data[...] = values
            return forward()

        case.forward = forward_from_there
    check_gradients(case)


@pytest.mark.parametrize("kind", TYPES)
def test_gradients_of_more_values_than_a_block_takes(device, kind):
    """The gradients of two halves of a wide layer that do not see each other are those of two narrow ones."""
    size, half = 520, 260
    wide = layer_of(kind, size=size, exposed=True, cont="by parts")
    halves = [layer_of(kind, size=half, exposed=True, cont="by parts") for _ in range(2)]
    for number, parameter in enumerate(wide.parameters):
        square = parameter.ndim == 2 and parameter.shape[1] == size
        rows = parameter.reshape(-1, size, *parameter.shape[1:])
        for k, narrow in enumerate(halves):
            part = slice(k * half, (k + 1) * half)
            if square:
                rows[:, part, : k * half] = rows[:, part, (k + 1) * half :] = 0
            chosen = rows[:, part, part] if square else rows[:, part]
            narrow.parameters[number][...] = 0.1 * chosen.reshape(narrow.parameters[number].shape)
    for parameter in wide.parameters:
        parameter *= 0.1
    for narrow, part in zip(halves, (slice(half), slice(half, size)), strict=True):
        for ours, theirs in zip(narrow.inputs[2:], wide.inputs[2:], strict=True):
            ours[...] = theirs[..., part]
    diffs = [numbers(*top.shape, seed=k) for k, top in enumerate(wide.forward())]
    found = wide.backward(*diffs)
    expected = []
    for narrow, part in zip(halves, (slice(half), slice(half, size)), strict=True):
        narrow.forward()
        expected.append(narrow.backward(*[diff[..., part] for diff in diffs]))
    np.testing.assert_allclose(found[0], expected[0][0] + expected[1][0], rtol=1e-9, atol=1e-12)
    for state, one, other in zip(found[2:], expected[0][2:], expected[1][2:], strict=True):
        np.testing.assert_allclose(state, np.concatenate([one, other], axis=2), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", TYPES)
def test_two_forward_passes_are_one_of_both_lengths(device, kind):
    whole = layer_of(kind, steps=7)
    expected = whole.forward()[0]
    parts = layer_of(kind, steps=7, parameters=whole.parameters)
    x, cont = parts.inputs
    found = []
    for part in (slice(3), slice(3, 7)):
        parts.reshape(x[part], cont[part])
        found.append(parts.forward()[0])
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", TYPES)
def test_the_states_begin_at_zero_after_a_reset_and_where_the_number_of_streams_changes(device, kind):
    case = layer_of(kind, cont="all go on")
    first = case.forward()[0]
    assert not np.array_equal(case.forward()[0], first)
    case.layer.reset()
    np.testing.assert_array_equal(case.forward()[0], first)
    x, cont = case.inputs
    case.reshape(x[:, :2], cont[:, :2])
    np.testing.assert_allclose(case.forward()[0], first[:, :2], rtol=1e-12)


@pytest.mark.parametrize("kind", TYPES)
def test_what_is_exposed_does_not_go_over_by_itself(device, kind):
    case = layer_of(kind, cont="all go on", exposed=True)
    for ours, again in zip(case.forward(), case.forward(), strict=True):
        np.testing.assert_array_equal(ours, again)
    assert case.layer.carried == []


@pytest.mark.parametrize("kind", TYPES)
def test_a_sequence_that_begins_forgets_even_a_nan(device, kind):
    case = layer_of(kind, cont="all begin")
    x = case.inputs[0]
    expected = case.forward()[0]
    case.reshape(np.full_like(x, np.nan), case.inputs[1])
    assert np.isnan(case.forward()[0]).all()
    case.reshape(x, case.inputs[1])
    np.testing.assert_array_equal(case.forward()[0], expected)
    case.backward(numbers(*expected.shape))
    assert all(np.isfinite(diff).all() for diff in case.parameter_diffs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.filterwarnings("error")
def test_large_sums_stay_finite(device, kind, dtype):
    for scale in (1e4, -1e4):
        case = layer_of(kind, cont="all go on", dtype=dtype)
        case.inputs[0] *= scale
        assert np.isfinite(case.forward()[0]).all()
        (dx, _) = case.backward(numbers(*case.top[0].shape))
        assert np.isfinite(dx).all() and all(np.isfinite(diff).all() for diff in case.parameter_diffs)


@pytest.mark.parametrize("kind", TYPES)
def test_without_a_backward_pass_the_values_are_the_same_and_nothing_is_kept(device, kind):
    keeps = layer_of(kind, steps=5)
    case = layer_of(kind, steps=5, phase=TEST, parameters=keeps.parameters)
    case.layer.may_need_backward = False
    for _ in range(2):
        np.testing.assert_array_equal(case.forward()[0], keeps.forward()[0])
    with pytest.raises(ValueError, match="kept nothing of its forward pass"):
        case.backward(np.ones(case.top[0].shape))


@pytest.mark.parametrize("kind", TYPES)
def test_backward_again_adds_the_same_gradients(device, kind):
    case = layer_of(kind, exposed=True, static=(2,))
    diffs = [numbers(*top.shape) for top in case.forward()]
    first = case.backward(*diffs)
    once = [diff.copy() for diff in case.parameter_diffs]
    for ours, again in zip(first, case.backward(*diffs), strict=True):
        np.testing.assert_array_equal(ours, again)
    for one, two in zip(once, case.parameter_diffs, strict=True):
        np.testing.assert_array_equal(2 * one, two)


def test_parameters_have_caffes_order_and_shapes():
    shapes = {
        ("LSTM", False): [(12, 2), (12,), (12, 3)],
        ("LSTM", True): [(12, 2), (12,), (12, 4), (12, 3)],
        ("RNN", False): [(3, 2), (3,), (3, 3), (3, 3), (3,)],
        ("RNN", True): [(3, 2), (3,), (3, 4), (3, 3), (3, 3), (3,)],
    }
    for (kind, static), expected in shapes.items():
        case = layer_of(kind, static=(2, 2) if static else ())
        assert [blob.shape for blob in case.layer.blobs] == expected
        assert all(np.ptp(values) > 0 for values in case.parameters)  # filled


def test_multiply_adds_are_those_of_its_products():
    lstm, rnn = layer_of("LSTM", static=(5,)), layer_of("RNN", static=(5,))
    assert lstm.layer.multiply_adds(lstm.bottom, lstm.top) == 4 * 3 * 12 * (2 + 3) + 3 * 12 * 5
    assert rnn.layer.multiply_adds(rnn.bottom, rnn.top) == 4 * 3 * 3 * (2 + 3 + 3) + 3 * 3 * 5


@pytest.mark.parametrize(
    "bottoms, more, said",
    [
        ([(4,), (4,)], "", r"needs a bottom of shape \(steps, streams, ...\), at least one of each, not \(4,\)"),
        ([(0, 3, 2), (0, 3)], "", "at least one of each"),
        ([(4, 3, 2), (3, 4)], "", r"the second bottom says for each of \(4, 3\) .* whether it goes on: its shape is \(3, 4\)"),
        ([(4, 3, 2), (4, 3), (2, 5)], "", r"the static input must have 5 values for each of 3 streams; its shape is \(2, 5\)"),
        ([(4, 3, 2), (4, 3), (1, 2, 6)], "expose_hidden: true", r"before the first step must be \(1, 3, 6\), not \(1, 2, 6\)"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_named(bottoms, more, said):
    with pytest.raises(ValueError, match=said):
        OneLayer(text("RNN", 6, more), *[numbers(*shape) for shape in bottoms], tops=2 if more else 1)


def test_the_inputs_may_not_change_their_size():
    case = layer_of("LSTM")
    with pytest.raises(ValueError, match=r"was made for 2 values a step; its bottom now has the shape \(4, 3, 5\)"):
        case.reshape(numbers(4, 3, 5), case.inputs[1])


def test_the_counts_of_blobs_follow_what_is_exposed():
    x, cont = numbers(4, 3, 2), np.ones((4, 3))
    with pytest.raises(ValueError, match="takes 4 to 5 bottoms, not 2"):
        OneLayer(text("LSTM", more="expose_hidden: true"), x, cont, tops=3)
    with pytest.raises(ValueError, match="takes 1 top, not 2"):
        OneLayer(text("RNN"), x, cont, tops=2)
    with pytest.raises(ValueError, match="num_output must be at least 1"):
        OneLayer('type: "LSTM"', x, cont)


NET = """
layer { name: "in" type: "Input" top: "x" top: "cont"
        input_param { shape { dim: 4 dim: 3 dim: 2 } shape { dim: 4 dim: 3 } } }
layer { name: "memory" type: "%s" bottom: "x" bottom: "cont" top: "y" recurrent_param { num_output: 3 %s } }
layer { name: "loss" type: "Reduction" bottom: "y" top: "loss" loss_weight: 1 reduction_param { operation: SUMSQ } }
"""


def net_of(kind, phase=caffe.TRAIN, **options):
    return Net(proto.parse(NET % (kind, FILLERS), caffe_pb2.NetParameter()), phase, seed=1, **options)


def inputs(net, cont="all go on"):
    net.blobs["x"].data[...] = numbers(4, 3, 2)
    net.blobs["cont"].data[...] = CONTS[cont](4, 3)


@pytest.mark.parametrize("suffix", [".caffemodel", ".caffemodel.h5"])
@pytest.mark.parametrize("kind", TYPES)
def test_weights_come_back_from_a_file(tmp_path, kind, suffix):
    net = net_of(kind)
    net.save(tmp_path / f"w{suffix}")
    other = net_of(kind, weights=tmp_path / f"w{suffix}")
    assert [blob.shape for blob in other.params["memory"]] == [blob.shape for blob in net.params["memory"]]
    inputs(net), inputs(other)
    np.testing.assert_array_equal(net.forward(blobs=["y"])["y"], other.forward(blobs=["y"])["y"])


@pytest.mark.parametrize("kind", TYPES)
def test_a_test_net_beside_the_training_leaves_its_states_alone(device, kind):
    """Theirs is all other memory: also what backward needs is written again by the next forward pass."""

    def gradients(tests):
        net = net_of(kind, share=True)
        beside = net_of(kind, caffe.TEST, beside=net, share=True)
        found = []
        for _ in range(2):
            inputs(net)
            net.clear_param_diffs()
            net.forward()
            net.backward()
            found += [blob.diff.copy() for blob in net.params["memory"]]
            for _ in range(tests):
                inputs(beside)
                beside.blobs["x"].data[...] = 2
                beside.forward()
        return found

    for alone, tested in zip(gradients(0), gradients(2), strict=True):
        np.testing.assert_array_equal(alone, tested)


@pytest.mark.parametrize("kind", TYPES)
def test_looking_for_a_bad_layer_runs_the_same_pass_again(device, kind):
    net = net_of(kind)
    for _ in range(2):
        inputs(net)
        before = net.forward(blobs=["y"])["y"].copy()
    state = [blob.host_data.copy() for blob in net.layer_dict["memory"].carried]
    assert net.first_bad_layer() is None
    np.testing.assert_array_equal(net.blobs["y"].data, before)
    for blob, values in zip(net.layer_dict["memory"].carried, state, strict=True):
        np.testing.assert_array_equal(blob.host_data, values)


@pytest.mark.parametrize("kind", TYPES)
def test_a_shared_net_and_force_backward_in_test_give_the_same(kind):
    plain, shared = net_of(kind), net_of(kind, share=True)
    forced = net_of(kind, caffe.TEST)
    forced.force_backward()
    for net in (plain, shared, forced):
        for _ in range(2):
            inputs(net)
            net.forward()
            net.backward()
    for ours, theirs in ((plain, shared), (plain, forced)):
        for a, b in zip(ours.params["memory"], theirs.params["memory"], strict=True):
            np.testing.assert_array_equal(a.diff, b.diff)


@pytest.mark.parametrize("kind", TYPES)
def test_rounded_operands_change_the_results_by_their_rounding_only(kind):
    exact = {}
    for precision in ("FLOAT32", "TF32"):
        net = net_of(kind, precision=precision)
        inputs(net)
        net.forward()
        net.backward()
        exact[precision] = [net.blobs["y"].data.copy(), *(blob.diff.copy() for blob in net.params["memory"])]
    assert not np.array_equal(exact["FLOAT32"][0], exact["TF32"][0])
    for plain, rounded in zip(*exact.values(), strict=True):
        np.testing.assert_allclose(rounded, plain, rtol=0, atol=5e-3 * np.abs(plain).max())


@pytest.mark.parametrize("kind", TYPES)
def test_a_recorded_pass_carries_the_states_on_and_can_be_reset(gpu, kind):
    """Launched as a graph: the third pass of a shape is played from the recording of the second."""
    text = NET % (kind, FILLERS)
    text = text[: text.index('layer { name: "loss"')]
    net, graph = (
        Net(proto.parse(text, caffe_pb2.NetParameter()), caffe.TEST, seed=1, cuda_graph=recorded) for recorded in (0, 1)
    )
    kernels.set_mode("gpu")
    for number in range(5):
        if number == 3:
            for each in (net, graph):
                each.layer_dict["memory"].reset()
        for each in (net, graph):
            inputs(each)
        np.testing.assert_array_equal(net.forward()["y"], graph.forward()["y"])


@pytest.mark.parametrize("streams, size", [(1, 1), (3, 4), (2, 259)])
def test_a_unit_is_a_step_of_an_lstm_with_its_sums_given(device, streams, size):
    cont = CONTS["some begin within"](2, streams)[1:]
    cell, sums = numbers(1, streams, size), numbers(1, streams, 4 * size, seed=1)
    case = OneLayer('type: "LSTMUnit"', cell, sums, cont, tops=2)
    eye, nothing = np.eye(4 * size), np.zeros((4 * size, size))
    out, (_, after) = define("LSTM", [eye, np.zeros(4 * size), nothing], sums, cont, states=[0 * cell[0], cell[0]])
    for found, wanted in zip(case.forward(), (after[None], out), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)
    if size < 10:
        check_gradients(case)


def test_a_unit_refuses_bottoms_that_do_not_fit():
    with pytest.raises(ValueError, match=r"needs bottoms of shape \(1, N, D\), \(1, N, 4 D\) and \(1, N\), not"):
        OneLayer('type: "LSTMUnit"', numbers(1, 2, 3), numbers(1, 2, 9), np.ones((1, 2)), tops=2)


def test_errors_name_the_layer():
    with pytest.raises(NetError, match=r"layer 'memory' \(LSTM\): recurrent_param.num_output must be at least 1"):
        Net(proto.parse(NET.replace("num_output: 3", "") % ("LSTM", FILLERS), caffe_pb2.NetParameter()), caffe.TRAIN)


def test_an_indicator_of_sequences_that_begin_with_the_first_step(device):
    """CRNN's, in whose place a user would give zeros and ones."""
    indicator = 'type: "ContinuationIndicator" continuation_indicator_param { %s }'
    layer = OneLayer(indicator % "time_step: 3 batch_size: 2")
    assert layer.forward()[0].tolist() == [[0, 0], [1, 1], [1, 1]]
    with pytest.raises(ValueError, match="needs time_step and batch_size of at least 1"):
        OneLayer(indicator % "time_step: 3")
