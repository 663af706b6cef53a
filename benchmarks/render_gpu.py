"""Put the figures of benchmarks/results/gpu*.json into README.md, each with what it was measured on, or say that there are none yet.

python tools/gpu_check.py --out benchmarks/results/gpu.json     # on a machine with a GPU; `make bench-gpu` does it
python benchmarks/render_gpu.py
"""

import argparse
import json
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
NONE_YET = "No run on a GPU has been recorded yet: `make bench-gpu` measures on a machine that has one."
_BLOCK = re.compile(r"<!-- gpu table -->.*?<!-- end gpu table -->", re.DOTALL)


def results() -> list[dict]:
    """Those that are committed, by file name. A measurement on a CPU is none."""
    found = (json.loads(path.read_text()) for path in sorted((HERE / "results").glob("gpu*.json")))
    return [result for result in found if "cupy" in result]


def table(result: dict) -> str:
    """One file's rows as Markdown, what they were measured on before them."""
    said = (
        f"On {result['device']}, CUDA {result['cuda']} (driver for CUDA {result['driver_cuda']}), CuPy {result['cupy']}, "
        f"commit {result['commit']}, {result['date'][:10]}, by `{result['command']}`:"
    )
    lines = [["kernel", "shape", "ms", "GB/s", "of copy", "GFLOP/s"], ["---"] * 2 + ["---:"] * 4]
    lines += [cells(row) for row in result["rows"]]
    return f"{said}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cells(row: dict) -> list[str]:
    """A line of the table."""
    rate = f"{row['gflop_s']:.0f}" if "gflop_s" in row else ""
    return [
        row["name"],
        "x".join(map(str, row["shape"])),
        f"{row['ms']:.3f}",
        f"{row['gb_s']:.0f}",
        f"{row['of_copy']:.0%}",
        rate,
    ]


def render(readme: str, found: list[dict]) -> str:
    """The README with the tables between its marks."""
    told = "\n\n".join(map(table, found)) or NONE_YET
    return _BLOCK.sub(lambda _: f"<!-- gpu table -->\n{told}\n<!-- end gpu table -->", readme)


def main() -> None:
    """Write the README."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    README.write_text(render(README.read_text(), results()))


if __name__ == "__main__":
    main()
