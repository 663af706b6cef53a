"""DeconvNet and its kernels on a GPU, ours beside PyTorch on the same device in the same run; the memory prediction; the feeding.

    python benchmarks/compare_gpu.py [--peer PYTHON_WITH_TORCH] [--minutes 8] [--only STAGE,STAGE ...] [--quick] [--out FILE]

Stages are processes of their own, one after the other, the most important first; what is left out when the minutes are over is said. Rows are
written to the file as they are measured, so that a run that is cut off leaves what it had. --only measures some stages and keeps the
others' rows of the file, so that a second run can go on where the minutes of the first ended. benchmarks/render_gpu.py shows the file.
"""

import argparse
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import render_gpu
from gpu_cases import NETS, PRECISIONS
from pages import commit

HERE = Path(__file__).resolve().parent
QUERY = HERE.parent / "tools" / "device_query.py"
RESULTS = HERE / "results" / "gpu.json"
SAID = 400  # characters of what a failed process said
LEAST = 15  # seconds, less than which no stage is begun


class Stage(NamedTuple):
    """One process: what it measures, who, at most how many seconds, and its script with its options."""

    name: str
    side: str
    seconds: float
    script: str
    options: tuple[str, ...] = ()


def nets(side: str, name: str, *options: str, seconds: float = 120) -> Stage:
    """Whole nets of one side."""
    script = "gpu_ours.py" if side == "ours" else "gpu_peer.py"
    return Stage(name, side, seconds, script, ("nets", *options))


def kernels(side: str, precision: str) -> Stage:
    """Kernels alone of one side."""
    script = "gpu_ours.py" if side == "ours" else "gpu_peer.py"
    return Stage(f"kernels {side} {precision}", side, 150, script, ("kernels", "--precision", precision))


FORWARD = ",".join(f"{work}:{batch}" for work, batch in NETS if work == "forward")
# whole nets that torch.compile is tried on first: compiling takes most of a minute each
COMPILED = "forward:50,training:64,forward:1"
STAGES = [
    nets("ours", "nets ours float32"),
    *(nets("peer", f"nets peer eager {p}", "--precision", p) for p in PRECISIONS),
    *(nets("ours", f"nets ours {p}", "--precision", p) for p in PRECISIONS[1:]),
    nets("ours", "nets ours graph float32", "--graph", "--nets", FORWARD, seconds=60),
    kernels("ours", "float32"),
    kernels("peer", "float32"),
    Stage("memory", "ours", 90, "gpu_ours.py", ("memory",)),
    *(kernels(side, p) for p in PRECISIONS[1:] for side in ("ours", "peer")),
    *(
        nets("ours", f"nets ours graph {p}", "--graph", "--precision", p, "--nets", FORWARD, seconds=60)
        for p in PRECISIONS[1:]
    ),
    Stage("feeding", "ours", 60, "feeding.py"),
    *(nets("peer", f"nets peer channels_last {p}", "--precision", p, "--layout", "channels_last") for p in PRECISIONS),
    *(
        nets("peer", f"nets peer compile {p}", "--precision", p, "--compile", "--nets", COMPILED, seconds=240)
        for p in ("bfloat16", "tf32", "float32")
    ),
]


