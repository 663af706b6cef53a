"""Building the host library: its key, its errors, and that nothing is built twice."""

import os
import re
import subprocess
import time

import pytest

from deconvnet.core.kernels import host_build, sources


@pytest.fixture
def copied(monkeypatch, tmp_path):
    """A folder of one small kernel that the builder takes for its own."""
    for header in sources.headers():
        (tmp_path / header.name).write_text(header.read_text())
    (tmp_path / "double.cu").write_text(
        '#include "kernel.h"\nKERNEL(twice, real* x, int n) { for_each(i, n) x[i] *= 2; }\n'
    )
    monkeypatch.setattr(host_build, "FOLDER", tmp_path)
    return tmp_path


def exported(library):
    """The names a library offers."""
    text = subprocess.run(
        ["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True
    ).stdout
    return set(re.findall(r"\b(\w+)$", text, re.MULTILINE))


def test_a_library_offers_each_kernel_in_float_and_double(copied, tmp_path):
    library = host_build.build(tmp_path / "out")
    assert {"twice_float", "twice_double"} <= exported(library)
    assert [file.name for file in (tmp_path / "out").iterdir()] == [library.name]


def test_a_library_that_is_there_is_taken_as_it_is(copied, monkeypatch, tmp_path):
    there = tmp_path / host_build.library_name()
    there.write_bytes(b"")
    monkeypatch.setattr(host_build, "compiler", lambda: pytest.fail("compiled though the library is there"))
    assert host_build.build(tmp_path) == there


def aged(folder, name):
    """A library of that name from two hours ago."""
    there = folder / name
    there.write_bytes(b"")
    os.utime(there, (time.time() - 7200,) * 2)
    return there


def test_a_new_library_in_place_replaces_those_of_older_sources(copied):
    first = aged(copied, host_build.library_name())
    (copied / "double.cu").write_text((copied / "double.cu").read_text() + "\n")
    left = aged(copied, first.with_suffix(".1234").name)  # of a build that was killed
    library = host_build.build(copied)
    assert not first.exists() and not left.exists() and library.exists()


def test_libraries_that_another_process_may_load_stay(copied, monkeypatch):
    """One just made, of other sources; one of another processor; and those of other versions in a cache folder."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(host_build, "_processor", lambda: "another processor")
        foreign = aged(copied, host_build.library_name())
    young = copied / host_build.library_name()
    young.write_bytes(b"")
    cache = copied / "cache"
    cache.mkdir()
    older = aged(cache, host_build.library_name())
    (copied / "double.cu").write_text((copied / "double.cu").read_text() + "\n")
    host_build.build(copied)
    host_build.build(cache)
    assert foreign.exists() and young.exists() and older.exists()


def test_the_key_follows_sources_flags_and_processor(copied, monkeypatch):
    names = [host_build.library_name()]
    names.append(host_build.library_name([*host_build.FLAGS, "-O1"]))
    (copied / "double.cu").write_text((copied / "double.cu").read_text() + "\n")
    names.append(host_build.library_name())
    (copied / "kernel.h").write_text((copied / "kernel.h").read_text() + "\n")
    names.append(host_build.library_name())
    monkeypatch.setattr(host_build, "_processor", lambda: "another processor")
    names.append(host_build.library_name())
    assert len(set(names)) == 5 and host_build.library_name() == names[-1]


def test_without_a_compiler_one_line_says_what_to_install(copied, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(host_build.BuildError, match="no C.. compiler found: install g..") as error:
        host_build.build(tmp_path)
    assert "\n" not in str(error.value)


def test_cxx_names_the_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "sh")
    assert host_build.compiler() == "sh"


def test_an_error_in_a_kernel_comes_with_the_compilers_log(copied, tmp_path):
    (copied / "double.cu").write_text(
        '#include "kernel.h"\nKERNEL(twice, real* x, int n) { for_each(i, n) y[i] *= 2; }\n'
    )
    with pytest.raises(host_build.BuildError, match=r"(?s)do not compile with .*its log:\n.*double\.cu:2:"):
        host_build.build(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(copied, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(host_build.BuildError, match="cannot be written to .*file"):
        host_build.build(tmp_path / "file" / "below")
