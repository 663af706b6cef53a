// Batch normalisation as a GPU computes it, the formulas of batch_norm.cu: a channel is cut into pieces, so that few channels keep many
// processors busy. Each piece leaves its own sums, one row a channel merges them in their order, then rows of whole planes are written.
// Means and squared differences of pieces (m_i, s_i of n_i values) merge exactly: mean = sum n_i m_i / n, s = sum s_i + n_i (m_i - mean)^2.
// Compulsory bytes per value: moments read 1 (again from the cache for the differences), normalising reads 1, writes 1; backward reads 2 for
// the sums and 2 for dx, writes 1. What the sums read last the writing reads first: part of it is still in the cache.
#include "batch_norm.h"

// A piece of `planes` planes of `size` values: `rows` whole ones, no more than `together`, or `length` values of one from `first` on.
struct Piece { int plane, rows, first, length; };
DEVICE Piece piece_of(int number, int planes, int size, int together, int run) {
  const int parts = run < size ? (size + run - 1) / run : 1, group = parts > 1 ? number / parts : number;
  const int plane = group * together, first = (number - group * parts) * run;
  return {plane, min(together, planes - plane), first, min(run, size - first)};
}

// moments of piece q of channel c: mean and sum of squared differences, at 2 * (c * pieces + q); where `kept` is given x is copied to it
KERNEL(channel_moments, const real* __restrict__ x, real* __restrict__ kept, double* __restrict__ moments, int images, int channels, int size,
       int together, int run, int pieces) {
  const index apart = (index)channels * size;  // the planes of a channel
  for_blocks(r, channels * pieces) {
    const int q = r / channels, c = r - q * channels;
    const Piece piece = piece_of(q, images, size, together, run);
    const Team team = team_of(piece.rows, packs_in(piece.length));
    const index at = piece.plane * apart + c * size + piece.first;
    acc sum = 0;
    for_rows(p, team, piece.rows) visit_row(team, piece.length, [&](int, real v) { sum += v; }, x + at + p * apart);
    const double mean = block_sum(sum) / ((double)piece.rows * piece.length);
    const acc mu = mean;
    sum = 0;
    for_rows(p, team, piece.rows) visit_row(team, piece.length, [&](int, real v) { sum += (v - mu) * (v - mu); }, x + at + p * apart);
    const double squares = block_sum(sum);
    double* __restrict__ to = moments + 2 * ((index)c * pieces + q);
    for_threads(once, 1) to[0] = mean, to[1] = squares;
    if (kept)
      for_rows(p, team, piece.rows) write_row(team, piece.length, kept + at + p * apart, [](int, real v) { return v; }, x + at + p * apart);
  }
}

KERNEL(merge_moments, real* __restrict__ mean, real* __restrict__ variance, const double* __restrict__ moments, int images, int channels,
       int size, int together, int run, int pieces) {
  for_blocks(c, channels) {
    const double* __restrict__ of = moments + 2 * (index)c * pieces;
    const double count = (double)images * size;
    double sum = 0;
    for_threads_sum(q, pieces, sum) {
      const Piece piece = piece_of(q, images, size, together, run);
      sum += (double)piece.rows * piece.length * of[2 * q];
    }
    const double mu = block_sum(sum) / count;
    sum = 0;
    for_threads_sum(q, pieces, sum) {
      const Piece piece = piece_of(q, images, size, together, run);
      const double difference = of[2 * q] - mu;
      sum += of[2 * q + 1] + (double)piece.rows * piece.length * difference * difference;
    }
    const acc var = block_sum(sum) / count;
    for_threads(once, 1) mean[c] = mu, variance[c] = var;
  }
}

// The channel of row p of a piece of consecutive planes, no more of them than there are channels; `first` is that of its first.
DEVICE int channel_of(int p, int first, int channels) { return first + p < channels ? first + p : first + p - channels; }

