"""What writes nets in Python, where pycaffe has it: deconvnet.net_spec."""

from . import layers, params
from .core.net import Function, NetSpec, Top, to_proto
from .core.net.net_spec import OWN_FIELDS
from .core.proto import set_field as assign_proto

__all__ = ["Function", "NetSpec", "Top", "assign_proto", "layers", "param_name_dict", "params", "to_proto"]


def param_name_dict() -> dict[str, str]:
    """What prototxt calls the parameters of a layer type, without the _param: {"InnerProduct": "inner_product"}."""
    return {name: field.removesuffix("_param") for name, field in OWN_FIELDS.items()}
