// Values over the length of their vector, times a scale for each channel (ParseNet, Liu et al. 2015), x (images, channels, size):
//   y[c] = scale[c] * x[c] / length,  length = sqrt(sum of x^2 + eps),  dx[c] = (scale[c] * dy[c] - x[c] * (sum of scale * dy * x) / length^2) / length
// The sums, one number for each of `places` places of an image: over its channels, or over all of it where places is 1.
// A scale that all channels share has the step 0 from channel to channel, else 1.
// Compulsory bytes per value: forward read x, write y; backward read dy and x, write dx.
#include "kernel.h"

#define SUMMED_AT_ONCE 4096  // values that are summed in `acc` before a double takes over

// sums (images, size) = over the channels of scale * a * b; a scale that is null is 1. A block owns a run of places, a thread LANES of them.
KERNEL(products_of_places, const real* __restrict__ a, const real* __restrict__ b, const real* __restrict__ scale, real* __restrict__ sums,
       int step, int images, int channels, int size, int run) {
  const int runs = (size + run - 1) / run;
  for_blocks(r, images * runs) {
    const int first = r % runs * run, count = min(run, size - first), rest = count / LANES * LANES;
    const index begin = (index)(r / runs) * channels * size + first, to = (index)(r / runs) * size + first;
    for_threads(g, count / LANES) {
      lanes sum = {};
      for (int c = 0; c < channels; ++c) {
        const index from = begin + (index)c * size + g * LANES;
        sum += (scale ? scale[c * step] : 1) * at(a + from) * at(b + from);
      }
      at(sums + to + g * LANES) = sum;
    }
    for_threads(i, count - rest) {
      acc sum = 0;
      for (int c = 0; c < channels; ++c) {
        const index from = begin + (index)c * size + rest + i;
        sum += (scale ? scale[c * step] : 1) * a[from] * b[from];
      }
      sums[to + rest + i] = sum;
    }
  }
}

// sums (images) = over all of an image
KERNEL(products_of_images, const real* __restrict__ a, const real* __restrict__ b, const real* __restrict__ scale, real* __restrict__ sums,
       int step, int images, int channels, int size) {
  for_blocks(n, images) {
    double total = 0;
    for (int c = 0; c < channels; ++c) {
      const index at = ((index)n * channels + c) * size;
      double product = 0;
      for (int first = 0; first < size; first += SUMMED_AT_ONCE) {
        const real *__restrict__ p = a + at + first, *__restrict__ q = b + at + first;
        const int count = min(SUMMED_AT_ONCE, size - first);
        acc sum = 0;
        for_threads_sum(i, count, sum) sum += p[i] * q[i];
        product += sum;
      }
      total += (scale ? scale[c * step] : 1) * product;
    }
    total = block_sum(total);
    for_threads(once, 1) sums[n] = total;
  }
}

// A block owns a plane; squares are the sums of x * x.
KERNEL(l2_normalize_forward, const real* __restrict__ x, const real* __restrict__ squares, const real* __restrict__ scale,
       real* __restrict__ y, acc eps, int step, int images, int channels, int size, int places) {
  for_blocks(r, images * channels) {
    const acc s = scale[r % channels * step];
    const index at = (index)r * size;
    const real* __restrict__ q = squares + (index)(r / channels) * places;
    if (places == 1) {
      const acc factor = s / sqrt(q[0] + eps);
      for_threads(i, size) y[at + i] = factor * x[at + i];
    } else {
      for_threads(i, size) y[at + i] = s * x[at + i] / sqrt(q[i] + eps);
    }
  }
}

// products are the sums of scale * dy * x
KERNEL(l2_normalize_backward, const real* __restrict__ dy, const real* __restrict__ x, const real* __restrict__ squares,
       const real* __restrict__ products, const real* __restrict__ scale, real* __restrict__ dx, acc eps, int step, int images, int channels,
       int size, int places) {
  for_blocks(r, images * channels) {
    const acc s = scale[r % channels * step];
    const index at = (index)r * size, to = (index)(r / channels) * places;
    const real *__restrict__ q = squares + to, *__restrict__ p = products + to;
    if (places == 1) {
      const acc over = 1 / sqrt(q[0] + eps), pull = p[0] / (q[0] + eps);
      for_threads(i, size) dx[at + i] = (s * dy[at + i] - x[at + i] * pull) * over;
    } else {
      for_threads(i, size) dx[at + i] = (s * dy[at + i] - x[at + i] * p[i] / (q[i] + eps)) / sqrt(q[i] + eps);
    }
  }
}

// sums (channels) = over images and places of dy * x / length
KERNEL(l2_normalize_scale_backward, const real* __restrict__ dy, const real* __restrict__ x, const real* __restrict__ squares,
       double* __restrict__ sums, acc eps, int images, int channels, int size, int places) {
  for_blocks(c, channels) {
    double total = 0;
    for (int n = 0; n < images; ++n) {
      const index at = ((index)n * channels + c) * size;
      const real* __restrict__ q = squares + (index)n * places;
      acc sum = 0;
      if (places == 1) {
        for_threads_sum(i, size, sum) sum += dy[at + i] * x[at + i];
        sum /= sqrt(q[0] + eps);
      } else {
        for_threads_sum(i, size, sum) sum += dy[at + i] * x[at + i] / sqrt(q[i] + eps);
      }
      total += sum;
    }
    total = block_sum(total);
    for_threads(once, 1) sums[c] = total;
  }
}
