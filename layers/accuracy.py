"""How many labels the scores get right: Caffe's Accuracy, the release's EltwiseAccuracy and DeepLab's SegAccuracy."""

import numpy as np

from .. import kernels
from ..blob import Blob
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


@register("SegAccuracy")
class SegAccuracy(Layer):
    """Pixel accuracy, mean recall and mean intersection over union of a batch, or with reset: false of all so far (DeepLab's Caffe).

    bottoms: scores (N, C, H, W), labels (N, 1, H, W); of equal scores the larger class index ranks first
    top:     (1, 1, 1, 3). The recall is the mean over the classes that have labels; a class that is neither labelled nor found counts as
             an intersection over union of 1
    """

    bottoms = (2, 2)
    without_gradient = (0, 1)

    def setup(self, bottom, top):
        if len(bottom[0].shape) < 2:
            raise ValueError(f"needs scores (N, C, ...), not {bottom[0].shape}")
        classes = bottom[0].shape[1]
        self._confusion = Blob((classes, classes), np.float64)  # label, found
        self._before = np.zeros((classes, classes))
        self._found = Blob(dtype=self.dtype)
        if not self.param.seg_accuracy_param.reset:
            self.carried = [self._confusion]

    def reshape(self, bottom, top):
        require_labels(bottom, 1)
        if bottom[0].shape[1] != len(self._before):
            raise ValueError(
                f"was made for {len(self._before)} classes; its bottom now has the shape {bottom[0].shape}"
            )
        top[0].reshape(1, 1, 1, 3)
        self._found.reshape(bottom[0].shape[0], 1, *bottom[0].shape[2:])

    def buffers(self):
        return [self._found]

    def forward(self, bottom, top):
        kernels.best_classes(bottom[0].data, 1, 1, self._found.data, True, False)
        labels, found = bottom[1].host_data.ravel(), self._found.host_data.ravel()
        ignored, classes = list(self.param.seg_accuracy_param.ignore_label), len(self._before)
        counted = ~np.isin(labels, ignored)
        labels, found = labels[counted], found[counted]
        if not ((labels >= 0) & (labels < classes)).all():
            remedy = "name it in seg_accuracy_param { ignore_label } if it is to be left out"
            raise kernels.strange_label(bottom[1].data, bottom[0].shape[0], classes, ignored, lambda _: remedy)
        counts = np.bincount((labels.astype(int) * classes + found.astype(int)), minlength=classes * classes)
        confusion = self._confusion.host_data
        self._before[...] = confusion
        if self.param.seg_accuracy_param.reset:
            confusion[...] = 0
        confusion += counts.reshape(classes, classes)
        right, labelled, either = np.diag(confusion), confusion.sum(1), confusion.sum(1) + confusion.sum(0)
        recalls = (right / np.maximum(labelled, 1))[labelled > 0]
        union = either - right
        overlaps = np.where(union > 0, right / np.maximum(union, 1), 1)
        recall = recalls.mean() if recalls.size else 0
        top[0].host_data[...] = np.array([right.sum() / max(1, labelled.sum()), recall, overlaps.mean()])

    def rewind(self):
        self._confusion.host_data[...] = self._before

    def backward(self, top, propagate_down, bottom):
        """No gradient flows through an accuracy."""
