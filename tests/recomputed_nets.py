"""Small nets with batch norm, pooling and unpooling to train with and without what is computed again (recompute), and what is asked of them."""

import numpy as np

from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2, parse
from deconvnet.core.solver import get_solver

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 5 dim: 9 dim: 7 } } }'
LOSS = """layer { name: "loss" type: "EuclideanLoss" bottom: "%s" bottom: "x" top: "loss" }"""


def convolution(name, bottom, top, outputs=5):
    fillers = 'weight_filler { type: "gaussian" std: 0.2 } bias_filler { type: "gaussian" std: 1 }'
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top}" '
        f"convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 {fillers} }} }}"
    )


def norm(kind, blob, top=None):
    """Batch norm of one kind, with a scale and a shift; in place unless it is given a top."""
    top = top or blob
    fillers = 'filler { type: "uniform" min: 0.5 max: 1.5 } bias_filler { type: "gaussian" std: 1 }'
    if kind == "BatchNorm":
        return (
            f'layer {{ name: "norm {top}" type: "BatchNorm" bottom: "{blob}" top: "{top}" }} layer {{ name: "scale {top}" '
            f'type: "Scale" bottom: "{top}" top: "{top}" scale_param {{ bias_term: true {fillers} }} }}'
        )
    fillers = fillers.replace("filler {", "scale_filler {", 1).replace("bias_filler", "shift_filler")
    running = "momentum: 0.9" if kind == "running" else ""
    return f'layer {{ name: "norm {top}" type: "BN" bottom: "{blob}" top: "{top}" bn_param {{ {fillers} {running} }} }}'


def relu(blob):
    return f'layer {{ name: "relu {blob}" type: "ReLU" bottom: "{blob}" top: "{blob}" }}'


def chain(kind):
    """Three blocks of convolution, batch norm and ReLU in place, as in VGG and MobileNet."""
    blobs = ["x", "a", "b", "c"]
    pairs = zip(blobs, blobs[1:], strict=False)
    return [one for x, y in pairs for one in (convolution(f"conv {y}", x, y), norm(kind, y), relu(y))] + [LOSS % "c"]


def deconvnet(kind="BN"):
    """Pooling with switches and unpooling by them, twice, batch norm everywhere: an unpooled map is made of one that is made again, too."""

    def unpool(number, bottom, top, size):
        return (
            f'layer {{ name: "unpool{number}" type: "Unpooling" bottom: "{bottom}" bottom: "mask{number}" top: "{top}" '
            f"unpooling_param {{ unpool_h: {size[0]} unpool_w: {size[1]} }} }}"
        )

    def pool(number, bottom):
        return (
            f'layer {{ name: "pool{number}" type: "Pooling" bottom: "{bottom}" top: "p{number}" top: "mask{number}" '
            "pooling_param { kernel_size: 2 stride: 2 } }"
        )

    layers = [convolution("conv1", "x", "a"), norm(kind, "a"), relu("a"), pool(1, "a")]
    layers += [convolution("conv2", "p1", "b"), norm(kind, "b"), relu("b"), pool(2, "b")]
    layers += [convolution("conv3", "p2", "c"), norm(kind, "c"), relu("c"), unpool(2, "c", "d", (5, 4))]
    layers += [convolution("conv4", "d", "e"), norm(kind, "e"), relu("e"), unpool(1, "e", "f", (9, 7))]
    return [*layers, convolution("conv5", "f", "g"), norm(kind, "g"), relu("g"), LOSS % "g"]


def residual():
    """Two blocks of a ResNet: the last batch norm of a branch feeds a sum, which needs nothing of it in the backward pass."""
    layers = []
    for x, a, b, y in (("x", "a1", "b1", "y1"), ("y1", "a2", "b2", "y2")):
        layers += [convolution(f"conv {a}", x, a), norm("BatchNorm", a), relu(a)]
        layers += [convolution(f"conv {b}", a, b), norm("BatchNorm", b)]
        layers += [f'layer {{ name: "sum {y}" type: "Eltwise" bottom: "{x}" bottom: "{b}" top: "{y}" }}', relu(y)]
    return [*layers, LOSS % "y2"]


def dense():
    """Batch norm before convolution, with a top of its own, of which two layers read: as in a DenseNet."""
    layers = [convolution("conv0", "x", "s"), norm("BatchNorm", "s", "n1"), relu("n1"), convolution("conv1", "n1", "a")]
    layers += ['layer { name: "all" type: "Concat" bottom: "a" bottom: "n1" top: "b" }']
    layers += [norm("running", "b", "n2"), relu("n2"), convolution("conv2", "n2", "c")]
    return [*layers, norm("BN", "c", "n3"), convolution("conv3", "n3", "d"), LOSS % "d"]


NETS = {
    "BN": chain("BN"),
    "BatchNorm and Scale": chain("BatchNorm"),
    "running statistics": chain("running"),
    "unpooling": deconvnet(),
    "residual": residual(),
    "dense": dense(),
}


def training_net(layers, **given):
    net = Net(parse("\n".join([INPUT, *layers]), caffe_pb2.NetParameter()), caffe_pb2.TRAIN, seed=1, **given)
    draw(net)
    return net


def draw(net):
    net.blobs["x"].data[...] = np.random.default_rng(net.blobs["x"].count).normal(size=net.blobs["x"].shape)


def iterate(net):
    """One iteration: the loss, and the gradients as they have added up."""
    loss = net.forward_loss()
    net.backward()
    return loss, [blob.diff.copy() for blobs in net.params.values() for blob in blobs]


def assert_same(one, other):
    assert one[0] == other[0]
    for ours, wanted in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(ours, wanted)
    assert any(values.any() for values in other[1])


def memory(net):
    """Bytes that the blobs' data takes, each memory once."""
    return sum(
        held._host.nbytes for held in {blob.data_memory for blob in net._named_blobs.values()} if held._host is not None
    )


def again(net):
    """The names of the layers that one backward pass asks to compute their tops again, in their order."""
    asked = []
    for layer, *_ in net.connections():
        run = layer.recompute
        layer.recompute = lambda *given, run=run, name=layer.name: (asked.append(name), run(*given))
    iterate(net)
    return asked


def solver_of(recompute, layers, test_layers, **given):
    """A solver with a test net; recompute: whether, or the names of convolutions."""

    def net(phase_layers):
        return parse("\n".join([INPUT, *phase_layers]), caffe_pb2.NetParameter())

    param = caffe_pb2.SolverParameter(base_lr=0.1, momentum=0.9, lr_policy="fixed", random_seed=1)
    if isinstance(recompute, bool):
        param.recompute = recompute
    else:
        param.recompute_convolution.extend(recompute)
    param.train_net_param.CopyFrom(net(layers))
    param.test_net_param.append(net(test_layers))
    param.test_iter.append(1)
    param.test_interval, param.max_iter = 2, 5
    solver = get_solver(param, [], **given)
    for each in (solver.net, *solver.test_nets):
        draw(each)
    return solver
