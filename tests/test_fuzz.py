"""Damaged input of every kind: prototxt, solvers, weights, states and lists are read or refused in one line; nothing crashes, hangs or
takes memory without end.

`make fuzz` runs this longer and from other seeds: FUZZ_EXAMPLES=N is the number of examples of each test.
"""

import os
import re
import resource
import signal
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_training import DUMMY_NET, SOLVER, dummy_solver, write_seg_solver

from deconvnet.core.layers.data import read_datum
from deconvnet.core.net import Net, NetError
from deconvnet.core.proto import PrototxtError, caffe_pb2, parse
from deconvnet.core.solver import SGDSolver, SolverError, get_solver, read_state

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", 200))
fuzz = settings(max_examples=EXAMPLES, derandomize="FUZZ_EXAMPLES" not in os.environ)
SECONDS = 10  # more than any example takes
MEMORY = 1 << 30  # more than any example needs
REFUSALS = (PrototxtError, NetError, SolverError, FileNotFoundError)

# small numbers, and those at the edge of what fields can hold; what a machine could just manage would only take long
INTEGERS = "0 1 2 3 4 5 6 7 9 255 -1 2147483647".split()
NUMBERS = """0.5 1e30 -1e30 1e-30 nan inf -inf 2147483648 4294967295 -2147483648 9223372036854775807 18446744073709551615
1000000000000""".split()
MARKS = ["{", "}", ":", "[", "]", ",", '"', "#"]
LAYERS = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 dim: 6 dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { num_output: 4 kernel_size: 3 pad: 1
  stride: 1 dilation: 1 group: 2 bias_term: true axis: 1 weight_filler { type: "xavier" } bias_filler { type: "constant" value: 1 } } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" top: "mask" pooling_param { pool: MAX kernel_h: 2 kernel_w: 2 stride: 2
  pad: 0 global_pooling: false } }
layer { name: "unpool" type: "Unpooling" bottom: "pool" bottom: "mask" top: "unpool" unpooling_param { unpool: MAX kernel_size: 2
  stride: 2 unpool_h: 6 unpool_w: 5 } }
layer { name: "deconv" type: "Deconvolution" bottom: "unpool" top: "deconv" param { name: "w" lr_mult: 1 decay_mult: 1 }
  convolution_param { num_output: 3 kernel_h: 3 kernel_w: 3 pad_h: 1 pad_w: 1 weight_filler { type: "bilinear" } } }
