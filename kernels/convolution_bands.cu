// Convolution with few channels a group, as a depthwise one has, and its adjoints, for a CPU (bands.h):
//   y[n, g, o, h, w] = sum over (c, i, j) of x[n, g, c, h * stride - pad + i * dilation, ...] * weights[g, o, c, i, j].
// A product of matrices would have a single row, and columns several times as large as the map. Here taps pass over a band of windows
// that stays in the first cache, nine of a 3x3 window at once. Compulsory bytes: read x and the weights once, write y once.
#include "bands.h"

struct Totals { double of[MOST_TAPS]; };

// The nine taps of a 3x3 window, as most are, and how far from a window's own place they find what they see.
struct Nine { acc tap[9]; int at[9]; };

// sums[n] (first: =, else +=) what window n sees times its taps, in one pass over the sums, by whole vectors
DEVICE void add_nine(const Nine& nine, bool first, int windows, const Buffer& seen, Buffer& sums) {
  const real *__restrict__ a = seen.of + nine.at[0], *__restrict__ b = seen.of + nine.at[1], *__restrict__ c = seen.of + nine.at[2];
  const real *__restrict__ d = seen.of + nine.at[3], *__restrict__ e = seen.of + nine.at[4], *__restrict__ f = seen.of + nine.at[5];
  const real *__restrict__ g = seen.of + nine.at[6], *__restrict__ h = seen.of + nine.at[7], *__restrict__ i = seen.of + nine.at[8];
  const acc ta = nine.tap[0], tb = nine.tap[1], tc = nine.tap[2], td = nine.tap[3], te = nine.tap[4], tf = nine.tap[5], tg = nine.tap[6],
            th = nine.tap[7], ti = nine.tap[8];
  for_threads(v, (windows + LANES - 1) / LANES) {
    const int n = v * LANES;
    const lanes sum = ta * at(a + n) + tb * at(b + n) + tc * at(c + n) + td * at(d + n) + te * at(e + n) + tf * at(f + n) + tg * at(g + n) +
                      th * at(h + n) + ti * at(i + n);
    at(sums.of + n) = first ? sum : at(sums.of + n) + sum;
  }
}

// sums[n] += what window n sees times the taps of a row of the window
DEVICE void add_row_of_taps(const Band& band, int i, const real* __restrict__ taps, const Buffer& seen, Buffer& sums) {
  const int vectors = (band.windows + LANES - 1) / LANES;
  int j = 0;
  for (; j + 3 <= band.across.kernel; j += 3) {
    const real* __restrict__ one = seen.of + distance(band, i, j);
    const real* __restrict__ two = seen.of + distance(band, i, j + 1);
    const real* __restrict__ three = seen.of + distance(band, i, j + 2);
    const acc first = taps[j], second = taps[j + 1], third = taps[j + 2];
    for_threads(v, vectors) {
      const int n = v * LANES;
      at(sums.of + n) += first * at(one + n) + second * at(two + n) + third * at(three + n);
    }
  }
  for (; j < band.across.kernel; ++j) {
    const real* __restrict__ one = seen.of + distance(band, i, j);
    const acc tap = taps[j];
    for_threads(v, vectors) at(sums.of + v * LANES) += tap * at(one + v * LANES);
  }
}

