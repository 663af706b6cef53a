"""What every layer has: parameters, counts of bottoms and tops, and Caffe's life of setup, reshape, forward and backward."""

import math

import numpy as np

from ..blob import Blob, fill, generator, require_filler
from ..proto import MISSPELT, OF_ANOTHER_CAFFE, did_you_mean, find_file

# the coordinate_map of a layer whose results stand where its input does
SAME_PLACES = ((1, 0), (1, 0))

_registry: dict[str, type["Layer"]] = {}


def register(*names: str):
    """Class decorator: make a layer known by Caffe's type name(s)."""

    def enter(layer: type["Layer"]) -> type["Layer"]:
        for name in names:
            _registry[name] = layer
        return layer

    return enter


def layer_type(name: str) -> type["Layer"]:
    """The class of a type name. Raises ValueError with the nearest known name."""
    if not name:
        raise ValueError('has no type: say which by type: "Convolution" or the like')
    if name not in _registry:
        hint = did_you_mean(name, _registry, MISSPELT) or f"; {OF_ANOTHER_CAFFE}"
        raise ValueError(f"unknown layer type '{name}'{hint} (known types: {', '.join(sorted(_registry))})")
    return _registry[name]


def layer_types() -> list[str]:
    """The names of the registered layer types."""
    return sorted(_registry)


def param_field(name: str) -> str | None:
    """The `param_field` of a layer type; None for a type that is not registered."""
    return _registry[name].param_field if name in _registry else None


