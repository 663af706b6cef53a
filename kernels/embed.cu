// Rows of a table by number: y[r] = w[x[r]], dw[k] += sum of dy[r] over the rows r with x[r] = k.
// Compulsory bytes: forward reads the rows that are named and writes y; backward reads dy once and adds to those rows.
#include "kernel.h"

// strange[r]: whether x[r] is no row of the table; y is 0 there
KERNEL(embed_forward, const real* __restrict__ x, const real* __restrict__ w, real* __restrict__ y, int* __restrict__ strange, int rows,
       int words, int size) {
  for_blocks(r, rows) {
    const bool known = x[r] >= 0 && x[r] < words;
    const real* __restrict__ from = w + (index)(known ? (int)x[r] : 0) * size;
    for_threads(i, size) y[(index)r * size + i] = known ? from[i] : 0;
    for_threads(once, 1) strange[r] = !known;
  }
}

// a block owns a row of the table and gathers, so that rows named twice do not race
KERNEL(embed_backward, const real* __restrict__ dy, const real* __restrict__ x, real* __restrict__ dw, int rows, int words, int size) {
  for_blocks(k, words) {
    for (int r = 0; r < rows; ++r)
      if ((int)x[r] == k) for_threads(i, size) dw[(index)k * size + i] += dy[(index)r * size + i];
  }
}
