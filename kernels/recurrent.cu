// A step of the recurrent layers over `streams` streams n of `size` values. x is the step's input by its weights, b what is added at every step,
// p the hidden state h' before by its weights; what comes from before counts cont[n] times: 0 where a sequence begins, whatever stood there.
//   rnn    h = tanh(x + b + cont p)
//   lstm   (i, f, o, g) = x + b + cont p, the first three through a sigmoid and g through tanh;  c = cont f c' + i g;  h = o tanh(c)
// Compulsory bytes of a value, in reals: rnn reads x, p and writes h; backward reads dh, what comes from later and h, writes dh.
// lstm reads 4 of x, 4 of p and c', writes 4 gates, c and h; backward reads them, dh, dc and what comes from later, writes 4 of dx and dc.
#include "exponential.h"

#define RECURRENT_RUN 256  // values of a stream that one block takes

DEVICE acc carried(acc cont, acc v) { return cont == 0 ? 0 : cont * v; }  // not 0 * NaN

KERNEL(rnn_step, real* __restrict__ h, const real* __restrict__ base, const real* __restrict__ product, const real* __restrict__ cont,
       int base_step, int streams, int size) {
  const int runs = (size + RECURRENT_RUN - 1) / RECURRENT_RUN;
  for_blocks(r, streams * runs) {
    const int first = r % runs * RECURRENT_RUN, count = min(RECURRENT_RUN, size - first);
    const index n = r / runs, at = n * size + first;
    const real* __restrict__ b = base + n * base_step + first;
    const acc kept = cont[n];
    for_threads(d, count) h[at + d] = hyperbolic_tangent(h[at + d] + b[d] + carried(kept, product[at + d]));
  }
}

// dh becomes the gradient of what tanh was taken of; `later` (or null) comes from the step behind, later_cont (null: 1) times
KERNEL(rnn_step_backward, real* __restrict__ dh, const real* __restrict__ later, const real* __restrict__ later_cont,
       const real* __restrict__ h, int streams, int size) {
  const int runs = (size + RECURRENT_RUN - 1) / RECURRENT_RUN;
  for_blocks(r, streams * runs) {
    const int first = r % runs * RECURRENT_RUN, count = min(RECURRENT_RUN, size - first);
    const index n = r / runs, at = n * size + first;
    const acc passed = later_cont ? later_cont[n] : 1;
    for_threads(d, count) {
      const acc s = dh[at + d] + (later ? carried(passed, later[at + d]) : 0);
      dh[at + d] = s * (1 - h[at + d] * h[at + d]);
    }
  }
}

// gates (streams, 4 size) holds x and then i, f, o, g; `cell` may be `before`
KERNEL(lstm_step, real* __restrict__ gates, const real* __restrict__ base, const real* __restrict__ product,
       const real* __restrict__ cont, const real* before, real* cell, real* __restrict__ h, int base_step, int streams, int size) {
  const int runs = (size + RECURRENT_RUN - 1) / RECURRENT_RUN;
  for_blocks(r, streams * runs) {
    const int first = r % runs * RECURRENT_RUN, count = min(RECURRENT_RUN, size - first);
    const index n = r / runs, at = n * size + first, all = n * 4 * size + first;
    const real *__restrict__ b = base + n * base_step + first, *__restrict__ p = product + all;
    real *__restrict__ i = gates + all, *__restrict__ f = i + size, *__restrict__ o = f + size, *__restrict__ g = o + size;
    const acc kept = cont[n];
    for_threads(d, count) {
      i[d] = logistic(i[d] + b[d] + carried(kept, p[d]));
      f[d] = logistic(f[d] + b[size + d] + carried(kept, p[size + d]));
      o[d] = logistic(o[d] + b[2 * size + d] + carried(kept, p[2 * size + d]));
      g[d] = hyperbolic_tangent(g[d] + b[3 * size + d] + carried(kept, p[3 * size + d]));
      const acc c = carried(kept, f[d] * before[at + d]) + i[d] * g[d];
      cell[at + d] = c;
      h[at + d] = o[d] * hyperbolic_tangent(c);
    }
  }
}

// dx (streams, 4 size) is the gradient of what the gates were taken of, dcell that of `cell` and then of `before`
KERNEL(lstm_step_backward, const real* __restrict__ dh, const real* __restrict__ later, const real* __restrict__ later_cont,
       const real* __restrict__ gates, const real* __restrict__ before, const real* __restrict__ cell, const real* __restrict__ cont,
       real* __restrict__ dcell, real* __restrict__ dx, int streams, int size) {
  const int runs = (size + RECURRENT_RUN - 1) / RECURRENT_RUN;
  for_blocks(r, streams * runs) {
    const int first = r % runs * RECURRENT_RUN, count = min(RECURRENT_RUN, size - first);
    const index n = r / runs, at = n * size + first, all = n * 4 * size + first;
    const real *__restrict__ i = gates + all, *__restrict__ f = i + size, *__restrict__ o = f + size, *__restrict__ g = o + size;
    const acc kept = cont[n], passed = later_cont ? later_cont[n] : 1;
    real* __restrict__ to = dx + all;
    for_threads(d, count) {
      const acc t = hyperbolic_tangent(cell[at + d]), s = dh[at + d] + (later ? carried(passed, later[at + d]) : 0);
      const acc dc = dcell[at + d] + s * o[d] * (1 - t * t);
      to[d] = dc * g[d] * i[d] * (1 - i[d]);
      to[size + d] = carried(kept, dc * before[at + d]) * f[d] * (1 - f[d]);
      to[2 * size + d] = s * t * o[d] * (1 - o[d]);
      to[3 * size + d] = dc * i[d] * (1 - g[d] * g[d]);
      dcell[at + d] = carried(kept, dc * f[d]);
    }
  }
}

// What each step took from before: out[t, n] = cont[t, n] h[t - 1, n], where h[-1] is `begin`; rows are those of all steps
KERNEL(carry_states, const real* __restrict__ begin, const real* __restrict__ h, const real* __restrict__ cont, real* __restrict__ out,
       int rows, int streams, int size) {
  const int runs = (size + RECURRENT_RUN - 1) / RECURRENT_RUN;
  for_blocks(r, rows * runs) {
    const int row = r / runs, first = r % runs * RECURRENT_RUN, count = min(RECURRENT_RUN, size - first);
    const real* __restrict__ from = (row < streams ? begin + (index)row * size : h + (index)(row - streams) * size) + first;
    real* __restrict__ to = out + (index)row * size + first;
    const acc kept = cont[row];
    for_threads(d, count) to[d] = carried(kept, from[d]);
  }
}
