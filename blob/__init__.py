"""Blobs, their fillers, and where randomness comes from."""

from .blob import Blob, HostBlob, require_memory
from .files import read_blob
from .fillers import fill, require_filler
from .randomness import current_seed, generator, number, set_seed

__all__ = [
    "Blob",
    "HostBlob",
    "current_seed",
    "fill",
    "generator",
    "number",
    "read_blob",
    "require_filler",
    "require_memory",
    "set_seed",
]
