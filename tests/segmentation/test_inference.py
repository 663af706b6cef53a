from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.core.segmentation.inference import classes_of, probabilities, segment


class FakeNet:
    """Knows pycaffe's interface; its scores are a fixed mix of the input's channels, pixel by pixel."""

    def __init__(self, size=4, mix=((0.5, 0, 0), (0, -1, 0), (1, 1, -2)), shrink=1):
        self.mix, self.shrink, self.seen = np.array(mix, np.float32), shrink, []
        self.shape, self.pending = (1, 3, size, size), None
        self.blobs = {"data": SimpleNamespace(shape=self.shape, reshape=self._reshape_blob)}

    def _reshape_blob(self, *shape):
        self.pending = shape

    def reshape(self):
        self.shape = self.pending
        self.blobs["data"].shape = self.shape

    def forward(self, data):
        assert data.shape == self.shape and data.dtype == np.float32
        self.seen.append(data)
        scores = np.einsum("kc,nchw->nkhw", self.mix, data)
        return {"seg-score": scores[:, :, :: self.shrink, :: self.shrink]}


def reference(image, boxes, mix, aggregate):
    """Equations 1 and 2 by the letter, for boxes of the net's own size: one plane a box, zero outside of it."""
    height, width = image.shape[:2]
    planes = [np.zeros((len(mix), height, width))]
    for x1, y1, x2, y2 in boxes:
        plane = np.zeros((len(mix), height, width))
        for y in range(max(y1, 0), min(y2 + 1, height)):
            for x in range(max(x1, 0), min(x2 + 1, width)):
                plane[:, y, x] = np.array(mix) @ image[y, x]
        planes.append(plane)
    return np.sum(planes, axis=0) if aggregate == "sum" else np.max(planes, axis=0)


@pytest.fixture
def image():
    return np.random.default_rng(3).integers(0, 256, (9, 11, 3), dtype=np.uint8)


@pytest.mark.parametrize("aggregate", ["sum", "max"])
@given(places=st.lists(st.tuples(st.integers(-5, 12), st.integers(-5, 10)), max_size=7), batch=st.integers(1, 4))
def test_scores_agree_with_the_papers_equations(aggregate, places, batch):
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    boxes = [(x, y, x + 3, y + 3) for x, y in places]  # over the border and outside too
    net = FakeNet(size=4)
    scores = segment(net, image, boxes, batch=batch, aggregate=aggregate)
    assert scores.shape == (3, 9, 11) and scores.dtype == np.float32
    np.testing.assert_allclose(scores, reference(image, boxes, net.mix, aggregate), rtol=1e-5, atol=1e-3)


def test_without_boxes_everything_is_background(image):
    scores = segment(FakeNet(), image, [])
    assert scores.shape == (3, 9, 11) and not scores.any()
    assert not classes_of(scores).any()


def test_what_no_box_covers_is_background(image):
    labels = classes_of(segment(FakeNet(mix=((0, 0, 0), (1, 1, 1))), np.full_like(image, 9), [(2, 2, 5, 5)]))
    assert labels[2:6, 2:6].all() and labels.sum() == 16


def test_identical_boxes_add_up_and_leave_the_maximum(image):
    box = (1, 2, 6, 7)
    once = {way: segment(FakeNet(), image, [box], aggregate=way) for way in ("sum", "max")}
    twice = {way: segment(FakeNet(), image, [box, box], aggregate=way) for way in ("sum", "max")}
    np.testing.assert_allclose(twice["sum"], 2 * once["sum"], rtol=1e-6)
    np.testing.assert_array_equal(twice["max"], once["max"])


def test_a_score_below_zero_counts_in_a_sum_and_never_in_a_maximum(image):
    image = np.full_like(image, 10)
    assert segment(FakeNet(mix=((0, -1, 0),)), image, [(0, 0, 3, 3)], aggregate="sum").min() == -10
    assert segment(FakeNet(mix=((0, -1, 0),)), image, [(0, 0, 3, 3)], aggregate="max").min() == 0


def test_a_box_of_one_pixel_scores_that_pixel(image):
    scores = segment(FakeNet(), image, [(10, 8, 10, 8)])
    np.testing.assert_allclose(scores[:, 8, 10], FakeNet().mix @ image[8, 10].astype(np.float32), rtol=1e-5)
    scores[:, 8, 10] = 0
    assert not scores.any()


@pytest.mark.parametrize("box", [(0, 0, 10, 8), (-6, -4, 16, 12), (2, 3, 4, 4), (-30, -20, 40, 5)])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("shrink", [1, 2])
def test_an_even_score_stays_even_through_both_resizes(box, antialias, shrink):
    image = np.full((9, 11, 3), 20, np.uint8)
    net = FakeNet()
    net.forward = lambda data: {"seg-score": np.full((len(data), 2, 4 // shrink, 4 // shrink), 7, np.float32)}
    scores = segment(net, image, [box], antialias=antialias)
    inside = np.zeros((9, 11), bool)
    inside[max(box[1], 0) : box[3] + 1, max(box[0], 0) : box[2] + 1] = True
    np.testing.assert_allclose(scores, np.broadcast_to(7.0 * inside, (2, 9, 11)), rtol=1e-6)


def test_the_net_sees_zeros_outside_the_image_before_the_mean_is_subtracted():
    net = FakeNet(size=2)
    segment(net, np.full((2, 2, 3), 50, np.uint8), [(-1, 0, 0, 1)], mean=[10, 20, 30], scale=0.5)
    (x,) = net.seen
    np.testing.assert_allclose(x[0, :, :, 0], [[-5, -5], [-10, -10], [-15, -15]])
    np.testing.assert_allclose(x[0, :, :, 1], [[20, 20], [15, 15], [10, 10]])


def test_batches_are_full_but_the_last(image):
    net = FakeNet()
    segment(net, image, [(0, 0, 3, 3)] * 7, batch=3)
    assert [len(x) for x in net.seen] == [3, 3, 1]


@given(shift=st.floats(-1e4, 1e4), scores=st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=6))
def test_probabilities_are_the_softmax_however_large_the_scores(shift, scores):
    p = probabilities(np.float32(scores)[:, None, None] + np.float32(shift))
    exact = np.exp(np.float64(np.float32(scores) + np.float32(shift)) - max(np.float32(scores) + np.float32(shift)))
    assert p.dtype == np.float32
    np.testing.assert_allclose(p[:, 0, 0], exact / exact.sum(), rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image": np.zeros((4, 4), np.uint8)}, r"an image is \(H, W, 3\) uint8"),
        ({"image": np.zeros((4, 4, 3))}, r"an image is \(H, W, 3\) uint8, not \(4, 4, 3\) float64"),
        ({"image": np.zeros((4, 4, 4), np.uint8)}, "blob 'data' takes 3 channels, but the image has 4"),
        ({"boxes": [(0, 0, 3)]}, "boxes are"),
        ({"boxes": [(0.5, 0, 3, 3)]}, "boxes are .* not .* float64"),
        ({"boxes": [(3, 0, 2, 3)]}, "a box is empty"),
        ({"aggregate": "mean"}, "aggregate is 'sum' or 'max', not 'mean'"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"input": "dta"}, "no blob 'dta' to feed; its blobs: data"),
        ({"output": "score"}, "no output 'score'; its outputs: seg-score"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(image, change, message):
    arguments = {"image": image, "boxes": [(0, 0, 3, 3)]} | change
    with pytest.raises(ValueError, match=message):
        segment(FakeNet(), arguments.pop("image"), arguments.pop("boxes"), **arguments)
