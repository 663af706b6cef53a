"""Nets written in Python, as pycaffe's net_spec has it: L.Convolution(n.data, num_output=20) in place of prototxt.

What a layer may be told comes from the schema (caffe.proto) and from the registered layer types; nothing of it is listed here.
"""

import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable

from ..layers import layer_types, param_field
from ..proto import (
    MISSPELT,
    V1_TYPES,
    caffe_pb2,
    did_you_mean,
    messages_with,
    nearest,
    other_syntax,
    set_field,
)
from .errors import NetError

_LAYER = caffe_pb2.LayerParameter.DESCRIPTOR
# "Convolution" -> "convolution_param", for the layer types whose message is named after them
OWN_FIELDS = {
    field.message_type.name.removesuffix("Parameter"): field.name
    for field in _LAYER.fields
    if field.message_type and field.name.endswith("_param")
}
# messages that layers of many types have, to look for a misplaced parameter in
_COMMON = [_LAYER.fields_by_name[name] for name in ("param", "include", "exclude", "transform_param", "loss_param")]


class Top:
    """What a layer makes: a blob of the net to be. fn: the layer (Function); n: which of its tops this is."""

    def __init__(self, fn: "Function", n: int):
        self.fn, self.n = fn, n

    def __repr__(self):
        return f"<top {self.n} of a layer {self.fn.type_name}>"

    def to_proto(self):
        """The NetParameter of all layers that this top needs."""
        return to_proto(self)


class Function:
    """A layer of the net to be: its type, its bottoms (`inputs`, a tuple of Tops), its parameters (a dict) and its tops.

    ntop: how many tops it makes; in_place: whether they are its first bottoms.
    Raises TypeError for a bottom that is no Top, NetError for all else that is wrong.
    """

    def __init__(self, type_name: str, inputs: Iterable[Top], params: dict):
        self.type_name, self.inputs, self.params = type_name, tuple(inputs), dict(params)
        self.ntop, self.in_place = self.params.pop("ntop", 1), self.params.pop("in_place", False)
        for number, bottom in enumerate(self.inputs):
            if not isinstance(bottom, Top):
                raise TypeError(f"{type_name} input {number} is not a Top (type is {type(bottom)}){_unpacked(bottom)}")
        if not isinstance(self.ntop, int) or self.ntop < 0:
            raise NetError(f"{type_name}: ntop={self.ntop!r} is no number of tops: give 0, 1, 2 ...")
        if self.in_place and self.ntop > len(self.inputs):
            raise NetError(
                f"{type_name}: in_place=True, but it has {len(self.inputs)} bottoms for its {self.ntop} tops"
            )
        self.tops = tuple(Top(self, n) for n in range(self.ntop))
        self.check()

    @property
    def fn(self) -> "Function":
        """The layer itself: a layer without tops stands where others have a Top."""
        return self

    def __repr__(self):
        return f"<layer {self.type_name}>"

    def to_proto(self):
        """The NetParameter of this layer and of all that it needs."""
        return to_proto(self)

    def check(self) -> None:
        """Raise NetError for a parameter that the layer does not have or a value that does not suit."""
        self.write(caffe_pb2.LayerParameter(type=self.type_name))

    def write(self, layer) -> None:
        """Put the parameters into a LayerParameter. Raises NetError."""
        own = own_field(self.type_name)
        own_fields = _LAYER.fields_by_name[own].message_type.fields_by_name if own else {}
        for name, value in self.params.items():
            try:
                if name in own_fields:
                    set_field(getattr(layer, own), name, value)
                elif name in _LAYER.fields_by_name:
                    set_field(layer, name, value)
                else:
                    raise ValueError(_unknown_parameter(name, own_fields))
            except ValueError as error:
                raise NetError(f"{_called(layer)}: {error}") from None


