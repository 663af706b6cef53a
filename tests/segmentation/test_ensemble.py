import numpy as np
import pytest

from deconvnet.core.segmentation.ensemble import ensemble

OURS = np.array([2.0, 0.0, -1.0], np.float32).reshape(3, 1, 1)
FCN = np.array([-4.0, 1.0, 3.0], np.float32).reshape(3, 1, 1)


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum(axis=0)


def test_the_papers_ensemble_is_the_mean_of_both_probability_maps():
    np.testing.assert_allclose(ensemble(OURS, FCN), (softmax(OURS) + softmax(FCN)) / 2, rtol=1e-6)


def test_the_releases_ensemble_multiplies_scores_with_the_fcns_clipped_at_zero():
    product = OURS * np.array([0, 1, 3]).reshape(3, 1, 1)
    np.testing.assert_allclose(ensemble(OURS, FCN, "release"), softmax(product), rtol=1e-6)


def test_the_two_ways_can_disagree():
    assert ensemble(OURS, FCN).argmax() == 2 and ensemble(OURS, FCN, "release").argmax() == 0


def test_scores_of_other_classes_or_sizes_are_refused():
    with pytest.raises(ValueError, match=r"differ in shape: \(3, 1, 1\) and \(3, 1, 2\)"):
        ensemble(OURS, np.concatenate([FCN, FCN], axis=2))


def test_another_way_is_refused():
    with pytest.raises(ValueError, match="'paper' or 'release', not 'mean'"):
        ensemble(OURS, FCN, "mean")
