"""Nets on the CPU, ours beside PyTorch: processes in turn, ratio of the best iterations, median of the rounds.

    python benchmarks/compare_cpu.py deconvnet|nets [--peer PYTHON_WITH_TORCH] [--caffe PYTHON_WITH_CAFFE] [--check] [--out FILE]

deconvnet: DeconvNet at 224x224; nets: those of classic_nets.py, beside Caffe too. Without --peer and --caffe only ours is measured.
`make bench` calls it for both, with the environments that `make bench-peers` and `make caffe-peer` make and with --check: where the committed results of the same processor tell of a ratio that was
more than 10 % better, it says so and ends with status 1; a row measured in one round is too noisy for that. With --render it puts the
tables of the results file into README.md and measures nothing.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from pages import commit, with_block

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
RESULTS = {"deconvnet": HERE / "results" / "cpu.json", "nets": HERE / "results" / "cpu_nets.json"}
MARKS = {"deconvnet": "cpu table", "nets": "cpu nets table"}  # of README.md
THREADS = (4, 2, 1)  # as far as there are processors
# (work, batch, iterations, rounds); those of all but the first for the largest number of threads only
CASES = (("forward", 1, 5, 3), ("training", 2, 2, 3))
IMAGE_CASES = (("image", 1, 1, 1), ("image", 5, 1, 1), ("image", 10, 1, 3), ("image", 25, 1, 1), ("image", 50, 1, 1))
# batch in training (of the small ones that of Caffe's examples), iterations forward and in training
CLASSICS = {"LeNet": (64, 500, 50), "CIFAR-10-quick": (100, 500, 50)}
CLASSICS |= dict.fromkeys(("AlexNet", "VGG-16", "GoogLeNet", "ResNet-50", "MobileNet"), (8, 9, 2))
CLASSICS |= {"DeepLab-LargeFOV": (2, 9, 2)}
CLASSIC_CASES = tuple(
    case
    for net, (batch, forward, training) in CLASSICS.items()
    for case in ((f"{net} forward", 1, forward, 5), (f"{net} training", batch, training, 5))
)
NETS = "well-known nets"
SLOWER = 1.1
VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}


def processor() -> str:
    """The processor's name, its vectors, since one name may stand for several generations, and the number of processors."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    vectors = next((f" with {name}" for flag, name in VECTORS.items() if flag in flags), "")
    return f"{names[0]}{vectors}, {len(names)} cores" if names else platform.processor() or platform.machine()


def run_script(python: str, script: str, *arguments, threads: int, text: str = "") -> str:
    """What a script prints that is given a text, in a process of its own."""
    command = [python, str(HERE / script), *map(str, arguments)]
    # OpenBLAS finds the processor's kernels itself; a machine may be told to take those of an older one
    found = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    environment = found | {"OMP_NUM_THREADS": str(threads)}
    run = subprocess.run(command, capture_output=True, text=True, input=text, env=environment, check=False)
    if run.returncode:
        sys.exit(f"compare_cpu: {script} failed:\n{run.stderr}")
    return run.stdout


def measure(python: str, script: str, work: str, batch: int, iterations: int, threads: int) -> dict:
    """Run one measurement."""
    options = ("--batch", batch, "--iterations", iterations)
    return json.loads(run_script(python, script, *work.split(), *options, threads=threads).splitlines()[-1])


def measure_caffe(caffe: str, work: str, batch: int, iterations: int, threads: int) -> dict:
    """The same of one of the well-known nets on Caffe, which gets the definition from us."""
    net, what = work.split()
    text = run_script(sys.executable, "classic_nets.py", net, what, "--batch", batch, threads=threads)
    said = run_script(caffe, "caffe_classics.py", what, "--iterations", iterations, threads=threads, text=text)
    return json.loads(said.splitlines()[-1])


def median_ratio(ours: list[dict], theirs: list[dict]) -> float:
    """Of the rounds' best iterations."""
    return statistics.median(a["best_s"] / b["best_s"] for a, b in zip(ours, theirs, strict=True))


def measure_case(case, threads: int, peer: str | None, caffe: str | None) -> dict:
    """A row of the results: every run of each, and the median of the rounds' ratios."""
    work, batch, iterations, rounds = case
    ours, theirs, caffes = [], [], []
    own, other = (
        ("measured_classics.py", "peer_classics.py") if " " in work else ("measured_deconvnet.py", "peer_pytorch.py")
    )
    for _ in range(rounds):
        ours.append(measure(sys.executable, own, work, batch, iterations, threads))
        if peer:
            theirs.append(measure(peer, other, work, batch, iterations, threads))
        if caffe and " " in work:
            caffes.append(measure_caffe(caffe, work, batch, iterations, threads))
    row = {"work": work, "batch": batch, "threads": threads, "ours": ours, "peer": theirs}
    if theirs:
        row["ratio"] = median_ratio(ours, theirs)
    if caffes:
        row |= {"caffe": caffes, "caffe_ratio": median_ratio(ours, caffes)}
    return row


