// The solver's passes over a parameter w with gradient g. Compulsory bytes of the update: read w, g and v, write w, g and v.
//   g' = scale * g + decay * w (L2) or scale * g + decay * sign(w) (L1);  v = momentum * v + rate * g';  w = w - v;  g = v (Caffe keeps the step there)
#include "kernel.h"
#include "table.h"

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

// All parameters in one launch, their columns w, g, v; multipliers: of the rate and of the decay, a pair a row
struct Values { real w, g, v; };
KERNEL(sgd_update_all, const index* __restrict__ table, const int* __restrict__ owners, const double* __restrict__ multipliers, acc scale,
       acc rate, acc momentum, acc decay, int l1, int runs, int run) {
  for_blocks(r, runs) {
    const Part part = part_of(r, table, owners, 3, run);
    real *w = array_of(part, 0), *g = array_of(part, 1), *v = array_of(part, 2);
    const acc own_rate = rate * multipliers[2 * owners[r]], own_decay = decay * multipliers[2 * owners[r] + 1];
    stream(part.count, [&](int i) { return Values{w[i], g[i], v[i]}; }, [&](int i, Values old) {
      const acc pull = l1 ? (acc)((old.w > 0) - (old.w < 0)) : old.w;
      const acc step = momentum * old.v + own_rate * (scale * old.g + own_decay * pull);
      v[i] = step;
      g[i] = step;
      w[i] = old.w - step;
    });
  }
}

// one column
KERNEL(sum_of_squares_all, const index* __restrict__ table, const int* __restrict__ owners, double* __restrict__ sums, int runs, int run) {
  for_blocks(r, runs) {
    const Part part = part_of(r, table, owners, 1, run);
    const real* from = array_of(part, 0);
    acc sum = 0;
    stream(part.count, [&](int i) { return from[i]; }, [&](int, real value) { sum += value * value; });
    const double total = block_sum((double)sum);
    for_threads(once, 1) sums[r] = total;
  }
}

KERNEL(clear_all, const index* __restrict__ table, const int* __restrict__ owners, int runs, int run) {
  for_blocks(r, runs) {
    const Part part = part_of(r, table, owners, 1, run);
    real* to = array_of(part, 0);
    for_threads(i, part.count) to[i] = 0;
  }
}
