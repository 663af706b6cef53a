// Caffe's other update rules of a parameter w with gradient g; g' is the gradient of update.cu, scaled and with its decay. The step is left in g,
// and w = w - g. Compulsory bytes: read and write w, g and each history once.
#include "kernel.h"
#include "table.h"

DEVICE acc decayed(acc g, acc w, acc scale, acc decay, int l1) { return scale * g + decay * (l1 ? (acc)((w > 0) - (w < 0)) : w); }

// All parameters in one launch, their columns w, g, h and, of TWO histories, s; multipliers: of the rate and of the decay, a pair a row.
// step(g', rate, h, s) is the rule's step; it moves the histories.
struct Kept { real w, g, h, s; };
template <bool TWO, class Step>
DEVICE void update_all(const index* table, const int* owners, const double* multipliers, acc scale, acc rate, acc decay, int l1, int runs, int run,
                       Step step) {
  for_blocks(r, runs) {
    const Part part = part_of(r, table, owners, TWO ? 4 : 3, run);
    real *w = array_of(part, 0), *g = array_of(part, 1), *h = array_of(part, 2), *s = TWO ? array_of(part, 3) : nullptr;
    const acc own_rate = rate * multipliers[2 * owners[r]], own_decay = decay * multipliers[2 * owners[r] + 1];
    stream(part.count, [&](int i) { return Kept{w[i], g[i], h[i], TWO ? s[i] : (real)0}; }, [&](int i, Kept old) {
      const acc move = step(decayed(old.g, old.w, scale, own_decay, l1), own_rate, old.h, old.s);
      if (TWO) s[i] = old.s;
      h[i] = old.h, g[i] = move, w[i] = old.w - move;
    });
  }
}

// v = momentum * v + rate * g';  step = (1 + momentum) * v - momentum * old v
DEVICE acc nesterov_step(acc g, acc rate, real& v, acc momentum) {
  const acc old = v, now = momentum * old + rate * g;
  v = now;
  return (1 + momentum) * now - momentum * old;
}

KERNEL(nesterov_update, real* __restrict__ w, real* __restrict__ g, real* __restrict__ v, acc scale, acc rate, acc decay, int l1, acc momentum,
       index n) {
  for_each(i, n) {
    const acc step = nesterov_step(decayed(g[i], w[i], scale, decay, l1), rate, v[i], momentum);
    g[i] = step, w[i] -= step;
  }
}

KERNEL(nesterov_update_all, const index* __restrict__ table, const int* __restrict__ owners, const double* __restrict__ multipliers, acc scale,
       acc rate, acc decay, int l1, acc momentum, int runs, int run) {
  update_all<false>(table, owners, multipliers, scale, rate, decay, l1, runs, run,
                    [=](acc g, acc own, real& v, real&) { return nesterov_step(g, own, v, momentum); });
}

// h = h + g'^2;  step = rate * g' / (sqrt(h) + delta)
DEVICE acc adagrad_step(acc g, acc rate, real& h, acc delta) {
  const acc sum = h + g * g;
  h = sum;
  return rate * g / (sqrt(sum) + delta);
}

KERNEL(adagrad_update, real* __restrict__ w, real* __restrict__ g, real* __restrict__ h, acc scale, acc rate, acc decay, int l1, acc delta,
       index n) {
  for_each(i, n) {
    const acc step = adagrad_step(decayed(g[i], w[i], scale, decay, l1), rate, h[i], delta);
    g[i] = step, w[i] -= step;
  }
}

KERNEL(adagrad_update_all, const index* __restrict__ table, const int* __restrict__ owners, const double* __restrict__ multipliers, acc scale,
       acc rate, acc decay, int l1, acc delta, int runs, int run) {
  update_all<false>(table, owners, multipliers, scale, rate, decay, l1, runs, run,
                    [=](acc g, acc own, real& h, real&) { return adagrad_step(g, own, h, delta); });
}

