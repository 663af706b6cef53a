"""Joining our net with an FCN (paper, section 5.2), as the paper says it and as the authors' release does it."""

from .. import kernels
from .inference import probabilities
from .resampling import for_kernels


def ensemble(deconvnet, fcn, how="paper"):
    """Class probabilities (K, H, W) float32 from both nets' scores, each (K, H, W), NumPy's or CuPy's; of one on a GPU and one that is not
    on the host.

    "paper": the mean of the two probability maps. "release": the softmax of our score times the FCN's, where the FCN's
    is clipped below at zero. Raises ValueError for another `how` or scores that differ in shape.
    """
    if deconvnet.shape != fcn.shape:
        raise ValueError(
            f"the nets' scores differ in shape: {deconvnet.shape} and {fcn.shape} (classes, height, width)"
        )
    if how not in ("paper", "release"):
        raise ValueError(f"an ensemble is 'paper' or 'release', not {how!r}")
    if type(deconvnet) is not type(fcn):
        deconvnet, fcn = kernels.to_host(deconvnet), kernels.to_host(fcn)
    deconvnet, fcn = for_kernels(deconvnet), for_kernels(fcn)
    if how == "paper":
        mean = probabilities(fcn)
        kernels.scale_add(probabilities(deconvnet), 0.5, mean, 0.5)
        return mean
    product = kernels.array_module(fcn).empty(fcn.shape, fcn.dtype)
    kernels.relu(fcn, 0.0, product)
    kernels.multiply(deconvnet, product, product)
    return probabilities(product)
