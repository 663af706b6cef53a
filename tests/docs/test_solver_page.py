"""docs/solver.md names every field of a solver and no other, marks ours, and tells their true defaults."""

import re
from pathlib import Path

import pytest

from deconvnet.core.proto import caffe_pb2
from deconvnet.core.solver.policies import KNOWN

PAGE = Path(__file__).resolve().parents[2] / "docs/solver.md"
FIELDS = caffe_pb2.SolverParameter.DESCRIPTOR.fields_by_name
OURS_FROM = 1000  # field numbers
TOLD_OTHERWISE = {"solver_mode", "solver_type"}  # the page says what holds in their place


def rows(heading):
    """The rows of all tables with that first heading, as lists of cells."""
    tables = re.findall(rf"^\| {re.escape(heading)} .*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")[1:-1]] for table in tables for line in table.splitlines()]


def listed():
    """{field: (marked as ours, default as told)}."""
    found = {}
    for names, default, _ in rows("field"):
        fields = re.findall(r"`(\w+)`", names)
        defaults = default.split(", ") if default.count(", ") == len(fields) - 1 else [default] * len(fields)
        found.update((name, ("**ours**" in names, told)) for name, told in zip(fields, defaults, strict=True))
    return found


def test_every_field_is_listed_and_nothing_else():
    assert sorted(listed()) == sorted(FIELDS.keys())


def test_the_fields_of_this_project_are_marked():
    ours = {name for name, field in FIELDS.items() if field.number >= OURS_FROM}
    assert {name for name, (marked, _) in listed().items() if marked} == ours


WITH_DEFAULT = {name for name, field in FIELDS.items() if field.has_default_value}


@pytest.mark.parametrize("name", sorted(WITH_DEFAULT - TOLD_OTHERWISE))
def test_a_default_is_the_fields_own(name):
    field, told = FIELDS[name], listed()[name][1].strip("`")
    if field.type == field.TYPE_ENUM:
        assert told == field.enum_type.values_by_number[field.default_value].name
    elif field.type == field.TYPE_BOOL:
        assert told == str(field.default_value).lower()
    elif field.type == field.TYPE_STRING:
        assert told == field.default_value
    else:
        assert float(told) == pytest.approx(field.default_value)


def test_every_policy_is_listed():
    assert {re.match(r"`(\w+)`", row[0])[1] for row in rows("`lr_policy`")} == set(KNOWN)
