"""tools/train_net.py killed, interrupted by signals, out of disk, and resumed elsewhere: real processes, real signals."""

import resource
import signal
import subprocess
import sys

import kill_training
import pytest
from tiny_training import write_dummy_solver, write_seg_solver
from tool_call import TOOLS, call_apart, error_of

TOOL = "train_net"
ENDLESS = "max_iter: 1000000 display: 1 test_iter: 2 test_interval: 7 random_seed: 1"


def start(folder, *arguments, **options):
    command = [sys.executable, str(TOOLS / "train_net.py"), "--solver", "solver/s.prototxt", *arguments]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, **options)


def read_until(run, words):
    """What a run logs up to a line with these words."""
    said = []
    for line in run.stderr:
        said.append(line)
        if words in line:
            return "".join(said)
    raise AssertionError(f"never said '{words}': {''.join(said)}")


def files(folder):
    return sorted(path.name for path in (folder / "snapshots").iterdir())


def end(run, *signals):
    """Send signals to a run in its loop; the status it ends with and the rest of its log."""
    with run:
        read_until(run, "Iteration 20 ")
        for number in signals:
            run.send_signal(number)
        said = run.stderr.read()
    return run.returncode, said


def last_iteration(said):
    return max(int(line.split("Iteration ")[1].split()[0].strip(",")) for line in said.splitlines() if "lr = " in line)


# ---------------------------------------------------------------------------------------------------------- kills


def test_a_training_killed_twenty_times_ends_with_the_files_of_an_undisturbed_one():
    kill_training.compare(kills=20, seed=1)


# ---------------------------------------------------------------------------------------------------------- signals


def test_ctrl_c_stops_after_the_iteration_with_a_snapshot_from_which_the_run_goes_on(tmp_path):
    write_seg_solver(tmp_path, ENDLESS)
    status, said = end(start(tmp_path), signal.SIGINT)
    assert status == 0, said
    assert "interrupted: stopping after this iteration; a second interrupt ends at once\n" in said
    assert "Optimization stopped early.\n" in said
    assert "Traceback" not in said
    iteration = last_iteration(said) + 1
    assert files(tmp_path) == [f"run_iter_{iteration}.caffemodel", f"run_iter_{iteration}.solverstate"]
    with start(tmp_path, "--snapshot", "snapshots") as resumed:
        read_until(resumed, f"Restoring previous solver status from snapshots/run_iter_{iteration}.solverstate")
        read_until(resumed, f"Iteration {iteration + 2} ")
        resumed.kill()


def test_what_a_batch_system_sends_stops_with_a_snapshot_too(tmp_path):
    write_seg_solver(tmp_path, ENDLESS)
    status, said = end(start(tmp_path), signal.SIGTERM)
    assert status == 128 + signal.SIGTERM and "Optimization stopped early.\n" in said, said
    iteration = last_iteration(said) + 1
    assert files(tmp_path) == [f"run_iter_{iteration}.caffemodel", f"run_iter_{iteration}.solverstate"]


def test_sighup_writes_a_snapshot_and_training_goes_on(tmp_path):
    write_seg_solver(tmp_path, ENDLESS)
    with start(tmp_path) as run:
        read_until(run, "Iteration 20 ")
        run.send_signal(signal.SIGHUP)
        read_until(run, "Snapshotting solver state to ")
        iteration = last_iteration(read_until(run, ", lr = "))
        assert run.poll() is None
        run.kill()
    assert f"run_iter_{iteration}.solverstate" in files(tmp_path)


@pytest.mark.parametrize("option, number", [("--sigint_effect", signal.SIGINT), ("--sighup_effect", signal.SIGHUP)])
@pytest.mark.parametrize("effect", ["snapshot", "stop", "none"])
def test_each_signal_has_the_effect_it_is_given(tmp_path, option, number, effect):
    write_dummy_solver(tmp_path, ENDLESS)
    with start(tmp_path, option, effect) as run:
        read_until(run, "Iteration 5 ")
        run.send_signal(number)
        if effect == "stop":
            said = run.stderr.read()
            assert "Snapshotting" in said
        else:
            said = "".join(read_until(run, "Testing net") for _ in range(3))
            assert ("Snapshotting" in said) == (effect == "snapshot")
            assert run.poll() is None
            run.kill()
    assert run.returncode == (0 if effect == "stop" else -signal.SIGKILL)


