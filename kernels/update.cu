// The solver's passes over a parameter w with gradient g. Compulsory bytes of the update: read w, g and v, write w, g and v.
//   g' = scale * g + decay * w (L2) or scale * g + decay * sign(w) (L1);  v = momentum * v + rate * g';  w = w - v;  g = v (Caffe keeps the step there)
#include "kernel.h"

KERNEL(sgd_update, real* __restrict__ w, real* __restrict__ g, real* __restrict__ v, acc scale, acc rate, acc momentum, acc decay, int l1,
       index n) {
  for_each(i, n) {
    const acc pull = l1 ? (acc)((w[i] > 0) - (w[i] < 0)) : w[i];
    const acc step = momentum * v[i] + rate * (scale * g[i] + decay * pull);
    v[i] = step;
    g[i] = step;
    w[i] -= step;
  }
}

// per row of `run` values: their sum of squares
KERNEL(sum_of_squares, const real* __restrict__ x, double* __restrict__ sums, index n, int run) {
  const int runs = (int)((n + run - 1) / run);
  for_blocks(r, runs) {
    const real* __restrict__ from = x + (index)r * run;
    const int count = (int)min((index)run, n - (index)r * run);
    acc sum = 0;
    for_threads_sum(i, count, sum) sum += from[i] * from[i];
    const double total = block_sum((double)sum);
    for_threads(once, 1) sums[r] = total;
  }
}
