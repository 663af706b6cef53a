// Max-pooling with switches (paper, 3.2.1): y = the maximum of each window, switches = its flat index h * width + w in the plane.
// The first maximum in scan order wins a tie; a NaN beats every number, so that it is not lost on the way to the loss.
// Average pooling divides by the window's size, its padding counted, as Caffe does.
// Compulsory bytes per plane: forward reads H * W, writes one (max: two) values per window; backward reads those and writes H * W
// (where windows overlap, a switch for each window that reaches a place).
#include "bands.h"
#include "maximum.h"
#include "rows.h"

// kernel 2, stride 2, no padding, the window whole: the case of the paper's net, free of inner loops so that it vectorises
DEVICE void pool_pairs(const real* __restrict__ upper, const real* __restrict__ lower, real* __restrict__ y, real* __restrict__ switches,
                       int windows, int at, int width) {
  for_threads(i, windows) {
    real best = upper[2 * i];
    int place = at + 2 * i;
    if (beats(upper[2 * i + 1], best)) best = upper[2 * i + 1], place = at + 2 * i + 1;
    if (beats(lower[2 * i], best)) best = lower[2 * i], place = at + width + 2 * i;
    if (beats(lower[2 * i + 1], best)) best = lower[2 * i + 1], place = at + width + 2 * i + 1;
    y[i] = best;
    switches[i] = place;
  }
}

KERNEL(max_pool_forward, const real* __restrict__ x, real* __restrict__ y, real* __restrict__ switches, int planes, int height, int width,
       int out_height, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w) {
  for_blocks(r, planes * out_height) {
    const int oh = r % out_height, top = max(oh * stride_h - pad_h, 0), end = min(oh * stride_h - pad_h + kernel_h, height);
    const real* __restrict__ plane = x + (index)(r / out_height) * height * width;
    real* __restrict__ to = y + (index)r * out_width;
    real* __restrict__ to_switches = switches + (index)r * out_width;
    int done = 0;
    if (kernel_h == 2 && kernel_w == 2 && stride_w == 2 && !pad_h && !pad_w && end - top == 2) {
      done = min(width / 2, out_width);
      pool_pairs(plane + top * width, plane + (top + 1) * width, to, to_switches, done, top * width, width);
    }
    for_threads(rest, out_width - done) {
      const int ow = done + rest, left = max(ow * stride_w - pad_w, 0), right = min(ow * stride_w - pad_w + kernel_w, width);
      const Best best = best_of(plane, top, end, left, right, width);
      to[ow] = best.value, to_switches[ow] = best.place;
    }
  }
}

// The same for a CPU: the windows of a band (bands.h), two vectors of them at a time.
struct Sight { int distance; real beyond; };  // a tap: how far from a window's own place, and its place, counted from the window's corner
struct Sights { Sight of[MOST_TAPS]; };

// whether one of n values is a NaN; a NaN beats a number, and nothing a NaN
DEVICE bool any_nan(const real* __restrict__ seen, int n) {
  lanes odd = {};
  for_threads(v, n / LANES) {
    const lanes value = at(seen + v * LANES);
    odd = value != value ? value : odd;
  }
  for_threads(q, n % LANES) odd = seen[n - 1 - q] != seen[n - 1 - q] ? lanes{} + seen[n - 1 - q] : odd;
  return block_any(sum_of(odd) != 0);
}

// the maxima of two vectors of windows, and which taps they are: -1 where nothing is above LOWEST
template <bool NANS>
DEVICE void find_most(const Sights& taps, int count, const real* __restrict__ seen, real* __restrict__ most, real* __restrict__ place) {
  lanes best[2], where[2];
  for (int v = 0; v < 2; ++v) best[v] = lanes{} + (real)LOWEST, where[v] = lanes{} - 1;
  for (int tap = 0; tap < count; ++tap) {
    const real* __restrict__ from = seen + taps.of[tap].distance;
    const real beyond = taps.of[tap].beyond;
    // vectors by name: left to itself the compiler makes branches of it
    for (int v = 0; v < 2; ++v) {
      const lanes value = at(from + v * LANES);
      const auto take = NANS ? (!(value <= best[v])) & (best[v] == best[v]) : value > best[v];
      best[v] = take ? value : best[v], where[v] = take ? lanes{} + beyond : where[v];
    }
  }
  for (int v = 0; v < 2; ++v) at(most + v * LANES) = best[v], at(place + v * LANES) = where[v];
}

