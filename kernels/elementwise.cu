// Element-wise sums, products and maxima of blobs, as Split and Eltwise need them. Compulsory bytes: read and write each value once.
#include "rows.h"

// y = a * x + b * y; b = 0 does not read y
KERNEL(scale_add, const real* x, real* y, acc a, acc b, index n) {
  if (b == 0) {
    write_each(n, y, [&](index, acc v) { return a * v; }, x);
  } else {
    write_each(n, y, [&](index, acc v, acc old) { return a * v + b * old; }, x, (const real*)y);
  }
}

// y = a * x + b * z, but at least `least`: minus infinity, or 0 where a ReLU follows; y may be either
KERNEL(weighted_sum, const real* x, const real* z, real* y, acc a, acc b, acc least, index n) {
  write_each(n, y, [&](index, acc v, acc w) { return a * v + b * w < least ? least : a * v + b * w; }, x, z);
}

// y = x * z; y may be either
KERNEL(multiply, const real* x, const real* z, real* y, index n) {
  write_each(n, y, [](index, acc a, acc b) { return a * b; }, x, z);
}

// y = x / z * w: the gradient of a product by the quotient, as Caffe's unstable form has it
KERNEL(divide_multiply, const real* x, const real* z, const real* w, real* y, index n) {
  for_each(i, n) y[i] = x[i] / z[i] * w[i];
}

// the k-th of several: where it beats y it takes y's place and leaves its number in `which`. A NaN wins all. Ties
// are those of Caffe's CPU code: of the first two the second wins, a later one has to be greater
KERNEL(maximum, const real* __restrict__ x, real* __restrict__ y, int* __restrict__ which, int k, index n) {
  for_each(i, n) {
    if (k == 0 || x[i] > y[i] || (k == 1 && x[i] == y[i]) || (x[i] != x[i] && y[i] == y[i])) y[i] = x[i], which[i] = k;
  }
}

KERNEL(maximum_backward, const real* __restrict__ dy, const int* __restrict__ which, real* __restrict__ dx, int k, index n) {
  for_each(i, n) dx[i] = which[i] == k ? dy[i] : 0;
}