class Results:
    """The file of the results, whole after every row."""

    def __init__(self, file: Path, about: dict):
        self._file, self.about, self.rows = file, about, []

    def keep(self, earlier: dict, again: set[str]) -> None:
        """Begin with the rows of an earlier run, but for stages that are measured again. Ends the program where they do not go together."""
        for name in ("commit", "size", "batch", "processors"):
            if earlier["about"].get(name) != self.about[name]:
                told = f"{name} {earlier['about'].get(name)}, not {self.about[name]}"
                sys.exit(
                    f"compare_gpu: {self._file} is of {told}: give another --out, or measure everything anew without --only"
                )
        self.about = earlier["about"] | self.about
        self.rows = [row for row in earlier["rows"] if row["stage"] not in again]

    def add(self, stage: Stage, row: dict) -> None:
        """Take a row of a stage and write the file anew."""
        if row["part"] == "about":
            self.about |= {name: value for name, value in row.items() if name != "part"}
        else:
            self.rows.append({"stage": stage.name, "side": stage.side, **row})
        self.write()

    def write(self) -> None:
        """The file, written beside and moved into its place."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_suffix(".part")
        beside.write_text(json.dumps({"about": self.about, "rows": self.rows}, indent=1) + "\n")
        beside.replace(self._file)


def options_of(stage: Stage, chosen) -> list[str]:
    """What a stage is given beside its own options."""
    if stage.script == "feeding.py":
        return ["--seconds", "0.5", "--images", "40"] if chosen.quick else []
    given = ["--device", chosen.device, "--size", str(chosen.size), "--batch", str(chosen.batch)]
    given += ["--seconds", "0.2" if chosen.quick else "1"]
    return given + (["--nets", chosen.nets] if chosen.nets else [])


def run(stage: Stage, python: str, chosen, seconds: float, results: Results) -> None:
    """Run a stage and take its rows as they come; how it ended, where that was not well, becomes a row too."""
    command = [python, str(HERE / stage.script), *stage.options, *options_of(stage, chosen)]
    begin, ended = time.monotonic(), threading.Event()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True)

        def end():
            ended.set()
            os.killpg(process.pid, signal.SIGKILL)  # torch.compile has processes of its own

        clock = threading.Timer(seconds, end)
        clock.start()
        try:
            for line in process.stdout:
                take(stage, line, results)
            process.wait()
        finally:
            clock.cancel()
        if process.returncode:
            said.seek(0)
            why = f"not done within {seconds:.0f} s" if ended.is_set() else f"ended with status {process.returncode}"
            results.add(stage, {"part": "stage", "error": f"{why}: {' '.join(said.read().split())[-SAID:]}"})
            print(f"  {stage.name}: {results.rows[-1]['error']}", flush=True)
    print(f"  {time.monotonic() - begin:.0f} s", flush=True)


def take(stage: Stage, line: str, results: Results) -> None:
    """A line of a stage's output: a row where it is one."""
    try:
        row = json.loads(line)
    except ValueError:  # what a library prints, or a line that was cut off
        return
    print(f"  {render_gpu.told(row)}", flush=True)
    results.add(stage, row)


def provenance(chosen) -> dict:
    """What figures depend on beside what the stages say: driver, processors, commit, date, command."""
    found = {"size": chosen.size, "batch": chosen.batch, "processors": len(os.sched_getaffinity(0))}
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found["driver"] = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    command = " ".join(["benchmarks/compare_gpu.py", *sys.argv[1:]])
    return {**found, "commit": chosen.commit or commit(), "date": now, "command": command}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="a Python that has torch; without it only ours is measured")
    parser.add_argument("--minutes", type=float, default=8, help="after which no more is measured (default: 8)")
    parser.add_argument(
        "--only", default="", help=f"stages, by the beginnings of their names: {', '.join(s.name for s in STAGES)}"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--commit", help="what is measured, where this copy has no .git that would say it")
    parser.add_argument("--quick", action="store_true", help="fewer runs of everything, and no torch.compile")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu", help="cpu: to see that everything runs")
    parser.add_argument("--size", type=int, default=224, help="side of the net's input, a multiple of 32")
    parser.add_argument("--batch", type=int, default=16, help="images of the maps that kernels work on")
    parser.add_argument("--nets", default="", help="forward:1,training:8 ...: those instead of all")
    chosen = parser.parse_args()
    if chosen.size < 32 or chosen.size % 32:
        parser.error("--size must be a multiple of 32: the net halves its input five times")
    if chosen.batch < 1:
        parser.error("--batch must be at least 1")
    wanted = [name.strip() for name in chosen.only.split(",") if name.strip()]
    if unknown := [name for name in wanted if not any(stage.name.startswith(name) for stage in STAGES)]:
        parser.error(f"--only: no stage begins with '{unknown[0]}'")
    chosen.stages = [stage for stage in STAGES if not wanted or any(stage.name.startswith(name) for name in wanted)]
    return chosen


def main() -> None:
    """Run the stages, print the tables."""
    chosen = parse()
    if chosen.device == "gpu" and subprocess.run([sys.executable, str(QUERY)], check=False).returncode:
        sys.exit(1)  # it has said why
    results = Results(chosen.out, provenance(chosen))
    if chosen.only and chosen.out.exists():
        results.keep(json.loads(chosen.out.read_text()), {stage.name for stage in chosen.stages})
    last = time.monotonic() + 60 * chosen.minutes
    for stage in chosen.stages:
        if (stage.side == "peer" and not chosen.peer) or (chosen.quick and "--compile" in stage.options):
            continue
        print(f"{stage.name}", flush=True)
        left = last - time.monotonic()
        if left < LEAST:
            results.add(stage, {"part": "stage", "error": f"left out: the {chosen.minutes:g} minutes are over"})
            continue
        run(stage, chosen.peer if stage.side == "peer" else sys.executable, chosen, min(stage.seconds, left), results)
    result = {"about": results.about, "rows": results.rows}
    print(f"\n{render_gpu.summary(result)}\n\n{render_gpu.kernels(result)}\n\nwritten to {chosen.out}")


if __name__ == "__main__":
    main()