KERNEL(max_pool_bands, const real* __restrict__ x, real* __restrict__ y, real* __restrict__ switches, int planes, int height, int width,
       int out_height, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, int rows, int columns) {
  SHARED(Buffer, seen);
  SHARED(Buffer, most);
  SHARED(Buffer, places);
  SHARED(Sights, taps);
  const int down_pieces = (out_height + rows - 1) / rows, pieces = down_pieces * ((out_width + columns - 1) / columns);
  lanes steps = {};
  for (int l = 0; l < LANES; ++l) lane(steps, l) = l * stride_w;
  Band band;
  int banded = -1;  // the piece that it is of
  for_blocks(r, planes * pieces) {
    const int p = divided(r, pieces), piece = r - p * pieces;
    const real* __restrict__ plane = x + (index)p * height * width;
    if (piece != banded) {
      const Slide down = windows_of({height, kernel_h, stride_h, pad_h, 1, 0, 0}, out_height, piece % down_pieces, rows);
      const Slide across = windows_of({width, kernel_w, stride_w, pad_w, 1, 0, 0}, out_width, piece / down_pieces, columns);
      band = band_of(down, across), banded = piece;
      for_threads(tap, kernel_h * kernel_w) {
        const int i = tap / kernel_w, j = tap - i * kernel_w;
        taps.of[tap] = {distance(band, i, j), (real)(i * width + j)};
      }
    }
    const Slide &down = band.down, &across = band.across;
    fill_band(band, plane, LOWEST, seen);
    const bool nans = any_nan(seen.of, phases(down) * phases(across) * band.rows * band.pitch);
    for_threads(pair, (band.windows + 2 * LANES - 1) / (2 * LANES)) {
      const int n = pair * 2 * LANES;
      if (nans)
        find_most<true>(taps, kernel_h * kernel_w, seen.of + n, most.of + n, places.of + n);
      else
        find_most<false>(taps, kernel_h * kernel_w, seen.of + n, most.of + n, places.of + n);
    }
    sync_block();
    lanes lowest = {};
    for (int row = 0; row < down.count; ++row) {
      const index to = ((index)p * out_height + down.first + row) * out_width + across.first;
      const int room = across.count == out_width ? (down.count - row) * out_width : across.count;
      const int corner = ((down.first + row) * stride_h - pad_h) * width + across.first * stride_w - pad_w;
      const real *__restrict__ best = most.of + row * band.pitch, *__restrict__ place = places.of + row * band.pitch;
      take_row(y + to, across.count, room, [=](int q) { return at(best + q); });
      take_row(switches + to, across.count, room, [=, &lowest](int q) {
        const lanes own = at(place + q);
        const auto lower = (own < lowest) & (steps < (real)((across.count - q) * stride_w));
        lowest = lower ? own : lowest;
        return own + (lanes{} + (real)(corner + q * stride_w) + steps);
      });
    }
    if (!block_any(sum_of(lowest) < 0)) continue;
    for_threads(n, down.count * across.count) {
      const int row = n / across.count, w = n - row * across.count;
      if (places.of[row * band.pitch + w] >= 0) continue;
      const int top = (down.first + row) * stride_h - pad_h, left = (across.first + w) * stride_w - pad_w;
      const Best found = best_of(plane, max(top, 0), min(top + kernel_h, height), max(left, 0), min(left + kernel_w, width), width);
      const index to = ((index)p * out_height + down.first + row) * out_width + across.first + w;
      y[to] = found.value, switches[to] = found.place;
    }
  }
}

// The same for a GPU: a block owns `together` rows of a plane's windows, teams of its threads a row each, so that narrow maps fill a warp too.
KERNEL(max_pool_rows, const real* __restrict__ x, real* __restrict__ y, real* __restrict__ switches, int planes, int height, int width,
       int out_height, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, int together) {
  const int groups = (out_height + together - 1) / together;
  // windows of 2x2 whose rows are read two values at once
  const bool pairs = kernel_h == 2 && kernel_w == 2 && stride_w == 2 && !pad_h && !pad_w && width == 2 * out_width && (size_t)x % sizeof(Side) == 0;
  for_blocks(r, planes * groups) {
    const int p = r / groups, first = (r - p * groups) * together, rows = min(together, out_height - first);
    const real* __restrict__ plane = x + (index)p * height * width;
    const Team team = team_of(rows, out_width);
    for_rows(row, team, rows) {
      const int oh = first + row, top = max(oh * stride_h - pad_h, 0), end = min(oh * stride_h - pad_h + kernel_h, height);
      const index to = ((index)p * out_height + oh) * out_width;
      if (pairs && end - top == 2) {
        for_team(ow, team, out_width) {
          const int place = top * width + 2 * ow;
          const Side upper = *(const Side*)(plane + place), lower = *(const Side*)(plane + place + width);
          Best best = better({upper.left, place}, upper.right, place + 1);
          best = better(better(best, lower.left, place + width), lower.right, place + width + 1);
          y[to + ow] = best.value, switches[to + ow] = best.place;
        }
        continue;
      }
      for_team(ow, team, out_width) {
        const int left = max(ow * stride_w - pad_w, 0), right = min(ow * stride_w - pad_w + kernel_w, width);
        const Best best = best_of(plane, top, end, left, right, width);
        y[to + ow] = best.value, switches[to + ow] = best.place;
      }
    }
  }
}

