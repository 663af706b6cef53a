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


def test_each_header_stands_once_where_it_is_first_included_and_messages_keep_their_lines(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "FOLDER", tmp_path)
    (tmp_path / "first.h").write_text("int first;\n")
    (tmp_path / "second.h").write_text('int before;\n#include "first.h"\nint second;\n')
    (tmp_path / "kernel.cu").write_text('// formula\n#include "first.h"\n#include "second.h"\nint own;\n')
    assert sources.source_text(tmp_path / "kernel.cu") == (
        '// formula\n#line 1 "first.h"\nint first;\n#line 3 "kernel.cu"\n'
        '#line 1 "second.h"\nint before;\n#line 3 "second.h"\nint second;\n#line 4 "kernel.cu"\nint own;\n'
    )
    assert [header.name for header in sources.headers()] == ["first.h", "second.h"]


def test_every_kernel_file_opens_with_what_it_computes_and_the_bytes_it_cannot_avoid():
    for file in sources.cuda_files():
        comment = file.read_text().split("#include")[0]
        assert comment.startswith("// ") and "ompulsory bytes" in comment, file.name
