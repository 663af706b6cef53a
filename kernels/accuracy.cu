// Is the labelled class among the top_k scores? x (outer, classes, inner), labels (outer, inner).
// The class of the label is right when fewer than top_k others rank above it; of equal scores the larger class index ranks first
// (ties_are_errors 0, the release's EltwiseAccuracy) or every other one does (ties_are_errors 1, Caffe's Accuracy).
// `right` (outer, inner) becomes 1 or 0, -1 where the label is ignored, -2 where it is no class. Compulsory bytes: read x and labels once.
// A thread owns RANKED neighbouring places and walks their classes, so that the host compares a vector of them at once.
#include "kernel.h"

#if defined(__CUDACC__)
#define RANKED 1
#else
#define RANKED 16
#endif

// `count` places, RANKED of them where `all`
template <bool all>
DEVICE void rank_places(const real* __restrict__ x, const real* __restrict__ labels, int* __restrict__ right, int top_k, int ties_are_errors,
                        int has_ignored, int ignored, int classes, int inner, int count) {
  const int n = all ? RANKED : count;
  int own[RANKED], above[RANKED];
  acc score[RANKED];
  for (int l = 0; l < n; ++l) {
    own[l] = labels[l] >= 0 && labels[l] < classes ? (int)labels[l] : 0;
    score[l] = x[l + (index)own[l] * inner];
    above[l] = 0;
  }
  for (int c = 0; c < classes; ++c)
    for (int l = 0; l < n; ++l) {
      const acc other = x[(index)c * inner + l];
      const int tied = (other == score[l]) & (ties_are_errors ? c != own[l] : c > own[l]);
      above[l] += (other > score[l]) | (other != other) | tied;  // a NaN ranks above all
    }
  for (int l = 0; l < n; ++l) {
    const bool is_class = labels[l] >= 0 && labels[l] < classes, leave_out = has_ignored && labels[l] == ignored;
    right[l] = leave_out ? -1 : !is_class ? -2 : above[l] < top_k && score[l] == score[l];  // and is never right itself
  }
}

KERNEL(rank_labels, const real* __restrict__ x, const real* __restrict__ labels, int* __restrict__ right, int top_k, int ties_are_errors,
       int has_ignored, int ignored, int outer, int classes, int inner, int run) {
  const int runs = (inner + run - 1) / run;
  for_blocks(r, outer * runs) {
    const int first = r % runs * run, places = min(run, inner - first);
    for_threads(g, (places + RANKED - 1) / RANKED) {
      const index at_label = (index)(r / runs) * inner + first + g * RANKED;
      const real* from = x + (index)(r / runs) * classes * inner + first + g * RANKED;
      const int count = places - g * RANKED;
      if (count >= RANKED)
        rank_places<true>(from, labels + at_label, right + at_label, top_k, ties_are_errors, has_ignored, ignored, classes, inner, count);
      else
        rank_places<false>(from, labels + at_label, right + at_label, top_k, ties_are_errors, has_ignored, ignored, classes, inner, count);
    }
  }
}
