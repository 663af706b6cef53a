// Softmax over the middle axis of (outer, classes, inner): p[c] = exp(x[c] - max) / sum of exp(x - max); dx = p * (dy - sum of dy * p).
// Softmax loss at each place: -log(max(p[label], FLT_MIN)), dx = p - [c = label]; both times weights[label] where there are weights (SegNet).
// Ignored places count for nothing.
// A row is a run of at most `run` places of one outer index; a thread owns TOGETHER neighbouring places and walks their classes.
// Infogain loss: -sum over c of H[label][c] log(max(p[c], 1e-20)), dx = p * sum of H[label] - H[label][c].
// Compulsory bytes per value: forward read and write once; the losses' backward likewise.
#include "exponential.h"

#define SMALLEST_PROBABILITY 1.17549435e-38f
#define LEAST_WEIGHED 1e-20  // the least probability of the infogain loss, Caffe's

#if defined(__CUDACC__)
#define TOGETHER 1
#else
#define TOGETHER 16  // a vector or two
#endif

// `count` places, TOGETHER of them where `all`
template <bool all>
DEVICE void softmax_of(const real* x, real* p, int classes, int inner, int count) {
  const int n = all ? TOGETHER : count;
  acc most[TOGETHER], sum[TOGETHER];
  for (int l = 0; l < n; ++l) most[l] = x[l], sum[l] = 0;
  for (int c = 1; c < classes; ++c)
    for (int l = 0; l < n; ++l) most[l] = x[(index)c * inner + l] > most[l] ? x[(index)c * inner + l] : most[l];
  for (int c = 0; c < classes; ++c) {
    acc e[TOGETHER];  // apart from p, which may be x
    for (int l = 0; l < n; ++l) e[l] = exp_below(x[(index)c * inner + l] - most[l]);
    for (int l = 0; l < n; ++l) sum[l] += e[l], p[(index)c * inner + l] = e[l];
  }
  for (int l = 0; l < n; ++l) sum[l] = 1 / sum[l];
  for (int c = 0; c < classes; ++c)
    for (int l = 0; l < n; ++l) p[(index)c * inner + l] *= sum[l];
}

DEVICE void softmax_at(const real* x, real* p, int classes, int inner, int count) {
  if (count >= TOGETHER)
    softmax_of<true>(x, p, classes, inner, count);
  else
    softmax_of<false>(x, p, classes, inner, count);
}

// p may be x
KERNEL(softmax_forward, const real* x, real* p, int outer, int classes, int inner, int run) {
  const int runs = (inner + run - 1) / run;
  for_blocks(r, outer * runs) {
    const int first = r % runs * run;
    const index at = (index)(r / runs) * classes * inner + first;
    const int count = min(run, inner - first);
    for_threads(g, (count + TOGETHER - 1) / TOGETHER)
        softmax_at(x + at + g * TOGETHER, p + at + g * TOGETHER, classes, inner, count - g * TOGETHER);
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
KERNEL(softmax_loss_forward, const real* __restrict__ x, const real* __restrict__ labels, real* __restrict__ p,
       const real* __restrict__ weights, double* __restrict__ loss, int* __restrict__ counted, int* __restrict__ strange, int has_ignored,
       int ignored, int outer, int classes, int inner, int run) {
  const int runs = (inner + run - 1) / run;
  for_blocks(r, outer * runs) {
    const int first = r % runs * run;
    const index at = (index)(r / runs) * classes * inner + first, at_label = (index)(r / runs) * inner + first;
    double sum = 0;
    int count = 0, bad = 0;
    const int places = min(run, inner - first);
    for_threads_in_order(g, (places + TOGETHER - 1) / TOGETHER) {
      softmax_at(x + at + g * TOGETHER, p + at + g * TOGETHER, classes, inner, places - g * TOGETHER);
      for (int i = g * TOGETHER; i < min(places, (g + 1) * TOGETHER); ++i) {
        const real label = labels[at_label + i];
        if (has_ignored && label == ignored) continue;
        ++count;
        if (!(label >= 0 && label < classes)) {
          ++bad;
          continue;
        }
        const acc likely = p[at + i + (index)(int)label * inner];
        const double gain = weights ? (double)weights[(int)label] : 1;
        sum -= gain * log((double)(likely < SMALLEST_PROBABILITY ? SMALLEST_PROBABILITY : likely));  // a NaN stays one
      }
    }
    sum = block_sum(sum), count = block_sum(count), bad = block_sum(bad);
    for_threads(once, 1) loss[r] = sum, counted[r] = count, strange[r] = bad;
  }
}

// dx = weight * (p - [c = label]), 0 where the label is ignored
KERNEL(softmax_loss_backward, const real* __restrict__ p, const real* __restrict__ labels, const real* __restrict__ weights,
       real* __restrict__ dx, acc weight, int has_ignored, int ignored, int outer, int classes, int inner) {
  for_blocks(r, outer * classes) {
    const int c = r % classes;
    const real* __restrict__ own = labels + (index)(r / classes) * inner;
    for_threads(i, inner) {
      const real label = own[i];
      const acc kept = has_ignored && label == ignored ? 0 : weights ? weight * weights[(int)label] : weight;
      dx[(index)r * inner + i] = kept == 0 ? 0 : kept * (p[(index)r * inner + i] - ((int)label == c ? 1 : 0));
    }
  }
}

// Per row, from the probabilities: the loss by the rows of `gain` (classes, classes), the places that count, and the labels that are no class
KERNEL(infogain_loss_forward, const real* __restrict__ p, const real* __restrict__ labels, const real* __restrict__ gain,
       double* __restrict__ loss, int* __restrict__ counted, int* __restrict__ strange, int has_ignored, int ignored, int outer, int classes,
       int inner, int run) {
  const int runs = (inner + run - 1) / run;
  for_blocks(r, outer * runs) {
    const int first = r % runs * run;
    const index at = (index)(r / runs) * classes * inner + first, at_label = (index)(r / runs) * inner + first;
    double sum = 0;
    int count = 0, bad = 0;
    for_threads_in_order(i, min(run, inner - first)) {
      const real label = labels[at_label + i];
      if (has_ignored && label == ignored) continue;
      ++count;
      if (!(label >= 0 && label < classes)) {
        ++bad;
        continue;
      }
      const real* __restrict__ weights = gain + (index)(int)label * classes;
      for (int c = 0; c < classes; ++c) {
        const double likely = p[at + i + (index)c * inner];
        sum -= weights[c] * log(likely < LEAST_WEIGHED ? LEAST_WEIGHED : likely);  // a NaN stays one
      }
    }
    sum = block_sum(sum), count = block_sum(count), bad = block_sum(bad);
    for_threads(once, 1) loss[r] = sum, counted[r] = count, strange[r] = bad;
  }
}

// dx = weight * (p * sums[label] - gain[label][c]), sums those of the rows of `gain`; 0 where the label is ignored
KERNEL(infogain_loss_backward, const real* __restrict__ p, const real* __restrict__ labels, const real* __restrict__ gain,
       const real* __restrict__ sums, real* __restrict__ dx, acc weight, int has_ignored, int ignored, int outer, int classes, int inner) {
  for_blocks(r, outer * classes) {
    const int c = r % classes;
    const real* __restrict__ own = labels + (index)(r / classes) * inner;
    for_threads(i, inner) {
      const real label = own[i];
      const acc kept = has_ignored && label == ignored ? 0 : weight;
      const index to = (index)r * inner + i;
      dx[to] = kept == 0 ? 0 : kept * (p[to] * sums[(int)label] - gain[(index)(int)label * classes + c]);
    }
  }
}
