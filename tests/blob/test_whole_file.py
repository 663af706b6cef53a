"""Files that are replaced whole."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from deconvnet.core.blob import remove_left, replacing


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and path.read_text() == "before"
    with replacing(path) as file:
        file.write(b"after")
        assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and path.read_text() == "after"


def test_threads_may_write_one_file(tmp_path):
    def write(number):
        for _ in range(50):
            with replacing(tmp_path / "x") as file:
                file.write(b"%d" % number * 1000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert (tmp_path / "x").read_bytes() in [b"%d" % number * 1000 for number in range(4)]
    assert len(list(tmp_path.iterdir())) == 1


def test_permissions_and_links_stay(tmp_path):
    (tmp_path / "x").write_text("before")
    (tmp_path / "x").chmod(0o600)
    (tmp_path / "link").symlink_to("x")
    with replacing(tmp_path / "link") as file:
        file.write(b"after")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "x").read_text() == "after"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_there_is_told_as_that(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone/x: cannot be written \(No such file or directory\)"):
        with replacing(tmp_path / "gone/x"):
            pass


def test_what_a_process_that_is_no_more_has_left_is_removed_and_nothing_else(tmp_path):
    ended = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / f"x.{ended}.7.part").touch()
    kept = [f"x.{os.getpid()}.7.part", f"xy.{ended}.7.part", f"x.{ended}.part", "x"]
    for name in kept:
        (tmp_path / name).touch()
    remove_left(tmp_path / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
