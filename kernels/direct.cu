// Correlation as a product whose right side a CPU finds without im2col's columns in memory:
//   y[n, o, h, w] = sum over (c, i, j) of x[n, c, h * stride - pad + i, ...] * weights[o, c, i, j].
// Only what the columns of a window see is laid out, not what its rows do: `seen` (C, phases, kw, rows, W') holds for column j of the window what
// the windows of each row find there, rows apart by stride as in bands.h. Tap (i, j) of all windows is then one run of plane j of phase i % stride,
// from row i / stride on, and windows follow each other over the ends of rows as their results do in y. A block does so for a band of rows after the
// other, in memory that stays with its processor.
// Compulsory bytes: read x and the weights once, write y once.
#include "bands.h"
#include "lanes.h"

#if defined(__AVX512F__)
#define TALL 8  // TALL outputs x WIDE vectors of windows are summed in registers; kernels/direct.py knows the largest
#else
#define TALL (LANES < 4 ? LANES : 4)
#endif
#define WIDE 3
#define CHUNK 64  // weights of each of LANES outputs that are put in order at a time

// seen = what `rows` rows of a phase see, from that of window row `first` on; plane: values from one plane of it to the next, two vectors to spare
DEVICE void see(const real* __restrict__ x, real* __restrict__ seen, int channels, const Slide& down, const Slide& across, int first, int rows,
                int out_width, index plane) {
  const int apart = phases(down);
  for (int r = 0; r < channels * apart * across.kernel; ++r) {
    const int j = r % across.kernel, a = r / across.kernel % apart, shift = j - across.pad;
    const Span span = span_of(shift, across.stride, across.size, out_width);
    const int count = span.last - span.first;
    for (int q = 0; q < rows; ++q) {
      real* __restrict__ to = seen + r * plane + (index)q * out_width;
      const int h = (first + q) * down.stride + a - down.pad;
      if (h < 0 || h >= down.size || !count) {
        put(to, out_width, 0);
        continue;
      }
      const index start = (index)h * across.size + shift + span.first * across.stride, room = (index)down.size * across.size - start;
      const real* __restrict__ from = x + (index)(r / across.kernel / apart) * down.size * across.size + start;
      put(to, span.first, 0);
      if (across.stride == 1)
        put_row(to + span.first, from, count, room);
      else
        put_strided(to + span.first, from, count, across.stride, room);
      put(to + span.last, out_width - span.last, 0);
    }
  }
}

// panels (groups, steps, depth, taps, TALL): the weights in the order in which they are multiplied, zeros behind the last output of a group.
// Those of a group lie together, tap t of output o and channel c at o * o_step + c * c_step + t, or where tap taps - 1 - t would if rotated.
KERNEL(direct_panels, const real* __restrict__ weights, real* __restrict__ panels, int groups, int depth, int outputs, int taps, int o_step,
       int c_step, int rotated) {
  const int steps = (outputs + TALL - 1) / TALL, blocks = (outputs + LANES - 1) / LANES, values = depth * taps;
  const int together = rotated ? taps : values;  // the taps of a channel, or where they follow each other those of all
  for_blocks(r, groups * blocks) {
    const int group = r / blocks, o = r % blocks * LANES;
    const real* own = weights + (index)group * outputs * values + (index)o * o_step;
    for_threads(c, values / together) {
      for (int first = 0; first < together; first += CHUNK) {
        const index start = (index)c * c_step + first, room = (index)(groups - group) * outputs * values - (index)o * o_step - start;
        const int count = min(CHUNK, together - first);
        lanes piece[CHUNK];
        gather_lanes(own + start, o_step, outputs - o, count, room, piece);
        for (int n = 0; n < count; ++n) {
          const int t = first + n, place = rotated ? c * taps + taps - 1 - t : t;
          for (int l = 0; l < LANES && o + l < steps * TALL; l += TALL) {
            real* __restrict__ to = panels + ((index)(group * steps + (o + l) / TALL) * values + place) * TALL;
            for (int k = 0; k < TALL; ++k) to[k] = lane(piece[n], l + k);
          }
        }
      }
    }
  }
}

// How windows find their taps in what a group sees, plane after plane, and where the results of an output lie.
struct Windows { int depth, kernel_h, kernel_w, stride, apart, out_width; index plane, y_plane; };

// What becomes of the sums of an output: plus bias, then, if there is a gain, times gain plus shift, then, if rectified, not below zero.
struct Ending { const real *bias, *gain, *shift; int rectified; };

