import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from deconvnet.core.segmentation import report_pictures as pictures
from deconvnet.core.segmentation.voc import palette


def opened(uri, kind):
    head, content = uri.split(",")
    assert head == f"data:image/{kind};base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_an_error_map_tells_the_kinds_of_errors_apart():
    label = np.array([0, 3, 3, 0, 3, 255, 255], np.uint8)[None]
    prediction = np.array([0, 3, 0, 3, 2, 0, 3], np.uint8)[None]
    right, missed, false = pictures.RIGHT, pictures.MISSED, pictures.FALSE
    expected = [right, right, missed, false, pictures.CONFUSED, pictures.NOT_COUNTED, pictures.NOT_COUNTED]
    assert pictures.error_map(label, prediction).tolist() == [expected]


def test_a_label_is_embedded_in_vocs_colours_pixel_for_pixel():
    label = np.array([[0, 1, 2], [20, 255, 7]], np.uint8)
    np.testing.assert_array_equal(np.array(opened(pictures.label_uri(label), "png").convert("RGB")), palette()[label])


def test_errors_are_embedded_in_the_legends_colours():
    label, prediction = np.array([[0, 1]], np.uint8), np.array([[1, 1]], np.uint8)
    image = np.array(opened(pictures.error_uri(label, prediction), "png").convert("RGB"))
    np.testing.assert_array_equal(image, pictures.ERROR_COLORS[[[pictures.FALSE, pictures.RIGHT]]])


def test_a_photograph_keeps_its_colours():
    image = np.array(opened(pictures.photo_uri(np.full((8, 8, 3), (200, 30, 90), np.uint8)), "jpeg"))
    np.testing.assert_allclose(image.astype(int), np.broadcast_to((90, 30, 200), (8, 8, 3)), atol=4)


@pytest.mark.parametrize("shape, shown", [((120, 160), (120, 160)), ((4000, 6000), (341, 512)), ((2, 3000), (1, 512))])
def test_large_pictures_are_shrunk_and_nothing_is_enlarged(shape, shown):
    assert pictures.shown_size(shape) == shown
    assert opened(pictures.label_uri(np.zeros(shape, np.uint8)), "png").size == shown[::-1]
    assert opened(pictures.photo_uri(np.zeros((*shape, 3), np.uint8)), "jpeg").size == shown[::-1]


def test_a_shrunk_label_holds_no_class_that_was_not_there():
    label = np.zeros((2000, 2000), np.uint8)
    label[:, 1000:] = 9
    assert set(np.unique(opened(pictures.label_uri(label), "png"))) == {0, 9}


def svg_of(text):
    return ElementTree.fromstring(text)


def test_a_matrix_is_drawn_with_names_percent_and_counts():
    svg = svg_of(pictures.matrix_svg([[6, 2], [0, 4]], ["a<b", "c&d"]))
    titles = [title.text for title in svg.iter("title")]
    assert titles == [
        "a<b predicted as a<b: 75.00 % (6 pixels)",
        "a<b predicted as c&d: 25.00 % (2 pixels)",
        "c&d predicted as a<b: 0.00 % (0 pixels)",
        "c&d predicted as c&d: 100.00 % (4 pixels)",
    ]
    texts = [text.text for text in svg.iter("text")]
    assert texts.count("a<b") == texts.count("c&d") == 2 and {"75", "25", "100"} <= set(texts)


def test_a_cell_is_the_deeper_the_more_pixels_it_holds():
    svg = svg_of(pictures.matrix_svg([[6, 4], [1, 9]], ["a", "b"]))
    depth = {r.get("class"): [] for r in svg.iter("rect")}
    for rect in svg.iter("rect"):
        depth[rect.get("class")].append(rect.get("fill-opacity"))
    assert depth["right"] == ["0.600", "0.900"]
    assert depth["wrong"] == [f"{np.sqrt(0.4):.3f}", f"{np.sqrt(0.1):.3f}"]


def test_a_class_that_is_nowhere_true_has_an_empty_row():
    svg = svg_of(pictures.matrix_svg([[5, 1], [0, 0]], ["a", "b"]))
    assert len([rect for rect in svg.iter("rect") if rect.get("class") != "cell"]) == 2


def test_a_long_name_is_cut_beside_a_matrix_and_whole_in_the_words_of_a_cell():
    svg = svg_of(pictures.matrix_svg(np.eye(2, dtype=int), ["a", "b" * 60]))
    assert [text.text for text in svg.iter("text")].count("b" * 19 + "…") == 2 and float(svg.get("width")) < 300
    assert f"a predicted as {'b' * 60}: 0.00 % (0 pixels)" in [title.text for title in svg.iter("title")]


def test_a_large_matrix_is_drawn_without_numbers():
    svg = svg_of(pictures.matrix_svg(np.eye(60, dtype=int), [f"c{i}" for i in range(60)]))
    assert not [text for text in svg.iter("text") if text.text == "100"]


def test_a_histogram_counts_every_value_but_nan():
    svg = svg_of(pictures.histogram_svg([0, 0.05, 0.55, 1.0, np.nan]))
    counts = [int(re.search(r": (\d+) images", title.text)[1]) for title in svg.iter("title")]
    assert counts == [2, 0, 0, 0, 0, 1, 0, 0, 0, 1]


def test_a_histogram_of_nothing_is_empty():
    assert all(float(rect.get("height")) == 0 for rect in svg_of(pictures.histogram_svg([np.nan])).iter("rect"))
