"""What a loss over many places is divided by."""

from ..proto import caffe_pb2


class LossDivisor:
    """The divisor that a LossParameter asks for: VALID (places that count), FULL (all), BATCH_SIZE (items) or NONE; at least 1.

    Where `normalization` is not given, normalize: true is VALID and false BATCH_SIZE; where neither is, `default` counts.
    """

    def __init__(self, param, default: int):
        modes = caffe_pb2.LossParameter
        self._mode = default
        if param.HasField("normalization"):
            self._mode = param.normalization
        elif param.HasField("normalize"):
            self._mode = modes.VALID if param.normalize else modes.BATCH_SIZE

    def of(self, counted: int, places: int, items: int) -> int:
        """For so many places that count, of so many in all, in so many items."""
        modes = caffe_pb2.LossParameter
        return max(1, {modes.VALID: counted, modes.FULL: places, modes.BATCH_SIZE: items, modes.NONE: 1}[self._mode])