// in, out: channels of x and of y in a group
KERNEL(correlate_bands, const real* __restrict__ x, const real* __restrict__ weights, real* __restrict__ y, int images, int groups, int in,
       int out, int height, int width, int out_height, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h,
       int pad_w, int dilation_h, int dilation_w, int rows, int columns) {
  SHARED(Buffer, seen);
  SHARED(Buffer, sums);
  const int down_pieces = (out_height + rows - 1) / rows, pieces = down_pieces * ((out_width + columns - 1) / columns);
  const bool has_nine = kernel_h == 3 && kernel_w == 3;
  Band band;
  Nine nine;
  int banded = -1;  // the piece that they are of
  for_blocks(r, images * groups * out * pieces) {
    const int plane = divided(r, pieces), piece = r - plane * pieces;
    if (piece != banded) {
      const Slide down = windows_of({height, kernel_h, stride_h, pad_h, dilation_h, 0, 0}, out_height, piece % down_pieces, rows);
      const Slide across = windows_of({width, kernel_w, stride_w, pad_w, dilation_w, 0, 0}, out_width, piece / down_pieces, columns);
      band = band_of(down, across), banded = piece;
      for (int t = 0; has_nine && t < 9; ++t) nine.at[t] = distance(band, t / 3, t % 3);
    }
    const Slide &down = band.down, &across = band.across;
    if (!has_nine) for_threads(n, band.windows) sums.of[n] = 0;
    for (int c = 0; c < in; ++c) {
      fill_band(band, x + ((index)(plane / out) * in + c) * height * width, 0, seen);
      const real* taps = weights + ((index)(plane % (groups * out)) * in + c) * kernel_h * kernel_w;
      if (has_nine) {
        for (int t = 0; t < 9; ++t) nine.tap[t] = taps[t];
        add_nine(nine, !c, band.windows, seen, sums);
      } else {
        for (int i = 0; i < kernel_h; ++i) add_row_of_taps(band, i, taps + i * kernel_w, seen, sums);
      }
    }
    sync_block();
    for (int row = 0; row < down.count; ++row) {
      real* __restrict__ to = y + ((index)plane * out_height + down.first + row) * out_width + across.first;
      const real* __restrict__ from = sums.of + row * band.pitch;
      const int room = across.count == out_width ? (down.count - row) * out_width : across.count;
      take_row(to, across.count, room, [=](int q) { return at(from + q); });
    }
    sync_block();
  }
}

// The windows that reach a place of x, phase by phase: a band has rows of x `stride` apart, and sees dy; back = the number of windows that reach
// back from a place, so the padding of dy. rows, columns: of a phase of x.
KERNEL(correlate_bands_backward_data, const real* __restrict__ dy, const real* __restrict__ weights, real* __restrict__ dx, int images,
       int groups, int in, int out, int height, int width, int out_height, int out_width, int kernel_h, int kernel_w, int stride_h,
       int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, int rows, int columns) {
  SHARED(Buffer, seen);
  SHARED(Buffer, sums);
  const int back_h = (kernel_h - 1) * dilation_h / stride_h, back_w = (kernel_w - 1) * dilation_w / stride_w;
  const int phase_height = (height + pad_h - 1) / stride_h + 1, phase_width = (width + pad_w - 1) / stride_w + 1;
  const int down_pieces = (phase_height + rows - 1) / rows, pieces = down_pieces * ((phase_width + columns - 1) / columns);
  for_blocks(r, images * groups * in * pieces) {
    const int plane = divided(r, pieces), piece = r - plane * pieces;
    const Slide down = windows_of({out_height, back_h + 1, 1, back_h, 1, 0, 0}, phase_height, piece % down_pieces, rows);
    const Slide across = windows_of({out_width, back_w + 1, 1, back_w, 1, 0, 0}, phase_width, piece / down_pieces, columns);
    const Band band = band_of(down, across);
    const bool has_nine = kernel_h == 3 && kernel_w == 3 && stride_h == 1 && stride_w == 1;
    for (int phase = 0; phase < stride_h * stride_w; ++phase) {
      const int a = divided(phase, stride_w), b = remainder_of(phase, stride_w);
      if (!has_nine) for_threads(n, band.windows) sums.of[n] = 0;
      for (int o = 0; o < out; ++o) {
        const int channel = plane / in % groups * out + o;
        if (out > 1 || !phase) fill_band(band, dy + ((index)(plane / in / groups) * groups * out + channel) * out_height * out_width, 0, seen);
        const real* taps = weights + ((index)channel * in + plane % in) * kernel_h * kernel_w;
        if (has_nine) {
          Nine nine;
          for (int t = 0; t < 9; ++t)
            nine.tap[t] = taps[t], nine.at[t] = distance(band, back_h - t / 3 * dilation_h, back_w - t % 3 * dilation_w);
          add_nine(nine, !o, band.windows, seen, sums);
          continue;
        }
        for (int i = 0; i < kernel_h; ++i)
          for (int j = 0; j < kernel_w; ++j) {
            const int h = i * dilation_h, w = j * dilation_w;
            if (remainder_of(h, stride_h) != a || remainder_of(w, stride_w) != b) continue;
            const real* __restrict__ from = seen.of + distance(band, back_h - divided(h, stride_h), back_w - divided(w, stride_w));
            const acc tap = taps[i * kernel_w + j];
            for_threads(n, band.windows) sums.of[n] += tap * from[n];
          }
      }
      sync_block();
      const int shift = across.first * stride_w + b - pad_w;
      const Span span = span_of(shift, stride_w, width, across.count);
      for (int row = 0; row < down.count; ++row) {
        const int h = (down.first + row) * stride_h + a - pad_h;
        if (h < 0 || h >= height) continue;
        real* __restrict__ to = dx + ((index)plane * height + h) * width + shift + span.first * stride_w;
        const real* __restrict__ from = sums.of + row * band.pitch + span.first;
        spread_row(to, from, span.last - span.first, stride_w);
      }
      sync_block();
    }
  }
}

