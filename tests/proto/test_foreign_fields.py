"""Fields and types of other Caffes: told of when their layer is built, not when its file is read."""

import pytest

from deconvnet.core.net import Net, summarize
from deconvnet.core.proto import PrototxtError, caffe_pb2, read_net

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }\n'
SCORE = (
    'layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" inner_product_param { num_output: 2 } }\n'
)
FOREIGN = """layer {
  name: "mmd" type: "MMDLoss" bottom: "score" top: "mmd"
  mmd_param { kernels: [1, 2] deeper { text: "}" 'and more' } other: < x: 1 > }
  %s
}
"""
SAID = r"net\.prototxt:5: unknown field 'mmd_param' in layer 'mmd' \(MMDLoss\): no layer type here has it; if it is of another Caffe, its layer"


@pytest.fixture
def written(tmp_path):
    """A function that writes a net and names its file."""

    def write(*layers):
        (tmp_path / "net.prototxt").write_text("".join(layers))
        return str(tmp_path / "net.prototxt")

    return write


def test_a_layer_of_the_other_phase_may_have_them(written):
    path = written(DATA, SCORE, FOREIGN % "include { phase: TRAIN }")
    assert Net(path, caffe_pb2.TEST).outputs == ["score"]
    with pytest.raises(PrototxtError, match=SAID):
        Net(path, caffe_pb2.TRAIN)


def test_data_in_whose_place_inputs_are_put_may_have_them(written):
    video = 'layer { name: "data" type: "VideoData" top: "data" video_data_param { new_length: 5 modality: RGB }\n transform_param { multi_scale: true } }\n'
    path = written(video, SCORE)
    net = Net(path, caffe_pb2.TEST, input_shapes={"data": (2, 3)}, fill=False)
    assert [row.name for row in summarize(net)] == ["data", "score"]
    with pytest.raises(
        PrototxtError, match=r"net\.prototxt:1: unknown field 'video_data_param' in layer 'data' \(VideoData\)"
    ):
        Net(path, caffe_pb2.TEST)


def test_the_first_of_each_layer_is_told_and_everything_else_is_read(written):
    twice = 'layer { name: "a" type: "A" zzz: 1 yyy: "x"\n xxx { } bottom: "data" top: "a" }\n'
    net = read_net(written(DATA, twice, twice.replace('"a"', '"b"'), SCORE))
    assert [layer.name for layer in net.layer] == ["data", "a", "b", "score"]
    assert [layer.foreign.partition(": ")[2] for layer in net.layer] == [
        "",
        "unknown field 'zzz' in layer",
        "unknown field 'zzz' in layer",
        "",
    ]
    assert list(net.layer[1].bottom) == ["data"] and list(net.layer[2].top) == ["b"]


@pytest.mark.parametrize(
    "foreign, said",
    [
        ("type: POWER zzz { a: 1 }", "unknown field 'zzz' in layers"),
        ("type: MAGIC", "unknown layer type 'MAGIC' of layer 'l'; if it is of another Caffe"),
    ],
)
def test_in_old_syntax_as_well(written, foreign, said):
    old = f'layers {{ name: "l" {foreign} bottom: "data" top: "l" include {{ phase: TRAIN }} }}'
    path = written('input: "data" input_dim: 1 input_dim: 3 input_dim: 1 input_dim: 1\n', old)
    assert Net(path, caffe_pb2.TEST).outputs == ["data"]
    with pytest.raises(PrototxtError, match=f"net.prototxt:2: {said}"):
        Net(path, caffe_pb2.TRAIN)


def test_all_layers_that_are_not_here_are_named_at_once(written):
    unknown = 'layer { name: "%s" type: "%s" bottom: "data" top: "%s" }\n'
    layers = [unknown % (name, kind, name) for name, kind in (("a", "Alien"), ("b", "ReLU"), ("c", "Crop2"))]
    with pytest.raises(
        ValueError,
        match=r"net.prototxt:2: layer 'a' \(Alien\): unknown .*; unknown as well: 'c' \(Crop2\), 'mmd' \(MMDLoss\)$",
    ):
        Net(written(DATA, *layers, SCORE, FOREIGN % ""), caffe_pb2.TEST)
    with pytest.raises(PrototxtError, match=SAID + r".*; unknown as well: 'a' \(Alien\), 'c' \(Crop2\)$"):
        Net(written(DATA, SCORE, FOREIGN % "", *layers), caffe_pb2.TEST)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ("pooling_parm { }", "unknown field 'pooling_parm' in layer; did you mean 'pooling_param'"),
        ("kernel_size: 3", "unknown field 'kernel_size' in layer; it belongs in "),
        ("zzz: [1, 2", "net.prototxt"),
        ("zzz { ", "net.prototxt"),
        ("name: 'again'", "'name' is given twice"),
        ("relu_param { negative_slope: a }", "'a' where 'negative_slope' needs a number"),
    ],
)
def test_what_is_wrong_otherwise_is_an_error_at_once(written, wrong, said):
    with pytest.raises(PrototxtError, match=said):
        read_net(written(DATA, SCORE, FOREIGN % wrong))


def test_errors_in_other_layers_still_name_their_lines(written):
    path = written(DATA, FOREIGN % "include { phase: TRAIN }", SCORE.replace('"data"', '"dta"'))
    with pytest.raises(
        ValueError, match=r"net\.prototxt:7: layer 'score' .InnerProduct.: no layer before it makes its bottom 'dta'"
    ):
        Net(path, caffe_pb2.TEST)
