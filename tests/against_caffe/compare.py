"""Run nets and solvers drawn from a seed through Caffe 1.0 itself and through ours, and compare what comes out to a float32's digits.

    python tests/against_caffe/compare.py --caffe PYTHON [--count 20] [--seed 1] [TYPE ...] [--keep FOLDER] [--record FILE]
    python tests/against_caffe/compare.py --caffe PYTHON --model deploy.prototxt --weights x.caffemodel

PYTHON has pycaffe: `make caffe-peer` makes one. `count` nets of each layer type (or solvers of the type `solvers`): outputs, gradients of
inputs and parameters; each solver's losses and parameters, and that Caffe resumes from our snapshot and we from Caffe's. With --model the
blobs of one net are compared after a forward pass over drawn inputs. Prints a line a type and what differs; ends with status 1 where
something does. --keep leaves the cases in a new folder; --record writes them into a file for tests/net/test_golden.py.
"""

import argparse
import logging
import math
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import deconvnet  # noqa: E402, I001  before NumPy, so that idle BLAS threads sleep (deconvnet/core/__init__.py)
import drawn_layers  # noqa: E402
import drawn_losses  # noqa: E402
import drawn_solvers  # noqa: E402
import golden_case  # noqa: E402
import h5py  # noqa: E402
import numpy as np  # noqa: E402
from deconvnet.core.solver import get_solver  # noqa: E402
from drawing import Drawing  # noqa: E402

DRAWN = {**drawn_layers.DRAWN, **drawn_losses.DRAWN}
SOURCE = "Caffe 1.0 (PyPI: kendryte-caffe 1.0.0.20210829), by make against-caffe"
TOLERANCE_OF_STEPS = 5e-4  # roundings of several steps


def drawn_net(kind: str, seed: int) -> Drawing:
    """A net around one layer of that type."""
    draw = Drawing(seed)
    DRAWN[kind](draw)
    return draw


def write_net(kind: str, seed: int, folder: Path) -> None:
    """A drawn net as run_caffe.py reads it."""
    draw = drawn_net(kind, seed)
    np.savez(
        folder / f"{kind}_{seed}.npz",
        prototxt=draw.text,
        phase=draw.phase,
        passes=draw.passes,
        backward=draw.backward,
        lossy=draw.lossy,
        forced=draw.backward and not draw.learned,
        seed=seed,
        **{f"inputs/{name}": values for name, values in draw.inputs.items()},
    )


def run_caffe(python: str, folder: Path) -> None:
    """Let Caffe compute the cases of a folder."""
    subprocess.run([python, str(Path(__file__).with_name("run_caffe.py")), str(folder)], check=True)


def result_of(case: Path):
    """What Caffe made of a case. Raises AssertionError with its last words where it gave up."""
    result = case.with_suffix(".out.npz")
    if not result.exists():
        said = case.with_suffix(".err").read_text(errors="replace")
        failed = [line for line in said.splitlines() if line.startswith("F")] or said.splitlines()[-1:]
        raise AssertionError(f"Caffe gave up: {' '.join(failed)}")
    return np.load(result)


def read_case(case: Path) -> tuple[dict, dict]:
    """A net with Caffe's results, in the names of golden_case.py."""
    given = np.load(case)
    attributes = {"prototxt": str(given["prototxt"]), "phase": str(given["phase"]), "source": SOURCE}
    if int(given["passes"]) != 1:
        attributes["passes"] = int(given["passes"])
    return dict(result_of(case)), attributes


def compare_net(case: Path) -> None:
    """Raise AssertionError, or ours, where the net does not do what Caffe's does."""
    golden_case.check(*read_case(case), case.stem)


def compare_solver(case: Path) -> None:
    """Raise AssertionError where a training run, or one resumed from Caffe's snapshot, leaves Caffe's course."""
    given, theirs = np.load(case), result_of(case)
    steps = int(given["steps"])
    for name in theirs.files:
        ours = given["ours/" + name.replace("resumed", f"step_{steps}")]
        golden_case.assert_close(ours, theirs[name], name, TOLERANCE_OF_STEPS)
    resumed = get_solver(str(case.with_name(f"{case.stem}.ours.prototxt")))
    resumed.restore(next(case.parent.glob(f"{case.stem}_caffe_iter_*.solverstate*")))
    resumed.step(steps - resumed.iter)
    for layer, blobs in resumed.net.params.items():
        for number, blob in enumerate(blobs):
            wanted = theirs[f"step_{steps}/{layer}/{number}"]
            golden_case.assert_close(blob.data, wanted, f"resumed from Caffe's: {layer}/{number}", TOLERANCE_OF_STEPS)


