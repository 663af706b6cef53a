"""Has the course of training changed? Compare stage 1 of the demo with the curve that is kept, same data and same seed.

    make demo && python benchmarks/demo_curve.py            # demo/stage1.log against benchmarks/results/demo_stage1.json
    python benchmarks/demo_curve.py --keep                  # make the log's curve the one that is kept

Rounding differs between processors and algorithms and grows with training: expect the first losses to agree to three digits, and the mean
of the last five within 10 %. Ends with status 1 where they do not.
"""

import argparse
import json
import sys
from pathlib import Path

from deconvnet.core.solver import read_log

HERE = Path(__file__).resolve().parent
LOG = HERE.parent / "demo" / "stage1.log"
KEPT = HERE / "results" / "demo_stage1.json"
EARLY, EARLY_TOLERANCE = 3, 1e-2
LATE, LATE_TOLERANCE = 5, 0.1


def differences(kept: list, found: list) -> tuple[float, float]:
    """The largest relative difference of the first losses, and that of the mean of the last ones; curves of (iteration, loss)."""
    if [point[0] for point in kept] != [point[0] for point in found]:
        sys.exit(
            "demo_curve: the log has other iterations than the kept curve: has the solver file changed? then --keep the new one"
        )
    early = max(abs(b[1] / a[1] - 1) for a, b in zip(kept[:EARLY], found[:EARLY], strict=True))
    means = [sum(point[1] for point in curve[-LATE:]) / LATE for curve in (kept, found)]
    return early, abs(means[1] / means[0] - 1)


def main() -> None:
    """Compare or keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="make the log's curve the one that is kept")
    chosen = parser.parse_args()
    if not LOG.exists():
        sys.exit(f"demo_curve: {LOG} is not there: run make demo first")
    found = [[iteration, loss] for iteration, loss in read_log(LOG)["loss"]]
    if chosen.keep:
        KEPT.write_text(json.dumps({"loss": found}) + "\n")
        return
    early, late = differences(json.loads(KEPT.read_text())["loss"], found)
    print(
        f"first losses differ by {early:.2g} (allowed {EARLY_TOLERANCE:g}), the mean of the last {LATE} by {late:.2g} ({LATE_TOLERANCE:g})"
    )
    if early > EARLY_TOLERANCE or late > LATE_TOLERANCE:
        sys.exit("demo_curve: training takes another course than the kept one")


if __name__ == "__main__":
    main()
