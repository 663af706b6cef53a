"""What `debug_info` logs: the mean absolute value of every blob, parameter and gradient of a pass, in Caffe's words."""

import logging

import numpy as np

from .. import kernels

logger = logging.getLogger("deconvnet")


def _mean_absolute(array) -> float:
    return float(abs(array).mean(dtype=np.float64)) if array.size else 0.0


def _parameter_name(layer, number: int) -> str:
    """The name that `param { name }` gives a parameter, else its number."""
    given = layer.param.param[number].name if number < len(layer.param.param) else ""
    return given or str(number)


def log_forward(layer, top) -> None:
    """After a layer's forward pass: its tops and parameters."""
    for name, blob in zip(layer.param.top, top, strict=True):
        logger.info("    [Forward] Layer %s, top blob %s data: %g", layer.name, name, _mean_absolute(blob.data))
    for number, blob in enumerate(layer.blobs):
        name = _parameter_name(layer, number)
        logger.info("    [Forward] Layer %s, param blob %s data: %g", layer.name, name, _mean_absolute(blob.data))


def log_backward(layer, bottom, wanted: list[bool]) -> None:
    """After a layer's backward pass: the gradients of its bottoms and parameters, as far as they were wanted."""
    for name, blob, has_gradient in zip(layer.param.bottom, bottom, wanted, strict=True):
        if has_gradient:
            logger.info("    [Backward] Layer %s, bottom blob %s diff: %g", layer.name, name, _mean_absolute(blob.diff))
    for number in range(len(layer.blobs)):
        gradient = layer.gradient_of(number)
        if gradient is not None:
            name = _parameter_name(layer, number)
            logger.info("    [Backward] Layer %s, param blob %s diff: %g", layer.name, name, _mean_absolute(gradient))


def log_parameters(learnable) -> None:
    """After a whole backward pass: the norms of all parameters together, and of their gradients."""
    arrays = [(parameter.blob.data, parameter.blob.diff) for parameter in learnable]
    one = [float(sum(abs(pair[side]).sum(dtype=np.float64) for pair in arrays)) for side in (0, 1)]
    two = [float(sum(kernels.sum_of_squares(pair[side]) for pair in arrays)) ** 0.5 for side in (0, 1)]
    words = "    [Backward] All net params (data, diff): L1 norm = (%g, %g); L2 norm = (%g, %g)"
    logger.info(words, *one, *two)
