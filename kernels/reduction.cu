// Sums over rows, each row standardised, and the k largest values of an axis. Compulsory bytes: read each value once; backward writes it.
#include "kernel.h"

#define SUM_OF_VALUES 1
#define SUM_OF_MAGNITUDES 2
#define SUM_OF_SQUARES 3
#define SUMMED_AT_ONCE 4096  // values that are summed in `acc` before a double takes over

DEVICE double sum_of_row(const real* __restrict__ from, int operation, int size) {
  double total = 0;
  for (int first = 0; first < size; first += SUMMED_AT_ONCE) {
    const real* __restrict__ part = from + first;
    const int count = min(SUMMED_AT_ONCE, size - first);
    acc sum = 0;
    if (operation == SUM_OF_MAGNITUDES) {
      for_threads_sum(i, count, sum) sum += fabs(part[i]);
    } else if (operation == SUM_OF_SQUARES) {
      for_threads_sum(i, count, sum) sum += part[i] * part[i];
    } else {
      for_threads_sum(i, count, sum) sum += part[i];
    }
    total += sum;
  }
  return total;
}

// y[r] = gain * sum over the row of x, |x| or x^2
KERNEL(reduce_rows, const real* __restrict__ x, real* __restrict__ y, acc gain, int operation, int rows, int size) {
  for_blocks(r, rows) {
    const double total = block_sum(sum_of_row(x + (index)r * size, operation, size));
    for_threads(once, 1) y[r] = gain * total;
  }
}

KERNEL(reduce_rows_backward, const real* __restrict__ dy, const real* __restrict__ x, real* __restrict__ dx, acc gain, int operation,
       int rows, int size) {
  for_blocks(r, rows) {
    const acc g = gain * dy[r];
    const real* __restrict__ from = x + (index)r * size;
    real* __restrict__ to = dx + (index)r * size;
    if (operation == SUM_OF_MAGNITUDES) {
      for_threads(i, size) to[i] = g * ((from[i] > 0) - (from[i] < 0));
    } else if (operation == SUM_OF_SQUARES) {
      for_threads(i, size) to[i] = 2 * g * from[i];
    } else {
      for_threads(i, size) to[i] = g;
    }
  }
}

// y = (x - mean) / spread over each row, spread = sqrt(mean of (x - mean)^2) + eps, or 1 without `scaled`; y may be x
KERNEL(standardize_rows, const real* x, real* y, real* __restrict__ spread, acc eps, int scaled, int rows, int size) {
  for_blocks(r, rows) {
    const real* from = x + (index)r * size;
    real* to = y + (index)r * size;
    const acc mean = block_sum(sum_of_row(from, SUM_OF_VALUES, size)) / size;
    for_threads(i, size) to[i] = from[i] - mean;
    const acc over = scaled ? sqrt(block_sum(sum_of_row(to, SUM_OF_SQUARES, size)) / size) + eps : 1;  // each thread reads what it wrote
    for_threads(i, size) to[i] /= over;
    for_threads(once, 1) spread[r] = over;
  }
}

// dx = (dy - mean of dy - y * mean of dy y) / spread, without the last term where not `scaled`; dx may be dy
KERNEL(standardize_rows_backward, const real* dy, const real* __restrict__ y, const real* __restrict__ spread, real* dx, int scaled,
       int rows, int size) {
  for_blocks(r, rows) {
    const index at = (index)r * size;
    acc product = 0;
    if (scaled) for_threads_sum(i, size, product) product += dy[at + i] * y[at + i];
    const acc mean = block_sum(sum_of_row(dy + at, SUM_OF_VALUES, size)) / size, slope = block_sum((double)product) / size;
    for_threads(i, size) dx[at + i] = (dy[at + i] - mean - y[at + i] * slope) / spread[r];
  }
}

// whether value v of class c comes before w of class d: larger values first, of equal ones the larger class, a NaN last
DEVICE bool ranks_before(real v, int c, real w, int d) {
  if (v != v || w != w) return (v == v) == (w == w) ? c > d : v == v;
  return v > w || (v == w && c > d);
}

// The k best of the middle axis of x (outer, classes, inner), best first. Of each outer index, y holds `stride` values: the classes from
// `class_at` on and the scores from `score_at` on, (k, inner) each; -1 leaves them out. A thread owns a place and passes k times over it.
KERNEL(best_classes, const real* __restrict__ x, real* __restrict__ y, int k, int class_at, int score_at, int stride, int outer, int classes,
       int inner, int run) {
  const int runs = (inner + run - 1) / run;
  for_blocks(r, outer * runs) {
    const int first = r % runs * run;
    const index at = (index)(r / runs) * classes * inner + first, to = (index)(r / runs) * stride + first;
    for_threads_in_order(i, min(run, inner - first)) {
      int before = -1;
      for (int rank = 0; rank < k; ++rank) {
        int best = -1;
        for (int c = 0; c < classes; ++c) {
          const real score = x[at + i + (index)c * inner];
          if (before >= 0 && !ranks_before(x[at + i + (index)before * inner], before, score, c)) continue;
          if (best < 0 || ranks_before(score, c, x[at + i + (index)best * inner], best)) best = c;
        }
        if (class_at >= 0) y[to + i + class_at + (index)rank * inner] = best;
        if (score_at >= 0) y[to + i + score_at + (index)rank * inner] = x[at + i + (index)best * inner];
        before = best;
      }
    }
  }
}

// y (places) = the class with the greatest score at each place of x (classes, places), the first of equal ones; a NaN counts as the greatest.
// A block owns a run of places, a thread a place.
KERNEL(class_map, const real* __restrict__ x, unsigned char* __restrict__ y, int classes, int places, int run) {
  const int runs = (places + run - 1) / run;
  for_blocks(r, runs) {
    const int first = r * run;
    for_threads(i, min(run, places - first)) {
      real best = x[first + i];
      int which = 0;
      for (int c = 1; c < classes; ++c) {
        const real score = x[(index)c * places + first + i];
        if (score > best || (score != score && best == best)) best = score, which = c;
      }
      y[first + i] = (unsigned char)which;
    }
  }
}