def test_a_second_ctrl_c_ends_at_once_with_status_130(tmp_path):
    # a test pass of hours, and an iteration as long
    write_dummy_solver(tmp_path, "iter_size: 100000000")
    with start(tmp_path) as run:
        read_until(run, "Learning Rate Policy")
        run.send_signal(signal.SIGINT)
        read_until(run, "a second interrupt ends at once")
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=5)[1]
    assert run.returncode == 130
    assert said.strip() == "interrupted again: ending at once"
    assert not (tmp_path / "snapshots/run_iter_0.caffemodel").exists()


def test_an_effect_that_does_not_exist_is_told_with_those_that_do(tmp_path):
    write_dummy_solver(tmp_path)
    finished = call_apart(TOOL, tmp_path, "--solver", "solver/s.prototxt", "--sigint_effect", "halt")
    assert finished.returncode == 2
    assert "argument --sigint_effect: invalid choice: 'halt' (choose from" in finished.stderr


# ---------------------------------------------------------------------------------------------- full disk, resuming


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_a_full_disk_ends_in_one_line_with_the_earlier_snapshots_whole(tmp_path, form, share):
    write_seg_solver(tmp_path, f"snapshot: 2 max_iter: 4 snapshot_format: {form}")
    assert call_apart(TOOL, tmp_path, "--solver", "solver/s.prototxt").returncode == 0
    snapshots = tmp_path / "snapshots"
    names = files(tmp_path)
    for path in snapshots.glob("*_iter_4.*"):
        path.unlink()
    earlier = {path: path.read_bytes() for path in snapshots.iterdir()}
    limit = int(share * max(map(len, earlier.values())))
    with start(tmp_path, "--snapshot", "snapshots", preexec_fn=lambda: limit_file_size(limit)) as limited:
        said = limited.stderr.read()
    assert limited.returncode == 1, said
    last = said.splitlines()[-1]
    assert last.startswith(f"train_net: error: the snapshot {snapshots}/run_iter_4.")
    assert last.endswith(" cannot be written: File too large; the snapshots before it are whole")
    assert "Traceback" not in said
    assert {path: path.read_bytes() for path in snapshots.iterdir()} == earlier
    assert call_apart(TOOL, tmp_path, "--solver", "solver/s.prototxt", "--snapshot", "snapshots").returncode == 0
    assert files(tmp_path) == names


def limit_file_size(size):
    """What a full disk does to a process: no file of it may grow over so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_snapshot_is_taken_up_by_folder_or_prefix_and_broken_newer_ones_are_told_in_one_line(tmp_path):
    write_dummy_solver(tmp_path, "snapshot: 2")
    assert call_apart(TOOL, tmp_path, "--solver", "solver/s.prototxt").returncode == 0
    newest = tmp_path / "snapshots/run_iter_8.caffemodel"
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-1])
    for place in ("snapshots", "snapshots/run"):
        finished = call_apart(TOOL, tmp_path, "--solver", "solver/s.prototxt", "--snapshot", place)
        assert finished.returncode == 0, finished.stderr
        assert "Restoring previous solver status from snapshots/run_iter_6.solverstate" in finished.stderr
        (line,) = [line for line in finished.stderr.splitlines() if "skipped" in line]
        assert "run_iter_8.caffemodel" in line
        assert "run_iter_8.solverstate" in line
        assert newest.stat().st_size == len(whole)
        newest.write_bytes(whole[:-1])


def test_a_place_without_snapshots_is_one_line(tmp_path):
    write_dummy_solver(tmp_path)
    finished = call_apart(TOOL, tmp_path, "--solver", "solver/s.prototxt", "--snapshot", "snapshots/run")
    assert error_of(finished, TOOL).startswith("train_net: error: no such snapshot: snapshots/run (")


def test_a_run_resumed_on_another_number_of_threads_warns_once(tmp_path):
    write_dummy_solver(tmp_path, "snapshot: 2 max_iter: 4")
    assert call_apart(TOOL, tmp_path, "--solver", "solver/s.prototxt", OMP_NUM_THREADS="1").returncode == 0
    for threads, warnings in (("1", 0), ("2", 1)):
        arguments = ["--solver", "solver/s.prototxt", "--snapshot", "snapshots/run_iter_2.solverstate"]
        finished = call_apart(TOOL, tmp_path, *arguments, OMP_NUM_THREADS=threads)
        assert finished.returncode == 0, finished.stderr
        told = [line for line in finished.stderr.splitlines() if " 1 threads; " in line and " 2 threads; " in line]
        assert len(told) == warnings
        assert finished.stderr.count("the last bits may differ") == warnings
