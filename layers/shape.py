"""Layers that give values another shape: Flatten, Reshape, Slice, Tile, Permute, Transpose, Reverse."""

import itertools
import math

import numpy as np

from .. import kernels
from ..blob import Blob
from .layer import Layer, register, require_channels


class _SameValues(Layer):
    """A top with its bottom's values and gradients in another shape: nothing is copied."""

    only_launches = True
    needs_bottoms_backward = False

    def reshape(self, bottom, top):
        top[0].reshape(*self.shape_of_top(bottom[0]))
        top[0].share_data(bottom[0])
        top[0].share_diff(bottom[0])

    def shape_of_top(self, bottom) -> tuple[int, ...]:
        """Raises ValueError where the bottom does not fit."""
        raise NotImplementedError

    def forward(self, bottom, top):
        """Nothing to do: the data is shared."""

    def backward(self, top, propagate_down, bottom):
        """Nothing to do: the gradients are shared."""


@register("Flatten")
class Flatten(_SameValues):
    """The axes from `axis` (1 by default) to `end_axis` (the last) as one (Caffe's Flatten)."""

    def shape_of_top(self, bottom):
        param, shape = self.param.flatten_param, bottom.shape
        first, last = self.canonical_axis(param.axis, bottom), self.canonical_axis(param.end_axis, bottom)
        if last < first:
            raise ValueError(f"end_axis {last} comes before axis {first} in a bottom of shape {shape}")
        return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])


@register("Reshape")
class Reshape(_SameValues):
    """The axes from `axis` on, `num_axes` of them (-1: all), as those of `shape`, where 0 copies an axis of the bottom and one -1 is
    what the count leaves (Caffe's Reshape)."""

    def shape_of_top(self, bottom):
        param, shape = self.param.reshape_param, bottom.shape
        axes = len(shape)
        first = param.axis if param.axis >= 0 else axes + param.axis + 1
        end = axes if param.num_axes == -1 else first + param.num_axes
        if not 0 <= first <= axes or not first <= end <= axes:
            raise ValueError(f"axis {param.axis} and num_axes {param.num_axes} do not fit a bottom of shape {shape}")
        wanted = list(param.shape.dim)
        if wanted.count(-1) > 1 or any(size < -1 for size in wanted):
            raise ValueError(f"reshape_param.shape {wanted} may hold sizes, 0 and at most one -1")
        for place, size in enumerate(wanted):
            if size == 0:
                if first + place >= axes:
                    raise ValueError(
                        f"dim {place} of reshape_param.shape is 0, but a bottom of shape {shape} has no axis {first + place}"
                    )
                wanted[place] = shape[first + place]
        if -1 in wanted:
            # axes that are copied cancel out, also where there are no items
            copied = {first + place for place, size in enumerate(param.shape.dim) if size == 0} & set(range(first, end))
            left = math.prod(shape[axis] for axis in range(first, end) if axis not in copied)
            known = math.prod(size for place, size in enumerate(wanted) if size != -1 and first + place not in copied)
            wanted[wanted.index(-1)] = left // known if known else 0
        result = (*shape[:first], *wanted, *shape[end:])
        if math.prod(result) != bottom.count:
            raise ValueError(f"cannot give the {bottom.count} values of a bottom of shape {shape} the shape {result}")
        return result


@register("Slice")
class Slice(Layer):
    """The bottom in parts along an axis (1 by default), cut at each slice_point, else in equal parts (Caffe's Slice)."""

    only_launches = True
    needs_bottoms_backward = False
    tops = (1, float("inf"))

    def setup(self, bottom, top):
        param = self.param.slice_param
        if param.HasField("axis") and param.HasField("slice_dim"):
            raise ValueError("give axis or slice_dim; not both")
        if param.slice_point and len(param.slice_point) != len(top) - 1:
            raise ValueError(
                f"has {len(top)} tops and {len(param.slice_point)} slice_point: give {len(top) - 1} or none"
            )
        self._axis = param.slice_dim if param.HasField("slice_dim") else param.axis

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        axis = self.canonical_axis(self._axis, bottom[0])
        if not self.param.slice_param.slice_point and shape[axis] % len(top):
            raise ValueError(
                f"cannot cut the {shape[axis]} of axis {axis} into {len(top)} equal parts: give slice_point"
            )
        points = self.param.slice_param.slice_point or range(
            shape[axis] // len(top), shape[axis], max(1, shape[axis] // len(top))
        )
        bounds = [0, *points, shape[axis]]
        if any(after <= before for before, after in itertools.pairwise(bounds)):
            raise ValueError(f"slice_point {list(points)} must rise between 0 and the {shape[axis]} of axis {axis}")
        self._parts = [(slice(None),) * axis + (slice(*pair),) for pair in itertools.pairwise(bounds)]
        for blob, (first, last) in zip(top, itertools.pairwise(bounds), strict=True):
            blob.reshape(*shape[:axis], last - first, *shape[axis + 1 :])

    def forward(self, bottom, top):
        for blob, part in zip(top, self._parts, strict=True):
            blob.data[...] = bottom[0].data[part]

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            gradient = bottom[0].diff
            for blob, part in zip(top, self._parts, strict=True):
                gradient[part] = blob.diff


