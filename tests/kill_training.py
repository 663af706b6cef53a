"""Kill a small training by SIGKILL again and again, resume it each time, and compare it with an undisturbed run.

    python tests/kill_training.py [--kills 1000] [--seed 1]

The training reads image files with shuffling, crops and mirroring, by two workers, with iter_size, plateau and test
passes, and writes a snapshot every third iteration. It ends with status 1 where a kill left a newest pair of files that is
not whole, or where the last snapshots are not those of the undisturbed run to the bit. 1,000 kills take about 8 minutes.
"""

import argparse
import itertools
import logging
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tiny_training import write_seg_solver

from deconvnet.core.solver import find_snapshot

TRAIN_NET = Path(__file__).resolve().parents[1] / "tools/train_net.py"
# iterations of the training for each kill, more than a run gets further before it is killed: it must not end before
_PER_KILL = 10
_LINES_PER_RUN = 60
_FIELDS = """
snapshot: 3 snapshot_keep: 3 snapshot_prefix: "snapshots/run" random_seed: 3 display: 1 average_loss: 4
iter_size: 2 test_iter: 2 test_interval: 4 lr_policy: "plateau" plateau_patience: 2 gamma: 0.9 max_iter: %d
"""


def start(folder: Path, snapshot: bool) -> subprocess.Popen:
    """tools/train_net.py on the solver in a folder, from its newest snapshot or from the beginning."""
    resume = ["--snapshot", "snapshots/run"] if snapshot else []
    command = [sys.executable, str(TRAIN_NET), "--solver", "solver/s.prototxt", *resume]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


def kill_at(run: subprocess.Popen, line: int, seconds: float) -> tuple[bool, str]:
    """Kill a run so many seconds after that line of its log; whether it was alive then, and the line."""
    with run, run.stderr:
        said = "".join(itertools.islice(run.stderr, line, line + 1))
        time.sleep(seconds)
        run.kill()
    return run.returncode == -signal.SIGKILL, said


def kill_and_resume(folder: Path, kills: int, draw: random.Random) -> Counter:
    """Train in a folder with so many kills on the way, then to the end; how often which files were left unfinished.

    Raises AssertionError where a run ends by itself before it is killed, or a newest pair is not whole.
    """
    left = Counter()
    snapshots = folder / "snapshots"
    for kill in range(kills):
        run = start(folder, any(snapshots.glob("*.solverstate")))
        killed, said = kill_at(run, draw.randrange(_LINES_PER_RUN), draw.uniform(0, 0.01))
        assert killed, f"kill {kill}: the training ended before with status {run.returncode}: {said}"
        states = sorted(snapshots.glob("*.solverstate"), key=_iteration)
        if states:
            assert Path(find_snapshot(str(snapshots / "run"))) == states[-1], f"kill {kill}: {states[-1]} is not whole"
        left["part"] += any(snapshots.glob("*.part"))
        left["model without state"] += len(list(snapshots.glob("*.caffemodel"))) > len(states)
    with start(folder, any(snapshots.glob("*.solverstate"))) as last:
        said = last.stderr.read()
    assert last.returncode == 0, said
    return left


def _iteration(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def compare(kills: int, seed: int) -> Counter:
    """Train undisturbed and with kills, and compare all snapshots that are kept; as kill_and_resume."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_seg_solver(folder, _FIELDS % (_PER_KILL * kills))
        with start(folder, False) as run:
            said = run.stderr.read()
        assert run.returncode == 0, said
        expected = take_snapshots(folder)
        left = kill_and_resume(folder, kills, random.Random(seed))
        found = take_snapshots(folder)
    assert sorted(found) == sorted(expected), f"left: {sorted(found)}"
    differing = [file for file in expected if found[file] != expected[file]]
    assert not differing, f"not as in the undisturbed run: {', '.join(differing)}"
    return left


def take_snapshots(folder: Path) -> dict[str, bytes]:
    """The files of a finished run by name, which are removed."""
    files = {path.name: path.read_bytes() for path in (folder / "snapshots").iterdir()}
    shutil.rmtree(folder / "snapshots")
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.getLogger("deconvnet").setLevel(logging.ERROR)  # the files that each kill leaves are counted, not told
    try:
        left = compare(arguments.kills, arguments.seed)
    except AssertionError as error:
        sys.exit(f"kill_training: error: {error}")
    unfinished = ", ".join(f"{what}: {times}" for what, times in left.items())
    print(f"{arguments.kills} kills, the same snapshots as undisturbed; left unfinished by kills: {unfinished}")


if __name__ == "__main__":
    main()
