"""Nets and solvers from files."""

import ast
import sys
from pathlib import Path

import pytest

from deconvnet.core.proto import PrototxtError, caffe_pb2, find_file, line_of_layer, read_net, read_solver


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_net_of_any_age_is_read_in_todays_syntax(tmp_path):
    path = write(tmp_path / "net.prototxt", 'layers { name: "a" type: RELU }')
    assert read_net(path).layer[0].type == "ReLU"


def test_errors_of_reading_and_of_upgrading_name_the_file(tmp_path):
    path = write(tmp_path / "net.prototxt", "\nlayer { nam: 'a' }")
    with pytest.raises(PrototxtError, match=r"net\.prototxt:2: unknown field 'nam' in layer; did you mean 'name'\?"):
        read_net(path)
    path = write(tmp_path / "net.prototxt", "layer { } layers { }")
    with pytest.raises(PrototxtError, match=r"net\.prototxt: has both 'layer'"):
        read_net(path)
    with pytest.raises(FileNotFoundError, match="absent.prototxt: no such file"):
        read_net(tmp_path / "absent.prototxt")
    with pytest.raises(FileNotFoundError, match="absent.prototxt: no such file"):
        read_solver(tmp_path / "absent.prototxt")


def test_snapshots_of_a_solver_without_prefix_are_named_like_its_file(tmp_path):
    path = write(tmp_path / "small.prototxt", "solver_type: ADAM")
    assert (read_solver(path).snapshot_prefix, read_solver(path).type) == (str(tmp_path / "small"), "Adam")
    path = write(tmp_path / "small.prototxt", f'snapshot_prefix: "{tmp_path}"')
    assert read_solver(path).snapshot_prefix == str(tmp_path / "small")
    path = write(tmp_path / "small.prototxt", 'snapshot_prefix: "snapshots/a"')
    assert read_solver(path).snapshot_prefix == "snapshots/a"


def test_file_is_sought_here_then_above_the_file_that_names_it(tmp_path, monkeypatch):
    solver = write(tmp_path / "solver" / "s.prototxt", "")
    net = write(tmp_path / "prototxt" / "n.prototxt", "")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_file("prototxt/n.prototxt", named_in="solver/s.prototxt") == "prototxt/n.prototxt"
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Path(find_file("prototxt/n.prototxt", named_in=solver)) == net
    assert find_file(net, named_in=solver) == str(net)
    with pytest.raises(FileNotFoundError) as caught:
        find_file("prototxt/absent.prototxt", named_in=solver, remedy="write it")
    assert str(caught.value) == (
        f"no such file: prototxt/absent.prototxt (nor {tmp_path}/prototxt/absent.prototxt), named in {solver}; write it"
    )
    with pytest.raises(FileNotFoundError, match="^no such file: absent$"):
        find_file("absent")


def test_line_of_a_layer_is_found_by_name_and_type(tmp_path):
    text = 'layer { name: "a"\n type: "ReLU" }\nlayer {\n name: "b" type: "X" }\nlayer { name: "b"\n\n type: "Y" pooling_param {\n} }'
    path = write(tmp_path / "net.prototxt", text)
    layer = caffe_pb2.LayerParameter
    assert line_of_layer(path, layer(name="a", type="ReLU")) == 2
    assert line_of_layer(path, layer(name="b", type="X")) == 4
    assert line_of_layer(path, layer(name="b", type="Y")) == 7
    assert line_of_layer(path, layer(name="b", type="Y"), "name") == 5
    assert line_of_layer(path, layer(name="b", type="Y"), "relu_param") == 5
    assert line_of_layer(path, layer(name="input", type="Input")) is None


def test_line_of_a_layer_in_old_syntax(tmp_path):
    path = write(tmp_path / "v1.prototxt", 'layers { name: "a"\n type: RELU }\n')
    assert line_of_layer(path, caffe_pb2.LayerParameter(name="a", type="ReLU")) == 2
    path = write(tmp_path / "v0.prototxt", 'layers {\n layer { name: "a"\n type: "conv" }\n bottom: "d" }\n')
    assert line_of_layer(path, caffe_pb2.LayerParameter(name="a", type="Convolution")) == 3


def test_the_room_imports_protobuf_and_the_standard_library_only():
    room = Path(read_net.__code__.co_filename).parent
    for path in room.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {name.name.split(".")[0] for name in node.names} <= sys.stdlib_module_names, path.name
            elif isinstance(node, ast.ImportFrom) and node.level != 1:
                assert node.module.split(".")[0] in {"google", *sys.stdlib_module_names}, path.name