@register("Tile")
class Tile(Layer):
    """The bottom `tiles` times, one after the other along an axis (Caffe's Tile; axis 1 by default)."""

    def setup(self, bottom, top):
        if self.param.tile_param.tiles < 1:
            raise ValueError("tile_param.tiles must be at least 1")

    def reshape(self, bottom, top):
        shape, tiles = bottom[0].shape, self.param.tile_param.tiles
        axis = self.canonical_axis(self.param.tile_param.axis, bottom[0])
        top[0].reshape(*shape[:axis], tiles * shape[axis], *shape[axis + 1 :])
        self._sizes = (math.prod(shape[:axis]), tiles, math.prod(shape[axis:]))

    def forward(self, bottom, top):
        outer, _, inner = self._sizes
        top[0].data.reshape(self._sizes)[...] = bottom[0].data.reshape(outer, 1, inner)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            outer, _, inner = self._sizes
            top[0].diff.reshape(self._sizes).sum(axis=1, out=bottom[0].diff.reshape(outer, inner))


@register("Permute")
class Permute(Layer):
    """The axes in another order (SSD's Permute): axis order[i] of the bottom is axis i of the top; those not named follow in their order."""

    only_launches = True

    def setup(self, bottom, top):
        self._made, self._moves = None, ()

    def reshape(self, bottom, top):
        (field, named), axes = self._named(), len(bottom[0].shape)
        if len(set(named)) < len(named) or any(not 0 <= axis < axes for axis in named):
            raise ValueError(f"{field} {named} must name axes of a bottom of shape {bottom[0].shape}, each once")
        self._shape, self._order = bottom[0].shape, (*named, *(axis for axis in range(axes) if axis not in named))
        top[0].reshape(*(bottom[0].shape[axis] for axis in self._order))

    def _named(self) -> tuple[str, list[int]]:
        """The field that names the axes, and they."""
        return "order", list(self.param.permute_param.order)

    def _tables(self, x):
        """How values go there, and back; they lie beside x."""
        made = (kernels.mode(), self._shape)
        if made != self._made:
            back = tuple(self._order.index(axis) for axis in range(len(self._order)))
            above = tuple(self._shape[axis] for axis in self._order)
            self._moves = kernels.permutation(self._shape, self._order, x), kernels.permutation(above, back, x)
            self._made = made
        return self._moves

    def forward(self, bottom, top):
        kernels.permute(bottom[0].data, self._tables(bottom[0].data)[0], top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            kernels.permute(top[0].diff, self._tables(bottom[0].diff)[1], bottom[0].diff)


@register("Transpose")
class Transpose(Permute):
    """The axes in another order (CTPN's Transpose): axis dim[i] of the bottom is axis i of the top."""

    def _named(self):
        return "dim", list(self.param.transpose_param.dim)


@register("Reverse")
class Reverse(Layer):
    """An axis from its end to its beginning (Reverse of CRNN's Caffe). bottom and top: one shape; reverse_param.axis, 0 by default."""

    def setup(self, bottom, top):
        self._rows, self._made = Blob(dtype=self.dtype), None

    def reshape(self, bottom, top):
        shape, axis = bottom[0].shape, self.canonical_axis(self.param.reverse_param.axis, bottom[0])
        top[0].reshape(*shape)
        self._size, rows = math.prod(shape[axis + 1 :]), shape[: axis + 1]
        if rows == self._made:
            return
        if math.prod(rows) > 1 << 24:
            raise ValueError(f"reverses {math.prod(rows)} rows, and float32 tells {1 << 24} apart")
        self._rows.reshape(math.prod(rows))
        self._rows.host_data[...] = np.flip(np.arange(math.prod(rows)).reshape(rows), axis).ravel()
        self._made = rows

    def forward(self, bottom, top):
        self._reverse(bottom[0].data, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            self._reverse(top[0].diff, bottom[0].diff)

    def _reverse(self, x, out):
        if x.size:
            kernels.embed(self._rows.data, x.reshape(-1, self._size), out.reshape(-1, self._size))


@register("ShuffleChannel")
class ShuffleChannel(Permute):
    """The channels of `group` groups in turn: the first of each, then the second of each (ShuffleNet, Zhang et al. 2018, section 3.1)."""

    def reshape(self, bottom, top):
        require_channels(bottom[0])
        images, channels, *size = bottom[0].shape
        group = self.param.shuffle_channel_param.group
        if group < 1 or channels % group:
            raise ValueError(f"group {group} must divide the {channels} channels")
        self._shape, self._order = (images, group, channels // group, math.prod(size)), (0, 2, 1, 3)
        top[0].reshape(*bottom[0].shape)
