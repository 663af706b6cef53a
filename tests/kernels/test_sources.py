"""The argument lists that Python reads from the CUDA sources."""

import re

import pytest

from deconvnet.core.kernels import sources


def test_every_kernel_of_every_file_is_found_once():
    written = [
        name for file in sources.cuda_files() for name in re.findall(r"^KERNEL\((\w+)", file.read_text(), re.MULTILINE)
    ]
    assert len(written) == len(set(written)) > 30
    assert set(written) == set(sources.signatures())


def test_a_signature_names_file_kinds_and_arguments():
    update = sources.signatures()["sgd_update"]
    assert update.file.name == "update.cu"
    assert update.kinds == ("real*", "real*", "real*", "acc", "acc", "acc", "acc", "int", "index")
    assert update.names == ("w", "g", "v", "scale", "rate", "momentum", "decay", "l1", "n")


@pytest.mark.parametrize(
    "argument, kind, name",
    [
        ("const real* __restrict__ x", "real*", "x"),
        ("int* __restrict__ which", "int*", "which"),
        ("double* sums", "double*", "sums"),
        ("const index* __restrict__ table", "index*", "table"),
        (" unsigned long long seed", "unsigned long long", "seed"),
        ("\n       index n", "index", "n"),
    ],
)
def test_arguments_as_they_are_written(argument, kind, name):
    assert sources._kind_and_name(argument) == (kind, name)


def test_every_kernel_file_opens_with_what_it_computes_and_the_bytes_it_cannot_avoid():
    for file in sources.cuda_files():
        comment = file.read_text().split("#include")[0]
        assert comment.startswith("// ") and "ompulsory bytes" in comment, file.name
