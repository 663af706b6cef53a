// Element-wise activations; y may be x, dx may be dy. Compulsory bytes: read and write each value once.
#include "rows.h"

// y = x where x > 0, slope * x elsewhere; a NaN stays a NaN, minus infinity without a slope becomes 0
KERNEL(relu_forward, const real* x, real* y, acc slope, index n) {
  write_each(n, y, [&](index, acc v) { return v < 0 ? (slope != 0 ? slope * v : 0) : v; }, x);
}

// `sign` is x or, in place, y: their signs agree for slopes that are not negative
KERNEL(relu_backward, const real* dy, const real* sign, real* dx, acc slope, index n) {
  write_each(n, dx, [&](index, acc d, acc s) { return s > 0 ? d : slope * d; }, dy, sign);
}

// A number that depends on (seed, i) alone, evenly spread over 32 bits, the same on both devices (a finaliser in the manner of splitmix64).
DEVICE unsigned int scatter_bits(unsigned long long seed, index i) {
  unsigned long long z = seed + (unsigned long long)(i + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return (unsigned int)((z ^ (z >> 31)) >> 32);
}

// y = x * gain where the draw falls at or above `threshold` (of 2^32), 0 elsewhere; backward is the same kernel over dy: nothing is stored
KERNEL(dropout, const real* x, real* y, unsigned long long seed, unsigned int threshold, acc gain, index n) {
  write_each(n, y, [&](index i, acc v) { return scatter_bits(seed, i) >= threshold ? v * gain : 0; }, x);
}
