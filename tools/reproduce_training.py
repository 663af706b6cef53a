"""The training runs of the reproduction: which nets, from which start, with which change, and how they are carried out.

A run's nets and solver are written from the committed ones beside its results, so that any run can be repeated by
hand: `tools/train_net.py --solver reproduce/runs/NAME/solver.prototxt`.
"""

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format

from deconvnet.core.blob import replacing
from deconvnet.core.proto import read_net, read_solver
from deconvnet.core.solver import SolverError

TOOLS = Path(__file__).resolve().parent
FOLD_BATCHES = 40


@dataclass(frozen=True)
class Run:
    """One training: a committed solver, the data it reads and what is changed.

    name: its folder; solver: the committed definition; lists: (train, val) example lists; start: the run whose weights
    it starts from; seed: random_seed; solver_changes: fields of SolverParameter; batch: of the train net; size: of its
    examples, in pixels; batch_norm: whether the net has any.
    """

    name: str
    solver: str
    lists: tuple[str, str]
    start: str | None = None
    seed: int = 0
    solver_changes: dict = field(default_factory=dict)
    batch: int | None = None
    size: int | None = None
    batch_norm: bool = True

    def folder(self, out):
        return Path(out) / "runs" / self.name

    def snapshot(self, out):
        """The weights as trained."""
        return self.folder(out) / f"snapshot_iter_{self._solver().max_iter}.caffemodel"

    def weights(self, out):
        """The weights for inference: batch norm folded, where there is any."""
        return self.folder(out) / "inference.caffemodel" if self.batch_norm else self.snapshot(out)

    def _solver(self):
        solver = read_solver(self.solver)
        for name, value in self.solver_changes.items():
            setattr(solver, name, value)
        return solver

    def write(self, out, data):
        """Write net.prototxt and solver.prototxt into the run's folder; returns a digest of all that the run depends on."""
        folder, solver = self.folder(out), self._solver()
        net = without_batch_norm(read_net(solver.net)) if not self.batch_norm else read_net(solver.net)
        for layer in net.layer:
            if layer.type in ("ImageSegData", "WindowSegData"):
                train = not layer.include or layer.include[0].phase == 0
                source = Path(data) / self.lists[0 if train else 1]
                layer.type = "WindowSegData" if len(source.open().readline().split()) == 6 else "ImageSegData"
                layer.image_data_param.source = str(source)
                layer.image_data_param.root_folder = str(data)
                if train and self.batch:
                    layer.image_data_param.batch_size = self.batch
                if self.size:
                    layer.image_data_param.new_height = layer.image_data_param.new_width = self.size
        solver.net, solver.random_seed = str(folder / "net.prototxt"), self.seed
        solver.snapshot_prefix, solver.snapshot = str(folder / "snapshot"), solver.max_iter
        folder.mkdir(parents=True, exist_ok=True)
        texts = [text_format.MessageToString(message) for message in (net, solver)]
        for name, text in zip(("net.prototxt", "solver.prototxt"), texts, strict=True):
            (folder / name).write_text(text)
        sources = [(Path(data) / name).read_text() for name in self.lists]
        return hashlib.sha256("\0".join([*texts, *sources, str(self.start)]).encode()).hexdigest()


def without_batch_norm(net):
    """A NetParameter without its BN layers, which all work in place."""
    kept = [layer for layer in net.layer if layer.type != "BN"]
    del net.layer[:]
    net.layer.extend(kept)
    return net


def train_all(runs, out, data, jobs, said=print):
    """Carry out the runs, `jobs` at a time, a run after that which it starts from; those done before are kept.

    Returns {name: seconds of processor time}. Raises SolverError where a run fails; the others' results stay.
    """
    by_name = {run.name: run for run in runs}
    with ThreadPoolExecutor(jobs) as pool:
        futures = {}

        def carry_out(run):
            before = futures[run.start].result()[1] if run.start else ""
            return train(run, by_name.get(run.start), out, data, before, said)

        for run in runs:  # in order: what a run starts from is never behind it in the queue
            futures[run.name] = pool.submit(carry_out, run)
        try:
            return {name: future.result()[0] for name, future in futures.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(_running):  # which other threads change
                process.terminate()
            raise


_running = set()


def train(run, start, out, data, start_digest, said):
    """Train and fold one run where that is not done yet: (seconds of processor time, digest of all it depends on)."""
    digest = hashlib.sha256((run.write(out, data) + start_digest).encode()).hexdigest()
    folder = run.folder(out)
    done = folder / "done.json"
    before = read_done(done)
    if before.get("digest") == digest and run.weights(out).exists():
        return before["seconds"], digest
    done.unlink(missing_ok=True)
    arguments = ["--weights", str(start.snapshot(out))] if start else []
    seconds = call("train_net.py", ["--solver", str(folder / "solver.prototxt"), *arguments], folder / "train.log")
    if run.batch_norm:
        seconds += fold(run, out, run.weights(out))
    with replacing(done) as file:
        file.write(json.dumps({"digest": digest, "seconds": seconds}).encode() + b"\n")
    said(f"{run.name}: trained in {seconds:.0f} s of processor time")
    return seconds, digest


def read_done(path):
    """What the file of a finished run says; nothing where there is none, or one that a kill has left behind."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def fold(run, out, output, *options):
    """Write inference weights of a run by tools/fold_batch_norm.py; returns seconds of processor time."""
    arguments = ["--model", run.folder(out) / "net.prototxt", "--weights", run.snapshot(out), "--output", output]
    arguments += ["--batches", FOLD_BATCHES, *options]
    return call("fold_batch_norm.py", map(str, arguments), run.folder(out) / "fold.log")


def call(tool, arguments, log):
    """Run a tool of this folder on one core, its lines to the file `log`: seconds of processor time.

    Raises SolverError where it fails.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(log, "w") as file:
        process = subprocess.Popen(
            [sys.executable, str(TOOLS / tool), *arguments], stdout=file, stderr=subprocess.STDOUT, env=environment
        )
    _running.add(process)
    try:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        _running.discard(process)
    if process.returncode:
        last = Path(log).read_text(errors="replace").strip().splitlines()[-1:]
        raise SolverError(f"tools/{tool} ended with status {process.returncode}: {''.join(last)} (its log: {log})")
    return used.ru_utime + used.ru_stime
