"""Joining our net with an FCN (paper, section 4.4), as the paper says it and as the authors' release does it."""

import numpy as np

from .inference import probabilities


def ensemble(deconvnet, fcn, how="paper"):
    """Class probabilities (K, H, W) float32 from both nets' scores, each (K, H, W).

    "paper": the mean of the two probability maps. "release": the softmax of our score times the FCN's, where the FCN's
    is clipped below at zero. Raises ValueError for another `how` or scores that differ in shape.
    """
    if deconvnet.shape != fcn.shape:
        raise ValueError(
            f"the nets' scores differ in shape: {deconvnet.shape} and {fcn.shape} (classes, height, width)"
        )
    if how == "paper":
        return (probabilities(deconvnet) + probabilities(fcn)) / 2
    if how == "release":
        return probabilities(deconvnet * np.maximum(fcn, 0))
    raise ValueError(f"an ensemble is 'paper' or 'release', not {how!r}")
