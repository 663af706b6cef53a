"""coord_map.crop: the offset of a crop in a net written in Python, from the layers between its bottoms."""

from pathlib import Path

import pytest

import deconvnet as caffe
from deconvnet import NetError, NetSpec
from deconvnet import layers as L
from deconvnet import params as P
from deconvnet.coord_map import crop
from deconvnet.core import net as net_room
from deconvnet.core.proto import caffe_pb2, filter_net, read_net

FCN8S = Path(net_room.__file__).parents[1] / "prototxt/fcn/fcn8s.prototxt"
LEARNED = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]


def conv_relu(bottom, nout, ks=3, pad=1):
    conv = L.Convolution(bottom, kernel_size=ks, num_output=nout, param=LEARNED, **(dict(pad=pad) if pad else {}))
    return conv, L.ReLU(conv, in_place=True)


def upsample(bottom, ks, stride):
    window = dict(num_output=21, kernel_size=ks, stride=stride, bias_term=False)
    filler = dict(type="bilinear_diagonal")
    return L.Deconvolution(bottom, convolution_param=dict(weight_filler=filler, **window), param=[dict(lr_mult=0)])


def fcn8s():
    """As the FCN authors' scripts write it."""
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 500, 500]), name="input")
    bottom = n.data
    for block, convs, nout in ((1, 2, 64), (2, 2, 128), (3, 3, 256), (4, 3, 512), (5, 3, 512)):
        for i in range(1, convs + 1):
            pad = 100 if (block, i) == (1, 1) else 1
            n[f"conv{block}_{i}"], n[f"relu{block}_{i}"] = conv_relu(bottom, nout, pad=pad)
            bottom = n[f"relu{block}_{i}"]
        n[f"pool{block}"] = bottom = L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    for name, ks in (("6", 7), ("7", 1)):
        n["fc" + name], n["relu" + name] = conv_relu(bottom, 4096, ks=ks, pad=0)
        n["drop" + name] = bottom = L.Dropout(n["relu" + name], dropout_ratio=0.5, in_place=True)
    n.score_fr = L.Convolution(bottom, num_output=21, kernel_size=1, param=LEARNED)
    n.upscore2 = upsample(n.score_fr, 4, 2)
    n.score_pool4 = L.Convolution(n.pool4, num_output=21, kernel_size=1, param=LEARNED)
    n.score_pool4c = crop(n.score_pool4, n.upscore2)
    n.fuse_pool4 = L.Eltwise(n.upscore2, n.score_pool4c)
    n.upscore_pool4 = upsample(n.fuse_pool4, 4, 2)
    n.score_pool3 = L.Convolution(n.pool3, num_output=21, kernel_size=1, param=LEARNED)
    n.score_pool3c = crop(n.score_pool3, n.upscore_pool4)
    n.fuse_pool3 = L.Eltwise(n.upscore_pool4, n.score_pool3c)
    n.upscore8 = upsample(n.fuse_pool3, 16, 8)
    n.score = crop(n.upscore8, n.data)
    return n.to_proto()


def test_fcn8s_written_in_python_is_the_one_of_this_project():
    shipped = filter_net(read_net(FCN8S), caffe_pb2.NetState(phase=caffe.TEST))
    for layer in shipped.layer:
        for field in ("phase", "include"):
            layer.ClearField(field)
    assert list(fcn8s().layer) == list(shipped.layer)


def offset(top_from, top_to):
    return list(crop(top_from, top_to).to_proto().layer[-1].crop_param.offset)


@pytest.fixture
def x():
    return L.Python(module="of_any_size", layer="Data")


def test_offsets_of_both_axes_are_written_where_they_differ(x):
    assert offset(x, L.Convolution(x, num_output=1, kernel_h=5, kernel_w=3)) == [2, 1]
    assert offset(x, L.Convolution(x, num_output=1, kernel_size=5, dilation=2)) == [4]
    assert offset(x, x) == [0]


@pytest.mark.parametrize(
    "between, found",
    [
        (lambda x: L.Im2col(x, kernel_size=3), [1]),
        (lambda x: L.Pooling(x, kernel_size=3), [1]),
        (lambda x: L.Crop(x, x, offset=2), [2]),
        (lambda x: L.Crop(x, x, offset=[2, 3]), [2, 3]),
        (lambda x: L.Crop(x, x), [0]),
        (lambda x: L.Unpooling(L.Pooling(x, kernel_size=2, stride=2), kernel_size=2, stride=2, unpool_size=8), [0]),
        (lambda x: L.Scale(L.BatchNorm(L.LRN(L.Eltwise(L.PReLU(x), x))), in_place=True), [0]),
    ],
)
def test_layers_between_are_followed(x, between, found):
    assert offset(x, between(x)) == found


@pytest.mark.parametrize(
    "pair, words",
    [
        (lambda x: (x, L.Pooling(x, kernel_size=2, stride=2)), "its bottoms differ in vertical scale by 2"),
        (lambda x: (x, L.Convolution(x, num_output=1, kernel_size=2)), "its computed vertical offset is 0.5"),
        (lambda x: (L.Convolution(x, num_output=1, kernel_size=3), x), "its computed vertical offset is -1"),
        (lambda x: (x, L.Input()), "its bottoms come from no common blob"),
        (lambda x: (x, L.Pooling(x, global_pooling=True)), "its bottoms come from no common blob"),
        (lambda x: (x, L.Unpooling(x, unpool_size=8)), "its bottoms come from no common blob"),
        (lambda x: (x, L.Crop(x, x, axis=3, offset=1)), "its bottoms come from no common blob"),
        (lambda x: (x, L.Crop(x, x, computed=True)), "its bottoms come from no common blob"),
        (lambda x: (x, L.Concat(x, x)), "its bottoms come from no common blob"),
        (lambda x: (x, L.WindowInstSegData()), "its bottoms come from no common blob"),
        (lambda x: (x, L.Convolution(x, num_output=1)), "give kernel_size, or both kernel_h and kernel_w"),
    ],
)  # fmt: skip
def test_tops_that_do_not_lie_over_each_other_are_named_with_the_reason(x, pair, words):
    with pytest.raises(NetError, match=f"^crop of <top 0 of a layer \\w+> to <top 0 of a layer \\w+>: {words}"):
        crop(*pair(x))
