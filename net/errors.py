"""The error of a net."""


class NetError(ValueError):
    """A net that cannot be built or run; the message names the file, the layer and the fix."""
