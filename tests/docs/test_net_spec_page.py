"""docs/net_spec.md: its code runs as it stands there, and what it says of L and P is so."""

import re
from pathlib import Path

import pytest

import deconvnet as caffe
from deconvnet import layers as L
from deconvnet.core.layers import layer
from deconvnet.core.proto import caffe_pb2, read_net

PAGE = (Path(__file__).resolve().parents[2] / "docs/net_spec.md").read_text()


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The names of the page after its code has run, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names = {}
    exec(compile(block, "net_spec.md", "exec"), names)
    return names


def test_the_pages_net_is_built_written_and_trained(written):
    assert written["net"].blobs["score"].shape == (1, 2, 16, 16)
    assert read_net("train.prototxt") == written["small_deconvnet"](batch=4)


def test_the_pages_error_is_the_one_that_is_raised():
    (words,) = re.findall(r"`(Convolution: .*)`", PAGE)
    with pytest.raises(caffe.NetError, match=re.escape(words)):
        L.Convolution(L.Input(), kernel_siz=3)


def test_a_registered_layers_param_field_finds_its_message(monkeypatch):
    monkeypatch.setattr(layer, "_registry", dict(layer._registry))
    (field,) = re.findall(r'`param_field = "(\w+)"`', PAGE)
    (call,) = re.findall(r"`(L\.Shrink\(.*?\))` find", PAGE)
    layer.register("Shrink")(type("Shrink", (layer.Layer,), {"param_field": field}))
    made = eval(call, {"L": L, "x": L.Input()})
    assert made.to_proto().layer[1].scale_param == caffe_pb2.ScaleParameter(filler=caffe_pb2.FillerParameter(value=0.5))
