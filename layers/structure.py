"""Layers that move values without computing: Split, Concat, Crop, Silence."""

from .. import kernels
from .layer import SAME_PLACES, Layer, register


@register("Split")
class Split(Layer):
    """One bottom to several tops (Caffe's Split, which the net inserts by itself): the data is shared, the gradients are summed."""

    only_launches = True
    needs_bottoms_backward = False
    tops = (1, float("inf"))

    def reshape(self, bottom, top):
        for blob in top:
            blob.reshape(*bottom[0].shape)
            blob.share_data(bottom[0])

    def forward(self, bottom, top):
        """Nothing to do: the data is shared."""

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            for number, blob in enumerate(top):
                kernels.scale_add(blob.diff, 1, bottom[0].diff, 0 if number == 0 else 1)

    def coordinate_map(self):
        return SAME_PLACES


@register("Concat")
class Concat(Layer):
    """Bottoms one after the other along an axis (Caffe's Concat; axis 1, the channels, by default). All other sizes agree."""

    only_launches = True
    needs_bottoms_backward = False
    bottoms = (1, float("inf"))

    def setup(self, bottom, top):
        param = self.param.concat_param
        if param.HasField("axis") and param.HasField("concat_dim"):
            raise ValueError("give axis or concat_dim; not both")
        self._axis = param.concat_dim if param.HasField("concat_dim") else param.axis

    def reshape(self, bottom, top):
        self.axis = axis = self.canonical_axis(self._axis, bottom[0])
        shape = list(bottom[0].shape)
        for blob in bottom[1:]:
            if len(blob.shape) != len(shape) or any(
                a != b for i, (a, b) in enumerate(zip(blob.shape, shape, strict=True)) if i != axis
            ):
                raise ValueError(
                    f"its bottoms have the shapes {[b.shape for b in bottom]}: they may differ along axis {axis} only"
                )
        shape[axis] = sum(blob.shape[axis] for blob in bottom)
        if len(bottom) == 1:
            top[0].share_data(bottom[0])
            top[0].share_diff(bottom[0])
        top[0].reshape(*shape)

    def _parts(self, bottom):
        """Each bottom with the place of its values in the top."""
        first = 0
        for blob in bottom:
            yield blob, (slice(None),) * self.axis + (slice(first, first + blob.shape[self.axis]),)
            first += blob.shape[self.axis]

    def forward(self, bottom, top):
        if len(bottom) > 1:
            for blob, place in self._parts(bottom):
                top[0].data[place] = blob.data

    def backward(self, top, propagate_down, bottom):
        if len(bottom) > 1:
            for (blob, place), wanted in zip(self._parts(bottom), propagate_down, strict=True):
                if wanted:
                    blob.diff[...] = top[0].diff[place]


@register("Crop")
class Crop(Layer):
    """The part of the first bottom that has the second bottom's sizes, from `axis` (2 by default) on (Caffe's Crop).

    bottoms: x, reference of as many axes; top: x cut to the reference's sizes at the offsets of crop_param
    (one for all axes or one for each, 0 where none is given). With crop_param.computed, which V1's CROP becomes, the net computes the
    offset from the layers between.
    """

    only_launches = True
    needs_bottoms_backward = False
    bottoms = (2, 2)
    without_gradient = (1,)
    # (vertical, horizontal), set by the net with crop_param.computed
    computed_offset: tuple[int, int] | None = None
    offsets: tuple[int, ...] | None = None

    def reshape(self, bottom, top):
        x, reference, param = bottom[0].shape, bottom[1].shape, self.param.crop_param
        if len(x) != len(reference):
            raise ValueError(f"its bottoms have {len(x)} and {len(reference)} axes: {x}, {reference}")
        axis = self.canonical_axis(param.axis, bottom[0])
        count = len(x) - axis
        offsets = list(param.offset) if self.computed_offset is None else list(self.computed_offset)
        if len(offsets) not in (0, 1, count):
            raise ValueError(
                f"crop_param has {len(offsets)} offsets: give one, or one for each of the {count} axes from {axis} on"
            )
        offsets = offsets * count if len(offsets) == 1 else offsets or [0] * count
        self.place = [slice(None)] * axis
        for size, wanted, offset in zip(x[axis:], reference[axis:], offsets, strict=True):
            if offset < 0 or offset + wanted > size:
                raise ValueError(
                    f"cannot take {wanted} values from offset {offset} on: {x} is too small to be cropped to {reference}"
                )
            self.place.append(slice(offset, offset + wanted))
        self.place = tuple(self.place)
        self.offsets = tuple(offsets)
        top[0].reshape(*x[:axis], *reference[axis:])

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data[self.place]

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            gradient = bottom[0].diff
            gradient[...] = 0
            gradient[self.place] = top[0].diff

    def coordinate_map(self):
        if self.offsets is not None:
            return tuple((1, offset) for offset in self.offsets[-2:])
        param = self.param.crop_param
        if param.computed or param.axis != 2 or len(param.offset) > 2:
            return None
        given = list(param.offset) or [0]
        return (1, given[0]), (1, given[-1])


@register("Silence")
class Silence(Layer):
    """Take bottoms that nobody else wants (Caffe's Silence); their gradients are zero."""

    only_launches = True
    bottoms = (1, float("inf"))
    tops = (0, 0)

    def reshape(self, bottom, top):
        """There is no top."""

    def forward(self, bottom, top):
        """There is nothing to compute."""

    def backward(self, top, propagate_down, bottom):
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:
                blob.diff[...] = 0
