"""Recall is counted as defined, and docs/proposals.md shows the committed results, measured with today's defaults."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
proposal_recall = runpy.run_path(str(ROOT / "benchmarks" / "proposal_recall.py"))


@pytest.fixture
def result():
    return json.loads((ROOT / "benchmarks" / "results" / "proposal_recall.json").read_text())


def test_the_pages_table_is_that_of_the_results_file(result):
    page = (ROOT / "docs" / "proposals.md").read_text()
    assert proposal_recall["table"](result) in page and proposal_recall["render"](result) == page


def test_the_results_are_of_todays_defaults(result):
    assert result["defaults"] == proposal_recall["defaults"]()
    names = [*proposal_recall["VARIANTS"], "windows", "random"]
    assert [row["name"] for row in result["rows"] if row["name"] != "forest"] == names


def test_what_the_page_says_of_the_table_is_so(result):
    def found(name, count, overlap):
        (row,) = [row for row in result["rows"] if row["name"] == name]
        return row["by_count"][overlap][result["counts"].index(count)]

    assert found("beta 0.75", 50, "0.5") < found("default", 50, "0.5")
    assert found("beta 0.75", 1000, "0.7") > found("default", 1000, "0.7")
    assert found("median 1 (none)", 1000, "0.7") < found("default", 1000, "0.7") < found("median 15", 1000, "0.7")
    assert found("sigma 1", 1000, "0.7") < found("default", 1000, "0.7") < found("sigma 3", 1000, "0.7")
    assert max(found(name, 50, "0.5") for name in ("windows", "random")) < found("default", 50, "0.5")


def test_recall_and_coverage_are_counted_as_defined():
    objects = np.zeros((40, 60), np.uint8)
    objects[10:30, 10:30], objects[0:10, 50:60], objects[9, 50:60] = 1, 2, 255  # 400 and, less the void row, 90 pixels
    boxes = np.array([[40, 20, 59, 39], [10, 10, 29, 24], [10, 10, 29, 29]])  # a miss, an overlap of 3/4, the object
    row = proposal_recall["measure"]("some", lambda image: boxes, [(None, objects)], min_side=20)
    assert row["boxes"] == 3
    assert row["by_count"]["0.7"][:4] == [0, 0.5, 0.5, 0.5]
    assert row["by_overlap"]["50"][0] == row["by_overlap"]["50"][-1] == 0.5
    ours = proposal_recall["measure"]("some", lambda image: boxes[:2], [(None, objects)], min_side=20)
    assert ours["by_overlap"]["50"] == [0.5] * 6 + [0] * 5
    # box 2 with context, 24x18, is passed over; box 3, 24x24, holds the first object and nothing of the second
    assert row["covered"] == [round(400 / 490, 4)] * 4


def test_a_source_without_boxes_finds_nothing():
    objects = np.pad(np.ones((4, 4), np.uint8), 9)
    row = proposal_recall["measure"]("none", lambda image: np.zeros((0, 4), np.int32), [(None, objects)], 1)
    assert not any(row["by_count"]["0.5"]) and row["covered"] == [0, 0, 0, 0]
