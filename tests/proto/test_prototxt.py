"""Prototxt text: what is accepted, and what the one line says when it is not."""

import string
import warnings

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvnet.core.proto import PrototxtError, caffe_pb2, nearest, parse, read
from deconvnet.core.proto.diagnosis import field_lines, find_problem


def net(text):
    return parse(text, caffe_pb2.NetParameter(), "net.prototxt")


def error(text, message=caffe_pb2.NetParameter):
    with pytest.raises(PrototxtError) as caught:
        parse(text, message(), "net.prototxt")
    return str(caught.value)


GOOD = """
name: 'single quotes'          # a comment with "quotes" and { braces
layer {
  name: "conv" "1_1" type: "Convolution", bottom: "data"; top: "conv1_1"
  include: { phase: TRAIN stage: "a" }
  convolution_param < num_output: 0x10 pad: [1, 2] kernel_size: 3 kernel_size: 5 bias_term: false
    weight_filler { type: "gaussian" std: 1e-2 min: -1.5f max: inf } engine: 1 >
  loss_weight: [] param: [{ lr_mult: 1 }, { lr_mult: 2. decay_mult: 0 }] propagate_down: true propagate_down: 0
};
"""


def test_every_form_of_text_format_is_read():
    layer = net(GOOD).layer[0]
    assert net(GOOD).name == "single quotes"
    assert (layer.name, layer.include[0].phase) == ("conv1_1", caffe_pb2.TRAIN)
    conv = layer.convolution_param
    assert (conv.num_output, list(conv.pad), list(conv.kernel_size), conv.bias_term) == (16, [1, 2], [3, 5], False)
    assert conv.weight_filler.max == float("inf") and conv.weight_filler.min == -1.5
    assert [p.lr_mult for p in layer.param] == [1, 2] and layer.param[1].decay_mult == 0
    assert list(layer.propagate_down) == [True, False] and conv.engine == conv.CAFFE


