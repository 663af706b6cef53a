// Caffe's neurons: maps y = f(x) of single values, and dx = dy * f'(x). y may be x, dx may be dy; where the derivative is written in y
// alone, x may be overwritten before backward. A kernel takes those of x, y and the constants a, b, c that its formula needs.
// Compulsory bytes: read x, write y; backward read dy and x or y, write dx.
#include "exponential.h"

// y = 1 / (1 + e^-x)
KERNEL(sigmoid_forward, const real* x, real* y, index n) {
  for_each(i, n) y[i] = logistic(x[i]);
}
KERNEL(sigmoid_backward, const real* dy, const real* y, real* dx, index n) {
  for_each(i, n) dx[i] = dy[i] * y[i] * (1 - y[i]);
}

KERNEL(tanh_forward, const real* x, real* y, index n) {
  for_each(i, n) y[i] = hyperbolic_tangent(x[i]);
}
KERNEL(tanh_backward, const real* dy, const real* y, real* dx, index n) {
  for_each(i, n) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

// y = |x|; the slope at 0 is 0
KERNEL(absolute_forward, const real* x, real* y, index n) {
  for_each(i, n) y[i] = fabs(x[i]);
}
KERNEL(absolute_backward, const real* dy, const real* x, real* dx, index n) {
  for_each(i, n) dx[i] = dy[i] * ((x[i] > 0) - (x[i] < 0));
}

// y = (c + b x)^a; the powers 1 and 2 need no pow
KERNEL(power_forward, const real* x, real* y, acc a, acc b, acc c, index n) {
  if (a == 1) {
    for_each(i, n) y[i] = c + b * x[i];
  } else if (a == 2) {
    for_each(j, n) y[j] = (c + b * x[j]) * (c + b * x[j]);
  } else {
    for_each(k, n) y[k] = pow(c + b * x[k], a);
  }
}
KERNEL(power_backward, const real* dy, const real* x, real* dx, acc a, acc b, acc c, index n) {
  if (a == 1 || a * b == 0) {
    for_each(i, n) dx[i] = dy[i] * a * b;
  } else if (a == 2) {
    for_each(j, n) dx[j] = dy[j] * 2 * b * (c + b * x[j]);
  } else {
    for_each(k, n) dx[k] = dy[k] * a * b * pow(c + b * x[k], a - 1);
  }
}

// y = b e^(a x)
KERNEL(exponential_forward, const real* x, real* y, acc a, acc b, index n) {
  for_each(i, n) y[i] = b * exp(a * x[i]);
}
KERNEL(exponential_backward, const real* dy, const real* y, real* dx, acc a, index n) {
  for_each(i, n) dx[i] = dy[i] * a * y[i];
}

// y = a ln(c + b x)
KERNEL(logarithm_forward, const real* x, real* y, acc a, acc b, acc c, index n) {
  for_each(i, n) y[i] = a * log(c + b * x[i]);
}
KERNEL(logarithm_backward, const real* dy, const real* x, real* dx, acc a, acc b, acc c, index n) {
  for_each(i, n) dx[i] = dy[i] * a * b / (c + b * x[i]);
}

// y = x where positive, a (e^x - 1) elsewhere; in place y stands for x, whose sign it has for a that is not negative
KERNEL(elu_forward, const real* x, real* y, acc a, index n) {
  for_each(i, n) y[i] = x[i] > 0 ? x[i] : a * expm1(x[i]);
}
KERNEL(elu_backward, const real* dy, const real* x, const real* y, real* dx, acc a, index n) {
  for_each(i, n) dx[i] = x[i] > 0 ? dy[i] : dy[i] * (y[i] + a);
}

// y = ln(1 + e^x), so that e^x / (1 + e^x) = 1 - e^-y
KERNEL(bnll_forward, const real* x, real* y, index n) {
  for_each(i, n) y[i] = (x[i] > 0 ? x[i] : 0) + log1p(exp(-fabs(x[i])));
}
KERNEL(bnll_backward, const real* dy, const real* y, real* dx, index n) {
  for_each(i, n) dx[i] = -dy[i] * expm1(-y[i]);
}

// y = x held between a and b; a NaN stays a NaN
KERNEL(clip_forward, const real* x, real* y, acc a, acc b, index n) {
  for_each(i, n) y[i] = x[i] < a ? a : x[i] > b ? b : x[i];
}
KERNEL(clip_backward, const real* dy, const real* x, real* dx, acc a, acc b, index n) {
  for_each(i, n) dx[i] = x[i] >= a && x[i] <= b ? dy[i] : 0;
}

// y = x s with s = 1 / (1 + e^-ax)
KERNEL(swish_forward, const real* x, real* y, acc a, index n) {
  for_each(i, n) y[i] = x[i] * logistic(a * x[i]);
}
KERNEL(swish_backward, const real* dy, const real* x, real* dx, acc a, index n) {
  for_each(i, n) {
    const acc s = logistic(a * x[i]);
    dx[i] = dy[i] * s * (1 + a * x[i] * (1 - s));
  }
}

// y = [x > a]; nothing flows back
KERNEL(threshold_forward, const real* x, real* y, acc a, index n) {
  for_each(i, n) y[i] = x[i] > a ? 1 : 0;
}

// PReLU: y = x where positive, slope * x elsewhere; a slope per channel (step 1) or one for all (step 0). y may be x.
KERNEL(prelu_forward, const real* x, const real* __restrict__ slope, real* y, int step, int images, int channels, int size) {
  for_blocks(r, images * channels) {
    const acc s = slope[r % channels * step];
    const index at = (index)r * size;
    for_threads(i, size) y[at + i] = x[at + i] > 0 ? x[at + i] : s * x[at + i];
  }
}

// Per channel: dslope = sum of dy * x where x is not positive. dx may be dy or null.
KERNEL(prelu_backward, const real* dy, const real* x, const real* __restrict__ slope, real* dx, double* __restrict__ dslope, int step,
       int images, int channels, int size) {
  for_blocks(c, channels) {
    const acc s = slope[c * step];
    double total = 0;
    for (int n = 0; n < images; ++n) {
      const index at = ((index)n * channels + c) * size;
      acc sum = 0;
      for_threads_sum(i, size, sum) sum += x[at + i] > 0 ? 0 : dy[at + i] * x[at + i];
      total += sum;
      if (dx) for_threads(i, size) dx[at + i] = x[at + i] > 0 ? dy[at + i] : s * dy[at + i];  // after its own thread has read dy
    }
    total = block_sum(total);
    for_threads(once, 1) dslope[c] = total;
  }
}
