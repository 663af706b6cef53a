"""DeconvNet at 224x224 on the CPU, ours beside PyTorch: processes in turn, ratio of the best iterations, median of the rounds.

    python benchmarks/compare_cpu.py [--peer PYTHON_WITH_TORCH] [--rounds 3] [--out benchmarks/results/cpu.json]

Without --peer only ours is measured. `make bench` calls it with the environment that `make bench-peers` makes. Where the results file of
the same processor tells of a ratio that was more than 10 % better, it says so. `python benchmarks/compare_cpu.py --render` puts the
table of the results file into README.md and measures nothing.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
RESULTS = HERE / "results" / "cpu.json"
# work, batch, iterations, threads (None: all)
CASES = (
    ("forward", 1, 5, None),
    ("forward", 10, 2, None),
    ("training", 2, 3, None),
    ("forward", 1, 5, 1),
    ("training", 2, 3, 1),
)
SLOWER = 1.1


def processor() -> str:
    """The processor's name and the number of processors."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor() or platform.machine()


def measure(python: str, script: str, work: str, batch: int, iterations: int, threads: int | None) -> dict:
    """Run one measurement in a process of its own."""
    command = [python, str(HERE / script), work, "--batch", str(batch), "--iterations", str(iterations)]
    environment = os.environ if threads is None else {**os.environ, "OMP_NUM_THREADS": str(threads)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if run.returncode:
        sys.exit(f"compare_cpu: {script} failed:\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def commit() -> str:
    """The commit that was measured."""
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE, check=False
    )
    return run.stdout.strip()


def measure_case(case, peer: str | None, rounds: int) -> dict:
    """A row of the results: every run of both, and the median of the rounds' ratios."""
    work, batch, _, threads = case
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(measure(sys.executable, "measured_deconvnet.py", *case))
        if peer:
            theirs.append(measure(peer, "peer_pytorch.py", *case))
    row = {
        "work": work,
        "batch": batch,
        "threads": threads or len(os.sched_getaffinity(0)),
        "ours": ours,
        "peer": theirs,
    }
    if peer:
        row["ratio"] = statistics.median(a["best_s"] / b["best_s"] for a, b in zip(ours, theirs, strict=True))
    return row


def cells(row: dict) -> list[str]:
    """A line of the table."""
    line = [f"{row['work']}, batch {row['batch']}", str(row["threads"])]
    for runs in (row["ours"], row["peer"]):
        best = min((run["best_s"] for run in runs), default=None)
        line.append("" if best is None else f"{best:.2f} s, {max(run['peak_gb'] for run in runs):.2f} GB")
    return [*line, f"{row['ratio']:.2f}" if "ratio" in row else ""]


def table(result: dict) -> str:
    """The results as Markdown."""
    lines = [["DeconvNet at 224x224", "threads", "ours", "PyTorch", "ours / PyTorch"], ["---"] * 5]
    lines += [cells(row) for row in result["rows"]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def render(result: dict) -> str:
    """README.md with the table and what it was measured on between its marks."""
    said = f"On {result['processor']}, PyTorch {result.get('peer', 'not measured')}, commit {result['commit']}, by `{result['command']}`:"
    block = f"<!-- cpu table -->\n{said}\n\n{table(result)}\n<!-- end -->"
    return re.sub(r"<!-- cpu table -->.*?<!-- end -->", lambda _: block, README.read_text(), flags=re.DOTALL)


def slower_rows(before: dict, now: dict) -> list[str]:
    """The rows whose ratio to the peer grew by more than a tenth on the same processor."""
    if before.get("processor") != now["processor"]:
        return []
    old = {(row["work"], row["batch"], row["threads"]): row.get("ratio") for row in before["rows"]}
    told = []
    for row in now["rows"]:
        ratio = old.get((row["work"], row["batch"], row["threads"]))
        if ratio and row.get("ratio", 0) > SLOWER * ratio:
            told.append(f"{cells(row)[0]}, {row['threads']} threads: {ratio:.2f} -> {row['ratio']:.2f} of the peer")
    return told


def main() -> None:
    """Measure in turn, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="a Python that has torch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--render", action="store_true", help="only put the table of the results file into README.md")
    chosen = parser.parse_args()
    if chosen.render:
        README.write_text(render(json.loads(chosen.out.read_text())))
        return
    result = {
        "processor": processor(),
        "python": platform.python_version(),
        "commit": commit(),
        "command": "make bench",
    }
    if chosen.peer:
        version = [chosen.peer, "-c", "import torch; print(torch.__version__)"]
        result["peer"] = subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip()
    result["rows"] = []
    for case in CASES:
        result["rows"].append(measure_case(case, chosen.peer, chosen.rounds))
        print(" ".join(cells(result["rows"][-1])), flush=True)
    before = json.loads(chosen.out.read_text()) if chosen.out.exists() else {"rows": []}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    for told in slower_rows(before, result):
        print(f"slower than in {chosen.out.name} before: {told}")


if __name__ == "__main__":
    main()
