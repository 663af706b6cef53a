// Products of a large matrix w (O, K) with some vectors, where a window covers its whole map (fc6, fc7 and their deconvolution).
//   rows      y[n, o] = sum over k of w[o, k] x[n, k]        columns   y[n, k] = sum over o of w[o, k] x[n, o]
//   outer     w[o, k] += sum over n of a[n, o] x[n, k]
// Compulsory bytes: read w once (outer: read and write it); a general matrix product would copy w into its own order first.
// A piece of w that fits the first cache meets all vectors before the next one comes; tiles of 4x4 products stay in registers.
#include "kernel.h"

#define DENSE_TILE 4      // rows of w, and vectors, whose products are taken at once
#define DENSE_RUN 1024    // columns of a piece
#define DENSE_DEPTH 2048  // the same in dense_rows, where the end of a piece costs a sum over lanes
#define DENSE_PANEL 64    // rows of w that one block of dense_rows takes

// y[v * y_row + r] = (or +=) the sum over `count` columns of w[r, k] x[v, k], for R rows of w and V vectors
template <int R, int V>
DEVICE void dot_tile(const real* __restrict__ w, const real* __restrict__ x, real* __restrict__ y, int count, int columns, int y_row,
                     bool adds) {
  lanes sums[R][V] = {};
  for_threads(j, count / LANES) {
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sums[r][v] += at(w + (index)r * columns + j * LANES) * at(x + (index)v * columns + j * LANES);
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      acc sum = sum_of(sums[r][v]);
      const int rest = count / LANES * LANES;
      for_threads(k, count - rest) sum += w[(index)r * columns + rest + k] * x[(index)v * columns + rest + k];
      sum = block_sum(sum);
      for_threads(once, 1) y[(index)v * y_row + r] = adds ? y[(index)v * y_row + r] + sum : sum;
    }
}

// y[v * columns + k] = (or +=) the sum over R rows of w[r, k] x[v * x_row + r], for `count` columns and V vectors
template <int R, int V>
DEVICE void axpy_tile(const real* __restrict__ w, const real* __restrict__ x, real* __restrict__ y, int count, int columns, int x_row,
                      bool adds) {
  acc factors[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) factors[r][v] = x[(index)v * x_row + r];
  for_threads(j, count / LANES) {
    lanes sums[V];
    for (int v = 0; v < V; ++v) sums[v] = adds ? at((const real*)y + (index)v * columns + j * LANES) : lanes{};
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sums[v] += factors[r][v] * at(w + (index)r * columns + j * LANES);
    for (int v = 0; v < V; ++v) at(y + (index)v * columns + j * LANES) = sums[v];
  }
  const int rest = count / LANES * LANES;
  for_threads(k, count - rest) {
    for (int v = 0; v < V; ++v) {
      real* to = y + (index)v * columns + rest + k;
      acc sum = adds ? *to : 0;
      for (int r = 0; r < R; ++r) sum += factors[r][v] * w[(index)r * columns + rest + k];
      *to = sum;
    }
  }
}

// dot_tile or axpy_tile of R rows with all vectors, 4, 2 or 1 at once; x and y go on by x_step and y_step from one vector to the next
#define FOR_ALL_VECTORS(tile, R, w, x, x_step, y, y_step, ...)                                                                        \
  {                                                                                                                                   \
    int n = 0;                                                                                                                        \
    for (; n + 4 <= vectors; n += 4) tile<R, 4>(w, (x) + (index)n * (x_step), (y) + (index)n * (y_step), __VA_ARGS__);                \
    for (; n + 2 <= vectors; n += 2) tile<R, 2>(w, (x) + (index)n * (x_step), (y) + (index)n * (y_step), __VA_ARGS__);                \
    if (n < vectors) tile<R, 1>(w, (x) + (index)n * (x_step), (y) + (index)n * (y_step), __VA_ARGS__);                                \
  }

KERNEL(dense_rows, const real* __restrict__ w, const real* __restrict__ x, real* __restrict__ y, int vectors, int rows, int columns) {
  for_blocks(p, (rows + DENSE_PANEL - 1) / DENSE_PANEL) {
    const int end = min(rows, (p + 1) * DENSE_PANEL);
    for (int first = 0; first < columns; first += DENSE_DEPTH) {
      const int count = min(DENSE_DEPTH, columns - first);
      int o = p * DENSE_PANEL;
      for (; o + DENSE_TILE <= end; o += DENSE_TILE)
        FOR_ALL_VECTORS(dot_tile, DENSE_TILE, w + (index)o * columns + first, x + first, columns, y + o, rows, count, columns, rows, first > 0)
      for (; o < end; ++o)
        FOR_ALL_VECTORS(dot_tile, 1, w + (index)o * columns + first, x + first, columns, y + o, rows, count, columns, rows, first > 0)
    }
  }
}

KERNEL(dense_columns, const real* __restrict__ w, const real* __restrict__ x, real* __restrict__ y, int vectors, int rows, int columns) {
  for_blocks(r, (columns + DENSE_RUN - 1) / DENSE_RUN) {
    const int first = r * DENSE_RUN, count = min(DENSE_RUN, columns - first);
    int o = 0;
    for (; o + DENSE_TILE <= rows; o += DENSE_TILE)
      FOR_ALL_VECTORS(axpy_tile, DENSE_TILE, w + (index)o * columns + first, x + o, rows, y + first, columns, count, columns, rows, o > 0)
    for (; o < rows; ++o)
      FOR_ALL_VECTORS(axpy_tile, 1, w + (index)o * columns + first, x + o, rows, y + first, columns, count, columns, rows, o > 0)
  }
}

KERNEL(dense_outer, const real* __restrict__ a, const real* __restrict__ x, real* __restrict__ w, int vectors, int rows, int columns) {
  const int runs = (columns + DENSE_RUN - 1) / DENSE_RUN;
  for_blocks(r, rows * runs) {
    const int o = r / runs, first = r % runs * DENSE_RUN, count = min(DENSE_RUN, columns - first);
    real* __restrict__ to = w + (index)o * columns + first;
    int n = 0;
    for (; n + 4 <= vectors; n += 4) {
      const acc one = a[(index)n * rows + o], two = a[(index)(n + 1) * rows + o];
      const acc three = a[(index)(n + 2) * rows + o], four = a[(index)(n + 3) * rows + o];
      const real* __restrict__ from = x + (index)n * columns + first;
      for_threads(k, count)
          to[k] += one * from[k] + two * from[k + (index)columns] + (three * from[k + (index)columns * 2] + four * from[k + (index)columns * 3]);
    }
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
