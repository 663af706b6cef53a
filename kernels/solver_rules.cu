// Caffe's other update rules of a parameter w with gradient g; g' is the gradient of update.cu, scaled and with its decay. The step is left in g,
// and w = w - g. Compulsory bytes: read and write w, g and each history once.
#include "kernel.h"

DEVICE acc decayed(acc g, acc w, acc scale, acc decay, int l1) { return scale * g + decay * (l1 ? (acc)((w > 0) - (w < 0)) : w); }

// v = momentum * v + rate * g';  step = (1 + momentum) * v - momentum * old v
KERNEL(nesterov_update, real* __restrict__ w, real* __restrict__ g, real* __restrict__ v, acc scale, acc rate, acc decay, int l1, acc momentum,
       index n) {
  for_each(i, n) {
    const acc old = v[i], now = momentum * old + rate * decayed(g[i], w[i], scale, decay, l1);
    const acc step = (1 + momentum) * now - momentum * old;
    v[i] = now, g[i] = step, w[i] -= step;
  }
}

// h = h + g'^2;  step = rate * g' / (sqrt(h) + delta)
KERNEL(adagrad_update, real* __restrict__ w, real* __restrict__ g, real* __restrict__ h, acc scale, acc rate, acc decay, int l1, acc delta,
       index n) {
  for_each(i, n) {
    const acc own = decayed(g[i], w[i], scale, decay, l1), sum = h[i] + own * own;
    const acc step = rate * own / (sqrt(sum) + delta);
    h[i] = sum, g[i] = step, w[i] -= step;
  }
}

// h = keep * h + (1 - keep) * g'^2;  step = rate * g' / (sqrt(h) + delta)
KERNEL(rmsprop_update, real* __restrict__ w, real* __restrict__ g, real* __restrict__ h, acc scale, acc rate, acc decay, int l1, acc keep,
       acc delta, index n) {
  for_each(i, n) {
    const acc own = decayed(g[i], w[i], scale, decay, l1), mean = keep * h[i] + (1 - keep) * own * own;
    const acc step = rate * own / (sqrt(mean) + delta);
    h[i] = mean, g[i] = step, w[i] -= step;
  }
}

// h = keep * h + (1 - keep) * g'^2;  u = g' * sqrt((delta + s) / (delta + h));  s = keep * s + (1 - keep) * u^2;  step = rate * u
KERNEL(adadelta_update, real* __restrict__ w, real* __restrict__ g, real* __restrict__ h, real* __restrict__ s, acc scale, acc rate, acc decay,
       int l1, acc keep, acc delta, index n) {
  for_each(i, n) {
    const acc own = decayed(g[i], w[i], scale, decay, l1), mean = keep * h[i] + (1 - keep) * own * own;
    const acc move = own * sqrt((delta + s[i]) / (delta + mean)), step = rate * move;
    h[i] = mean, s[i] = keep * s[i] + (1 - keep) * move * move, g[i] = step, w[i] -= step;
  }
}

// m = first * m + (1 - first) * g';  h = second * h + (1 - second) * g'^2;  step = rate * m / (sqrt(h) + delta), the rate corrected for the start
KERNEL(adam_update, real* __restrict__ w, real* __restrict__ g, real* __restrict__ m, real* __restrict__ h, acc scale, acc rate, acc decay, int l1,
       acc first, acc second, acc delta, index n) {
  for_each(i, n) {
    const acc own = decayed(g[i], w[i], scale, decay, l1);
    const acc mean = first * m[i] + (1 - first) * own, square = second * h[i] + (1 - second) * own * own;
    const acc step = rate * mean / (sqrt(square) + delta);
    m[i] = mean, h[i] = square, g[i] = step, w[i] -= step;
  }
}
