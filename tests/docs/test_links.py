"""The pages: every link leads somewhere, every page can be found, and every tool that a page calls is there with its options."""

import re

import pytest
from tool_call import ROOT, call

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_index():
    index = (ROOT / "docs/README.md").read_text()
    assert [
        page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md" and f"({page.name})" not in index
    ] == []


def commands():
    """(tool, options) of every call of a tool in a page."""
    found = {}
    for page in PAGES:
        for tool, rest in re.findall(r"python tools/(\w+)\.py\b(.*)", page.read_text()):
            found.setdefault(tool, set()).update(re.findall(r"--[\w-]+", rest))
    return sorted(found.items())


@pytest.mark.parametrize("tool, options", commands())
def test_tools_take_the_options_that_pages_name(tmp_path, tool, options):
    finished = call(tool, tmp_path, "--help")
    assert finished.returncode == 0
    assert options - set(re.findall(r"--[\w-]+", finished.stdout)) == set()
