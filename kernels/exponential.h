// exp, the logistic function and tanh. On a GPU they are the compiler's; on the host single precision has its own without a call, so that
// the compiler makes vectors of loops over them.
#pragma once
#include "kernel.h"

#if defined(__CUDACC__)
DEVICE acc exp_below(acc x) { return exp(x); }
DEVICE acc hyperbolic_tangent(acc x) { return tanh(x); }
#else
DEVICE double exp_below(double x) { return exp(x); }
DEVICE double hyperbolic_tangent(double x) { return tanh(x); }

// exp of x <= 0: 2^n e^r, |r| <= log(2) / 2, by Taylor's polynomial (2e-7 at most, relative). Below -87 the result would lose its digits
// and is 0; a NaN stays one.
DEVICE float exp_below(float x) {
  const float kept = x < -87.f ? -87.f : x;
  const float shifted = kept * 1.44269504f + 12582912.f;  // 1.5 * 2^23: the low bits are n, rounded
  const float n = shifted - 12582912.f, r = kept - n * 0.693359375f + n * 2.12194440e-4f;
  const float e = 1 + r * (1 + r * (1.f / 2 + r * (1.f / 6 + r * (1.f / 24 + r * (1.f / 120 + r * (1.f / 720 + r * (1.f / 5040)))))));
  unsigned bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + (127u << 23);
  float power;
  __builtin_memcpy(&power, &bits, sizeof power);
  return x < -87.f ? 0 : e * power;
}

// near 0 by an odd polynomial, where 1 - e^-2|x| has lost its digits (3e-7 at most, relative)
DEVICE float hyperbolic_tangent(float x) {
  const float size = fabs(x), z = x * x, e = exp_below(-2 * size);
  const float near = x * (1 + z * (-0.3333328f + z * (0.13331442f + z * (-0.053739715f + z * (0.020639086f + z * -0.0057049855f)))));
  const float far = (1 - e) / (1 + e);
  return size < 0.625f ? near : x < 0 ? -far : far;
}
#endif

// 1 / (1 + e^-x), without an e^x that overflows
DEVICE acc logistic(acc x) {
  const acc e = exp_below(-fabs(x));
  return (x < 0 ? e : 1) / (1 + e);
}