class NetSpec:
    """A net written by assignment: n.conv1 = L.Convolution(n.data, ...) names the layer and its top.

    tops: what was assigned, by name and in order. n["conv1"] is n.conv1; a name assigned again keeps its place.
    """

    def __init__(self):
        object.__setattr__(self, "tops", OrderedDict())

    def __setattr__(self, name, value):
        if not isinstance(value, (Top, Function)):
            raise TypeError(
                f"n.{name} = ... needs a top, as layers return them, not {type(value).__name__}{_unpacked(value)}"
            )
        self.tops[name] = value

    def __getattr__(self, name):
        tops = self.__dict__.get("tops", {})  # empty while a copy is being made
        if name not in tops:
            raise AttributeError(f"nothing of the name '{name}' has been assigned{did_you_mean(name, tops)}")
        return tops[name]

    def __delattr__(self, name):
        getattr(self, name)
        del self.tops[name]

    def __setitem__(self, name, value):
        setattr(self, name, value)

    def __getitem__(self, name):
        return self.tops[name]

    def __delitem__(self, name):
        del self.tops[name]

    def __contains__(self, name):
        return name in self.tops

    def __iter__(self):
        return iter(self.tops)

    def __len__(self):
        return len(self.tops)

    def __dir__(self):
        return [*super().__dir__(), *self.tops]

    def keys(self) -> list[str]:
        """The names assigned, as a list (SSD's Caffe)."""
        return list(self.tops)

    def vals(self) -> list[Top | Function]:
        """The tops assigned, as a list (SSD's Caffe)."""
        return list(self.tops.values())

    def update(self, name: str, params: dict) -> None:
        """Give the layer of the top `name` more parameters, or others (SSD's Caffe). Raises NetError."""
        layer = self.tops[name].fn
        layer.params.update(params)
        layer.check()

    def to_proto(self):
        """The NetParameter of all that was assigned and of what it needs, in the order of the assignments."""
        return _net(self.tops.values(), {top: name for name, top in self.tops.items()})


def layers_below(tops: Iterable[Top | Function]) -> list[Function]:
    """The layers (Functions) that tops need, each behind those that it needs itself."""
    found: dict[Function, None] = {}
    waiting = [top.fn for top in tops][::-1]
    while waiting:
        layer = waiting[-1]
        below = [bottom.fn for bottom in layer.inputs if bottom.fn not in found]
        if layer not in found and below:
            waiting.extend(below[::-1])
        else:
            found[waiting.pop()] = None
    return list(found)


def to_proto(*tops: Top | Function):
    """The NetParameter of all layers that the tops need; each is named by its type and a number: "Convolution1"."""
    return _net(tops, {})


def layer_function(type_name: str) -> Callable[..., Top | tuple[Top, ...] | Function]:
    """L.TypeName: a function of bottoms and parameters that returns a Top, a tuple of them (ntop=2), or the layer (ntop=0).

    A type that nobody here knows is written, for a Caffe that has it or as a place to fill, and warned of; it has no parameters of its own.
    Raises AttributeError for one that is misspelt, and for what cannot be the name of a type.
    """
    known = known_types()
    if type_name not in known:
        hint = did_you_mean(type_name, known, MISSPELT)
        if hint or not type_name[:1].isupper():
            raise AttributeError(f"unknown layer type '{type_name}'{hint} (known types: {', '.join(known)})")
        warnings.warn(f"no layer type '{type_name}' is here: it can be written, but no net be made of it", stacklevel=3)

    def layer(*bottoms, **params):
        made = Function(type_name, bottoms, params)
        return made if made.ntop == 0 else made.tops[0] if made.ntop == 1 else made.tops

    layer.__name__ = layer.__qualname__ = type_name
    own = own_field(type_name)
    fields = [field.name for field in _LAYER.fields_by_name[own].message_type.fields] if own else []
    layer.__doc__ = (
        f"A layer {type_name}.\n\nIts own parameters{f' ({own})' if own else ''}: {', '.join(fields) or 'none'}."
    )
    return layer


def known_types() -> list[str]:
    """The layer types that a net may be written with: those that run here, and the rest of Caffe's and the release's of 2015."""
    return sorted({*layer_types(), *V1_TYPES.values()} - {""})


