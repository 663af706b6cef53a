"""One layer more in a net that is being built."""

from ..blob import Blob
from ..layers import Input, layer_type
from .crop_offset import Source
from .handed_down import hand_down
from .parameters import append_parameters, loss_weights, share_trained
from .splits import AUTOMATIC


def append_layer(net, param) -> None:
    """Make one layer, its tops and parameters, and give them their shapes."""
    made_with = {"dtype": net.dtype, "seed": net.seed, "model_file": net.model_file, "precision": net.precision}
    layer = layer_type(param.type)(param, **made_with)
    layer.check_counts(len(param.bottom), len(param.top))
    if len(param.propagate_down) not in (0, len(param.bottom)):
        given = len(param.propagate_down)
        raise ValueError(f"has {len(param.bottom)} bottoms and {given} propagate_down: give one for each or none")
    trained = net._beside[layer.name].blobs if layer.name in net._beside else []
    bottom = [net._named_blobs[name] for name in param.bottom]
    first = net._sources[param.bottom[0]] if param.bottom else None
    hand_down(net, layer, bottom)
    top = _make_tops(net, param)
    layer.check_places(bottom, top)
    # parameters are filled when it is known which are shared, and not at all where a file brings them
    layer.fills = False
    number = len(net._layers)
    net._layers.append(layer)
    net.layer_names.append(param.name)
    net._first_sources.append(first)
    net.bottom_names[param.name], net.top_names[param.name] = list(param.bottom), list(param.top)
    net._bottoms.append(bottom)
    net._tops.append(top)
    net._unread.difference_update(param.bottom)
    net._unread.update(name for name in param.top if not name.startswith(AUTOMATIC))
    for i, name in enumerate(param.top):
        net._sources[name] = Source(number, i)
    if isinstance(layer, Input):
        net.inputs.extend(param.top)
    layer.setup(bottom, top)
    share_trained(layer, trained)
    layer.reshape(bottom, top)
    layer.loss_weights = loss_weights(layer, param)
    append_parameters(layer, param, net.learnable, net._owners)
    own = len(layer.blobs) > len(layer.shared)
    if own and any(one.blobs for one in net._layers[:number] if one.name == layer.name):
        raise ValueError(
            "has parameters, and so has a layer of that name before it: weights are kept by name, so give it another one"
        )


def _make_tops(net, param) -> list[Blob]:
    """The blobs of a layer's tops: new ones, but where it works in place. Raises ValueError."""
    for number, name in enumerate(param.top):
        if number < len(param.bottom) and param.bottom[number] == name:
            continue
        if name in param.top[:number]:
            raise ValueError(f"names its top '{name}' twice")
        if name in net._named_blobs:
            raise ValueError(
                f"its top '{name}' is made by layer '{net.layer_names[net._sources[name].layer]}' already: rename one of them "
                "(a layer can work in place only on a bottom that no other layer reads)"
            )
        net._named_blobs[name] = Blob(dtype=net.dtype)
    return [net._named_blobs[name] for name in param.top]
