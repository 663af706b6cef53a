// Batch normalisation as a GPU computes it, the formulas of batch_norm.cu: a channel is cut into pieces, so that few channels keep many
// processors busy. Each piece leaves its own sums, one row a channel merges them in their order, then rows of whole planes are written.
// Means and squared differences of pieces (m_i, s_i of n_i values) merge exactly: mean = sum n_i m_i / n, s = sum s_i + n_i (m_i - mean)^2.
// Compulsory bytes per value: moments read 1 (again from the cache for the differences), normalising reads 1, writes 1; backward reads 2 for
// the sums and 2 for dx, writes 1. What the sums read last the writing reads first: part of it is still in the cache.
#include "batch_norm.h"

// A piece of a row of planes of `size` values: `together` whole ones, or up to `run` values of one; `first` is where it begins in its plane.
struct Piece { int plane, first, count; };
DEVICE Piece piece_of(int number, int planes, int size, int together, int run) {
  const int parts = (size + run - 1) / run, plane = number / parts * together, first = number % parts * run;
  return {plane, first, (min(together, planes - plane) - 1) * size + min(run, size - first)};
}

// Where value i of a piece of one channel lies: the planes of a channel are all channels apart.
DEVICE index apart(int i, int channels, int size, int together) {
  return together > 1 ? i + i / size * ((index)(channels - 1) * size) : i;
}

// moments of piece q of channel c: mean and sum of squared differences, at 2 * (c * pieces + q); where `kept` is given x is copied to it
KERNEL(channel_moments, const real* __restrict__ x, real* __restrict__ kept, double* __restrict__ moments, int images, int channels, int size,
       int together, int run, int pieces) {
  for_blocks(r, channels * pieces) {
    const int c = r % channels, q = r / channels;
    const Piece piece = piece_of(q, images, size, together, run);
    const index at = ((index)piece.plane * channels + c) * size + piece.first;
    const auto value = [&](int i) { return x[at + apart(i, channels, size, together)]; };
    acc sum = 0;
    stream(piece.count, value, [&](int i, real v) {
      sum += v;
      if (kept) kept[at + apart(i, channels, size, together)] = v;
    });
    const double mean = block_sum((double)sum) / piece.count;
    const acc mu = mean;
    sum = 0;
    stream(piece.count, value, [&](int, real v) { sum += (v - mu) * (v - mu); });
    const double squares = block_sum((double)sum);
    double* __restrict__ to = moments + 2 * ((index)c * pieces + q);
    for_threads(once, 1) to[0] = mean, to[1] = squares;
  }
}

// inverse = 1 / sqrt(variance + eps)
KERNEL(merge_moments, real* __restrict__ mean, real* __restrict__ variance, real* __restrict__ inverse, const double* __restrict__ moments,
       acc eps, int images, int channels, int size, int together, int run, int pieces) {
  for_blocks(c, channels) {
    const double* __restrict__ of = moments + 2 * (index)c * pieces;
    const double count = (double)images * size;
    double sum = 0;
    for_threads_sum(q, pieces, sum) sum += piece_of(q, images, size, together, run).count * of[2 * q];
    const double mu = block_sum(sum) / count;
    sum = 0;
    for_threads_sum(q, pieces, sum) {
      const double difference = of[2 * q] - mu;
      sum += of[2 * q + 1] + piece_of(q, images, size, together, run).count * difference * difference;
    }
    const acc var = block_sum(sum) / count;
    for_threads(once, 1) mean[c] = mu, variance[c] = var, inverse[c] = 1 / sqrt(var + eps);
  }
}

// The channel of value i of a piece of consecutive planes, no more of them than there are channels; `first` is that of its first.
DEVICE int channel_of(int i, int first, int channels, int size) {
  const int c = first + i / size;
  return c < channels ? c : c - channels;
}

// y may be x
KERNEL(normalize_planes, const real* x, const real* __restrict__ mean, const real* __restrict__ inverse, const real* __restrict__ scale,
       const real* __restrict__ shift, real* y, acc least, int images, int channels, int size, int together, int run, int pieces) {
  for_blocks(r, pieces) {
    const Piece piece = piece_of(pieces - 1 - r, images * channels, size, together, run);
    const int first = piece.plane % channels;
    const index at = (index)piece.plane * size + piece.first;
    const auto value = [&](int i) { return x[at + i]; };
    if (together == 1) {
      const Channel of = {mean[first], inverse[first], scale[first], shift[first], least};
      stream(piece.count, value, [&](int i, real v) { y[at + i] = y_of(of, normal_of(of, v)); });
    } else {
      stream(piece.count, value, [&](int i, real v) {
        const int c = channel_of(i, first, channels, size);
        const Channel of = {mean[c], inverse[c], scale[c], shift[c], least};
        y[at + i] = y_of(of, normal_of(of, v));
      });
    }
  }
}

