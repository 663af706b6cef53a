// Local response normalisation: with s the mean of x^2 over a window around a place, q = k + alpha s,
//   y = x q^-beta,   dx = dy q^-beta - 2 alpha beta x mean over the window of (dy x q^-(beta+1)).
// The window is `2 radius + 1` channels of one place, or that many rows and columns of one plane; beyond the edge lie zeros.
// Compulsory bytes per value: forward read x, write y and q; backward read dy, x and q, write dx.
#include "kernel.h"

KERNEL(sum_across_channels, const real* __restrict__ x, real* __restrict__ sums, int radius, int images, int channels, int size) {
  for_blocks(r, images * channels) {
    const int c = r % channels, last = min(channels - 1, c + radius);
    real* __restrict__ to = sums + (index)r * size;
    for_threads(i, size) to[i] = 0;
    for (int other = max(0, c - radius); other <= last; ++other) {
      const real* __restrict__ from = x + (index)(r - c + other) * size;
      for_threads(i, size) to[i] += from[i];
    }
  }
}

// a row of a plane at a time; each thread keeps its column, so no thread waits for another
KERNEL(sum_within_plane, const real* __restrict__ x, real* __restrict__ sums, int radius, int planes, int height, int width) {
  for_blocks(r, planes * height) {
    const int row = r % height, last = min(height - 1, row + radius);
    real* __restrict__ to = sums + (index)r * width;
    for_threads(i, width) to[i] = 0;
    for (int other = max(0, row - radius); other <= last; ++other) {
      const real* __restrict__ from = x + (index)(r - row + other) * width;
      for (int shift = -radius; shift <= radius; ++shift)
        for_threads(i, width) {
          if (0 <= i + shift && i + shift < width) to[i] += from[i + shift];
        }
    }
  }
}

// q^-beta; `roots`: beta is Caffe's default, whose roots a CPU takes of many values at once
DEVICE acc power(acc q, acc beta, bool roots) {
  const acc root = 1 / sqrt(q);
  return roots ? root * sqrt(root) : pow(q, -beta);
}

// q holds the sums of squares and becomes q; part is alpha over the number of values of a window
KERNEL(lrn_forward, const real* __restrict__ x, real* __restrict__ q, real* __restrict__ y, acc k, acc part, acc beta, index n) {
  const bool roots = beta == (acc).75;
  for_each(i, n) {
    q[i] = k + part * q[i];
    y[i] = x[i] * power(q[i], beta, roots);
  }
}

// dx = dy q^-beta, the first term; ratio = dy x q^-(beta+1), to be summed over the windows
KERNEL(lrn_ratio, const real* __restrict__ dy, const real* __restrict__ x, const real* __restrict__ q, real* __restrict__ dx,
       real* __restrict__ ratio, acc beta, index n) {
  const bool roots = beta == (acc).75;
  for_each(i, n) {
    const acc own = dy[i] * power(q[i], beta, roots);
    dx[i] = own;
    ratio[i] = own * x[i] / q[i];
  }
}

KERNEL(lrn_backward, const real* __restrict__ x, const real* __restrict__ sums, real* __restrict__ dx, acc factor, index n) {
  for_each(i, n) dx[i] -= factor * x[i] * sums[i];
}