class Layer:
    """Base of all layers. A subclass states how many bottoms and tops it takes and overrides the four steps.

    bottoms, tops:  (fewest, most) blobs it takes
    blobs:          its parameters, made in `setup`
    loss_weights:   per top, what its sum adds to the net's loss; non-zero by default for the first top of a ...Loss
    shared:         the numbers of its parameters that are another layer's
    in_place:       whether its first top may be its first bottom
    precision:      what the operands of its products are rounded to, one of kernels.PRECISIONS
    position:       how many random or data draws it has made, for layers that draw; None for those that do not
    carried:        blobs from which the next forward pass goes on (states of recurrent layers)
    """

    bottoms: tuple[int, float] = (1, 1)
    tops: tuple[int, float] = (1, 1)
    is_loss = False
    in_place = False
    # the field of LayerParameter that holds its parameters, where no message is named after its type
    param_field: str | None = None
    # bottoms that no gradient can flow into (labels, switches)
    without_gradient: tuple[int, ...] = ()
    # parameters that forward itself keeps (running statistics): no solver moves them
    statistics: tuple[int, ...] = ()
    position: int | None = None
    # whether its tops hold what was put there once, for more than one forward
    keeps_tops = False
    # whether all that forward does in TEST is to launch the same kernels on the same arrays, so that a CUDA graph can repeat it
    only_launches = False
    # whether what it computes is a map per channel, of axis 1, that follows from its parameters alone: `channel_map` gives it
    maps_channels = False
    # whether backward looks at the bottoms' data
    needs_bottoms_backward = True
    # whether `recompute` writes the first top again as the last forward did, from bottoms that still hold what they held
    recomputes = False
    # whether add_parameter fills what it adds; else fill_parameters does it later, or nobody where only shapes are wanted
    fills = True

    def __init__(
        self, param, *, dtype=np.float32, seed: int = 0, model_file: str | None = None, precision: str = "FLOAT32"
    ):
        """`param` is a V2 LayerParameter with its phase set; `model_file` names the prototxt it stands in."""
        self.param = param
        self.name = param.name
        self.phase = param.phase
        self.dtype = np.dtype(dtype)
        self.precision = precision
        self.seed = seed
        self.model_file = model_file
        self.blobs: list[Blob] = []
        self.shared: set[int] = set()
        self._fillers: dict[int, object] = {}  # of what is not filled yet
        self.param_propagate_down: list[bool] = []
        self.loss_weights: list[float] = []
        self.carried: list[Blob] = []
        # whether a backward pass may follow a forward pass
        self.may_need_backward = True

    @property
    def type(self) -> str:
        """The layer type's name, as pycaffe's."""
        return self.param.type

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Read the parameters and make the blobs; once, before the first reshape. Raises ValueError."""

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Give the tops their shapes. Raises ValueError."""
        raise NotImplementedError

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Compute the tops' data."""
        raise NotImplementedError

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        """Write the gradients of the bottoms that are wanted and add those of the parameters."""
        raise NotImplementedError

    def channel_map(self, then=None) -> tuple:
        """(factor, summand), (C,) each or None for 1 and 0, of a layer that `maps_channels`, for a layer before it to do its work.

        then: the map of the layers behind it, which becomes a part of this one.
        """
        raise NotImplementedError

    def map_gradients(self) -> tuple:
        """Where the gradients of what `channel_map` gives are added to, or None, of a layer whose work batch norm may do in training."""
        raise NotImplementedError

    def recompute(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Write the first top's data again as the last forward did, of a layer that `recomputes`; one whose forward takes `after` takes it here."""
        raise NotImplementedError

    def coordinate_map(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Per axis (a, b) with input coordinate = a * output coordinate + b; None where the layer keeps no such map.

        Known before setup, unless it follows from the bottoms (then None until the first reshape). Raises ValueError for a bad window.
        """
        return None

    def buffers(self) -> list[Blob]:
        """The layer's own blobs whose data is needed from its forward to its backward pass only, so that others may use them else."""
        return []

    def rewind(self) -> None:
        """Put back into `carried` what the last forward pass began with."""

    def multiply_adds(self, bottom: list[Blob], top: list[Blob]) -> int:
        """How many multiplications with an addition one forward pass takes; only matrix products count."""
        return 0

    def close(self) -> None:
        """Give back threads and files."""

    def check_counts(self, bottoms: int, tops: int) -> None:
        """Raise ValueError where the numbers of bottoms or tops are not those the layer takes."""
        for count, (fewest, most), what in ((bottoms, self.bottoms, "bottom"), (tops, self.tops, "top")):
            if not fewest <= count <= most:
                wanted = (
                    f"{fewest}"
                    if fewest == most
                    else f"at least {fewest}"
                    if math.isinf(most)
                    else f"{fewest} to {most}"
                )
                raise ValueError(f"takes {wanted} {what}{'' if wanted == '1' else 's'}, not {count}")

    def check_places(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Raise ValueError where a top is a bottom and the layer cannot work in place."""
        if not self.in_place and any(blob is below for blob in top for below in bottom):
            raise ValueError("cannot work in place: give the top a name of its own")

    def add_parameter(self, shape: tuple[int, ...], filler) -> Blob:
        """A new parameter; what fills it depends on the seed, the layer's name and its number alone. Raises ValueError."""
        require_filler(filler)
        number = len(self.blobs)
        self.blobs.append(Blob(shape, self.dtype))
        self._fillers[number] = filler
        if self.fills:
            self._fill_parameter(number)
        return self.blobs[number]

    def fill_parameters(self) -> None:
        """Fill what is not filled yet, but for what is another layer's. Raises ValueError for a filler that does not fit."""
        for number in range(len(self.blobs)):
            if number not in self.shared:
                self._fill_parameter(number)

    def _fill_parameter(self, number: int) -> None:
        filler = self._fillers.pop(number, None)
        if filler is not None:
            fill(self.blobs[number].host_data, filler, generator(self.seed, self.name, number))

    def require_kept(self) -> None:
        """Raise ValueError where forward, which was not told that a backward pass may follow, kept nothing for it."""
        if not self.may_need_backward:
            raise ValueError(
                "kept nothing of its forward pass for a backward pass: in TEST, write force_backward: true or call "
                "net.force_backward() before forward"
            )

    def gradient_of(self, number: int):
        """The gradient array of parameter `number`, or None where it does not exist or does not learn."""
        wanted = number < len(self.blobs) and (not self.param_propagate_down or self.param_propagate_down[number])
        return self.blobs[number].diff if wanted else None

    def find(self, path: str) -> str:
        """A file or folder that the prototxt names, from the working directory or the folder above the prototxt's. Raises FileNotFoundError."""
        return find_file(path, self.model_file)

    def canonical_axis(self, axis: int, bottom: Blob) -> int:
        """The axis counted from the front. Raises ValueError where the bottom has no such axis."""
        axes = len(bottom.shape)
        if not -axes <= axis < axes:
            raise ValueError(f"axis {axis} does not exist in a bottom of shape {bottom.shape}")
        return axis % axes


def require_images(bottom: Blob) -> None:
    """Raise ValueError unless the bottom has the shape (N, C, H, W)."""
    if len(bottom.shape) != 4:
        raise ValueError(f"needs a bottom of shape (N, C, H, W), not {bottom.shape}")


def require_channels(bottom: Blob) -> None:
    """Raise ValueError unless the bottom has the shape (N, C, ...)."""
    if len(bottom.shape) < 2:
        raise ValueError(f"needs a bottom with channels, (N, C, ...), not {bottom.shape}")


def pair(param, name: str, default: int, fewest: int = 0) -> tuple[int, int]:
    """(vertical, horizontal) of a window field; as `per_axis`."""
    return per_axis(param, name, default, 2, fewest)


def per_axis(param, name: str, default: int, axes: int, fewest: int = 0) -> tuple[int, ...]:
    """A window field for each of so many spatial axes, given as NAME[_size] (once, or once per axis) or, for two, as NAME_h and NAME_w.

    Raises ValueError where both forms or neither (without a default) are given, or a value is too small.
    """
    plain = "kernel_size" if name == "kernel" else name
    sizes = getattr(param, plain)
    sizes = list(sizes) if not isinstance(sizes, int) else [sizes] if param.HasField(plain) else []
    has_h = f"{name}_h" in param.DESCRIPTOR.fields_by_name and param.HasField(f"{name}_h")
    has_w = f"{name}_w" in param.DESCRIPTOR.fields_by_name and param.HasField(f"{name}_w")
    if (has_h or has_w) and sizes:
        raise ValueError(f"give {plain}, or {name}_h and {name}_w; not both")
    if (has_h or has_w) and axes != 2:
        raise ValueError(
            f"{name}_h and {name}_w are for two spatial axes, not {axes}: give {plain} once, or once per axis"
        )
    if has_h or has_w:
        sizes = [getattr(param, f"{name}_h") if has_h else default, getattr(param, f"{name}_w") if has_w else default]
    if len(sizes) not in (0, 1, axes):
        each = "per axis of (height, width)" if axes == 2 else f"for each of the {axes} spatial axes"
        raise ValueError(f"{plain} is given {len(sizes)} times: once{f', or once {each}' if axes > 1 else ''}")
    sizes = sizes or [default]
    if any(size is None for size in sizes):
        raise ValueError(f"give {plain}" + (f", or both {name}_h and {name}_w" if axes == 2 else ""))
    if min(sizes) < fewest:
        raise ValueError(f"{plain} must be at least {fewest}, not {min(sizes)}")
    return tuple(sizes) if len(sizes) == axes else (sizes[0],) * axes