// sums of piece q of channel c: of dy, and of dy * x where x is given, at 2 * (c * pieces + q); dx = scale * dy where dx is given (may be dy)
struct Two { real dy, x; };
KERNEL(channel_products, const real* dy, const real* __restrict__ x, const real* __restrict__ scale, real* dx, double* __restrict__ sums,
       int images, int channels, int size, int together, int run, int pieces) {
  for_blocks(r, channels * pieces) {
    const int c = r % channels, q = r / channels;
    const Piece piece = piece_of(q, images, size, together, run);
    const index at = ((index)piece.plane * channels + c) * size + piece.first;
    const acc gain = dx ? scale[c] : 0;
    acc sum = 0, product = 0;
    stream(
        piece.count,
        [&](int i) {
          const index from = at + apart(i, channels, size, together);
          return Two{dy[from], x ? x[from] : 0};
        },
        [&](int i, Two v) {
          sum += v.dy, product += v.dy * v.x;
          if (dx) dx[at + apart(i, channels, size, together)] = gain * v.dy;
        });
    const double total = block_sum((double)sum), total_product = block_sum((double)product);
    double* __restrict__ to = sums + 2 * ((index)c * pieces + q);
    for_threads(once, 1) to[0] = total, to[1] = total_product;
  }
}

// the sums of piece q of channel c that the gradient of batch norm wants: of dy and of dy * normal, at 2 * (c * pieces + q)
KERNEL(batch_norm_products, const real* __restrict__ dy, const real* __restrict__ x, const real* __restrict__ scale,
       const real* __restrict__ shift, const real* __restrict__ mean, const real* __restrict__ variance, double* __restrict__ sums, acc eps,
       acc least, int images, int channels, int size, int together, int run, int pieces) {
  for_blocks(r, channels * pieces) {
    const int c = r % channels, q = r / channels;
    const Piece piece = piece_of(q, images, size, together, run);
    const index at = ((index)piece.plane * channels + c) * size + piece.first;
    const Channel of = {mean[c], 1 / sqrt(variance[c] + eps), scale[c], shift[c], least};
    acc sum = 0, product = 0;
    stream(
        piece.count,
        [&](int i) {
          const index from = at + apart(i, channels, size, together);
          return Two{dy[from], x[from]};
        },
        [&](int, Two v) {
          const acc z = normal_of(of, v.x), d = dy_of(of, z, v.dy);
          sum += d, product += d * z;
        });
    const double total = block_sum((double)sum), total_product = block_sum((double)product);
    double* __restrict__ to = sums + 2 * ((index)c * pieces + q);
    for_threads(once, 1) to[0] = total, to[1] = total_product;
  }
}

// dscale and dshift are added to; where a variance is given, factors (3, C) = 1 / sqrt(variance + eps), the means of dy and of dy * normal
KERNEL(merge_products, real* __restrict__ factors, const real* __restrict__ variance, real* __restrict__ dscale, real* __restrict__ dshift,
       const double* __restrict__ sums, acc eps, index count, int channels, int pieces) {
  for_blocks(c, channels) {
    const double* __restrict__ of = sums + 2 * (index)c * pieces;
    double total = 0, product = 0;
    for_threads_sum(q, pieces, total, product) total += of[2 * q], product += of[2 * q + 1];
    total = block_sum(total), product = block_sum(product);
    for_threads(once, 1) {
      if (dscale) dscale[c] += product;
      if (dshift) dshift[c] += total;
      if (variance) {
        factors[c] = 1 / sqrt(variance[c] + eps);
        factors[channels + c] = total / (double)count, factors[2 * channels + c] = product / (double)count;
      }
    }
  }
}

// dx may be dy
KERNEL(batch_norm_planes_backward, const real* dy, const real* __restrict__ x, const real* __restrict__ scale, const real* __restrict__ shift,
       const real* __restrict__ mean, const real* __restrict__ factors, real* dx, acc least, int images, int channels, int size, int together,
       int run, int pieces) {
  for_blocks(r, pieces) {
    const Piece piece = piece_of(pieces - 1 - r, images * channels, size, together, run);
    const int first = piece.plane % channels;
    const index at = (index)piece.plane * size + piece.first;
    const auto values = [&](int i) { return Two{dy[at + i], x[at + i]}; };
    const auto write = [&](int i, Two v, const Channel& of, acc mean_dy, acc slope) {
      const acc z = normal_of(of, v.x);
      dx[at + i] = of.scale * of.inverse * (dy_of(of, z, v.dy) - mean_dy - z * slope);
    };
    if (together == 1) {
      const Channel of = {mean[first], factors[first], scale[first], shift[first], least};
      const acc mean_dy = factors[channels + first], slope = factors[2 * channels + first];
      stream(piece.count, values, [&](int i, Two v) { write(i, v, of, mean_dy, slope); });
    } else {
      stream(piece.count, values, [&](int i, Two v) {
        const int c = channel_of(i, first, channels, size);
        const Channel of = {mean[c], factors[c], scale[c], shift[c], least};
        write(i, v, of, factors[channels + c], factors[2 * channels + c]);
      });
    }
  }
}