def write_solver(kind: str, policy: str, seed: int, folder: Path) -> None:
    """A drawn solver, our run of it with a snapshot in its middle, and the case for Caffe."""
    name, draw = f"solvers_{kind}_{policy}_{seed}", Drawing(seed)
    net = folder / f"{name}.net.prototxt"
    net.write_text(drawn_solvers.net_text(draw, drawn_solvers.write_data(draw, folder / name)))
    text = drawn_solvers.solver_text(draw, kind, policy, str(net))
    definition = folder / f"{name}.ours.prototxt"
    definition.write_text(f'{text} snapshot_prefix: "{folder / name}_ours"')
    solver, found = get_solver(str(definition)), {}
    start = _parameters_of(solver, "start")
    for step in range(1, drawn_solvers.STEPS + 1):
        solver.step(1)
        found[f"step_{step}/loss"] = np.array(solver.net.blobs["loss"].data)
        found.update(_parameters_of(solver, f"step_{step}"))
        if step == drawn_solvers.STEPS // 2:
            state = solver.snapshot()
    fields = {
        "solver": f'{text} snapshot_prefix: "{folder / name}_caffe"',
        "state": str(state),
        "steps": drawn_solvers.STEPS,
    }
    np.savez(folder / f"{name}.npz", **fields, **start, **{f"ours/{key}": values for key, values in found.items()})


def _parameters_of(solver, name: str) -> dict:
    return {
        f"{name}/{layer}/{number}": blob.data.copy()
        for layer, blobs in solver.net.params.items()
        for number, blob in enumerate(blobs)
    }


def record(cases, path: Path) -> None:
    """Nets with Caffe's results as groups of an HDF5 file."""
    with h5py.File(path, "w", libver="latest") as file:
        for case in cases:
            arrays, attributes = read_case(case)
            group = file.create_group(case.stem)
            group.attrs.update(attributes)
            for name, values in arrays.items():
                group.create_dataset(name, data=values)


def compare_all(kinds, count: int, seed: int, python: str, folder: Path) -> list[str]:
    """Draw, run and compare in an empty folder; a line for each case that differs."""
    for kind in kinds:
        for number in range(seed * 1000, seed * 1000 + count):
            if kind == "solvers":
                write_solver(*_solver_of(number, seed), number, folder)
            else:
                write_net(kind, number, folder)
    run_caffe(python, folder)
    told = []
    for kind in kinds:
        cases = _cases(folder, kind)
        wrong = [line for case in cases if (line := difference_in(case, kind))]
        print(f"{kind:26} {len(cases) - len(wrong)} of {len(cases)} agree", flush=True)
        told += wrong
    return told


def _cases(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"{kind}_*.npz") if not path.name.endswith(".out.npz"))


def _solver_of(number: int, seed: int) -> tuple[str, str]:
    """Type and policy: 42 solvers in turn are each with each, and few of them still all of both."""
    policies, types = list(drawn_solvers.POLICIES), drawn_solvers.TYPES
    at = number - seed * 1000
    return types[at % len(types)], policies[(at + at // 42) % len(policies)]


def difference_in(case: Path, kind: str) -> str:
    """What differs, with the case's name; nothing where all agrees."""
    try:
        (compare_solver if kind == "solvers" else compare_net)(case)
    except Exception as error:  # whatever ours raises is a difference to tell
        return f"{case.stem}: {type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def compare_given(model: str, weights: str, python: str, folder: Path) -> float:
    """Compare every blob of a net with its weights over drawn inputs; the largest difference, relative to a blob's largest value."""
    net, draw = deconvnet.Net(model, weights, deconvnet.TEST), np.random.default_rng(1)
    for name in net.inputs:
        net.blobs[name].data[...] = draw.normal(0, 50, net.blobs[name].shape)
    inputs = {f"inputs/{name}": net.blobs[name].data.copy() for name in net.inputs}
    np.savez(folder / "given.npz", model=str(Path(model).resolve()), weights=str(Path(weights).resolve()), **inputs)
    run_caffe(python, folder)
    theirs = result_of(folder / "given.npz")
    net.forward()
    shares = {}
    for name, blob in net.blobs.items():
        wanted = theirs[f"blobs/{name}"]
        if blob.shape != wanted.shape:
            sys.exit(f"compare: blob {name} is {blob.shape}, Caffe's {wanted.shape}")
        share = float(np.abs(blob.data - wanted).max(initial=0) / max(1e-30, np.abs(wanted).max(initial=0)))
        shares[name] = math.inf if math.isnan(share) else share
    worst = max(shares, key=shares.get)
    print(f"{len(shares)} blobs; the largest difference is {shares[worst]:.1e} of the largest value, in blob {worst}")
    return shares[worst]


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = [*sorted(DRAWN), "solvers"]
    parser.add_argument("types", nargs="*", metavar="TYPE", help="default: all, and solvers")
    parser.add_argument("--caffe", required=True, metavar="PYTHON")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--record", type=Path, metavar="FILE")
    parser.add_argument("--model")
    parser.add_argument("--weights")
    chosen = parser.parse_args()
    if unknown := set(chosen.types) - set(kinds):
        parser.error(f"no type {sorted(unknown)[0]!r} among {', '.join(kinds)}")
    logging.getLogger("deconvnet").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):  # an earlier run's results would be taken for this one's
            parser.error(f"--keep {folder}: is not empty; name a new folder")
        if chosen.model:
            sys.exit(compare_given(chosen.model, chosen.weights, chosen.caffe, folder) > golden_case.TOLERANCE)
        told = compare_all(chosen.types or kinds, chosen.count, chosen.seed, chosen.caffe, folder)
        print(*told, sep="\n")
        if chosen.record:
            record([case for case in _cases(folder, "*") if not case.name.startswith("solvers")], chosen.record)
    sys.exit(1 if told else 0)


if __name__ == "__main__":
    main()