@pytest.mark.parametrize(
    "text, line, words",
    [
        ("layer {\n  convolution_param {\n kernel_siz: 3 } }", 3,
         "unknown field 'kernel_siz' in convolution_param; did you mean 'kernel_size'?"),
        ("name: 'x'\nlyer { }", 2, "unknown field 'lyer' in net; did you mean 'layer'?"),
        ("layer {\n kernel_size: 3 }", 2, "unknown field 'kernel_size' in layer; it belongs in convolution_param"),
        ("net: 'a.prototxt'", 1, "unknown field 'net' in net; a solver has it: where a net is wanted, give the file that"),
        ("layer { qqq: 3 }", 1, "unknown field 'qqq' in layer"),
        ("layer {\n blobs_lr: 1 }", 2, "unknown field 'blobs_lr' in layer; in layer { } it is param { lr_mult"),
        ("layers {\n lr_mult: 1 }", 2, "unknown field 'lr_mult' in layers; in layers { } it is blobs_lr"),
        ("layer { pooling_param {\n pool: MAXX } }", 2, "unknown value 'MAXX' of pool; did you mean 'MAX'?"),
        ("layer { include { phase: 5 } }", 1, "unknown value '5' of phase; known are TRAIN, TEST"),
        ("layers {\n type: CONVOLUTOIN }", 2, "unknown layer type 'CONVOLUTOIN'; did you mean 'CONVOLUTION'?"),
        ("layer { name: 'p' type: 'Pooling'\n pool_param { } }", 2,
         "unknown field 'pool_param' in layer 'p' (Pooling); did you mean 'pooling_param'?"),
        ("layer {\n convolutoin_param { } }", 2, "unknown field 'convolutoin_param' in layer; did you mean 'convolution_param'?"),
        ("layer { name: 'i' type: 'CtcLoss'\n ctc_loss_param { } }", 2,
         "'ctc_loss_param' in layer 'i' (CtcLoss): no layer type here has it; if it is of another Caffe"),
        ("layer { type: 'Pooling' pooling_param { }\n pool_param { } }", 2, "'pool_param' in layer (Pooling): no layer type here has it"),
        ("layers { type: MAGIC name: 'm'\n magic_param { } }", 1, "unknown layer type 'MAGIC'; if it is of another Caffe"),
        ("layers { name: 'm'\n type: MAGIC }", 2, "unknown layer type 'MAGIC' of layer 'm'; if it is of another Caffe"),
        ("layers { type RELU bottom: 'a' }", 1, "'RELU' where ':' is expected behind 'type'"),
        ("layers { type: SoftmaxWithLoss }", 1, "did you mean 'SOFTMAX_LOSS'?"),
        ("layers { type: 'InnerProduct' }", 1, "'InnerProduct' where 'type' needs a name without quotes: INNER_PRODUCT"),
        ("layer { type: RELU }", 1, "'RELU' where 'type' needs a text in quotes: \"ReLU\""),
        ("layer { name: conv1 }", 1, "'conv1' where 'name' needs a text in quotes: \"conv1\""),
        ("layer { name: 7 }", 1, "'7' where 'name' needs a text in quotes"),
        ("layer { bottom: ['a', 7] }", 1, "'7' where 'bottom' needs a text in quotes"),
        ("layer { convolution_param { num_output: -3 } }", 1, "'-3' where 'num_output' needs a whole number from 0 on"),
        ("layer { convolution_param { num_output: 99999999999 } }", 1, "below 4294967296"),
        ("layer { convolution_param { pad: 1.5 } }", 1, "'1.5' where 'pad' needs a whole number from 0 on"),
        ("layer { convolution_param { num_output: [1, 2] } }", 1, "'[' where 'num_output' needs a whole number"),
        ("layer { convolution_param { pad: [1 2] } }", 1, "'2' where ',' or ']' is expected"),
        ("layer { convolution_param { bias_term: yes } }", 1, "'yes' where 'bias_term' needs true or false"),
        ("layer { loss_weight:\n include { } }", 1, "'include' where 'loss_weight' needs a number"),
        ("layer { loss_weight: one }", 1, "'one' where 'loss_weight' needs a number"),
        ("layer { name: \"a }\n}", 1, "the text of 'name' has no closing quote on its line"),
        ("layer { name \"a\" }", 1, "\"a\" where ':' is expected behind 'name'"),
        ("layer {\n name: }", 2, "'}' where 'name' needs a text in quotes"),
        ("layer:\n 3", 2, "'3' where '{' is expected behind 'layer'"),
        ("layer { name: 'a'\n name: 'b' }", 2, "'name' is given twice in layer, first in line 1"),
        ("layer { pooling_param { }\n\n pooling_param { } }", 3, "'pooling_param' is given twice in layer"),
        ("layer {\n pooling_param {\n pool: MAX\n}", 1, "layer is opened here and never closed: a '}' is missing"),
        ("layer {\n}\n}", 3, "'}' closes nothing"),
        ("layer { pooling_param { pool: MAX >\n}", 1, "'>' where '}' closes pooling_param"),
        ("layer {\n relu_param {\n }\nlayer { }", 4, "is a '}' missing? layer of line 1 is still open"),
        ("layer {\n clip_param {\n min: 1 } }", 2, "'max' is missing; layer[0].clip_param needs it"),
        ("\nlayer { name: '\\xff' }", 2, ""),
        ("[caffe.extension] { }", 1, "extensions are not supported"),
        ("layer { name: 'a' } \\", 1, "'\\' where a field name is expected"),
        ("layer: [{ name: 'a' } { name: 'b' }]", 1, "'{' where ',' or ']' is expected"),
        ("3: 4", 1, "'3' where a field name is expected"),
        ("// a net\nlayer { }", 1, "'/' where a field name is expected; comments begin with #"),
        ("layer { concat_param { axis: 0,1 } }", 1, "'1' where a field name is expected; 'axis' takes one value"),
        ("layer { type: 'DSROIPooling'\n dsroi_pooling_param { } }", 2,
         "'dsroi_pooling_param' in layer (DSROIPooling): no layer type here has it; if it is of another Caffe"),
    ],
)  # fmt: skip
def test_error_is_one_line_with_file_line_and_what_was_meant(text, line, words):
    message = error(text)
    assert message.startswith(f"net.prototxt:{line}: ")
    assert words in message
    assert "\n" not in message and "caffe." not in message


@pytest.mark.parametrize(
    "text, said",
    [
        ("base_lrr: 1", "unknown field 'base_lrr' in solver; did you mean 'base_lr'?"),
        (
            "eval_type: 'detection'",
            "unknown field 'eval_type' in solver; did you mean 'type'? If it is of another Caffe, leave it out",
        ),
    ],
)
def test_solver_is_called_solver(text, said):
    assert said in error(text, caffe_pb2.SolverParameter)


def test_nearest_ignores_case_and_underscores():
    assert nearest("Convolutoin", ["Deconvolution", "Convolution"]) == "Convolution"
    assert nearest("INNER_PRODUCT", ["InnerProduct", "Input"]) == "InnerProduct"
    assert nearest("zzz", ["Convolution", "ReLU"]) is None


