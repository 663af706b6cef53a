// Products of a large matrix w (O, K) with a few vectors, where a window covers its whole map (fc6, fc7 and their deconvolution).
//   rows      y[n, o] = sum over k of w[o, k] x[n, k]        columns   y[n, k] = sum over o of w[o, k] x[n, o]
//   outer     w[o, k] += sum over n of a[n, o] x[n, k]
// Compulsory bytes: read w once (outer: read and write it); a general matrix product would copy w into its own order first.
#include "kernel.h"

#define DENSE_VECTORS 4   // that one pass over w serves
#define DENSE_RUN 4096    // places of y that stay in the cache

KERNEL(dense_rows, const real* __restrict__ w, const real* __restrict__ x, real* __restrict__ y, int vectors, int rows, int columns) {
  for_blocks(o, rows) {
    const real* __restrict__ row = w + (index)o * columns;
    for (int n = 0; n < vectors; n += DENSE_VECTORS) {
      const real* from[DENSE_VECTORS];  // beyond the last vector the last one again, whose sum nobody takes
      for (int i = 0; i < DENSE_VECTORS; ++i) from[i] = x + (index)min(n + i, vectors - 1) * columns;
      acc a = 0, b = 0, c = 0, d = 0;
      if (n + 1 == vectors) {
        for_threads_sum(k, columns, a) a += row[k] * from[0][k];
      } else if (n + 2 == vectors) {
        for_threads_sum(k, columns, a, b) a += row[k] * from[0][k], b += row[k] * from[1][k];
      } else {
        for_threads_sum(k, columns, a, b, c, d) {
          a += row[k] * from[0][k], b += row[k] * from[1][k];
          c += row[k] * from[2][k], d += row[k] * from[3][k];
        }
      }
      a = block_sum(a), b = block_sum(b), c = block_sum(c), d = block_sum(d);
      for_threads(once, 1) {
        const acc sums[DENSE_VECTORS] = {a, b, c, d};
        for (int i = 0; i < min(DENSE_VECTORS, vectors - n); ++i) y[(index)(n + i) * rows + o] = sums[i];
      }
    }
  }
}

KERNEL(dense_columns, const real* __restrict__ w, const real* __restrict__ x, real* __restrict__ y, int vectors, int rows, int columns) {
  for_blocks(r, (columns + DENSE_RUN - 1) / DENSE_RUN) {
    const int first = r * DENSE_RUN, count = min(DENSE_RUN, columns - first);
    for (int n = 0; n < vectors; ++n) {
      real* __restrict__ to = y + (index)n * columns + first;
      for_threads(k, count) to[k] = 0;
    }
    int o = 0;
    for (; o + 4 <= rows; o += 4) {  // four rows of w for each time that y is read and written; each thread keeps its places
      const real* __restrict__ from = w + (index)o * columns + first;
      for (int n = 0; n < vectors; ++n) {
        real* __restrict__ to = y + (index)n * columns + first;
        const real* factor = x + (index)n * rows + o;
        const acc a = factor[0], b = factor[1], c = factor[2], d = factor[3];
        for_threads(k, count)
            to[k] += a * from[k] + b * from[k + (index)columns] + (c * from[k + (index)columns * 2] + d * from[k + (index)columns * 3]);
      }
    }
    for (; o < rows; ++o)
      for (int n = 0; n < vectors; ++n) {
        const real* __restrict__ from = w + (index)o * columns + first;
        real* __restrict__ to = y + (index)n * columns + first;
        const acc a = x[(index)n * rows + o];
        for_threads(k, count) to[k] += a * from[k];
      }
  }
}

KERNEL(dense_outer, const real* __restrict__ a, const real* __restrict__ x, real* __restrict__ w, int vectors, int rows, int columns) {
  const int runs = (columns + DENSE_RUN - 1) / DENSE_RUN;
  for_blocks(r, rows * runs) {
    const int o = r / runs, first = r % runs * DENSE_RUN, count = min(DENSE_RUN, columns - first);
    real* __restrict__ to = w + (index)o * columns + first;
    int n = 0;
    for (; n + 2 <= vectors; n += 2) {
      const acc one = a[(index)n * rows + o], other = a[(index)(n + 1) * rows + o];
      const real* __restrict__ from = x + (index)n * columns + first;
      for_threads(k, count) to[k] += one * from[k] + other * from[k + (index)columns];
    }
    for (; n < vectors; ++n) {
      const acc one = a[(index)n * rows + o];
      const real* __restrict__ from = x + (index)n * columns + first;
      for_threads(k, count) to[k] += one * from[k];
    }
  }
}