layer { name: "bn" type: "BN" bottom: "deconv" top: "bn" bn_param { bn_mode: LEARN } }
layer { name: "drop" type: "Dropout" bottom: "bn" top: "bn" dropout_param { dropout_ratio: 0.5 } include { phase: TRAIN min_level: 0 } }
layer { name: "crop" type: "Crop" bottom: "bn" bottom: "x" top: "crop" crop_param { axis: 2 offset: 0 offset: 0 } }
layer { name: "concat" type: "Concat" bottom: "crop" bottom: "x" top: "concat" concat_param { axis: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "x" bottom: "conv" top: "sum" eltwise_param { operation: SUM coeff: 1 coeff: -1 } }
layer { name: "label" type: "DummyData" top: "label" dummy_data_param { shape { dim: 2 dim: 1 dim: 6 dim: 5 } data_filler { value: 2 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "concat" bottom: "label" top: "loss" top: "p" loss_weight: 1 loss_weight: 0
  loss_param { ignore_label: 255 normalization: VALID } softmax_param { axis: 1 } }
layer { name: "right" type: "Accuracy" bottom: "concat" bottom: "label" top: "right" accuracy_param { top_k: 1 axis: 1 ignore_label: 0 } }
layer { name: "norm" type: "BatchNorm" bottom: "sum" top: "norm" batch_norm_param { use_global_stats: false eps: 1e-5 } }
layer { name: "scale" type: "Scale" bottom: "norm" top: "norm" scale_param { axis: 1 num_axes: 1 bias_term: true } }
layer { name: "lrn" type: "LRN" bottom: "norm" top: "lrn" lrn_param { local_size: 3 norm_region: ACROSS_CHANNELS alpha: 1 beta: 0.75 } }
layer { name: "prelu" type: "PReLU" bottom: "lrn" top: "lrn" prelu_param { channel_shared: false } }
layer { name: "slice" type: "Slice" bottom: "lrn" top: "s1" top: "s2" slice_param { axis: 1 slice_point: 2 } }
layer { name: "reshape" type: "Reshape" bottom: "s1" top: "r" reshape_param { shape { dim: 0 dim: -1 } axis: 0 num_axes: -1 } }
layer { name: "flatten" type: "Flatten" bottom: "s2" top: "f" flatten_param { axis: 1 end_axis: -1 } }
layer { name: "distance" type: "EuclideanLoss" bottom: "r" bottom: "f" top: "distance" }
layer { name: "power" type: "Power" bottom: "f" top: "power" power_param { power: 2 scale: 1 shift: 0.5 } }
layer { name: "tile" type: "Tile" bottom: "power" top: "tile" tile_param { axis: 1 tiles: 2 } }
layer { name: "best" type: "ArgMax" bottom: "tile" top: "best" argmax_param { top_k: 1 axis: 1 out_max_val: false } }
layer { name: "total" type: "Reduction" bottom: "tile" top: "total" reduction_param { operation: SUM axis: 1 coeff: 1 } }
layer { name: "mvn" type: "MVN" bottom: "x" top: "mvn" mvn_param { across_channels: false normalize_variance: true } }
layer { name: "spp" type: "SPP" bottom: "x" top: "spp" spp_param { pyramid_height: 2 pool: MAX } }
layer { name: "columns" type: "Im2col" bottom: "x" top: "columns" convolution_param { kernel_size: 3 stride: 1 pad: 1 dilation: 1 } }
layer { name: "embed" type: "Embed" bottom: "label" top: "embed" embed_param { input_dim: 5 num_output: 3 bias_term: true } }
layer { name: "ip" type: "InnerProduct" bottom: "sum" top: "ip" inner_product_param { num_output: 2 axis: 1 transpose: false } }
layer { name: "soft" type: "Softmax" bottom: "ip" top: "soft" softmax_param { axis: -1 } }
layer { name: "two" type: "Parameter" top: "two" parameter_param { shape { dim: 2 } } }
layer { name: "four" type: "Parameter" top: "four" parameter_param { shape { dim: 2 dim: 2 } } }
layer { name: "turn" type: "Permute" bottom: "x" top: "turn" permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "unit" type: "Normalize" bottom: "x" top: "unit" norm_param { across_spatial: false channel_shared: false eps: 1e-10 } }
layer { name: "prior" type: "PriorBox" bottom: "conv" bottom: "x" top: "prior" prior_box_param { min_size: 2 flip: true clip: false
  variance: 0.1 step: 1 offset: 0.5 } }
layer { name: "found" type: "DetectionOutput" bottom: "x" bottom: "conv" bottom: "prior" top: "found" detection_output_param {
  num_classes: 4 share_location: true background_label_id: 0 nms_param { nms_threshold: 0.5 top_k: 9 eta: 1 } code_type: CENTER_SIZE
  keep_top_k: 5 confidence_threshold: 0.1 } }
layer { name: "order" type: "BatchReindex" bottom: "x" bottom: "two" top: "order" }
layer { name: "filter" type: "Filter" bottom: "order" bottom: "ip" bottom: "two" top: "kept" top: "scores" }
layer { name: "gain" type: "InfogainLoss" bottom: "ip" bottom: "two" bottom: "four" top: "gain" top: "q" loss_weight: 1 loss_weight: 0
  infogain_loss_param { axis: 1 } loss_param { ignore_label: 255 normalization: FULL } }
"""


@pytest.fixture(autouse=True, scope="module")
def bounded_memory():
    """An example that asks for more than MEMORY gets a MemoryError, and may not turn it into anything but one line."""
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def too_long(*_):
    raise AssertionError(f"still busy after {SECONDS} s")


def read_or_refused(read, *errors):
    """Call `read`; it may raise one of `errors` with a message of one line, within SECONDS."""
    handler = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except errors as error:
        assert str(error) and len(str(error).splitlines()) == 1, repr(str(error))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)


@st.composite
def damaged_text(draw, text):
    """Prototxt with a few values changed to others of their kind, fields dropped or repeated, or, seldom, any tokens."""
    tokens = re.findall(r'"[^"]*"|\w+:|[\w.+-]+|\S', text)
    values = {tokens[i + 1] for i, token in enumerate(tokens) if token.endswith(":")}
    texts, names = sorted(v for v in values if v[0] == '"'), sorted(v for v in values if v[0].isalpha())
    for _ in range(draw(st.integers(1, 5))):
        fields = [i for i, token in enumerate(tokens[:-1]) if token.endswith(":")] or [0]
        at = draw(st.sampled_from(fields))
        action = draw(st.sampled_from(["value"] * 10 + ["drop", "repeat", "drop part", "repeat part", "token"]))
        if action == "value":
            first = tokens[at + 1][0]
            numbers = INTEGERS if draw(st.integers(0, 4)) else NUMBERS
            tokens[at + 1] = draw(st.sampled_from(texts if first == '"' else names if first.isalpha() else numbers))
        elif action == "drop":
            del tokens[at : at + 2]
        elif action == "repeat":
            tokens[at:at] = tokens[at : at + 2]
        elif action == "token":
            tokens[at] = draw(st.sampled_from(sorted(values) + INTEGERS + MARKS))
        else:
            # from one brace to another: often a whole message
            end = next((i for i in range(at, len(tokens)) if tokens[i] == "}"), len(tokens) - 1)
            start = max((i for i in range(at) if tokens[i] == "{"), default=1) - 1
            part = tokens[start : end + 1]
            tokens[start : end + 1] = [] if action == "drop part" else part * 2
        tokens = tokens + ["name:", "1"] if len(tokens) < 2 else tokens
    return "\n".join(tokens)


@st.composite
def damaged_bytes(draw, whole):
    """A file with a few bytes changed, dropped or put in, or cut off."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        # the head of a file decides more than its numbers do
        at = draw(st.integers(0, min(len(content), 400) if draw(st.booleans()) else len(content)))
        action = draw(st.sampled_from(["change", "drop", "insert", "cut"]))
        if action == "change":
            piece = draw(st.binary(min_size=1, max_size=8))
            content[at : at + len(piece)] = piece
        elif action == "drop":
            del content[at : at + draw(st.integers(1, 30))]
        elif action == "insert":
            content[at:at] = draw(st.binary(max_size=12))
        else:
            del content[at:]
    return bytes(content)


def build_and_run(path, phase):
    net = Net(path, phase, seed=1)
    try:
        net.forward()
        net.backward()
    finally:
        net.close()


@fuzz
@given(text=damaged_text(LAYERS), phase=st.sampled_from([caffe_pb2.TRAIN, caffe_pb2.TEST]))
def test_a_damaged_net_is_built_and_run_or_refused(tmp_path, text, phase):
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    read_or_refused(lambda: build_and_run(path, phase), *REFUSALS)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with images, their list and a net that reads them."""
    folder = tmp_path_factory.mktemp("images")
    write_seg_solver(folder)
    return folder


@fuzz
@given(data=st.data())
def test_a_damaged_data_layer_is_built_and_run_or_refused(images, tmp_path, data):
    text = (images / "prototxt/net.prototxt").read_text()
    layer = text[: text.index("layer", text.index("layer") + 1)]
    path = tmp_path / "net.prototxt"
    path.write_text(data.draw(damaged_text(layer)))
    read_or_refused(lambda: build_and_run(path, caffe_pb2.TRAIN), *REFUSALS)


lines = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["/0.png /0_label.png", "/1.png", "/0.png /0_label.png 0 0 5 5", "/1.png /1_label.png -3 -3 99999 2", "/0.png 3", "/ /", "\0"]
)  # fmt: skip


@fuzz
@given(
    content=st.lists(lines, max_size=4).map("\n".join).map(str.encode) | st.binary(max_size=60),
    kind=st.sampled_from(["ImageSegData", "WindowSegData"]),
    labels=st.sampled_from(["PIXEL", "IMAGE", "NONE"]),
)
def test_a_damaged_list_is_read_or_refused(images, tmp_path, content, kind, labels):
    (tmp_path / "list.txt").write_bytes(content)
    layer = (
        f'layer {{ name: "data" type: "{kind}" top: "data" top: "label" image_data_param {{ source: "{tmp_path}/list.txt" '
        f'root_folder: "{images}" new_height: 4 new_width: 4 label_type: {labels} workers: 0 batch_size: 2 }} }}'
    )
    net = parse(layer, caffe_pb2.NetParameter())
    read_or_refused(lambda: build_and_run(net, caffe_pb2.TRAIN), *REFUSALS)


WINDOWS = b"# 0\n/0.png\n3\n8\n8\n2\n1 0.9 0 0 5 5\n2 0.1 1 1 2 3\n# 1\n/1.png\n3\n8\n8\n1\n4 0.3 -3 0 7 3\n"


@fuzz
@given(content=st.binary(max_size=60) | damaged_bytes(WINDOWS), mode=st.sampled_from(["warp", "square"]))
def test_a_damaged_window_file_is_read_or_refused(images, tmp_path, content, mode):
    (tmp_path / "windows.txt").write_bytes(content)
    layer = (
        'layer { name: "data" type: "WindowData" top: "data" top: "label" transform_param { crop_size: 4 } window_data_param { '
        f'source: "{tmp_path}/windows.txt" root_folder: "{images}" batch_size: 4 crop_mode: "{mode}" workers: 0 }} }}'
    )
    net = parse(layer, caffe_pb2.NetParameter())
    read_or_refused(lambda: build_and_run(net, caffe_pb2.TRAIN), *REFUSALS)


RECORD = caffe_pb2.Datum(
    channels=3, height=4, width=5, label=2, data=bytes(60), float_data=[1.5, 2], encoded=False
).SerializeToString()


@fuzz
@given(record=st.binary(max_size=60) | damaged_bytes(RECORD), flags=st.sampled_from([-1, 0, 1]))
def test_a_damaged_record_is_read_or_refused(record, flags):
    read_or_refused(lambda: read_datum(record, flags), ValueError)


@fuzz
@given(
    text=damaged_text(
        SOLVER + 'stepsize: 3 gamma: 0.1 power: 2 iter_size: 1 clip_gradients: 3 type: "SGD" random_seed: 1'
    )
)
def test_a_damaged_solver_is_built_or_refused(tmp_path, text):
    (tmp_path / "net.prototxt").write_text(DUMMY_NET)
    (tmp_path / "solver.prototxt").write_text(f"{text}\nnet: '{tmp_path}/net.prototxt'")
    read_or_refused(lambda: get_solver(tmp_path / "solver.prototxt").close(), *REFUSALS)


class Files(dict):
    """Contents by suffix, of which a failing example does not print all."""

    def __repr__(self):
        return f"Files({', '.join(self)})"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """(a net, the bytes of its weights and of its solver's state in every form)."""
    folder = tmp_path_factory.mktemp("stored")
    found = Files()
    for form in ("BINARYPROTO", "HDF5"):
        solver = SGDSolver(dummy_solver(f'snapshot_format: {form} snapshot_prefix: "{folder}/s"'))
        solver.step(1)
        solver.snapshot()
        for path in folder.iterdir():
            found[path.name.partition(".")[2]] = path.read_bytes()
    for suffix in ("npz", "safetensors"):
        solver.net.save(folder / f"w.{suffix}")
        found[suffix] = (folder / f"w.{suffix}").read_bytes()
    return solver.net, found


@pytest.mark.parametrize("suffix", ["caffemodel", "caffemodel.h5", "npz", "safetensors"])
@fuzz
@given(data=st.data())
def test_damaged_weights_are_read_or_refused(stored, tmp_path, suffix, data):
    net, files = stored
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(data.draw(damaged_bytes(files[suffix])))
    read_or_refused(lambda: net.copy_from(path), NetError)


@pytest.mark.parametrize("suffix", ["solverstate", "solverstate.h5"])
@fuzz
@given(data=st.data())
def test_a_damaged_state_is_read_or_refused(stored, tmp_path, suffix, data):
    path = tmp_path / f"s.{suffix}"
    path.write_bytes(data.draw(damaged_bytes(stored[1][suffix])))
    read_or_refused(lambda: read_state(str(path)), SolverError)
