"""Put the figures of benchmarks/results/gpu*.json into README.md and docs/gpu.md, with what they were measured on, or say that there are none.

make bench-gpu     # on a machine with a GPU: writes benchmarks/results/gpu.json
python benchmarks/render_gpu.py
"""

import argparse
import json
from pathlib import Path

from pages import with_block

HERE = Path(__file__).resolve().parent
README, PAGE = HERE.parent / "README.md", HERE.parent / "docs" / "gpu.md"
NONE_YET = "No run on a GPU has been recorded yet: `make bench-gpu` measures on a machine that has one."
WAYS = ("eager", "channels_last", "compile")


def results() -> list[dict]:
    """Those that are committed, by file name. A measurement on a CPU is none."""
    found = (json.loads(path.read_text()) for path in sorted((HERE / "results").glob("gpu*.json")))
    return [result for result in found if "cupy" in result["about"]]


def told(row: dict) -> str:
    """A row in words, as it is printed while it is measured."""
    if "error" in row:
        return f"{name_of(row)}: {row['error']}"
    if row["part"] == "about":
        return ", ".join(f"{name} {value}" for name, value in row.items() if name != "part")
    figures = {name: row[name] for name in FIGURES if name in row}
    return f"{name_of(row)}: " + ", ".join(f"{value:.4g} {FIGURES[name]}" for name, value in figures.items())


FIGURES = {
    "ms": "ms",
    "images_s": "images/s",
    "gb_s": "GB/s",
    "tflop_s": "TFLOP/s",
    "arrays_gb": "GB of arrays",
    "pool_gb": "GB in the pool",
    "device_gb": "GB of the device",
    "predicted_gb": "GB predicted",
    "measured_of_predicted": "of what was predicted",
    "peak_gb": "GB of the process",
}


def name_of(row: dict) -> str:
    """What a row is about."""
    known = ("mode", "name", "work", "level", "batch", "workers")
    return " ".join(f"{'' if isinstance(row[k], str) else k + ' '}{row[k]}" for k in known if row.get(k)) or row["part"]


def rows_of(result: dict, part: str, side: str | None = None) -> list[dict]:
    """The measured rows of a part of the results."""
    return [row for row in result["rows"] if row["part"] == part and "error" not in row and side in (None, row["side"])]


def markdown(lines: list[list[str]]) -> str:
    """A table whose first line is its head; all columns but the first are of figures."""
    head, *rest = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] + ["---:"] * (len(head) - 1), *rest])


def said(about: dict) -> str:
    """What was measured on what."""
    driver = f"driver {about['driver']}" if "driver" in about else f"driver for CUDA {about.get('driver_cuda')}"
    peer = f"PyTorch {about['torch']}, cuDNN {about.get('cudnn')}" if "torch" in about else "PyTorch not measured"
    return (
        f"On {about.get('device')}, CUDA {about.get('cuda')} ({driver}), CuPy {about.get('cupy')}, {peer}, "
        f"commit {about['commit']}, {about['date'][:10]}, by `{about['command']}`:"
    )


# --------------------------------------------------------------------------------------------------------------- the README


def summary(result: dict) -> str:
    """The whole nets, the memory and the feeding, what they were measured on before them."""
    parts = [said(result["about"]), net_table(result), memory_lines(result), feeding_line(result), failures(result)]
    return "\n\n".join(filter(None, parts))


def net_table(result: dict) -> str:
    """Images a second and memory of each batch and precision, ours and PyTorch's ways."""
    own = {
        (row["work"], row["batch"], *row["mode"].rpartition(" ")[::2]): row for row in rows_of(result, "net", "ours")
    }
    peers = {(row["work"], row["batch"], *row["mode"].split()): row for row in rows_of(result, "net", "peer")}
    keys = [(work, batch, mode) for work, batch, _, mode in [*own, *peers]]
    size = result["about"]["size"]
    lines = [
        [
            f"DeconvNet at {size}x{size}",
            "precision",
            "ours",
            "ours, CUDA graph",
            *(f"PyTorch, {way}" for way in WAYS),
            "fastest of ours / of PyTorch's, time",
        ]
    ]
    for work, batch, mode in dict.fromkeys(keys):
        ours = [own.get((work, batch, way, mode)) for way in ("", "graph")]
        others = [peers.get((work, batch, way, mode)) for way in WAYS]
        best, fastest = (min((row["ms"] for row in rows if row), default=None) for rows in (ours, others))
        ratio = f"{best / fastest:.2f}" if best and fastest else ""
        lines.append([f"{work}, batch {batch}", mode, *map(speed, [*ours, *others]), ratio])
    return markdown(lines) if len(lines) > 1 else ""


def speed(row: dict | None) -> str:
    """Images a second and gigabytes: the allocator's on a GPU, the process's on a CPU."""
    if row is None:
        return ""
    return f"{row['images_s']:.0f}/s, {row.get('pool_gb', row.get('peak_gb', 0)):.1f} GB"


