"""The offset of a Crop with crop_param.computed (V1's CROP): it follows from the layers between its bottoms and the blob where their paths meet."""

from typing import NamedTuple


class Source(NamedTuple):
    """Where a blob comes from: the number of the layer that made it and which of its tops it is."""

    layer: int
    top: int


def computed_offset(cropped: Source, reference: Source, layers, first_sources) -> tuple[int, int]:
    """(vertical, horizontal) offset at which the reference's first place lies in the cropped blob.

    layers: the net's layers so far; first_sources: per layer the Source of its first bottom, or None.
    Each layer maps an output coordinate to an input coordinate, in = a * out + b; both bottoms are followed down to a common blob,
    offset = (b_reference - b_cropped) / a. Raises ValueError where they never meet or the offset is not a whole number from 0 on.
    """
    down = _maps_down(cropped, layers, first_sources)
    for source, reference_map in _maps_down(reference, layers, first_sources).items():
        if source in down:
            axes = zip(down[source], reference_map, ("vertical", "horizontal"), strict=True)
            return tuple(_offset(a, b, name) for a, b, name in axes)
    raise ValueError(
        "its bottoms come from no common blob, so its offset cannot be computed: give crop_param { offset }"
    )


def _maps_down(source, layers, first_sources) -> dict:
    """Every blob below (first bottoms only) with the map from this blob's coordinates to its own, per axis (a, b)."""
    maps, current = {}, ((1.0, 0.0), (1.0, 0.0))
    while source is not None:
        maps[source] = current
        step = layers[source.layer].coordinate_map()
        if step is None:
            break
        current = tuple((a * scale, a * shift + b) for (scale, shift), (a, b) in zip(current, step, strict=True))
        source = first_sources[source.layer]
    return maps


def _offset(cropped, reference, axis: str) -> int:
    (a, b), (a_reference, b_reference) = cropped, reference
    if abs(a - a_reference) > 1e-9:
        raise ValueError(
            f"its bottoms differ in {axis} scale by {a_reference / a:g}: only blobs of one scale can be cropped to each other"
        )
    offset = (b_reference - b) / a
    if abs(offset - round(offset)) > 1e-6 or round(offset) < 0:
        raise ValueError(
            f"its computed {axis} offset is {offset:g}: it must be a whole number, not negative (change the padding below)"
        )
    return round(offset)
