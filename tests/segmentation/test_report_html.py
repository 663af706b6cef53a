import re
from html.parser import HTMLParser

import numpy as np
import pytest
from scored_folder import NAMES, write_scored

from deconvnet.core.segmentation import voc
from deconvnet.core.segmentation.evaluation import evaluate, scores
from deconvnet.core.segmentation.report_html import write_report

VOID_TAGS = {"meta", "link", "img", "rect", "line"}


class Page(HTMLParser):
    """The page's tags and texts; fails where tags do not close in order."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID_TAGS:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())

    def attributes(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def cases(tmp_path):
    return write_scored(tmp_path, count=6)


def page_of(tmp_path, cases, names=NAMES, title="ours on val", absent_as_background=False, **more):
    evaluation = evaluate(cases, len(names), absent_as_background=absent_as_background)
    write_report(tmp_path / "deep" / "report.html", evaluation, names, title, **more)
    return Page(tmp_path / "deep" / "report.html"), evaluation


def shown_ids(page):
    return [img["alt"].split()[-1] for img in page.attributes("img") if img["alt"].startswith("errors")]


def test_every_class_and_the_scores_are_on_the_page(tmp_path, cases):
    page, evaluation = page_of(tmp_path, cases)
    assert set(NAMES) <= set(page.texts)
    result = scores(evaluation.matrix)
    means = (result.mean_iou, result.pixel_accuracy, result.mean_accuracy, result.frequency_weighted_iou)
    assert {f"{value:.3f}" for value in (*result.iou, *means)} <= set(page.texts)


def test_a_class_that_is_nowhere_has_a_dash_for_its_scores(tmp_path, cases):
    page, _ = page_of(tmp_path, cases, [*NAMES, "unicorn"])
    place = page.texts.index("unicorn")
    assert page.texts[place + 1 : place + 3] == ["\N{EN DASH}"] * 2


def test_the_page_asks_for_nothing_from_elsewhere_and_runs_no_script(tmp_path, cases):
    page, _ = page_of(tmp_path, cases)
    addresses = [attrs[name] for _, attrs in page.tags for name in ("src", "href") if name in attrs]
    assert addresses and all(address.startswith("data:") for address in addresses)
    assert not page.attributes("script")
    text = (tmp_path / "deep" / "report.html").read_text()
    assert not re.search(r"https?://|@import|url\(", text)


def test_worst_and_best_images_are_shown_once_each_in_order(tmp_path, cases):
    page, evaluation = page_of(tmp_path, cases, shown=2)
    ranked = [i.case.image_id for i in sorted(evaluation.images, key=lambda i: i.mean_iou)]
    assert shown_ids(page) == [ranked[0], ranked[1], ranked[-1], ranked[-2]]
    page, _ = page_of(tmp_path, cases, shown=4)
    assert shown_ids(page) == [*ranked[:4], *ranked[:3:-1]]
    page, _ = page_of(tmp_path, cases, shown=0)
    assert shown_ids(page) == []


def test_an_image_is_shown_with_label_prediction_and_errors(tmp_path, cases):
    page, _ = page_of(tmp_path, cases, shown=1)
    kinds = [img["alt"].rsplit(" of ", 1)[0] for img in page.attributes("img")]
    assert kinds == ["image", "ground truth", "prediction", "errors"] * 2
    assert all(img["width"] == "160" and img["height"] == "120" for img in page.attributes("img"))


def test_without_a_photograph_the_other_pictures_are_shown(tmp_path, cases):
    for case in cases:
        case.photo.unlink()
    page, _ = page_of(tmp_path, cases, shown=1)
    assert [img["alt"].split()[0] for img in page.attributes("img")] == ["ground", "prediction", "errors"] * 2


def test_all_images_are_listed_the_worst_first(tmp_path, cases):
    page, evaluation = page_of(tmp_path, cases, shown=0)
    ids = [text for text in page.texts if re.fullmatch(r"val_\d{4}", text)]
    assert ids == [i.case.image_id for i in sorted(evaluation.images, key=lambda i: i.mean_iou)]


def test_an_image_left_out_is_said_with_the_reason(tmp_path, cases):
    cases[3].prediction.unlink()
    page, evaluation = page_of(tmp_path, cases)
    assert "1 image left out of every score here." in page.texts
    assert f": {evaluation.left_out[0][1]}" in page.texts
    assert "5 images scored" in " ".join(page.texts)


def test_a_missing_prediction_that_counts_as_background_is_said(tmp_path, cases):
    cases[3].prediction.unlink()
    page, _ = page_of(tmp_path, cases, shown=6, absent_as_background=True)
    assert "1 image without a prediction counted as background" in " ".join(page.texts)
    assert "no prediction: background of val_0003" in [img["alt"] for img in page.attributes("img")]


def test_names_and_titles_are_text_whatever_they_hold(tmp_path, cases):
    names = ["<b>&\"'", *NAMES[1:]]
    page, _ = page_of(tmp_path, cases, names, "<script>$x</script>", provenance={"command": "a < b && $c"})
    assert names[0] in page.texts and "<script>$x</script>" in page.texts and "a < b && $c" in page.texts
    assert not page.attributes("script") and not page.attributes("b")


def test_the_most_frequent_confusions_are_listed(tmp_path, cases):
    page, evaluation = page_of(tmp_path, cases)
    errors = evaluation.matrix - np.diag(np.diag(evaluation.matrix))
    true, predicted = np.unravel_index(errors.argmax(), errors.shape)
    place = page.texts.index("of all")
    assert page.texts[place + 1 : place + 4] == [NAMES[true], NAMES[predicted], f"{errors.max():,}"]


def test_a_perfect_result_has_no_confusions(tmp_path, cases):
    for case in cases:
        label = voc.read_label(case.label)
        voc.write_label(case.prediction, np.where(label == voc.VOID, 0, label))
    page, _ = page_of(tmp_path, cases)
    assert "No pixel was predicted wrong." in page.texts
