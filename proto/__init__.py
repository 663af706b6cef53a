"""Caffe's messages: caffe.proto, prototxt text with line numbers, old syntax in today's, rules of phase and stage."""

from . import caffe_pb2
from .diagnosis import OF_ANOTHER_CAFFE, messages_with, other_syntax
from .files import find_file, line_of_layer, read_net, read_solver
from .from_python import set_field
from .layer_types import V1_TYPES
from .prototxt import MISSPELT, PrototxtError, did_you_mean, nearest, parse, printable, read
from .rules import filter_net, takes_part
from .upgrade import upgrade_net, upgrade_solver

__all__ = [
    "MISSPELT",
    "OF_ANOTHER_CAFFE",
    "V1_TYPES",
    "PrototxtError",
    "caffe_pb2",
    "did_you_mean",
    "filter_net",
    "find_file",
    "line_of_layer",
    "messages_with",
    "nearest",
    "other_syntax",
    "parse",
    "printable",
    "read",
    "read_net",
    "read_solver",
    "set_field",
    "takes_part",
    "upgrade_net",
    "upgrade_solver",
]
