// Batch normalisation (the release's BN): per channel over the images and places of the batch, m = N * H * W,
//   mean = sum x / m, variance = sum (x - mean)^2 / m, normal = (x - mean) / sqrt(variance + eps), y = scale * normal + shift,
//   dscale = sum dy * normal, dshift = sum dy, dx = scale / sqrt(variance + eps) * (dy - dshift / m - normal * dscale / m).
// y is at least `least`: minus infinity, or 0 where a ReLU follows; dy counts only where y is above it. Backward computes normal and y again.
// The variance is a sum of squared differences: never negative, where E[x^2] - E[x]^2 can be.
// Compulsory bytes per value: forward read x (a second and third reading come from the cache), write y; backward read dy and x twice, write
// dx. In inference: read 1, write 1.
#include "batch_norm.h"

DEVICE const real* row_of(const real* x, int n, int c, int channels, int size) { return x + ((index)n * channels + c) * size; }

// y may be x, which is copied to `kept` first where that is given
KERNEL(batch_norm_forward, const real* x, const real* __restrict__ scale, const real* __restrict__ shift, real* y, real* __restrict__ kept,
       real* __restrict__ mean, real* __restrict__ variance, acc eps, acc least, int images, int channels, int size) {
  for_blocks(c, channels) {
    const double count = (double)images * size;
    double total = 0;
    for (int n = 0; n < images; ++n) {
      const real* __restrict__ from = row_of(x, n, c, channels, size);
      acc sum = 0;
      for_threads_sum(i, size, sum) sum += from[i];
      total += sum;
    }
    const acc mu = block_sum(total) / count;
    total = 0;
    for (int n = 0; n < images; ++n) {
      const real* __restrict__ from = row_of(x, n, c, channels, size);
      acc sum = 0;
      for_threads_sum(i, size, sum) sum += (from[i] - mu) * (from[i] - mu);
      total += sum;
    }
    const acc var = block_sum(total) / count;
    const Channel of = {mu, 1 / sqrt(var + eps), scale[c], shift[c], least};
    for (int n = 0; n < images; ++n) {
      const index at = ((index)n * channels + c) * size;
      if (kept) for_threads(i, size) kept[at + i] = x[at + i];
      for_threads(i, size) y[at + i] = y_of(of, normal_of(of, x[at + i]));  // a place is its own thread's in both loops
    }
    for_threads(once, 1) mean[c] = mu, variance[c] = var;
  }
}

// dx may be dy; dscale and dshift are added to
KERNEL(batch_norm_backward, const real* dy, const real* __restrict__ x, const real* __restrict__ scale, const real* __restrict__ shift,
       const real* __restrict__ mean, const real* __restrict__ variance, real* dx, real* __restrict__ dscale, real* __restrict__ dshift,
       acc eps, acc least, int images, int channels, int size) {
  for_blocks(c, channels) {
    const Channel of = {mean[c], 1 / sqrt(variance[c] + eps), scale[c], shift[c], least};
    double total_shift = 0, total_scale = 0;
    for (int n = 0; n < images; ++n) {
      const index at = ((index)n * channels + c) * size;
      acc sum = 0, product = 0;
      for_threads_sum(i, size, sum, product) {
        const acc z = normal_of(of, x[at + i]), d = dy_of(of, z, dy[at + i]);
        sum += d, product += d * z;
      }
      total_shift += sum, total_scale += product;
    }
    total_shift = block_sum(total_shift), total_scale = block_sum(total_scale);
    if (dx) {
      const double count = (double)images * size;
      const acc gain = of.scale * of.inverse, mean_dy = total_shift / count, slope = total_scale / count;
      for (int n = 0; n < images; ++n) {
        const index at = ((index)n * channels + c) * size;
        for_threads(i, size) {
          const acc z = normal_of(of, x[at + i]);
          dx[at + i] = gain * (dy_of(of, z, dy[at + i]) - mean_dy - z * slope);
        }
      }
    }
    for_threads(once, 1) {
      if (dscale) dscale[c] += total_scale;
      if (dshift) dshift[c] += total_shift;
    }
  }
}

// A scale and shift per channel, what is left of batch norm in inference; y may be x, a null scale is 1 and a null shift 0.
KERNEL(channel_affine_forward, const real* x, const real* __restrict__ scale, const real* __restrict__ shift, real* y, acc least,
       int images, int channels, int size) {
  for_blocks(r, images * channels) {
    const acc a = scale ? scale[r % channels] : 1, b = shift ? shift[r % channels] : 0;
    const index at = (index)r * size;
    write_row(team_of(1, size), size, y + at, [&](int, acc v) { return a * v + b < least ? least : a * v + b; }, x + at);
  }
}

// One such map after another, as one: x -> second (first x + first_shift) + second_shift; factor and summand may be those of either.
KERNEL(compose_affine, real* factor, real* summand, const real* first, const real* first_shift, const real* second, const real* second_shift,
       int channels) {
  for_each(c, channels) {
    const acc a = first ? first[c] : 1, b = first_shift ? first_shift[c] : 0, s = second ? second[c] : 1;
    factor[c] = a * s, summand[c] = b * s + (second_shift ? second_shift[c] : 0);
  }
}

KERNEL(channel_affine_backward, const real* dy, const real* __restrict__ x, const real* __restrict__ scale, real* dx,
       real* __restrict__ dscale, real* __restrict__ dshift, int images, int channels, int size) {
  for_blocks(c, channels) {
    double total_shift = 0, total_scale = 0;
    for (int n = 0; n < images; ++n) {
      const index at = ((index)n * channels + c) * size;
      acc sum = 0, product = 0;
      for_threads_sum(i, size, sum, product) sum += dy[at + i], product += dy[at + i] * x[at + i];
      total_shift += sum, total_scale += product;
      if (dx) for_threads(i, size) dx[at + i] = scale[c] * dy[at + i];  // after its own thread has read dy
    }
    total_shift = block_sum(total_shift), total_scale = block_sum(total_scale);
    for_threads(once, 1) {
      if (dscale) dscale[c] += total_scale;
      if (dshift) dshift[c] += total_shift;
    }
  }
}

// BVLC's BatchNorm keeps weighted sums over the batches: means and variances are sums / weight, 0 before the first batch.
// The map by them, and by what follows (null: nothing): factor = scale / sqrt(variance + eps), summand = shift - mean * factor.
KERNEL(running_affine, const real* __restrict__ means, const real* __restrict__ variances, const real* __restrict__ weight,
       const real* __restrict__ scale, const real* __restrict__ shift, real* __restrict__ factor, real* __restrict__ summand, acc eps,
       int channels) {
  const acc over = weight[0] != 0 ? 1 / weight[0] : 0;
  for_each(c, channels) {
    const acc f = (scale ? scale[c] : 1) / sqrt(variances[c] * over + eps);
    factor[c] = f, summand[c] = (shift ? shift[c] : 0) - means[c] * over * f;
  }
}

// Take a batch into them: sums = keep * sums + what is new, 1 for the weight; the variance is multiplied by m / (m - 1) first.
KERNEL(move_averages, const real* __restrict__ mean, const real* __restrict__ variance, real* __restrict__ means, real* __restrict__ variances,
       real* __restrict__ weight, acc keep, acc unbiased, int channels) {
  for_each(c, channels) {
    means[c] = keep * means[c] + mean[c];
    variances[c] = keep * variances[c] + unbiased * variance[c];
    if (c == 0) weight[0] = keep * weight[0] + 1;
  }
}
