"""Copying single fields between messages of different types."""

__all__ = ["copy_field"]


def copy_field(message, name, value):
    """Give field `name` of `message` the value of a field of another message.

    Repeated fields are appended to, by a list or by one value (old syntax has single values where today's has lists);
    blobs are copied message by message, never number by number through Python.
    """
    current = getattr(message, name)
    if hasattr(current, "extend"):
        current.extend(value if hasattr(value, "extend") else [value])
    elif hasattr(current, "CopyFrom"):
        current.CopyFrom(value)
    else:
        setattr(message, name, value)
