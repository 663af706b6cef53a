// A bias per channel: y[n, c, :] = x[n, c, :] + b[c], and its gradient db[c] += sum of dy[n, c, :].
// Compulsory bytes: forward reads and writes x once; backward reads dy once.
#include "rows.h"

KERNEL(add_bias, const real* __restrict__ bias, real* __restrict__ y, int images, int channels, int size) {
  for_blocks(r, images * channels) {
    const acc b = bias[r % channels];
    real* to = y + (index)r * size;
    write_row(team_of(1, size), size, to, [&](int, acc v) { return v + b; }, to);
  }
}

KERNEL(bias_backward, const real* __restrict__ dy, real* __restrict__ dbias, int images, int channels, int size) {
  for_blocks(c, channels) {
    double total = 0;
    for (int n = 0; n < images; ++n) {
      const real* __restrict__ from = dy + ((index)n * channels + c) * size;
      acc sum = 0;
      for_threads_sum(i, size, sum) sum += from[i];
      total += sum;
    }
    total = block_sum(total);
    for_threads(once, 1) dbias[c] += total;
  }
}