def cells(row: dict) -> list[str]:
    """A line of the table: seconds of an iteration, or images of 50 proposals a minute; and the most memory."""
    line = [f"{row['work']}, batch {row['batch']}", str(row["threads"])]
    for runs in (row["ours"], row["peer"], *([row["caffe"]] if "caffe" in row else [])):
        best = min((run["best_s"] for run in runs), default=None)
        if best is None:
            line.append("")
            continue
        seconds = f"{best:.2f} s" if best >= 0.1 else f"{best * 1e3:.{0 if best >= 0.01 else 1}f} ms"
        speed = f"{60 / best:.1f} a minute" if row["work"] == "image" else seconds
        line.append(f"{speed}, {max(run['peak_gb'] for run in runs):.2f} GB")
    line.append(f"{row['ratio']:.2f}" if "ratio" in row else "")
    return [*line, f"{row['caffe_ratio']:.2f}"] if "caffe" in row else line


def table(rows: list[dict], title: str) -> str:
    """Rows of the results as Markdown; the ratio is one of times."""
    head = [title, "threads", "ours", "PyTorch", "ours / PyTorch, time"]
    if any("caffe" in row for row in rows):
        head = [*head[:4], "Caffe 1.0", "ours / PyTorch, time", "ours / Caffe"]
    lines = [head, ["---"] * len(head), *map(cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def title_of(work: str) -> str:
    """Of the table that shows this work."""
    if " " in work:
        return NETS
    return "images of 50 proposals each" if work == "image" else "DeconvNet at 224x224"


def tables(result: dict) -> str:
    """The tables, and what this machine is too small for."""
    sections = {}
    for row in result["rows"]:
        sections.setdefault(title_of(row["work"]), []).append(row)
    parts = [table(rows, title) for title, rows in sections.items()]
    measured = {row["threads"] for row in result["rows"]}
    missing = [str(threads) for threads in reversed(THREADS) if threads not in measured]
    if missing and NETS not in sections:  # those are for the largest number alone
        parts.append(f"Not measured, for want of processors: {', '.join(missing)} threads.")
    return "\n\n".join(parts)


def render(suite: str, result: dict) -> str:
    """README.md with the tables of a suite and what they were measured on between its marks."""
    said = f"On {result['processor']}, PyTorch {result.get('peer', 'not measured')}, commit {result['commit']}, by `{result['command']}`:"
    return with_block(README.read_text(), MARKS[suite], f"{said}\n\n{tables(result)}")


def committed(suite: str, file: Path) -> dict:
    """The results as they were committed, since an earlier run has overwritten the file; the file's own outside of a repository."""
    command = ["git", "show", f"HEAD:./{RESULTS[suite].relative_to(HERE)}"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    if run.returncode == 0:
        return json.loads(run.stdout)
    return json.loads(file.read_text()) if file.exists() else {"rows": []}


def slower_rows(before: dict, now: dict) -> list[str]:
    """The rows whose ratio to the peer grew by more than a tenth on the same processor, those of a single round left out."""
    if before.get("processor") != now["processor"]:
        return []
    old = {(row["work"], row["batch"], row["threads"]): row.get("ratio") for row in before["rows"]}
    told = []
    for row in now["rows"]:
        ratio = old.get((row["work"], row["batch"], row["threads"]))
        if ratio and len(row["ours"]) != 1 and row.get("ratio", 0) > SLOWER * ratio:
            told.append(f"{cells(row)[0]}, {row['threads']} threads: {ratio:.2f} -> {row['ratio']:.2f} of the peer")
    return told


def measure_all(suite: str, peer: str | None, caffe: str | None) -> dict:
    """The whole results of a suite, each row printed as it comes."""
    result = {
        "processor": processor(),
        "python": platform.python_version(),
        "commit": commit(),
        "command": f"make bench ONLY={suite}",
    }
    if peer:
        version = [peer, "-c", "import torch; print(torch.__version__)"]
        result["peer"] = subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip()
    result["rows"] = []
    counts = [threads for threads in THREADS if threads <= len(os.sched_getaffinity(0))]
    for threads in counts if suite == "deconvnet" else counts[:1]:
        cases = CLASSIC_CASES if suite == "nets" else (*CASES, *(IMAGE_CASES if threads == counts[0] else ()))
        for case in cases:
            result["rows"].append(measure_case(case, threads, peer, caffe))
            print(" ".join(cells(result["rows"][-1])), flush=True)
    return result


def main() -> None:
    """Measure in turn, print the tables, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=list(RESULTS))
    parser.add_argument("--peer", help="a Python that has torch")
    parser.add_argument("--caffe", help="a Python that has pycaffe")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: in benchmarks/results")
    parser.add_argument("--check", action="store_true", help="end with status 1 where a row has become slower")
    parser.add_argument("--render", action="store_true", help="only put the tables of the results file into README.md")
    chosen = parser.parse_args()
    suite, out = chosen.suite, chosen.out or RESULTS[chosen.suite]
    if chosen.render:
        README.write_text(render(suite, json.loads(out.read_text())))
        return
    before, result = committed(suite, out), measure_all(suite, chosen.peer, chosen.caffe)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n{tables(result)}\n\nwritten to {out}; --render puts the tables into README.md")
    slower = slower_rows(before, result)
    for told in slower:
        print(f"SLOWER than the committed results: {told}")
    sys.exit(1 if slower and chosen.check else 0)


if __name__ == "__main__":
    main()
