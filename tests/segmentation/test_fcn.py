from types import SimpleNamespace

import numpy as np
import pytest

from deconvnet.core.segmentation.fcn import fcn_scores


class Doubling:
    """A net by pycaffe's interface whose two scores are the sum of the channels and its double, pixel by pixel."""

    def __init__(self, cut=0):
        self.cut, self.seen = cut, []
        self.blobs = {"data": SimpleNamespace(shape=(1, 3, 8, 8), reshape=self._reshape)}

    def _reshape(self, *shape):
        self.blobs["data"].shape = shape

    def reshape(self):
        pass

    def forward(self, data):
        assert data.shape == self.blobs["data"].shape and data.dtype == np.float32
        self.seen.append(data)
        total = data.sum(axis=1, keepdims=True)
        return {"score": np.concatenate([total, 2 * total], axis=1)[:, :, self.cut :]}


@pytest.fixture
def image():
    return np.random.default_rng(3).integers(0, 256, (9, 11, 3), dtype=np.uint8)


def test_an_image_goes_through_as_it_is_where_no_size_is_given(image):
    net = Doubling()
    scores = fcn_scores(net, image, mean=[1, 2, 3], scale=0.5)
    np.testing.assert_allclose(net.seen[0][0], (image.transpose(2, 0, 1) - [[[1]], [[2]], [[3]]]) * 0.5)
    np.testing.assert_allclose(scores[1], 2 * scores[0])
    np.testing.assert_allclose(scores[0], (image.sum(axis=2) - 6.0) * 0.5, rtol=1e-6)


def test_padding_follows_the_mean_and_is_cropped_off_again(image):
    net = Doubling()
    scores = fcn_scores(net, image, size=16, mean=10)
    assert net.seen[0].shape == (1, 3, 16, 16)
    assert not net.seen[0][0, :, 9:].any() and not net.seen[0][0, :, :, 11:].any()
    np.testing.assert_allclose(scores, fcn_scores(net, image, mean=10))


def test_an_image_larger_than_the_net_is_shrunk_and_its_scores_grow_back():
    net = Doubling()
    scores = fcn_scores(net, np.full((40, 21, 3), 7, np.uint8), size=20)
    assert net.seen[0].shape == (1, 3, 20, 20) and net.seen[0][0, 0, :, :10].all()
    assert scores.shape == (2, 40, 21)
    np.testing.assert_allclose(scores[0], 21, rtol=1e-5)


def test_a_score_smaller_than_the_input_is_refused(image):
    with pytest.raises(ValueError, match=r"'score' is \(8, 11\) for an input of \(9, 11\): not as large"):
        fcn_scores(Doubling(cut=1), image)
