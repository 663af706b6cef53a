"""Blobs, their fillers, files that hold arrays or lists, and where randomness comes from."""

from .blob import Blob, BlobVec, HostBlob, require_memory
from .files import read_blob, read_list
from .fillers import fill, require_filler
from .hdf5_file import PatientFile, create_hdf5
from .randomness import current_seed, generator, number, set_seed
from .whole_file import beside, remove_left, replacing, runs

__all__ = [
    "Blob",
    "BlobVec",
    "HostBlob",
    "PatientFile",
    "beside",
    "create_hdf5",
    "current_seed",
    "fill",
    "generator",
    "number",
    "read_blob",
    "read_list",
    "remove_left",
    "replacing",
    "require_filler",
    "require_memory",
    "runs",
    "set_seed",
]
