// Softmax over the middle axis of (outer, classes, inner): p[c] = exp(x[c] - max) / sum of exp(x - max); dx = p * (dy - sum of dy * p).
// Softmax loss at each place: -log(max(p[label], FLT_MIN)), dx = p - [c = label]; ignored places count for nothing.
// A row is a run of at most `run` places of one outer index; a thread owns a place and walks its classes.
// Compulsory bytes per value: forward read and write once; the loss's backward likewise.
#include "kernel.h"

#define SMALLEST_PROBABILITY 1.17549435e-38f

DEVICE acc softmax_at(const real* x, real* p, int classes, int inner) {
  acc most = x[0], sum = 0;
  for (int c = 1; c < classes; ++c) most = x[(index)c * inner] > most ? x[(index)c * inner] : most;
  for (int c = 0; c < classes; ++c) {
    const acc e = exp(x[(index)c * inner] - most);
    p[(index)c * inner] = e;
    sum += e;
  }
  for (int c = 0; c < classes; ++c) p[(index)c * inner] /= sum;
  return sum;
}

// p may be x
KERNEL(softmax_forward, const real* x, real* p, int outer, int classes, int inner, int run) {
  const int runs = (inner + run - 1) / run;
  for_blocks(r, outer * runs) {
    const int first = r % runs * run;
    const index at = (index)(r / runs) * classes * inner + first;
    for_threads(i, min(run, inner - first)) softmax_at(x + at + i, p + at + i, classes, inner);
  }
}

// dx may be dy
KERNEL(softmax_backward, const real* dy, const real* __restrict__ p, real* dx, int outer, int classes, int inner, int run) {
  const int runs = (inner + run - 1) / run;
  for_blocks(r, outer * runs) {
    const int first = r % runs * run;
    const index at = (index)(r / runs) * classes * inner + first;
    for_threads(i, min(run, inner - first)) {
      acc dot = 0;
      for (int c = 0; c < classes; ++c) dot += dy[at + i + (index)c * inner] * p[at + i + (index)c * inner];
      for (int c = 0; c < classes; ++c)
        dx[at + i + (index)c * inner] = p[at + i + (index)c * inner] * (dy[at + i + (index)c * inner] - dot);
    }
  }
}

// Per row: the loss, the places that count, and the labels that are no class. `ignored` is the label to leave out; -1 with has_ignored 0.
KERNEL(softmax_loss_forward, const real* __restrict__ x, const real* __restrict__ labels, real* __restrict__ p, double* __restrict__ loss,
       int* __restrict__ counted, int* __restrict__ strange, int has_ignored, int ignored, int outer, int classes, int inner, int run) {
  const int runs = (inner + run - 1) / run;
  for_blocks(r, outer * runs) {
    const int first = r % runs * run;
    const index at = (index)(r / runs) * classes * inner + first, at_label = (index)(r / runs) * inner + first;
    double sum = 0;
    int count = 0, bad = 0;
    for_threads_in_order(i, min(run, inner - first)) {
      softmax_at(x + at + i, p + at + i, classes, inner);
      const real label = labels[at_label + i];
      if (has_ignored && label == ignored) continue;
      ++count;
      if (!(label >= 0 && label < classes)) {
        ++bad;
        continue;
      }
      const acc likely = p[at + i + (index)(int)label * inner];
      sum -= log((double)(likely < SMALLEST_PROBABILITY ? SMALLEST_PROBABILITY : likely));  // a NaN stays one
    }
    sum = block_sum(sum), count = block_sum(count), bad = block_sum(bad);
    for_threads(once, 1) loss[r] = sum, counted[r] = count, strange[r] = bad;
  }
}

// dx = weight * (p - [c = label]), 0 where the label is ignored
KERNEL(softmax_loss_backward, const real* __restrict__ p, const real* __restrict__ labels, real* __restrict__ dx, acc weight,
       int has_ignored, int ignored, int outer, int classes, int inner) {
  for_blocks(r, outer * classes) {
    const int c = r % classes;
    const real* __restrict__ own = labels + (index)(r / classes) * inner;
    for_threads(i, inner) {
      const real label = own[i];
      const acc kept = has_ignored && label == ignored ? 0 : weight;
      dx[(index)r * inner + i] = kept == 0 ? 0 : kept * (p[(index)r * inner + i] - ((int)label == c ? 1 : 0));
    }
  }
}
