"""A case that Caffe computed, and ours beside it: a net with its inputs and parameters, and what came out forward and backward.

arrays: {"inputs/x": ..., "params/ip/0": ..., "outputs/y": ..., "top_diffs/y": ..., "bottom_diffs/x": ..., "param_diffs/ip/0": ...}
attributes: prototxt, phase (TRAIN or TEST), source, and passes, the number of forward passes, where it is not 1.
"""

import h5py
import numpy as np

from deconvnet.core import proto
from deconvnet.core.net import Net
from deconvnet.core.proto import caffe_pb2

# layers that only move values: what comes out is equal to the bit, forward and backward
COPIES = {"ArgMax", "Concat", "Crop", "Flatten", "Reshape", "Silence", "Slice", "Split", "Threshold", "Unpooling"}
TOLERANCE = 1e-4  # of the largest value
TOLERANCE_OF_NETS = 3e-4  # parameter gradients that came through many layers
SMALLEST = 1e-6


def read(path, name="/"):
    """The case in an HDF5 file, or in the group NAME of it, as {"inputs/x": array}, with its attributes."""
    with h5py.File(path) as whole:
        case, arrays = whole[name], {}
        case.visititems(lambda path, item: arrays.update({path: item[()]}) if isinstance(item, h5py.Dataset) else None)
        return arrays, dict(case.attrs)


def group(arrays, name):
    """The arrays of a group, by the rest of their path."""
    return {path[len(name) + 1 :]: array for path, array in arrays.items() if path.startswith(name + "/")}


def build(arrays, attributes, case, **options):
    """The case's net with its parameters and inputs in place; options as Net's."""
    definition = proto.parse(attributes["prototxt"], caffe_pb2.NetParameter(), f"{case}.prototxt")
    net = Net(definition, caffe_pb2.TRAIN if attributes["phase"] == "TRAIN" else caffe_pb2.TEST, **options)
    for path, values in group(arrays, "params").items():
        layer, number = path.rsplit("/", 1)
        blob = net.params[layer][int(number)]
        blob.data[...] = values.reshape(blob.shape)
    for name, values in group(arrays, "inputs").items():
        net.blobs[name].reshape(*values.shape)
        net.blobs[name].data[...] = values
    return net


def assert_close(ours, theirs, what, tolerance=TOLERANCE, exact=False):
    """Equal counts, and all values as near as the golden cases ask for."""
    assert ours.size == theirs.size, f"{what}: {ours.shape} values, not {theirs.shape}"
    ours = ours.reshape(theirs.shape)
    if exact:
        np.testing.assert_array_equal(ours, theirs, err_msg=what)
        return
    limit = max(SMALLEST, tolerance * float(np.abs(theirs).max(initial=0)))
    error = np.abs(np.asarray(ours, np.float64) - theirs)
    at = np.unravel_index(int(error.argmax()), error.shape) if error.size else ()
    assert not error.size or error.max() <= limit, (
        f"{what} at {at}: ours {ours[at]}, theirs {theirs[at]}, allowed {limit:.3g}"
    )


def exact(layer):
    """Whether a layer's outputs are copies, maxima or switches."""
    maximum = caffe_pb2.PoolingParameter.MAX
    return layer.type in COPIES or (layer.type == "Pooling" and layer.pooling_param.pool == maximum)


def check(arrays, attributes, what):
    """Run a case forward and backward on our engine: outputs, every blob that is given, parameters that forward changes, gradients."""
    net = build(arrays, attributes, what)
    last = net.layers[-1].param
    net.clear_param_diffs()
    for _ in range(int(attributes.get("passes", 1))):
        net.forward()
    for name, theirs in {**group(arrays, "blobs"), **group(arrays, "outputs")}.items():
        assert_close(net.blobs[name].data, theirs, f"blob {name}", exact=len(net.params) == 0 and exact(last))
    for path, theirs in group(arrays, "params_after").items():
        layer, number = path.rsplit("/", 1)
        assert_close(net.params[layer][int(number)].data, theirs, f"parameter {path} after forward")
    bottom_diffs, parameter_diffs = group(arrays, "bottom_diffs"), group(arrays, "param_diffs")
    if bottom_diffs or parameter_diffs:
        net.backward(**{name: diff.reshape(net.blobs[name].shape) for name, diff in group(arrays, "top_diffs").items()})
    for name, theirs in bottom_diffs.items():
        copied = last.type in COPIES and len(net.params) == 0
        assert_close(net.blobs[name].diff, theirs, f"gradient of {name}", exact=copied)
    whole = len(net.params) > 1
    for path, theirs in parameter_diffs.items():
        layer, number = path.rsplit("/", 1)
        tolerance = TOLERANCE_OF_NETS if whole else TOLERANCE
        assert_close(net.params[layer][int(number)].diff, theirs, f"gradient of parameter {path}", tolerance)