// y = the results of `places` windows, W vectors at most, and of the `existing` outputs of a panel
template <int W>
DEVICE void direct_product(const Windows& windows, const real* __restrict__ panel, const real* __restrict__ seen, const Ending& ending,
                           int existing, real* __restrict__ y, int places) {
  lanes sums[TALL][W] = {};
  for (int c = 0; c < windows.depth; ++c, seen += windows.apart * windows.kernel_w * windows.plane)
    for (int i = 0, a = 0, q = 0; i < windows.kernel_h; ++i) {  // a: i % stride, q: i / stride
      const real* from = seen + a * windows.kernel_w * windows.plane + q * windows.out_width;
      for (int j = 0; j < windows.kernel_w; ++j, panel += TALL, from += windows.plane) {
        lanes right[W];
        for (int w = 0; w < W; ++w) right[w] = in_register(at(from + w * LANES));
        for (int o = 0; o < TALL; ++o) {
          const real factor = panel[o];
          for (int w = 0; w < W; ++w) sums[o][w] += factor * right[w];
        }
      }
      if (++a == windows.stride) a = 0, ++q;
    }
  for (int o = 0; o < TALL; ++o) {
    if (o >= existing) continue;
    const real bias = ending.bias ? ending.bias[o] : 0;
    for (int w = 0; w < W; ++w) {
      lanes result = sums[o][w] + bias;
      if (ending.gain) result = ending.gain[o] * result + ending.shift[o];
      if (ending.rectified) result = result < 0 ? lanes{} : result;
      real* to = y + o * windows.y_plane + w * LANES;
      if (places - w * LANES >= LANES)
        at(to) = result;
      else
        copy_few(to, (const real*)&result, places - w * LANES);
    }
  }
}

// y (images, groups * outputs, out_height, out_width), `rows` rows of windows at a time. depth, outputs: channels of a group; seen: so many parts,
// each for the rows of some blocks. No bias: 0; no gain: neither gain nor shift.
KERNEL(direct_correlate, const real* __restrict__ x, const real* __restrict__ panels, const real* __restrict__ bias,
       const real* __restrict__ gain, const real* __restrict__ shift, int rectified, real* __restrict__ y, real* __restrict__ seen, int parts,
       int images, int groups, int depth, int outputs, int height, int width, int out_height, int out_width, int kernel_h, int kernel_w,
       int stride_h, int stride_w, int pad_h, int pad_w, int rows, index plane) {
  const Slide down = {height, kernel_h, stride_h, pad_h, 1, 0, 0}, across = {width, kernel_w, stride_w, pad_w, 1, 0, 0};
  const int apart = phases(down), channels = groups * depth, steps = (outputs + TALL - 1) / TALL, bands = (out_height + rows - 1) / rows;
  const Windows windows = {depth, kernel_h, kernel_w, stride_h, apart, out_width, plane, (index)out_height * out_width};
  for_blocks(p, parts) {
    real* own = seen + p * channels * apart * kernel_w * plane;
    for (int band = (int)((index)images * bands * p / parts); band < (int)((index)images * bands * (p + 1) / parts); ++band) {
      const int image = band / bands, first = band % bands * rows, count = min(rows, out_height - first), places = count * out_width;
      const int vectors = (places + LANES - 1) / LANES, runs = (vectors + WIDE - 1) / WIDE;
      sync_block();
      see(x + (index)image * channels * height * width, own, channels, down, across, first, count + reach(down), out_width, plane);
      sync_block();
      for_threads(n, groups * runs * steps) {
        const int step = n % steps, run = n / steps % runs, group = n / steps / runs;
        const int begin = (int)((index)vectors * run / runs), wide = (int)((index)vectors * (run + 1) / runs) - begin;
        const int o = group * outputs + step * TALL, existing = min(TALL, outputs - step * TALL), left = places - begin * LANES;
        const real* panel = panels + (index)(group * steps + step) * depth * kernel_h * kernel_w * TALL;
        const real* from = own + (index)group * depth * apart * kernel_w * plane + begin * LANES;
        const Ending ending = {bias ? bias + o : bias, gain ? gain + o : gain, gain ? shift + o : gain, rectified};
        real* to = y + ((index)image * groups * outputs + o) * windows.y_plane + (index)first * out_width + begin * LANES;
        switch (wide) {
          case 1: direct_product<1>(windows, panel, from, ending, existing, to, left); break;
          case 2: direct_product<2>(windows, panel, from, ending, existing, to, left); break;
          default: direct_product<WIDE>(windows, panel, from, ending, existing, to, left);
        }
      }
    }
  }
}

#define TAPS_TOGETHER 24  // taps of a group's channels, whose runs stay in the first cache while the gradients of all outputs go by

// The places of a band, in several images at once: the sums over a vector's lanes are then made seldom. last: which lanes of the last vector exist.
struct Places { int images, count; index seen_image, y_image, y_plane; const real* end; lanes last; };

