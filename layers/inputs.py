"""Layers without bottoms: Input and DummyData, which hold what is put into them, and Parameter."""

from .. import kernels
from ..blob import fill, generator
from ..proto import caffe_pb2
from .layer import Layer, register


@register("Input")
class Input(Layer):
    """Blobs for the user to fill (Caffe's Input). tops: the shapes of input_param, one for all or one for each; none leaves them empty."""

    only_launches = True
    bottoms = (0, 0)
    tops = (1, float("inf"))
    keeps_tops = True

    def setup(self, bottom, top):
        shapes = self.param.input_param.shape
        if len(shapes) not in (0, 1, len(top)):
            raise ValueError(f"input_param has {len(shapes)} shapes for {len(top)} tops: give one, or one for each")
        for number, blob in enumerate(top):
            if shapes:
                blob.reshape(*shapes[number if len(shapes) > 1 else 0].dim)

    def reshape(self, bottom, top):
        """The user's reshapes stay."""

    def forward(self, bottom, top):
        """The user has filled the tops."""


def dummy_shapes(param, tops: int) -> list[tuple[int, ...]]:
    """The shape of each of so many tops, by a DummyDataParameter's shape or, each once or once for a top, num, channels, height and width.

    Raises ValueError for other numbers of them, and for both ways at once.
    """
    old = {field: list(getattr(param, field)) for field in ("num", "channels", "height", "width")}
    shapes = [tuple(shape.dim) for shape in param.shape]
    if shapes and any(old.values()):
        raise ValueError("give shape, or num, channels, height and width; not both")
    given = old if any(old.values()) else {"shape": shapes}
    for field, values in given.items():
        if len(values) not in (1, tops):
            raise ValueError(
                f"dummy_data_param gives {field} {len(values)} times for {tops} tops: give it once, or once for each"
            )
    each = [values * tops if len(values) == 1 else values for values in given.values()]
    return list(zip(*each, strict=True)) if given is old else each[0]


@register("DummyData")
class DummyData(Layer):
    """Blobs filled by fillers (Caffe's DummyData). Constants are filled once, anything random at each forward."""

    bottoms = (0, 0)
    tops = (1, float("inf"))
    keeps_tops = True
    position = 0

    def setup(self, bottom, top):
        param = self.param.dummy_data_param
        shapes = dummy_shapes(param, len(top))
        if len(param.data_filler) not in (0, 1, len(top)):
            raise ValueError(
                f"dummy_data_param has {len(param.data_filler)} fillers for {len(top)} tops: give none, one, or one for each"
            )
        self.fillers = list(param.data_filler) or [caffe_pb2.FillerParameter()]
        if len(self.fillers) == 1:
            self.fillers = self.fillers * len(top)
        for number, blob in enumerate(top):
            blob.reshape(*shapes[number])
            self._fill(number, blob)

    def _fill(self, number: int, blob) -> None:
        fill(blob.host_data_to_fill, self.fillers[number], generator(self.seed, f"{self.name}/{number}", self.position))

    def reshape(self, bottom, top):
        """The shapes are fixed in setup."""

    def forward(self, bottom, top):
        for number, blob in enumerate(top):
            if self.fillers[number].type != "constant":
                self._fill(number, blob)
        self.position += 1


@register("Parameter")
class Parameter(Layer):
    """A parameter as a blob, which other layers read (Caffe's Parameter).

    top: its values, of parameter_param.shape; blobs: the parameter, which starts at 0
    """

    only_launches = True
    bottoms = (0, 0)

    def setup(self, bottom, top):
        param = self.param.parameter_param
        if not param.HasField("shape"):
            raise ValueError("parameter_param.shape is missing: write shape { } for a single value")
        self.add_parameter(tuple(param.shape.dim), caffe_pb2.FillerParameter())

    def reshape(self, bottom, top):
        top[0].reshape(*self.blobs[0].shape)

    def forward(self, bottom, top):
        kernels.scale_add(self.blobs[0].data, 1, top[0].data, 0)

    def backward(self, top, propagate_down, bottom):
        if self.gradient_of(0) is not None:
            kernels.scale_add(top[0].diff, 1, self.gradient_of(0), 1)


@register("ContinuationIndicator")
class ContinuationIndicator(Layer):
    """What a recurrent layer takes beside sequences that begin with the first step: top (time_step, batch_size), 0 in the first step, then 1.

    A layer of CRNN's Caffe.
    """

    bottoms = (0, 0)
    keeps_tops = True

    def setup(self, bottom, top):
        param = self.param.continuation_indicator_param
        if min(param.time_step, param.batch_size) < 1:
            raise ValueError("continuation_indicator_param needs time_step and batch_size of at least 1")
        top[0].reshape(param.time_step, param.batch_size)
        top[0].host_data[...] = 1
        top[0].host_data[0] = 0

    def reshape(self, bottom, top):
        """The shape is fixed in setup."""

    def forward(self, bottom, top):
        """The values stay."""