// y may be x
KERNEL(normalize_planes, const real* x, const real* __restrict__ mean, const real* __restrict__ variance, const real* __restrict__ scale,
       const real* __restrict__ shift, real* y, acc eps, acc least, int images, int channels, int size, int together, int run, int pieces) {
  for_blocks(r, pieces) {
    const Piece piece = piece_of(pieces - 1 - r, images * channels, size, together, run);
    const Team team = team_of(piece.rows, packs_in(piece.length));
    for_rows(p, team, piece.rows) {
      const int c = channel_of(p, piece.plane % channels, channels);
      const Channel of = {mean[c], 1 / sqrt(variance[c] + eps), scale[c], shift[c], least};
      const index at = (index)(piece.plane + p) * size + piece.first;
      write_row(team, piece.length, y + at, [&](int, real v) { return y_of(of, normal_of(of, v)); }, x + at);
    }
  }
}

// sums of piece q of channel c: of dy, and of dy * x where x is given, at 2 * (c * pieces + q); dx = scale * dy where dx is given (may be dy)
KERNEL(channel_products, const real* dy, const real* __restrict__ x, const real* __restrict__ scale, real* dx, double* __restrict__ sums,
       int images, int channels, int size, int together, int run, int pieces) {
  const index apart = (index)channels * size;
  for_blocks(r, channels * pieces) {
    const int q = r / channels, c = r - q * channels;
    const Piece piece = piece_of(q, images, size, together, run);
    const Team team = team_of(piece.rows, packs_in(piece.length));
    const index at = piece.plane * apart + c * size + piece.first;
    acc sum = 0, product = 0;
    for_rows(p, team, piece.rows) {
      const real *from = dy + at + p * apart, *other = x + at + p * apart;
      if (x) visit_row(team, piece.length, [&](int, real d, real v) { sum += d, product += d * v; }, from, other);
      else visit_row(team, piece.length, [&](int, real d) { sum += d; }, from);
    }
    const double total = block_sum(sum), total_product = block_sum(product);  // all of dy has been read
    double* __restrict__ to = sums + 2 * ((index)c * pieces + q);
    for_threads(once, 1) to[0] = total, to[1] = total_product;
    if (dx) {
      const acc gain = scale[c];
      for_rows(p, team, piece.rows) {
        const index row = at + p * apart;
        write_row(team, piece.length, dx + row, [&](int, real d) { return gain * d; }, dy + row);
      }
    }
  }
}

// the sums of piece q of channel c that the gradient of batch norm wants: of dy and of dy * normal, at 2 * (c * pieces + q)
KERNEL(batch_norm_products, const real* __restrict__ dy, const real* __restrict__ x, const real* __restrict__ scale,
       const real* __restrict__ shift, const real* __restrict__ mean, const real* __restrict__ variance, double* __restrict__ sums, acc eps,
       acc least, int images, int channels, int size, int together, int run, int pieces) {
  const index apart = (index)channels * size;
  for_blocks(r, channels * pieces) {
    const int q = r / channels, c = r - q * channels;
    const Piece piece = piece_of(q, images, size, together, run);
    const Team team = team_of(piece.rows, packs_in(piece.length));
    const index at = piece.plane * apart + c * size + piece.first;
    const Channel of = {mean[c], 1 / sqrt(variance[c] + eps), scale[c], shift[c], least};
    acc sum = 0, product = 0;
    for_rows(p, team, piece.rows) {
      const auto add = [&](int, real dy, real x) {
        const acc z = normal_of(of, x), d = dy_of(of, z, dy);
        sum += d, product += d * z;
      };
      visit_row(team, piece.length, add, dy + at + p * apart, x + at + p * apart);
    }
    const double total = block_sum(sum), total_product = block_sum(product);
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
    const Team team = team_of(piece.rows, packs_in(piece.length));
    for_rows(p, team, piece.rows) {
      const int c = channel_of(p, piece.plane % channels, channels);
      const Channel of = {mean[c], factors[c], scale[c], shift[c], least};
      const acc gain = of.scale * of.inverse, mean_dy = factors[channels + c], slope = factors[2 * channels + c];
      const auto gradient = [&](int, real d, real v) {
        const acc z = normal_of(of, v);
        return gain * (dy_of(of, z, d) - mean_dy - z * slope);
      };
      const index at = (index)(piece.plane + p) * size + piece.first;
      write_row(team, piece.length, dx + at, gradient, dy + at, x + at);
    }
  }
}
