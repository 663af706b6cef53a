// Is the labelled class among the top_k scores? x (outer, classes, inner), labels (outer, inner).
// The class of the label is right when fewer than top_k others rank above it; of equal scores the larger class index ranks first
// (ties_are_errors 0, the release's EltwiseAccuracy) or every other one does (ties_are_errors 1, Caffe's Accuracy).
// `right` (outer, inner) becomes 1 or 0, -1 where the label is ignored, -2 where it is no class. Compulsory bytes: read x and labels once.
#include "kernel.h"

KERNEL(rank_labels, const real* __restrict__ x, const real* __restrict__ labels, int* __restrict__ right, int top_k, int ties_are_errors,
       int has_ignored, int ignored, int outer, int classes, int inner, int run) {
  const int runs = (inner + run - 1) / run;
  for_blocks(r, outer * runs) {
    const int first = r % runs * run;
    const index at = (index)(r / runs) * classes * inner + first, at_label = (index)(r / runs) * inner + first;
    for_threads_in_order(i, min(run, inner - first)) {
      const real label = labels[at_label + i];
      if (has_ignored && label == ignored) {
        right[at_label + i] = -1;
      } else if (!(label >= 0 && label < classes)) {
        right[at_label + i] = -2;
      } else {
        const int own = (int)label;
        const real score = x[at + i + (index)own * inner];
        int above = score != score;  // a NaN score is never right
        for (int c = 0; c < classes; ++c) {
          const real other = x[at + i + (index)c * inner];
          above += other > score || other != other || (other == score && c != own && (ties_are_errors || c > own));
        }
        right[at_label + i] = above < top_k && score == score;
      }
    }
  }
}
