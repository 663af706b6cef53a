"""Old nets and solvers in today's syntax: V0 (2013) and V1 (`layers`, 2014) layers, `input` fields, `solver_type`.

The rules are those of BVLC Caffe's upgrade; V1 has the DeconvNet release's layers and DeepLab's as well.
"""

from . import caffe_pb2
from .fields import copy_field
from .layer_types import V1_TYPES
from .prototxt import PrototxtError
from .v0 import copy_v0_layer, without_padding_layers

__all__ = ["upgrade_net", "upgrade_solver"]

_SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}
# V1 fields that today's LayerParameter says with other words; all others have the same name in both.
_V1_ONLY = {"type", "param", "blob_share_mode", "blobs_lr", "weight_decay", "layer", "softmaxloss_param", "strict_dim"}
_HOLES = ("hole", "hole_h", "hole_w")
_DATA_PARAMS = ("data_param", "image_data_param", "window_data_param")
_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")


def upgrade_net(net, name="net"):
    """`net` in today's syntax: the same NetParameter if it is so already, else a new one (`net` is left as it is).

    V0 and V1 layers become LayerParameters with today's type names, param { name lr_mult decay_mult share_mode } and
    transform_param; their blobs are copied as they are. `input` with input_shape or input_dim becomes an Input layer
    named "input", placed first. A V1 CROP becomes a Crop with crop_param.computed: its offset is for the net to compute.
    DeepLab's `hole` becomes `dilation`.
    name: what errors call the net. Raises PrototxtError for `layer` and `layers` in one net, a layer that mixes V0 and
    V1, an unknown V0 type, input sizes that do not match the inputs, and `hole` beside `dilation`.
    """
    if net.layer and net.layers:
        raise PrototxtError(
            f"{name}: has both 'layer' (first: '{net.layer[0].name}') and 'layers' (first: '{_name(net.layers[0])}'); "
            "write all layers in one syntax"
        )
    has_inputs = net.input or net.input_shape or net.input_dim
    if not has_inputs and not net.layers and not any(_is_old(layer) for layer in net.layer):
        return net
    upgraded = caffe_pb2.NetParameter()
    for field, value in net.ListFields():
        if field.name not in ("layer", "layers", "input", "input_shape", "input_dim"):
            copy_field(upgraded, field.name, value)
    if has_inputs:
        _add_input_layer(upgraded, net, name)
    for layer in without_padding_layers(net.layers, name):
        _add_old_layer(upgraded, layer, name)
    for layer in net.layer:
        upgraded.layer.add().CopyFrom(layer)
    for layer in upgraded.layer:
        if _has_three_batch_norm_params(layer):
            # Statistics are not learned; old files had to say so by lr_mult: 0, the layer now knows.
            del layer.param[:]
        if _has_holes(layer):
            _dilate(layer, name)
    return upgraded


def upgrade_solver(solver, name="solver"):
    """`solver` (SolverParameter) with `type` instead of solver_type and its embedded nets in today's syntax.

    The same message if there is nothing to change, else a new one. Raises PrototxtError if both types are given.
    """
    nets = [field for field in ("net_param", "train_net_param") if solver.HasField(field)]
    if not solver.HasField("solver_type") and not nets and not solver.test_net_param:
        return solver
    upgraded = caffe_pb2.SolverParameter()
    upgraded.CopyFrom(solver)
    if solver.HasField("solver_type"):
        old = caffe_pb2.SolverParameter.SolverType.Name(solver.solver_type)
        if solver.HasField("type"):
            raise PrototxtError(
                f'{name}: has both type: "{solver.type}" and solver_type: {old}, its older form; remove solver_type'
            )
        upgraded.type = _SOLVER_TYPES[old]
        upgraded.ClearField("solver_type")
    for field in nets:
        getattr(upgraded, field).CopyFrom(upgrade_net(getattr(solver, field), f"{name}, {field}"))
    for i, net in enumerate(solver.test_net_param):
        upgraded.test_net_param[i].CopyFrom(upgrade_net(net, f"{name}, test_net_param {i}"))
    return upgraded