def memory_lines(result: dict) -> str:
    """What trainings take of a GPU against what was predicted."""
    lines = [["arrays at the peak", "batch", "predicted", "measured", "measured / predicted", "all of the device"]]
    for row in rows_of(result, "memory") + rows_of(result, "net", "ours"):
        if "predicted_gb" in row and "arrays_gb" in row:
            predicted, measured, taken = (row[name] for name in ("predicted_gb", "arrays_gb", "device_gb"))
            figures = [f"{predicted:.2f} GB", f"{measured:.2f} GB", f"{measured / predicted:.3f}", f"{taken:.2f} GB"]
            lines.append([f"{row['work']} {row.get('mode', '')}".strip(), str(row["batch"]), *figures])
    return markdown(lines) if len(lines) > 1 else ""


def feeding_line(result: dict) -> str:
    """What the data layer makes beside what the fastest training eats."""
    fed, eaten = rows_of(result, "feeding"), rows_of(result, "net", "ours")
    eaten = [row["images_s"] for row in eaten if row["work"] == "training"]
    if not fed:
        return ""
    made = ", ".join(f"{row['images_s']:.0f} with {row['workers']}" for row in fed)
    beside = f"; training takes up to {max(eaten):.0f}" if eaten else ""
    return (
        f"Images a second that the data layer makes on {fed[0]['processors']} processors, by threads: {made}{beside}."
    )


def failures(result: dict) -> str:
    """What could not be measured, and why; one line for those of a stage that failed alike."""
    alike: dict[tuple[str, str], list[str]] = {}
    for row in result["rows"]:
        if "error" in row:
            alike.setdefault((row["stage"], row["error"]), []).append(name_of(row))
    lines = []
    for (stage, error), names in alike.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"- {stage}{'' if names == ['stage'] else ', ' + names[0]}{more}: {error}")
    return "Not measured:\n\n" + "\n".join(lines) if lines else ""


# ------------------------------------------------------------------------------------------------------------- the page


def limits(result: dict) -> dict[str, float]:
    """{"copy": bytes a second, precision: operations a second}, the best that either side measured."""
    found: dict[str, float] = {}
    for row in rows_of(result, "limit"):
        name, rate = row["name"].removeprefix("product "), row.get("gb_s", 0) * 1e9 + row.get("tflop_s", 0) * 1e12
        found[name] = max(found.get(name, 0), rate)
    return found


def kernels(result: dict) -> str:
    """Every kernel: its time, and what part of it the device's limit would take, ours beside PyTorch's."""
    most = limits(result)
    if "copy" not in most:
        return ""
    ours, theirs = ({key(row): row for row in rows_of(result, "kernel", side)} for side in ("ours", "peer"))
    told_limits = [f"copy {most['copy'] / 1e9:.0f} GB/s"]
    told_limits += [f"product {name} {rate / 1e12:.1f} TFLOP/s" for name, rate in most.items() if name != "copy"]
    lines = [["kernel", "maps", "precision", "ours", "of the limit", "PyTorch", "of the limit", "ours / PyTorch"]]
    for place in dict.fromkeys([*ours, *theirs]):
        name, shape, precision = place
        pair = [ours.get(place), theirs.get(place)]
        cells = [cell for row in pair for cell in timed(row, most, precision)]
        ratio = f"{pair[0]['ms'] / pair[1]['ms']:.2f}" if all(pair) else ""
        lines.append([name, shape, precision, *cells, ratio])
    return f"Limits as measured: {', '.join(told_limits)}.\n\n{markdown(lines)}"


def key(row: dict) -> tuple[str, str, str]:
    """(name, shape, precision) of a kernel's row."""
    shape = "x".join(str(row[name]) for name in ("batch", "channels", "size", "size"))
    return row["name"], shape if row["batch"] > 1 or row["size"] > 1 else str(row["channels"]), row["mode"].split()[-1]


def timed(row: dict | None, most: dict[str, float], precision: str) -> list[str]:
    """A kernel's milliseconds and its share of the limit."""
    if row is None:
        return ["", ""]
    least = row["bytes"] / most["copy"]
    if row["operations"]:
        if precision not in most:
            return [f"{row['ms']:.3f} ms", ""]
        least = max(least, row["operations"] / most[precision])
    return [f"{row['ms']:.3f} ms", f"{least / (row['ms'] / 1e3):.0%}"]


def page_table(result: dict) -> str:
    """The kernels of a file, what they were measured on before them."""
    return f"{said(result['about'])}\n\n{kernels(result)}"


def render(text: str, found: list[dict], table=summary) -> str:
    """A page with the tables between its marks."""
    shown = "\n\n".join(map(table, found)) or NONE_YET
    return with_block(text, "gpu table", shown)


def main() -> None:
    """Write both pages."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    found = results()
    README.write_text(render(README.read_text(), found))
    PAGE.write_text(render(PAGE.read_text(), found, page_table))


if __name__ == "__main__":
    main()
