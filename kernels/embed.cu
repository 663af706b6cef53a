// Rows of a table by number: y[r] = w[x[r]], dw[k] += sum of dy[r] over the rows r with x[r] = k. A block owns a part of a row of at most
// `run` values: there may be few rows, and long ones, where they are the items of a batch.
// Compulsory bytes: forward reads the rows that are named and writes y; backward reads dy once and adds to those rows.
#include "kernel.h"

// strange[r]: whether x[r] is no row of the table; y is 0 there
KERNEL(embed_forward, const real* __restrict__ x, const real* __restrict__ w, real* __restrict__ y, int* __restrict__ strange, int rows,
       int words, int size, int run) {
  const int runs = max(1, (size + run - 1) / run);  // rows without values are looked at, too
  for_blocks(part, rows * runs) {
    const int r = part / runs, first = part % runs * run;
    const bool known = x[r] >= 0 && x[r] < words;
    const real* __restrict__ from = w + (index)(known ? (int)x[r] : 0) * size + first;
    for_threads(i, min(run, size - first)) y[(index)r * size + first + i] = known ? from[i] : 0;
    for_threads(once, first == 0) strange[r] = !known;
  }
}

// a block owns a part of a row of the table and gathers, so that rows named twice do not race
KERNEL(embed_backward, const real* __restrict__ dy, const real* __restrict__ x, real* __restrict__ dw, int rows, int words, int size,
       int run) {
  const int runs = (size + run - 1) / run;
  for_blocks(part, words * runs) {
    const int k = part / runs, first = part % runs * run;
    real* __restrict__ to = dw + (index)k * size + first;
    for (int r = 0; r < rows; ++r)
      if ((int)x[r] == k) for_threads(i, min(run, size - first)) to[i] += dy[(index)r * size + first + i];
  }
}
