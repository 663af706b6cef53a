"""Crops whose offsets follow from the layers between, where pycaffe has them: deconvnet.coord_map.crop."""

from .core.net import crop

__all__ = ["crop"]
