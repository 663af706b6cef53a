"""How many labels the scores get right: Caffe's Accuracy and the release's EltwiseAccuracy."""

from .. import kernels
from .layer import Layer, register
from .softmax import require_labels


class _Ranked(Layer):
    """The share of labels among the top_k scores; ignored labels do not count, and where none counts it is 0."""

    bottoms = (2, 2)
    without_gradient = (0, 1)

    def forward(self, bottom, top):
        param = self.settings()
        ignored = param.ignore_label if param.HasField("ignore_label") else None
        right = kernels.rank_labels(
            bottom[0].data, bottom[1].data, self.axis, param.top_k, ignored, self.ties_are_errors
        )
        top[0].host_data[...] = int((right == 1).sum()) / max(1, int((right >= 0).sum()))
        if len(top) > 1:
            self.write_classes(right, bottom[1].data, top[1])

    def backward(self, top, propagate_down, bottom):
        """No gradient flows through an accuracy."""

    def _check(self, bottom):
        require_labels(bottom, self.axis)
        if self.settings().top_k > bottom[0].shape[self.axis]:
            raise ValueError(f"top_k {self.settings().top_k} is more than the {bottom[0].shape[self.axis]} classes")


@register("Accuracy")
class Accuracy(_Ranked):
    """Caffe's Accuracy: a tie with the label's score counts as an error.

    bottoms: scores (N, C, ...), one label for each place
    tops:    the share of right labels, (); optionally the same per class, (C,)
    """

    tops = (1, 2)
    ties_are_errors = True

    def settings(self):
        """The layer's own parameters."""
        return self.param.accuracy_param

    def reshape(self, bottom, top):
        self.axis = self.canonical_axis(self.param.accuracy_param.axis, bottom[0])
        self._check(bottom)
        top[0].reshape()
        for blob in top[1:]:
            blob.reshape(bottom[0].shape[self.axis])

    def write_classes(self, right, labels, blob):
        """The share of right labels of each class; 0 for a class without labels."""
        for number in range(blob.count):
            own = right[labels.reshape(right.shape) == number]
            blob.host_data[number] = int((own == 1).sum()) / max(1, int((own >= 0).sum()))


@register("EltwiseAccuracy")
class EltwiseAccuracy(_Ranked):
    """The release's per-pixel accuracy: of equal scores the larger class index ranks first.

    bottoms: scores (N, C, H, W), labels (N, 1, H, W)
    top:     the share of right labels, (1, 1, 1, 1)
    """

    ties_are_errors = False
    axis = 1

    def settings(self):
        """The layer's own parameters."""
        return self.param.eltwise_accuracy_param

    def reshape(self, bottom, top):
        if len(bottom[0].shape) < 2:
            raise ValueError(f"needs scores (N, C, ...), not {bottom[0].shape}")
        self._check(bottom)
        top[0].reshape(1, 1, 1, 1)