def own_field(type_name: str) -> str | None:
    """The field of LayerParameter that holds the parameters of a layer type alone, as "pooling_param"; None where there is none.

    Raises NetError for a layer whose param_field is no field.
    """
    own = param_field(type_name) or OWN_FIELDS.get(type_name)
    if own and own not in OWN_FIELDS.values():
        raise NetError(
            f"{type_name}: its param_field '{own}' is no message of LayerParameter{did_you_mean(own, OWN_FIELDS.values())}"
        )
    return own


def parameter_words(name: str) -> "Words":
    """P.Name: the enum words of the message NameParameter. Raises AttributeError where there is none with words."""
    known = parameter_names()
    if name not in known:
        raise AttributeError(f"P.{name}: no parameters of that name have words{did_you_mean(name, known)}")
    return Words(getattr(caffe_pb2, f"{name}Parameter"))


def parameter_names() -> list[str]:
    """The names that P has: those of messages with enums."""
    messages = caffe_pb2.DESCRIPTOR.message_types_by_name.values()
    named = [message.name for message in messages if message.enum_types and message.name.endswith("Parameter")]
    return sorted(name.removesuffix("Parameter") for name in named)


class Words:
    """The enum words of a message as attributes: P.Pooling.MAX is the number that prototxt calls MAX."""

    def __init__(self, message):
        self._message = message

    def __getattr__(self, word):
        if word.startswith("_"):  # asked for by copy and pickle before there is a message
            raise AttributeError(word)
        if not hasattr(self._message, word):
            known, name = dir(self), self._message.DESCRIPTOR.name.removesuffix("Parameter")
            hint = did_you_mean(word, known) if nearest(word, known) else f"; known are {', '.join(known)}"
            raise AttributeError(f"P.{name} has no word '{word}'{hint}")
        return getattr(self._message, word)

    def __dir__(self):
        return list(self._message.DESCRIPTOR.enum_values_by_name)


def _net(wanted, names):
    """The NetParameter of the layers behind `wanted` (Tops and Functions), bottoms first; names: what some of these are called."""
    net, written, names = caffe_pb2.NetParameter(), {}, _Names(names)
    for layer in layers_below(wanted):
        written[layer] = net.layer.add()
        _write_layer(layer, written, names)
    return net


def _write_layer(layer, written, names):
    param = written[layer]
    param.type = layer.type_name
    param.bottom.extend(written[bottom.fn].top[bottom.n] for bottom in layer.inputs)
    param.top.extend(param.bottom[: layer.ntop] if layer.in_place else [names.of(top) for top in layer.tops])
    param.name = names.of(layer.tops[0] if layer.tops else layer)
    layer.write(param)
    missing = param.FindInitializationErrors()
    if missing:
        raise NetError(f"{_called(param)}: {missing[0]} is missing")


class _Names:
    """The names of tops and layers: those given, and for all others the type and a number that is not taken."""

    def __init__(self, given):
        self.given, self.taken, self.numbers = dict(given), set(given.values()), Counter()

    def of(self, thing):
        if thing not in self.given:
            self.given[thing] = self.next(thing.fn.type_name)
        return self.given[thing]

    def next(self, type_name):
        self.numbers[type_name] += 1
        name = f"{type_name}{self.numbers[type_name]}"
        return self.next(type_name) if name in self.taken else name


def _unknown_parameter(name, own_fields):
    """What to say of a parameter that neither the layer type's own message nor LayerParameter has."""
    problem, hint = f"unknown parameter '{name}'", other_syntax(name, _LAYER)
    inside = messages_with(name, [*own_fields.values(), *_COMMON])
    if hint or inside:
        return f"{problem}; {hint or 'it belongs in ' + ' or '.join(inside)}"
    near = did_you_mean(name, [*own_fields, *_LAYER.fields_by_name, "ntop", "in_place"])
    return problem + (near or (f"; its own are {', '.join(own_fields)}" if own_fields else "; it has none of its own"))


def _called(layer):
    return f"layer '{layer.name}' ({layer.type})" if layer.name else layer.type


def _unpacked(value):
    """What to add to an error about a tuple of tops where one is needed."""
    if isinstance(value, tuple) and value and all(isinstance(one, Top) for one in value):
        return f": unpack the {len(value)} tops"
    return ""
