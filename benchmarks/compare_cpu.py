"""DeconvNet at 224x224 on the CPU, ours beside PyTorch: processes in turn, three rounds, ratio of the best iterations, median of the rounds.

    python benchmarks/compare_cpu.py [--peer PYTHON_WITH_TORCH] [--rounds 3] [--out benchmarks/results/cpu.json]

Without --peer only ours is measured. `make bench` calls it with the environment that `make bench-peers` makes.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def processor() -> str:
    """The processor's name and the number of processors."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor() or platform.machine()


def measure(python: str, script: str, work: str) -> dict:
    """Run one measurement in a process of its own."""
    run = subprocess.run([python, str(HERE / script), work], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"compare_cpu: {script} failed:\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def commit() -> str:
    """The commit that was measured."""
    run = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE)
    return run.stdout.strip()


def main() -> None:
    """Measure in turn, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="a Python that has torch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "cpu.json")
    chosen = parser.parse_args()
    result = {
        "processor": processor(),
        "python": platform.python_version(),
        "commit": commit(),
        "command": "make bench",
        "rows": [],
    }
    print(
        f"{result['processor']}\n| work | ours | memory | PyTorch | memory | ours / PyTorch |\n|---|---|---|---|---|---|"
    )
    for work in ("forward", "training"):
        ours, theirs = [], []
        for _ in range(chosen.rounds):
            ours.append(measure(sys.executable, "measured_deconvnet.py", work))
            if chosen.peer:
                theirs.append(measure(chosen.peer, "peer_pytorch.py", work))
        row = {"work": work, "batch": ours[0]["batch"], "ours": ours, "peer": theirs}
        best = min(one["best_s"] for one in ours)
        cells = [f"{work}, batch {row['batch']}", f"{best:.2f} s", f"{max(one['peak_gb'] for one in ours):.2f} GB"]
        if theirs:
            row["ratio"] = statistics.median(a["best_s"] / b["best_s"] for a, b in zip(ours, theirs, strict=True))
            cells += [
                f"{min(one['best_s'] for one in theirs):.2f} s",
                f"{max(one['peak_gb'] for one in theirs):.2f} GB",
                f"{row['ratio']:.2f}",
            ]
        result["rows"].append(row)
        print("| " + " | ".join(cells) + " |", flush=True)
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
