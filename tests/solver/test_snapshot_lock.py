"""Two trainings do not write snapshots of one prefix at the same time."""

import builtins
import os

import pytest
from tiny_training import dummy_solver

from deconvnet.core.solver import SGDSolver, SolverError
from deconvnet.core.solver.snapshot_lock import claimed


def solver_in(folder, fields="max_iter: 1"):
    return SGDSolver(dummy_solver(f'snapshot_prefix: "{folder}/x" random_seed: 1 {fields}'))


@pytest.mark.parametrize("fields", ["", "snapshot: 1 snapshot_after_train: false", "snapshot_after_train: true"])
def test_a_prefix_that_another_training_writes_to_is_refused(tmp_path, fields):
    inner, outer, refused = solver_in(tmp_path), solver_in(tmp_path, f"max_iter: 1 {fields}"), []

    def start_another():
        with pytest.raises(SolverError, match=rf"another training \(process {os.getpid()}\) .* '{tmp_path}/x' at this"):
            inner.solve()
        refused.append(inner.iter)

    outer.add_callback(start_another, lambda: None)
    outer.solve()
    assert refused == [0] and not (tmp_path / "x.lock").exists()


def test_a_prefix_whose_training_was_killed_is_free(tmp_path):
    (tmp_path / "x.lock").write_text("1")
    solver_in(tmp_path).solve()
    assert (tmp_path / "x_iter_1.solverstate").exists() and not (tmp_path / "x.lock").exists()


def test_a_prefix_is_free_behind_a_training_that_failed(tmp_path):
    with pytest.raises(KeyError), claimed(str(tmp_path / "x")):
        raise KeyError
    with claimed(str(tmp_path / "x")):
        assert (tmp_path / "x.lock").read_text() == str(os.getpid())


def test_a_lock_that_was_removed_by_hand_is_not_taken_from_who_came_after(tmp_path):
    first = claimed(str(tmp_path / "x"))
    with first:
        (tmp_path / "x.lock").unlink()
        second = claimed(str(tmp_path / "x"))
        second.__enter__()
    assert (tmp_path / "x.lock").exists()
    second.__exit__(None, None, None)
    assert not (tmp_path / "x.lock").exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"not a number"])
def test_what_else_a_lock_holds_is_not_shown(tmp_path, content):
    with claimed(str(tmp_path / "x")):
        (tmp_path / "x.lock").write_bytes(content)
        with pytest.raises(SolverError, match="^another training writes snapshots of"), claimed(str(tmp_path / "x")):
            pass


def test_a_lock_that_cannot_be_opened_is_told_with_what_to_do(tmp_path):
    (tmp_path / "x.lock").mkdir()
    with pytest.raises(
        SolverError, match=r"x\.lock: cannot be opened \(Is a directory\); if no training runs there, rem"
    ):
        solver_in(tmp_path).solve()


def test_a_file_that_was_removed_between_opening_and_locking_locks_nothing(tmp_path, monkeypatch):
    plain, opened = open, []

    def late(path, *arguments, **options):
        file = plain(path, *arguments, **options)
        opened.append(path)
        if len(opened) == 1:  # the training before this one ends here
            os.remove(path)
        return file

    monkeypatch.setattr(builtins, "open", late)
    with claimed(str(tmp_path / "x")):
        assert len(opened) == 2 and (tmp_path / "x.lock").exists()
        with pytest.raises(SolverError, match="another training"), claimed(str(tmp_path / "x")):
            pass
