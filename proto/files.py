"""Nets and solvers from files, in today's syntax, and where things stand in those files."""

import os

from . import caffe_pb2
from .diagnosis import field_lines, without_foreign
from .prototxt import PrototxtError, parse, read, read_text
from .upgrade import upgrade_net, upgrade_solver

__all__ = ["find_file", "line_of_layer", "read_net", "read_solver"]


def read_net(path):
    """The net in a prototxt file of any age, as a NetParameter in today's syntax (see upgrade_net).

    What is to be said of fields that may be of another Caffe stands in their layers (`foreign`), for who builds them.
    Raises FileNotFoundError naming the path, PrototxtError naming file, line and fix.
    """
    return upgrade_net(_read_layers(read_text(path), os.fspath(path))[0], os.fspath(path))


def _read_layers(text, path):
    """(NetParameter, the text that it is read from): a layer with a field that may be of another Caffe says so in `foreign`.

    So a net can be built, drawn or summed up whose other phase has layers that are not here.
    """
    try:
        return parse(text, caffe_pb2.NetParameter(), path), text
    except PrototxtError:
        known, told = without_foreign(text, caffe_pb2.NetParameter.DESCRIPTOR)
        if not told:
            raise
    net = parse(known, caffe_pb2.NetParameter(), path)
    for place, (line, message) in told.items():
        syntax, number = place.rstrip("]").split("[")
        getattr(net, syntax)[int(number)].foreign = f"{path}:{line}: {message}"
    return net, known


def read_solver(path):
    """The solver in a prototxt file, as a SolverParameter in today's syntax (see upgrade_solver).

    Snapshots without a snapshot_prefix are named like the file; a prefix that is a folder, like the file inside it.
    Raises FileNotFoundError naming the path, PrototxtError naming file, line and fix.
    """
    path = os.fspath(path)
    solver = upgrade_solver(read(path, caffe_pb2.SolverParameter()), path)
    without_suffix = os.path.splitext(path)[0]
    if not solver.snapshot_prefix:
        solver.snapshot_prefix = without_suffix
    elif os.path.isdir(solver.snapshot_prefix):
        solver.snapshot_prefix = os.path.join(solver.snapshot_prefix, os.path.basename(without_suffix))
    return solver


def find_file(path, named_in=None, remedy=""):
    """The path of a file that a prototxt names: as it is, else from the folder above the one that holds `named_in`.

    named_in: path of the prototxt that says `path`; for solver/x.prototxt the second place is the project's root.
    Raises FileNotFoundError that lists the places tried and ends with `remedy`.
    """
    tried = [os.fspath(path)]
    if named_in and not os.path.isabs(path):
        root = os.path.dirname(os.path.dirname(os.path.abspath(named_in)))
        tried.append(os.path.join(root, path))
    for place in tried:
        if os.path.exists(place):
            return place
    by = f", named in {os.fspath(named_in)}" if named_in else ""
    also = f" (nor {tried[1]})" if len(tried) > 1 and tried[1] != os.path.abspath(tried[0]) else ""
    raise FileNotFoundError(f"no such file: {tried[0]}{also}{by}{'; ' + remedy if remedy else ''}")


def line_of_layer(path, layer, field="type"):
    """Line of `field` of a layer in a net's prototxt file, or of the layer where it does not give the field; else None.

    layer: a LayerParameter of that net, as read_net gives it; found by its name and type. For error messages.
    """
    net, text = _read_layers(read_text(path), os.fspath(path))
    lines = field_lines(text, net.DESCRIPTOR)
    syntax = "layers" if net.layers else "layer"
    single = caffe_pb2.NetParameter()
    for i, written in enumerate(getattr(net, syntax)):
        single.Clear()
        getattr(single, syntax).add().CopyFrom(written)
        today = upgrade_net(single).layer
        if today and (today[0].name, today[0].type) == (layer.name, layer.type):
            place = f"{syntax}[{i}]"
            inside = f"{place}.layer" if f"{place}.layer" in lines else place
            return lines.get(f"{inside}.{field}", lines.get(place))
    return None