// h = keep * h + (1 - keep) * g'^2;  step = rate * g' / (sqrt(h) + delta)
DEVICE acc rmsprop_step(acc g, acc rate, real& h, acc keep, acc delta) {
  const acc mean = keep * h + (1 - keep) * g * g;
  h = mean;
  return rate * g / (sqrt(mean) + delta);
}

KERNEL(rmsprop_update, real* __restrict__ w, real* __restrict__ g, real* __restrict__ h, acc scale, acc rate, acc decay, int l1, acc keep,
       acc delta, index n) {
  for_each(i, n) {
    const acc step = rmsprop_step(decayed(g[i], w[i], scale, decay, l1), rate, h[i], keep, delta);
    g[i] = step, w[i] -= step;
  }
}

KERNEL(rmsprop_update_all, const index* __restrict__ table, const int* __restrict__ owners, const double* __restrict__ multipliers, acc scale,
       acc rate, acc decay, int l1, acc keep, acc delta, int runs, int run) {
  update_all<false>(table, owners, multipliers, scale, rate, decay, l1, runs, run,
                    [=](acc g, acc own, real& h, real&) { return rmsprop_step(g, own, h, keep, delta); });
}

// h = keep * h + (1 - keep) * g'^2;  u = g' * sqrt((delta + s) / (delta + h));  s = keep * s + (1 - keep) * u^2;  step = rate * u
DEVICE acc adadelta_step(acc g, acc rate, real& h, real& s, acc keep, acc delta) {
  const acc mean = keep * h + (1 - keep) * g * g;
  const acc move = g * sqrt((delta + s) / (delta + mean));
  h = mean, s = keep * s + (1 - keep) * move * move;
  return rate * move;
}

KERNEL(adadelta_update, real* __restrict__ w, real* __restrict__ g, real* __restrict__ h, real* __restrict__ s, acc scale, acc rate, acc decay,
       int l1, acc keep, acc delta, index n) {
  for_each(i, n) {
    const acc step = adadelta_step(decayed(g[i], w[i], scale, decay, l1), rate, h[i], s[i], keep, delta);
    g[i] = step, w[i] -= step;
  }
}

KERNEL(adadelta_update_all, const index* __restrict__ table, const int* __restrict__ owners, const double* __restrict__ multipliers, acc scale,
       acc rate, acc decay, int l1, acc keep, acc delta, int runs, int run) {
  update_all<true>(table, owners, multipliers, scale, rate, decay, l1, runs, run,
                   [=](acc g, acc own, real& h, real& s) { return adadelta_step(g, own, h, s, keep, delta); });
}

// m = first * m + (1 - first) * g';  h = second * h + (1 - second) * g'^2;  step = rate * m / (sqrt(h) + delta), the rate corrected for the start
DEVICE acc adam_step(acc g, acc rate, real& m, real& h, acc first, acc second, acc delta) {
  const acc mean = first * m + (1 - first) * g, square = second * h + (1 - second) * g * g;
  m = mean, h = square;
  return rate * mean / (sqrt(square) + delta);
}

KERNEL(adam_update, real* __restrict__ w, real* __restrict__ g, real* __restrict__ m, real* __restrict__ h, acc scale, acc rate, acc decay, int l1,
       acc first, acc second, acc delta, index n) {
  for_each(i, n) {
    const acc step = adam_step(decayed(g[i], w[i], scale, decay, l1), rate, m[i], h[i], first, second, delta);
    g[i] = step, w[i] -= step;
  }
}

KERNEL(adam_update_all, const index* __restrict__ table, const int* __restrict__ owners, const double* __restrict__ multipliers, acc scale,
       acc rate, acc decay, int l1, acc first, acc second, acc delta, int runs, int run) {
  update_all<true>(table, owners, multipliers, scale, rate, decay, l1, runs, run,
                   [=](acc g, acc own, real& m, real& h) { return adam_step(g, own, m, h, first, second, delta); });
}