// dx = the sum of dy over the windows that chose a place; a switch outside the plane writes nothing. One thread adds, as windows may share places.
KERNEL(max_pool_backward, const real* __restrict__ dy, const real* __restrict__ switches, real* __restrict__ dx, int planes, int windows,
       int size) {
  for_blocks(p, planes) {
    real* __restrict__ to = dx + (index)p * size;
    for_threads(i, size) to[i] = 0;
    sync_block();
    for_threads(once, 1) {
      for (index from = (index)p * windows; from < (index)(p + 1) * windows; ++from) {
        const int at = (int)switches[from];
        if (0 <= at && at < size) to[at] += dy[from];
      }
    }
  }
}

// the same for a GPU, where windows overlap: each place sums over the windows that reach it and chose it
KERNEL(max_pool_backward_overlapping, const real* __restrict__ dy, const real* __restrict__ switches, real* __restrict__ dx, int planes,
       int height, int width, int out_height, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w) {
  for_blocks(r, planes * height) {
    const int h = r % height;
    const index windows = (index)(r / height) * out_height * out_width;
    const int first_h = max(0, (h + pad_h - kernel_h + stride_h) / stride_h), last_h = min(out_height - 1, (h + pad_h) / stride_h);
    for_threads(w, width) {
      const int first_w = max(0, (w + pad_w - kernel_w + stride_w) / stride_w), last_w = min(out_width - 1, (w + pad_w) / stride_w);
      acc sum = 0;
      for (int oh = first_h; oh <= last_h; ++oh)
        for (int ow = first_w; ow <= last_w; ++ow)
          if ((int)switches[windows + oh * out_width + ow] == h * width + w) sum += dy[windows + oh * out_width + ow];
      dx[(index)r * width + w] = sum;
    }
  }
}

KERNEL(average_pool_forward, const real* __restrict__ x, real* __restrict__ y, int planes, int height, int width, int out_height,
       int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w) {
  for_blocks(r, planes * out_height) {
    const int from_h = r % out_height * stride_h - pad_h, to_h = min(from_h + kernel_h, height + pad_h);
    const real* __restrict__ plane = x + (index)(r / out_height) * height * width;
    for_threads(ow, out_width) {
      const int from_w = ow * stride_w - pad_w, to_w = min(from_w + kernel_w, width + pad_w);
      acc sum = 0;
      for (int h = max(from_h, 0); h < min(to_h, height); ++h)
        for (int w = max(from_w, 0); w < min(to_w, width); ++w) sum += plane[h * width + w];
      const int size = max(0, to_h - from_h) * max(0, to_w - from_w);
      y[(index)r * out_width + ow] = size ? sum / size : 0;
    }
  }
}

// y = x divided by the size of its window; y may be x
KERNEL(average_pool_shares, const real* x, real* y, int planes, int height, int width, int out_height, int out_width, int kernel_h, int kernel_w,
       int stride_h, int stride_w, int pad_h, int pad_w) {
  for_blocks(r, planes * out_height) {
    const int from_h = r % out_height * stride_h - pad_h, rows = max(0, min(kernel_h, height + pad_h - from_h));
    for_threads(ow, out_width) {
      const int size = rows * max(0, min(kernel_w, width + pad_w - (ow * stride_w - pad_w)));
      y[(index)r * out_width + ow] = size ? x[(index)r * out_width + ow] / size : 0;
    }
  }
}

KERNEL(average_pool_backward, const real* __restrict__ dy, real* __restrict__ dx, int planes, int height, int width, int out_height,
       int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w) {
  const bool global = out_height == 1 && out_width == 1 && kernel_h - pad_h >= height && kernel_w - pad_w >= width;
  for_blocks(r, planes * height) {
    const int h = r % height;
    const real* __restrict__ windows = dy + (index)(r / height) * out_height * out_width;
    if (global) {
      const real share = windows[0] / (min(kernel_h, height + 2 * pad_h) * min(kernel_w, width + 2 * pad_w));
      for_threads(w, width) dx[(index)r * width + w] = share;
      continue;
    }
    const int first_h = max(0, (h + pad_h - kernel_h + stride_h) / stride_h), last_h = min(out_height - 1, (h + pad_h) / stride_h);
    for_threads(w, width) {
      const int first_w = max(0, (w + pad_w - kernel_w + stride_w) / stride_w), last_w = min(out_width - 1, (w + pad_w) / stride_w);
      acc sum = 0;
      for (int oh = first_h; oh <= last_h; ++oh)
        for (int ow = first_w; ow <= last_w; ++ow) {
          const int from_h = oh * stride_h - pad_h, from_w = ow * stride_w - pad_w;
          const int size = (min(from_h + kernel_h, height + pad_h) - from_h) * (min(from_w + kernel_w, width + pad_w) - from_w);
          sum += windows[oh * out_width + ow] / size;
        }
      dx[(index)r * width + w] = sum;
    }
  }
}