@pytest.mark.parametrize(
    "suffix, kind", [(".caffemodel", ".caffemodel"), (".solverstate", ".solverstate"), ("", "binary")]
)
def test_binary_file_is_called_binary(tmp_path, suffix, kind):
    path = tmp_path / f"weights{suffix}"
    weights = caffe_pb2.NetParameter(name="net")
    weights.layer.add(name="conv").blobs.add(data=[0.0, 1.0])
    path.write_bytes(weights.SerializeToString())
    with pytest.raises(PrototxtError, match=f"a {kind} file is given where a prototxt is expected"):
        read(path, caffe_pb2.NetParameter())


def test_text_that_is_not_utf8_names_the_line(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"# one\nname: 'caf\xe9'\n")
    with pytest.raises(PrototxtError, match=r"net\.prototxt:2: not UTF-8 text \(byte 0xe9\): save the file as UTF-8"):
        read(path, caffe_pb2.NetParameter())


def test_a_comment_may_be_in_any_encoding(tmp_path):
    """Here GBK, one of whose second bytes is a backslash."""
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"# \xd1\xb5\xc1\xb7 \x95\x5c\nname: '# no comment' # \xca\xfd\xbe\xdd\n")
    assert read(path, caffe_pb2.NetParameter()).name == "# no comment"


def test_file_with_byte_order_mark_and_windows_line_ends_is_read(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"\xef\xbb\xbfname: 'x' # caf\xc3\xa9\r\nlayer {\r\n name: 'y'\r\n}\r\n")
    assert read(path, caffe_pb2.NetParameter()).layer[0].name == "y"


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.prototxt: no such file"):
        read(tmp_path / "nowhere.prototxt", caffe_pb2.NetParameter())
    with pytest.raises(PrototxtError, match="a folder, where a prototxt file is expected"):
        read(tmp_path, caffe_pb2.NetParameter())
    with pytest.raises(PrototxtError, match=r"x\.prototxt: cannot be read \(Not a directory\)"):
        read("/dev/null/x.prototxt", caffe_pb2.NetParameter())


def test_deep_nesting_and_long_lines_end_quickly():
    assert "still open" in error("layer {" * 20000)
    assert "expected" in error("[" * 20000)
    assert "needs a text in quotes" in error("layer { name: " + "9" * 20000 + " }")
    assert "needs a whole number" in error("input_dim: " + "9" * 20000)


def test_lines_of_fields_are_known():
    lines = field_lines(GOOD, caffe_pb2.NetParameter.DESCRIPTOR)
    assert lines["name"] == 2
    assert lines["layer[0]"] == 3
    assert lines["layer[0].type"] == 4
    assert lines["layer[0].convolution_param.weight_filler.std"] == 7
    assert lines["layer[0].param[1].decay_mult"] == 8


PIECES = ["layer", "layers", "{", "}", "<", ">", "[", "]", ":", ",", ";", "\n", "#", '"', "'", "\\", "name", "'a'", "type",
          "CONVOLUTION", "phase", "include", "TRAIN", "convolution_param", "pad", "1", "-1", "1.5f", "inf", "nan", "true",
          "0x1f", "017", "input_dim", "net_param", "clip_param", "min", "max", " "]  # fmt: skip
soup = st.one_of(st.text(), st.text(string.printable), st.lists(st.sampled_from(PIECES)).map(" ".join))


def check_against_protobuf(text, message):
    """Our verdict is protobuf's, and any failure is a PrototxtError of one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text_format.Parse(text, message())
        accepted = True
    except text_format.ParseError:
        accepted = False
    try:
        parse(text, message(), "f")
        assert accepted
    except PrototxtError as caught:
        required = "is missing; " in str(caught)
        assert required or not accepted
        assert str(caught).startswith("f:") and len(str(caught).splitlines()) == 1
    if accepted:
        assert find_problem(text, message.DESCRIPTOR) is None


@settings(max_examples=300, deadline=None)
@given(soup, st.sampled_from([caffe_pb2.NetParameter, caffe_pb2.SolverParameter]))
def test_any_text_is_read_or_refused_in_one_line(text, message):
    check_against_protobuf(text, message)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_net_is_read_or_refused_in_one_line(data):
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(len(GOOD), start + 12)))
    check_against_protobuf(GOOD[:start] + data.draw(soup) + GOOD[end:], caffe_pb2.NetParameter)
