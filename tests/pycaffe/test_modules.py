"""Where scripts for pycaffe import its names from."""

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from google.protobuf import text_format

import deconvnet as caffe


@pytest.mark.parametrize(
    "statement",
    [
        "import deconvnet.proto.caffe_pb2",
        "import deconvnet.proto.caffe_pb2 as pb",
        "from deconvnet.proto.caffe_pb2 import NetParameter, SolverParameter",
        "from deconvnet.pycaffe import Net, SGDSolver, AdamSolver",
        "from deconvnet.pycaffe import *",
        "from deconvnet._caffe import RawBlobVec, layer_type_list, BlobVec, Solver",
        "import deconvnet as caffe; caffe._caffe.BlobVec, caffe.pycaffe.Net, caffe.net_spec.param_name_dict, caffe.Timer",
        "from deconvnet.net_spec import layers, params, NetSpec, to_proto, assign_proto",
    ],
)
def test_modules_of_pycaffe_are_there(statement):
    subprocess.run([sys.executable, "-c", statement], check=True, timeout=60)


def test_messages_are_the_same_wherever_they_are_imported_from():
    import deconvnet.proto.caffe_pb2 as messages

    assert messages is caffe.proto.caffe_pb2 is sys.modules["deconvnet.proto.caffe_pb2"]


def test_the_parameters_of_a_net_have_pycaffes_type():
    net = caffe.Net(text_format.Parse(NET, caffe.proto.caffe_pb2.NetParameter()), caffe.TEST)
    assert type(net.params["ip"]) is caffe._caffe.BlobVec


NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
"""


def test_a_message_is_written_by_the_names_of_net_spec():
    layer = caffe.proto.caffe_pb2.LayerParameter(type="InnerProduct")
    own = getattr(layer, caffe.net_spec.param_name_dict()[layer.type] + "_param")
    caffe.net_spec.assign_proto(own, "num_output", 5)
    caffe.net_spec.assign_proto(own, "weight_filler", {"type": "xavier"})
    assert (layer.inner_product_param.num_output, layer.inner_product_param.weight_filler.type) == (5, "xavier")


def test_the_names_of_a_detectors_classes_are_read():
    """As ssd_detect.py reads labelmap_voc.prototxt."""
    names = caffe.proto.caffe_pb2.LabelMap()
    text_format.Merge('item { name: "n1" label: 1 display_name: "aeroplane" }', names)
    assert [(item.label, item.display_name) for item in names.item] == [(1, "aeroplane")]


def test_a_stopwatch_measures_milliseconds(monkeypatch):
    monkeypatch.setattr(caffe.pycaffe, "time", SimpleNamespace(perf_counter=iter([1.0, 1.25]).__next__))
    timer = caffe.Timer()
    timer.start()
    timer.stop()
    assert timer.ms == 250


def test_the_log_is_one_line_of_glog_above_the_level_asked_for(capsys):
    """As VQA's feature extraction and OpenVINO's Python layers call it."""
    level = caffe._caffe.logger.level
    try:
        caffe.init_log(0, True)
        caffe.log("100 % of one")
        caffe.init_log(1)
        caffe._caffe.log("not this")
    finally:
        caffe._caffe.logger.setLevel(level)
    said = capsys.readouterr().err
    assert re.fullmatch(r"I\d{4} .* test_modules\.py:\d+\] 100 % of one\n", said)


def test_one_solver_on_one_gpu_is_what_scripts_for_several_are_told():
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    caffe.set_multiprocess(True)
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (1, 0, False)
    with pytest.raises(ValueError, match=r"set_solver_count\(2\): one solver trains a net here"):
        caffe.set_solver_count(2)
    with pytest.raises(ValueError, match=r"set_solver_rank\(1\)"):
        caffe.set_solver_rank(1)
