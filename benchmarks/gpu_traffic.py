"""What each kernel asks of a GPU's memory and how many instructions it takes, counted without a GPU.

    python benchmarks/gpu_traffic.py [--render]

The kernels run as NVRTC compiles them for sm_90, on the machine of tests/ptx_machine.cpp, over 16 images of the net's own map sizes with few
channels, launched as for a GPU with so much work a processor as the net gives it. --render puts the table into docs/kernels.md.
"""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import NamedTuple

import gpu_cases
import gpu_kernels
from pages import with_block

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "tools")]

import nvrtc  # noqa: E402
import pytest  # noqa: E402
import stand_in_cupy  # noqa: E402

from deconvnet.core import kernels  # noqa: E402
from deconvnet.core.kernels import tensor_product  # noqa: E402

ARCHITECTURE = "compute_90"
IMAGES = 16
CHANNELS = {1: 1, 3: 2, 5: 32}  # by level: as few as give each thread work
SCORES = (2, 112)  # images and their side, of what takes scores of every class
PRODUCT_CHANNELS = 128  # a tile of results
PRODUCT_SIDE = 32  # whole tiles of places
PAGE = ROOT / "docs" / "kernels.md"
_SECTOR = 32  # bytes


class Row(NamedTuple):
    """One case: multiples of its compulsory bytes, and instructions for each value of its larger map.

    asked: sectors of 32 bytes that warps ask for; touched: sectors that the launches read or write at all, each once a launch
    """

    name: str
    side: int
    asked: float
    touched: float
    instructions: float


class Product(NamedTuple):
    """A product on tensor cores: instructions for each operation, and passes over shared memory's banks, of the fewest that would do."""

    name: str
    precision: str
    instructions: float
    passes: float


def traffic_of(record, make, case):
    """What the launches of a case ask for, kernel by kernel."""
    record.traffic = None
    call = make(case)
    record.traffic = {}
    call()
    return record.traffic.values()


def counted_case(record, make, case) -> Row:
    """Run a case once and count."""
    every = traffic_of(record, make, case)
    asked, touched = sum(one.sectors for one in every), sum(one.read + one.written for one in every)
    values = case.batch * case.channels * case.size**2
    shares = (_SECTOR * sectors / case.bytes for sectors in (asked, touched))
    return Row(case.name, case.size, *shares, sum(one.instructions for one in every) / values)


def counted_product(record, make, name: str, precision: str) -> Product:
    """A 3x3 convolution of PRODUCT_CHANNELS, one way, over one image."""
    operations = 2 * 9 * PRODUCT_CHANNELS**2 * PRODUCT_SIDE**2
    every = traffic_of(record, make, gpu_cases.Case(name, 3, 1, PRODUCT_CHANNELS, PRODUCT_SIDE, 0, operations))
    passes, least = sum(one.passes for one in every), sum(one.least_passes for one in every)
    return Product(name, precision, sum(one.instructions for one in every) / operations, passes / least)


@contextlib.contextmanager
def counting():
    """The record of a stand-in for a GPU that counts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stand_in_cupy, "PROCESSORS", 1)
        patch.setattr(gpu_kernels, "BASE", 1 << 18)
        patch.setattr(tensor_product, "_BLOCKS", 1)  # sums whole, as in the net's batches
        record = stand_in_cupy.install(patch, architecture=ARCHITECTURE)
        kernels.set_mode("gpu")
        try:
            yield record
        finally:
            kernels.set_mode("cpu")


def count() -> list[Row]:
    """Of what moves values, level by level, and of what takes scores."""
    rows = []
    with counting() as record:
        arrays = gpu_kernels.Arrays()
        makers = gpu_kernels.map_makers(arrays)
        for name, (larger, smaller) in gpu_cases.MAPS.items():
            for level in list(CHANNELS)[:1] if name in gpu_cases.FIRST_LEVEL_ONLY else CHANNELS:
                side = 224 >> (level - 1)
                values = IMAGES * CHANNELS[level] * side * side
                moved = gpu_cases.FLOAT * (larger * values + smaller * values // 4)
                case = gpu_cases.Case(name, level, IMAGES, CHANNELS[level], side, moved)
                rows.append(counted_case(record, makers[name], case))
        makers = gpu_kernels.other_makers(arrays, SCORES[1])
        cases = [case for case in gpu_cases.other_cases(*SCORES, parameters=0) if case.bytes]
        rows += [counted_case(record, makers[case.name], case) for case in cases]
    return rows


def count_products() -> list[Product]:
    """Of convolutions whose operands are rounded for tensor cores."""
    rows = []
    with counting() as record:
        for precision in ("tf32", "bfloat16"):
            makers = gpu_kernels.product_makers(gpu_kernels.Arrays(), precision)
            rows += [counted_product(record, makers[name], name, precision) for name in gpu_cases.PRODUCTS[:3]]
    return rows


def page_with(rows: list[Row], products: list[Product], version: str, page: str) -> str:
    """The text of docs/kernels.md with the tables in their place."""
    lines = ["| what | map | asked | touched | instructions a value |", "| --- | --- | ---: | ---: | ---: |"]
    for row in rows:
        lines.append(
            f"| {row.name} | {row.side}x{row.side} | {row.asked:.2f} | {row.touched:.2f} | {row.instructions:.0f} |"
        )
    lines += [
        "",
        "| product, 128 channels | operands | instructions an operation | passes, of the fewest |",
        "| --- | --- | ---: | ---: |",
    ]
    lines += [f"| {one.name} | {one.precision} | {one.instructions:.2f} | {one.passes:.2f} |" for one in products]
    said = f"NVRTC {version}, {ARCHITECTURE}, by `python benchmarks/gpu_traffic.py --render`:"
    return with_block(page, "traffic", "\n".join([said, "", *lines]))


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description="Count what kernels ask of a GPU's memory.")
    parser.add_argument("--render", action="store_true", help="put the table into docs/kernels.md")
    chosen = parser.parse_args()
    rows, products = count(), count_products()
    for one in products:
        print(f"{one.name:32} {one.precision:9} instructions {one.instructions:.3f}  passes {one.passes:.2f}")
    for row in rows:
        print(
            f"{row.name:32} {row.side:4}  asked {row.asked:.2f}  touched {row.touched:.2f}  instructions {row.instructions:.1f}"
        )
    if chosen.render:
        PAGE.write_text(page_with(rows, products, nvrtc.Nvrtc().version(), PAGE.read_text()))


if __name__ == "__main__":
    main()