// dweights += the products of what W taps see with the gradients of the `existing` outputs from dy on; rows of dweights are `step` apart
template <int W>
DEVICE void direct_weights_product(const Places& places, const real* const* seen, const real* __restrict__ dy, int existing,
                                   real* __restrict__ dweights, index step) {
  lanes sums[TALL][W] = {};
  for (int image = 0; image < places.images; ++image) {
    const real *left[TALL], *right[W];
    for (int o = 0; o < TALL; ++o) left[o] = dy + image * places.y_image + min(o, existing - 1) * places.y_plane;
    for (int w = 0; w < W; ++w) right[w] = seen[w] + image * places.seen_image;
    auto add = [&](int q, auto read) {
      lanes factors[W];
      for (int w = 0; w < W; ++w) factors[w] = in_register(at(right[w] + q));
      for (int o = 0; o < TALL; ++o) {
        const lanes gradient = read(left[o] + q);
        for (int w = 0; w < W; ++w) sums[o][w] += gradient * factors[w];
      }
    };
    int q = 0;
    for (; q + LANES <= places.count; q += LANES) add(q, [](const real* p) { return in_register(at(p)); });
    if (q < places.count)
      add(q, [&](const real* p) {
        lanes rest = {};
        if (p + LANES <= places.end) return places.last > 0 ? at(p) : rest;
        copy_few((real*)&rest, p, places.count - q);
        return rest;
      });
  }
  for (int o = 0; o < TALL; ++o) {
    if (o >= existing) break;
    for (int w = 0; w < W; ++w) dweights[o * step + w] += sum_of(sums[o][w]);
  }
}

// dweights (groups * outputs, depth, kernel_h, kernel_w) += its gradient, `rows` rows of windows of `together` images at a time. The channels go
// in c_parts, the outputs of each group in o_parts; seen: so many parts of each other's product.
KERNEL(direct_weights, const real* __restrict__ x, const real* __restrict__ dy, real* __restrict__ dweights, real* __restrict__ seen, int c_parts,
       int o_parts, int images, int together, int groups, int depth, int outputs, int height, int width, int out_height, int out_width,
       int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, int rows, index plane) {
  const Slide down = {height, kernel_h, stride_h, pad_h, 1, 0, 0}, across = {width, kernel_w, stride_w, pad_w, 1, 0, 0};
  const int apart = phases(down), channels = groups * depth, taps = kernel_h * kernel_w;
  const index y_plane = (index)out_height * out_width, y_image = groups * outputs * y_plane, step = (index)depth * taps;
  const index seen_image = (index)((channels + c_parts - 1) / c_parts) * apart * kernel_w * plane;
  for_blocks(p, c_parts * o_parts) {
    real* own = seen + p * together * seen_image;
    const int c = channels * (p / o_parts) / c_parts, c_end = channels * (p / o_parts + 1) / c_parts;
    const int o = outputs * (p % o_parts) / o_parts, existing = outputs * (p % o_parts + 1) / o_parts - o, steps = (existing + TALL - 1) / TALL;
    for (int image = 0; image < images; image += together)
      for (int first = 0; first < out_height; first += rows) {
        const int count = min(rows, out_height - first), seen_rows = count + reach(down);
        Places places = {min(together, images - image), count * out_width, seen_image, y_image, y_plane, dy + images * y_image, {}};
        for (int l = 0; l < LANES; ++l) lane(places.last, l) = l < places.count % LANES;
        sync_block();
        for (int m = 0; m < places.images; ++m) {
          real* to = own + m * seen_image;
          see(x + ((index)(image + m) * channels + c) * height * width, to, c_end - c, down, across, first, seen_rows, out_width, plane);
          for (int r = 0; r < (c_end - c) * apart * kernel_w; ++r) put(to + r * plane + (index)seen_rows * out_width, LANES, 0);
        }
        sync_block();
        for (int group = c / depth; group * depth < c_end; ++group) {
          const int begin = max(c - group * depth, 0) * taps, end = min(c_end - group * depth, depth) * taps;
          for_threads(n, (end - begin + TAPS_TOGETHER - 1) / TAPS_TOGETHER * steps) {
            const int start = begin + n / steps * TAPS_TOGETHER, tall = n % steps * TALL;
            const index row = group * outputs + o + tall;
            const real* from = dy + image * y_image + row * y_plane + (index)first * out_width;
            for (int t = start; t < min(end, start + TAPS_TOGETHER); t += WIDE) {
              const int wide = min(WIDE, end - t);
              const real* found[WIDE];
              for (int w = 0; w < wide; ++w) {
                const int i = (t + w) % taps / kernel_w, j = (t + w) % kernel_w, channel = group * depth + (t + w) / taps - c;
                const index at_plane = ((index)channel * apart + remainder_of(i, stride_h)) * kernel_w + j;
                found[w] = own + at_plane * plane + divided(i, stride_h) * out_width;
              }
              switch (wide) {
                case 1: direct_weights_product<1>(places, found, from, min(TALL, existing - tall), dweights + row * step + t, step); break;
                case 2: direct_weights_product<2>(places, found, from, min(TALL, existing - tall), dweights + row * step + t, step); break;
                default: direct_weights_product<WIDE>(places, found, from, min(TALL, existing - tall), dweights + row * step + t, step);
              }
            }
          }
        }
      }
  }
}
