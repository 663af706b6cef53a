"""Files that are replaced whole."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from deconvnet.core.blob import replacing


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
