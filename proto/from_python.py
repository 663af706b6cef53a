"""Messages from Python values, as NetSpec gives them: dicts for messages, lists for repeated fields, words or numbers for enums."""

from collections.abc import Iterable, Mapping

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from .diagnosis import is_repeated, printable, unknown_field, wrong_value

__all__ = ["set_field", "set_fields"]


def set_fields(message, values, place):
    """Give `message` the fields of the dict `values`, which errors call `place`. Raises ValueError, as set_field does."""
    for name, value in values.items():
        if name not in message.DESCRIPTOR.fields_by_name:
            raise ValueError(unknown_field(name, place, message.DESCRIPTOR))
        set_field(message, name, value)


def set_field(message, name, value):
    """Give the field `name` of `message` a Python value; the field must exist.

    A message takes a dict of its fields, or a message of its type, and keeps what it has of other fields. A repeated field is appended
    to, by any iterable or by one value. An enum takes a number or a name. NumPy's scalars and arrays count as numbers and lists.
    Raises ValueError in one line for a value that does not suit.
    """
    field = message.DESCRIPTOR.fields_by_name[name]
    for one in _as_list(_plain(value)) if is_repeated(field) else [value]:
        if field.message_type:
            _set_message(message, field, one)
        else:
            _set_scalar(message, field, _plain(one))


def _plain(value):
    """NumPy's numbers and arrays as Python's."""
    return value.tolist() if hasattr(value, "tolist") else value


def _as_list(value):
    return list(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)) else [value]


def _set_message(message, field, value):
    if isinstance(value, Mapping):
        inner = _inner(message, field)
        set_fields(inner, value, field.name)
    elif isinstance(value, Message) and value.DESCRIPTOR.full_name == field.message_type.full_name:
        _inner(message, field).MergeFrom(value)
    else:
        known = ", ".join(f"{inner.name}=..." for inner in list(field.message_type.fields)[:3])
        raise ValueError(f"{_shown(value)} where '{field.name}' needs a dict of its fields: dict({known})")


def _inner(message, field):
    inner = getattr(message, field.name)
    return inner.add() if is_repeated(field) else inner


def _set_scalar(message, field, value):
    # protobuf decides what suits; its errors name neither the field nor what it takes
    try:
        if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM and isinstance(value, str):
            value = field.enum_type.values_by_name[value].number
        if is_repeated(field):
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    except (TypeError, ValueError, LookupError) as error:
        problem = wrong_value(field, value) or f"{_shown(value)} does not suit '{field.name}': {error}"
        raise ValueError(problem) from None


def _shown(value):
    text = printable(repr(value))
    return text if len(text) <= 40 else text[:37] + "..."
