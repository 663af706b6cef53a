"""The report of tools/evaluate.py as Chromium shows it; skipped only where no Chromium is found (CHROMIUM or PATH)."""

import numpy as np
import pytest
from browser import Browser, chromium
from PIL import Image
from scored_folder import NAMES, write_scored
from tool_call import call

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium: apt-get install chromium, or set CHROMIUM")

LONG = "a_class_whose_name_goes_on_and_on_without_a_single_space_in_it"
COMPLAINTS = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
# elements whose text reaches out of the window or of themselves; what scrolls sideways may be wider within
CUT = """[...document.querySelectorAll("h1, h2, h3, p, li, dt, dd, th, td, caption, figcaption, summary")]
  .filter(e => e.offsetWidth && (e.getBoundingClientRect().right > innerWidth + 1 || e.scrollWidth > e.clientWidth + 1))
  .map(e => e.tagName + " " + e.textContent.slice(0, 60))"""
# texts of a drawing that reach out of it
CUT_IN_SVG = """[...document.querySelectorAll("svg text")].filter(t => {
  const box = t.getBoundingClientRect(), svg = t.closest("svg").getBoundingClientRect();
  return box.left < svg.left - 1 || box.right > svg.right + 1 || box.top < svg.top - 1 || box.bottom > svg.bottom + 1;
}).map(t => t.textContent)"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module", params=["demo", "voc"])
def report(request, tmp_path_factory):
    """The page of a small result, with a missing prediction; of 7 classes, one with a long name, and of VOC's 21."""
    folder = tmp_path_factory.mktemp(request.param)
    write_scored(folder, count=8)[2].prediction.unlink()
    classes = ("--classes", ",".join([*NAMES[:-2], "자전거와 자동차", LONG])) if request.param == "demo" else ()
    arguments = ("--data", "data", "--split", "val", "--results", "results", *classes, "--images", 2)
    assert call("evaluate", folder, *arguments, "--html", "report.html").returncode == 1
    return folder / "report.html"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_and_complains_and_asks_of_nothing(tmp_path, browser, report, width, dark):
    browser.open(report, width, dark=dark)
    browser.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value(CUT) == [] and browser.value(CUT_IN_SVG) == []
    assert [event for event in browser.events if event[0] in COMPLAINTS] == []
    asked = [params["request"]["url"] for method, params in browser.events if method == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [report.resolve().as_uri()]

    browser.screenshot(tmp_path / "shot.png")
    with Image.open(tmp_path / "shot.png") as shot:
        pixels = np.array(shot.convert("RGB"))
    assert pixels.shape[1] == width
    assert (pixels[2, 2].mean() < 60) == dark and pixels.std() > 10


def test_every_picture_is_drawn(browser, report):
    browser.open(report, 1280)
    sizes = browser.value("[...document.images].map(i => [i.complete, i.naturalWidth, i.naturalHeight])")
    assert sizes == [[True, 160, 120]] * 16
    cells = "document.querySelectorAll('svg.matrix rect.cell').length"
    assert browser.value(cells) in (len(NAMES) ** 2, 21**2)


def test_pictures_have_words_and_headings_go_down_in_steps(browser, report):
    browser.open(report, 1280)
    assert browser.value("[...document.images].every(i => i.alt) && !!document.documentElement.lang")
    assert browser.value("[...document.querySelectorAll('svg')].every(s => s.getAttribute('aria-label'))")
    levels = browser.value("[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))


def test_text_stands_out_from_its_ground_in_light_and_dark(browser, report):
    for dark in (False, True):
        browser.open(report, 1280, dark=dark)
        ground = browser.value("getComputedStyle(document.body).backgroundColor")
        for selector in ("body", ".note", ".scores dt", "caption", "figcaption"):
            ink = browser.value(f"getComputedStyle(document.querySelector('{selector}')).color")
            assert contrast(ink, ground) >= 4.5, (selector, ink, ground)


def contrast(ink, ground):
    """The contrast ratio of two CSS colours `rgb(r, g, b)`, as WCAG 2 defines it."""
    light, dark = sorted(map(luminance, (ink, ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color):
    share = np.array([int(part) for part in color[4:-1].split(",")]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
