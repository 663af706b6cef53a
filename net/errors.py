"""The error of a net, and where in its file it comes from."""

from contextlib import contextmanager

from ..proto import PrototxtError, line_of_layer, printable

# what a layer may raise
LAYERS_ERRORS = (ValueError, FileNotFoundError, MemoryError)


class NetError(ValueError):
    """A net that cannot be built or run; the message names the file, the layer and the fix."""


def located(error: Exception, param, model_file: str | None) -> Exception:
    """An error of the layer of a LayerParameter, with file, line and layer before it: a NetError, but for those of files."""
    place = model_file or "net"
    if model_file:
        line = line_of_layer(model_file, param)
        place += f":{line}" if line else ""
    said = f"there is not enough memory: {error}" if isinstance(error, MemoryError) else error
    message = printable(f"{place}: layer '{param.name}' ({param.type}): {said}")
    return type(error)(message) if isinstance(error, (FileNotFoundError, PrototxtError)) else NetError(message)


@contextmanager
def locating(param, model_file: str | None):
    """What a layer raises within is raised as `located` makes it."""
    try:
        yield
    except LAYERS_ERRORS as error:
        raise located(error, param, model_file) from error