// totals[t] += the sums over the windows n of above[n] times what tap t of nine sees, in one pass over `above`
DEVICE void add_nine_products(const Band& band, const Buffer& above, const Buffer& seen, Totals& totals) {
  const real* __restrict__ from[9];
  for (int t = 0; t < 9; ++t) from[t] = seen.of + distance(band, t / 3, t % 3);
  const real *__restrict__ a = from[0], *__restrict__ b = from[1], *__restrict__ c = from[2], *__restrict__ d = from[3], *__restrict__ e = from[4],
             *__restrict__ f = from[5], *__restrict__ g = from[6], *__restrict__ h = from[7], *__restrict__ i = from[8];
  acc sa = 0, sb = 0, sc = 0, sd = 0, se = 0, sf = 0, sg = 0, sh = 0, si = 0;
  for_threads_sum(n, band.windows, sa, sb, sc, sd, se, sf, sg, sh, si) {
    const acc dy = above.of[n];
    sa += dy * a[n], sb += dy * b[n], sc += dy * c[n], sd += dy * d[n], se += dy * e[n], sf += dy * f[n], sg += dy * g[n], sh += dy * h[n];
    si += dy * i[n];
  }
  const acc sums[9] = {sa, sb, sc, sd, se, sf, sg, sh, si};
  for (int t = 0; t < 9; ++t) {
    const acc sum = block_sum(sums[t]);
    for_threads(once, 1) totals.of[t] += sum;
  }
}

KERNEL(correlate_bands_backward_weights, const real* __restrict__ x, const real* __restrict__ dy, real* __restrict__ dweights, int images,
       int groups, int in, int out, int height, int width, int out_height, int out_width, int kernel_h, int kernel_w, int stride_h,
       int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, int rows, int columns) {
  SHARED(Buffer, seen);
  SHARED(Buffer, above);
  SHARED(Totals, totals);
  const int down_pieces = (out_height + rows - 1) / rows, pieces = down_pieces * ((out_width + columns - 1) / columns);
  const int taps = kernel_h * kernel_w;
  for_blocks(r, groups * out * in) {
    const int channel = r / in, group = channel / out, c = r % in;
    for_threads(t, taps) totals.of[t] = 0;
    for (int part = 0; part < images * pieces; ++part) {
      const int image = divided(part, pieces), piece = part - image * pieces;
      const Slide down = windows_of({height, kernel_h, stride_h, pad_h, dilation_h, 0, 0}, out_height, piece % down_pieces, rows);
      const Slide across = windows_of({width, kernel_w, stride_w, pad_w, dilation_w, 0, 0}, out_width, piece / down_pieces, columns);
      const Band band = band_of(down, across);
      fill_band(band, x + ((index)(image * groups + group) * in + c) * height * width, 0, seen);
      // the windows' own gradients, nothing behind the last window of a row
      const real* __restrict__ gradients = dy + ((index)image * groups * out + channel) * out_height * out_width;
      for (int row = 0; row < down.count; ++row) {
        const index start = (index)(down.first + row) * out_width + across.first;
        real* __restrict__ to = above.of + row * band.pitch;
        put_row(to, gradients + start, across.count, (index)out_height * out_width - start);
        put(to + across.count, band.pitch - across.count, 0);
      }
      sync_block();
      if (kernel_h == 3 && kernel_w == 3) {
        add_nine_products(band, above, seen, totals);
        continue;
      }
      for (int t = 0; t < taps; ++t) {
        const real* __restrict__ from = seen.of + distance(band, t / kernel_w, t % kernel_w);
        acc sum = 0;
        for_threads_sum(n, band.windows, sum) sum += above.of[n] * from[n];
        sum = block_sum(sum);
        for_threads(once, 1) totals.of[t] += sum;
      }
    }
    sync_block();
    for_threads(t, taps) dweights[(index)r * taps + t] += totals.of[t];
  }
}