def _add_input_layer(upgraded, net, name):
    layer = upgraded.layer.add(name="input", type="Input", top=net.input)
    inputs, shapes, sizes = len(net.input), len(net.input_shape), len(net.input_dim)
    if shapes:  # before input_dim, if there is both
        if shapes != inputs:
            raise PrototxtError(f"{name}: {inputs} input but {shapes} input_shape; give one input_shape for each input")
        layer.input_param.shape.extend(net.input_shape)
        return
    if sizes != 4 * inputs:
        raise PrototxtError(
            f"{name}: {inputs} input but {sizes} input_dim; give four for each input (or an input_shape for each)"
        )
    for i in range(inputs):
        layer.input_param.shape.add(dim=net.input_dim[4 * i : 4 * i + 4])


def _add_old_layer(upgraded, old, name):
    """Append a V1LayerParameter, or the V0LayerParameter inside it, in today's form."""
    new = upgraded.layer.add()
    for field, value in old.ListFields():
        if field.name not in _V1_ONLY:
            copy_field(new, field.name, value)
    if old.HasField("softmaxloss_param"):
        new.loss_param.CopyFrom(old.softmaxloss_param)
    _add_param_specs(new, old)
    if old.HasField("layer"):
        mixed = [field.name for field, _ in old.ListFields() if field.name not in ("layer", "bottom", "top", "foreign")]
        if mixed:
            raise PrototxtError(
                f"{name}: layer '{_name(old)}' has '{mixed[0]}' outside of the V0 layer {{ }} inside it"
            )
        new.type = V1_TYPES[copy_v0_layer(old.layer, new, name)]
        _add_param_specs(new, old.layer)
    elif old.HasField("type"):
        new.type = V1_TYPES[caffe_pb2.V1LayerParameter.LayerType.Name(old.type)]
        if new.type == "Crop":
            new.crop_param.computed = True
    _move_transformation(new)


def _add_param_specs(new, old):
    """ParamSpecs from the lists of V1 (names, share modes, rates, decays) or V0 (rates, decays)."""
    for old_field, new_field in (
        ("param", "name"),
        ("blob_share_mode", "share_mode"),
        ("blobs_lr", "lr_mult"),
        ("weight_decay", "decay_mult"),
    ):
        for i, value in enumerate(getattr(old, old_field, ())):
            while len(new.param) <= i:
                new.param.add()
            setattr(new.param[i], new_field, value)


def _move_transformation(layer):
    """What data layers once said in their own message goes to transform_param."""
    for param in _DATA_PARAMS:
        if layer.HasField(param):
            message = getattr(layer, param)
            for field in _TRANSFORM_FIELDS:
                if message.HasField(field):
                    setattr(layer.transform_param, field, getattr(message, field))
                    message.ClearField(field)


def _is_old(layer):
    return _has_three_batch_norm_params(layer) or _has_holes(layer)


def _has_holes(layer):
    return any(layer.convolution_param.HasField(field) for field in _HOLES)


def _dilate(layer, name):
    """DeepLab's hole, or hole_h and hole_w, in today's word."""
    param = layer.convolution_param
    if param.dilation or (param.HasField("hole") and (param.HasField("hole_h") or param.HasField("hole_w"))):
        raise PrototxtError(
            f"{name}: layer '{layer.name}': give dilation, or hole, or hole_h and hole_w; not more than one of them"
        )
    param.dilation.extend([param.hole] if param.HasField("hole") else [param.hole_h, param.hole_w])
    for field in _HOLES:
        param.ClearField(field)


def _has_three_batch_norm_params(layer):
    return layer.type == "BatchNorm" and len(layer.param) == 3


def _name(old_layer):
    return old_layer.layer.name if old_layer.HasField("layer") else old_layer.name
