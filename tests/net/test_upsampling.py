import numpy as np
import pytest

from deconvnet.core.net import Net
from deconvnet.core.net.upsampling import fill_bilinear
from deconvnet.core.proto import caffe_pb2, parse

NET = """
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: 3 dim: 5 dim: 6 }} }} }}
layer {{ name: "up" type: "Deconvolution" bottom: "x" top: "up" convolution_param {{ {} }} }}
"""


def net_of(deconvolution):
    text = NET.format(f"{deconvolution} weight_filler {{ type: 'constant' value: 7 }}")
    return Net(parse(text, caffe_pb2.NetParameter()), caffe_pb2.TEST)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_a_plane_stays_a_plane_and_no_channel_reaches_another(factor):
    size = 2 * factor - factor % 2
    net = net_of(f"num_output: 3 kernel_size: {size} stride: {factor} bias_term: false")
    assert fill_bilinear(net) == ["up"]
    rows, cols = np.mgrid[:5, :6]
    up = net.forward(x=np.stack([rows, cols, 0 * rows])[None].astype(np.float32))["up"][0]
    inside = np.s_[size - factor : up.shape[1] - size + factor, size - factor : up.shape[2] - size + factor]
    down, across = up[0][inside], up[1][inside]
    np.testing.assert_allclose(np.diff(down, axis=0), 1 / factor, atol=1e-5)
    np.testing.assert_allclose(np.diff(across, axis=1), 1 / factor, atol=1e-5)
    np.testing.assert_allclose(np.diff(down, axis=1), 0, atol=1e-5)
    assert not up[2].any()


@pytest.mark.parametrize(
    "deconvolution",
    [
        "num_output: 3 kernel_size: 3 pad: 1",  # a decoder's, of stride 1
        "num_output: 5 kernel_size: 4 stride: 2",  # changes the channels
        "num_output: 3 group: 3 kernel_size: 4 stride: 2",  # Caffe's bilinear filler serves it
        "num_output: 3 kernel_h: 4 kernel_w: 2 stride: 2",
    ],
)
def test_other_deconvolutions_keep_their_weights(deconvolution):
    net = net_of(deconvolution)
    assert fill_bilinear(net) == []
    assert (net.params["up"][0].data == 7).all()


def test_layers_that_are_given_keep_their_weights():
    net = net_of("num_output: 3 kernel_size: 4 stride: 2")
    assert fill_bilinear(net, given=["up"]) == []
    assert (net.params["up"][0].data == 7).all()
