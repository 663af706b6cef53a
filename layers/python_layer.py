"""Python layers: a layer that the user writes as a Python class (pycaffe's caffe.Layer)."""

import importlib
import inspect
import logging
import traceback
from contextlib import contextmanager

from ..blob import BlobVec, HostBlob
from .layer import Layer, register

_log = logging.getLogger("deconvnet")


class _Told:
    """What the engine knows of a layer; a user's class that sets an attribute of that name has its own instead."""

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, user, owner):
        return self if user is None else getattr(user._layer, self._name, 0)


class PythonLayer:
    """Base of users' layers, known as `deconvnet.Layer`. Override the four steps; bottom and top are lists of blobs with `data` and `diff`
    as NumPy arrays, `reshape`, `shape`, `count`, `num`, `channels`, `height`, `width`.

    param_str: what the prototxt says in python_param.param_str; phase: TRAIN or TEST;
    blobs: the parameters, made in setup by `self.blobs.add_blob(*shape)`; backward adds to their `diff`
    seed: the net's; position: how many forward passes the layer has done, kept by snapshots. What forward draws from these two alone
    is drawn again by a resumed run, whose seed may come after setup; a subclass may use either name for something else.
    """

    param_str: str = ""
    phase: int
    blobs: BlobVec
    seed = _Told()
    position = _Told()
    type = "Python"
    _layer: Layer | None = None

    def __init__(self, layer_param=None):
        """layer_param: the layer's LayerParameter. What the engine tells a layer, param_str and the rest, it has from setup on."""

    def setup(self, bottom, top) -> None:
        """Read param_str, check the numbers of bottoms and tops, make parameters; once."""

    def reshape(self, bottom, top) -> None:
        """Give the tops their shapes; before every forward."""
        raise NotImplementedError(f"{type(self).__name__} must define reshape(self, bottom, top)")

    def forward(self, bottom, top) -> None:
        """Write the tops' data."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(self, bottom, top)")

    def backward(self, top, propagate_down, bottom) -> None:
        """Write the diffs of those bottoms whose propagate_down is true, from the tops' diffs."""
        raise NotImplementedError(
            f"{type(self).__name__} must define backward(self, top, propagate_down, bottom), or get no gradient"
        )


@contextmanager
def _place_of_error(user: PythonLayer):
    """Put file and line of the user's module before a ValueError, which NumPy raises where shapes do not fit."""
    try:
        yield
    except ValueError as error:
        try:
            file = inspect.getsourcefile(type(user))
        except (TypeError, OSError):  # of a class that no file holds
            file = None
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        if not lines:
            raise
        raise ValueError(f"{file}:{lines[-1]}: {error}") from error


@register("Python")
class Python(Layer):
    """Run the class python_param.layer of the Python module python_param.module (Caffe's Python), which derives from deconvnet.Layer.

    A prototxt that runs code must be trusted: the layer refuses unless the net was made with allow_python_layers.
    The module is looked for where Python looks for modules (PYTHONPATH).
    """

    bottoms = (0, float("inf"))
    tops = (0, float("inf"))
    # the user's class knows
    in_place = True
    # set by the net
    allowed = False
    position = 0
    # the user's object
    user: PythonLayer | None = None

    def setup(self, bottom, top):
        if self.user is not None:  # after a reseed: the user's setup runs once, and forward asks for the seed
            return
        param = self.param.python_param
        if not param.module or not param.layer:
            raise ValueError("python_param needs module (a Python module) and layer (a class in it)")
        if not self.allowed:
            raise ValueError(
                f"runs code of the Python module '{param.module}', which must be allowed: "
                "Net(..., allow_python_layers=True), or --allow-python-layers on the command line"
            )
        kind = self._class(param)
        try:
            inspect.signature(kind).bind(self.param)
        except TypeError:
            told = f"the class '{param.layer}' of the Python module '{param.module}' must take its LayerParameter"
            raise ValueError(f"{told}: def __init__(self, layer_param)") from None
        user = kind(self.param)
        user.param_str = user.param_str_ = param.param_str  # the latter as older Caffes call it
        user.phase, user.blobs, user._layer = self.phase, BlobVec(self.blobs, self.dtype), self
        self._bottom, self._top = [HostBlob(blob) for blob in bottom], [HostBlob(blob) for blob in top]
        with _place_of_error(user):
            user.setup(self._bottom, self._top)
        self.user = user

    def _class(self, param) -> type[PythonLayer]:
        """The user's class. Raises ValueError naming what is missing."""
        _log.info("layer '%s' imports the Python module '%s'", self.name, param.module)
        try:
            module = importlib.import_module(param.module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{param.module}.".startswith(f"{error.name}."):
                raise  # the module is there and misses something itself
            raise ValueError(f"there is no Python module '{param.module}': put its folder on PYTHONPATH") from None
        found = getattr(module, param.layer, None)
        derives = isinstance(found, type) and issubclass(found, PythonLayer)
        if not derives:
            raise ValueError(
                f"the Python module '{param.module}' ({module.__file__}) has no class '{param.layer}' that derives from deconvnet.Layer"
            )
        return found

    def reshape(self, bottom, top):
        with _place_of_error(self.user):
            self.user.reshape(self._bottom, self._top)

    def forward(self, bottom, top):
        with _place_of_error(self.user):
            self.user.forward(self._bottom, self._top)
        self.position += 1

    def backward(self, top, propagate_down, bottom):
        with _place_of_error(self.user):
            self.user.backward(self._top, list(propagate_down), self._bottom)
