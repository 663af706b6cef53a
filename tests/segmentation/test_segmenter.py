import numpy as np
import pytest

from deconvnet.core.segmentation.inference import probabilities
from deconvnet.core.segmentation.segmenter import Segmenter, grown_classes


def score_of_boxes(image, boxes):
    """Class 1 where a box lies, class 0 elsewhere."""
    scores = np.zeros((2, *image.shape[:2]), np.float32)
    for x1, y1, x2, y2 in boxes:
        scores[1, max(y1, 0) : y2 + 1, max(x1, 0) : x2 + 1] = 5
    return scores


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def test_proposals_are_enlarged_and_those_that_stay_small_are_skipped(image):
    proposed = [(10, 10, 19, 19), (20, 20, 39, 29), (30, 30, 49, 49), (0, 0, 39, 39)]
    segmenter = Segmenter(score_of_boxes, lambda *_: proposed, count=1, min_side=20, context=1.2)
    boxes = segmenter.boxes("a", image)
    assert boxes.tolist() == [[28, 28, 51, 51]]  # 24 pixels a side; the first two have 12


def test_a_pixel_takes_the_class_that_its_boxes_score(image):
    label = Segmenter(score_of_boxes, lambda *_: [(10, 20, 29, 49)], min_side=1, context=1)("a", image)
    assert label.shape == (60, 80) and label.dtype == np.uint8
    assert label[20:50, 10:30].all() and label.sum() == 20 * 30


def test_without_proposals_everything_is_background(image):
    assert not Segmenter(score_of_boxes, lambda *_: np.zeros((0, 4), int))("a", image).any()


def test_the_boxes_tell_whether_the_net_sees_anything_and_are_not_made_twice(image):
    asked = []
    segmenter = Segmenter(
        score_of_boxes, lambda *given: asked.append(given) or [(0, 0, 9, 9)], min_side=20, max_side=40
    )
    boxes = segmenter.boxes("a", image)
    assert len(boxes) == 0
    segmenter.probabilities("a", image, boxes=boxes)
    assert len(asked) == 1


def test_the_proposer_gets_the_images_id_and_the_image_as_it_is(image):
    asked = []
    Segmenter(score_of_boxes, lambda *given: asked.append(given) or [], max_side=20)("name", image)
    assert asked[0][0] == "name" and asked[0][1] is image


def test_the_fcn_joins_as_the_ensemble_says_and_the_crf_comes_last(image):
    def fcn(work):
        return np.stack([np.full(work.shape[:2], 1.0), np.full(work.shape[:2], 4.0)]).astype(np.float32)

    def crf(work, found):
        assert work.shape[:2] == found.shape[1:]
        return found[::-1]

    plain = Segmenter(score_of_boxes, lambda *_: [], fcn=fcn)
    expected = (0.5 + probabilities(fcn(image))) / 2
    np.testing.assert_allclose(plain.probabilities("a", image), expected, rtol=1e-6)
    refined = Segmenter(score_of_boxes, lambda *_: [], fcn=fcn, crf=crf)
    np.testing.assert_array_equal(refined.probabilities("a", image), plain.probabilities("a", image)[::-1])


def test_the_fcn_can_go_alone(image):
    def fcn(work):
        return np.stack([np.full(work.shape[:2], 1.0), np.full(work.shape[:2], 4.0)]).astype(np.float32)

    alone = Segmenter(None, None, fcn=fcn)
    np.testing.assert_array_equal(alone.probabilities("a", image), probabilities(fcn(image)))


def test_a_large_image_is_shrunk_with_its_boxes_and_the_label_has_its_own_size(image):
    segmenter = Segmenter(score_of_boxes, lambda *_: [(20, 10, 59, 49)], min_side=20, context=1, max_side=40)
    assert segmenter.boxes("a", image).tolist() == [[10, 5, 29, 24]]
    label = segmenter("a", image)
    assert label.shape == (60, 80)
    assert label[12:48, 22:58].all() and not label[:9].any() and not label[:, 62:].any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (4000, 6000)])
def test_images_of_any_size_get_a_label_of_their_size(shape):
    image = np.zeros((*shape, 3), np.uint8)
    label = Segmenter(score_of_boxes, lambda *_: [(0, 0, shape[1] - 1, shape[0] - 1)], min_side=1)("a", image)
    assert label.shape == shape and label.all()


def test_growing_in_bands_is_growing_at_once():
    found = np.random.default_rng(1).random((3, 37, 20), dtype=np.float32)
    once = grown_classes(found, 500, 300)
    import deconvnet.core.segmentation.segmenter as segmenter

    before, segmenter._BAND = segmenter._BAND, 3 * 300 * 7
    try:
        np.testing.assert_array_equal(grown_classes(found, 500, 300), once)
    finally:
        segmenter._BAND = before
