// Bands of a plane for windows that slide over it, in the layout in which a CPU's vectors read a tap of many windows in one run.
//
// The padded plane is taken apart by stride: phase (a, b) has its rows a, a + stride, a + 2 stride ... and of these the columns b, b + stride ...
// Window (h, w) of a band finds tap (i, j) in phase (i dilation % stride, j dilation % stride), i dilation / stride rows and j dilation / stride
// columns beyond its own place. A row has `pitch` values in every phase, so window number h * pitch + w finds a tap always at the same distance,
// over the ends of rows, too; what numbers behind a row's last window find is never looked at.
#pragma once
#include "warp.h"

#define BAND (8192 / (int)sizeof(real))  // values, so that three bands lie in the first cache; kernels/bands.py knows the bytes

struct Buffer { alignas(64) real of[BAND + LANES]; };  // the last vector may reach beyond a band

// n / by and its remainder, n not negative: strides are mostly 1 or 2, and for a small plane a dozen divisions would take as long as its rows
DEVICE int divided(int n, int by) { return by == 1 ? n : by == 2 ? n >> 1 : n / by; }
DEVICE int remainder_of(int n, int by) { return by == 1 ? 0 : by == 2 ? n & 1 : n % by; }

// One direction: the windows first, first + 1 ... first + count - 1 over `size` places.
struct Slide { int size, kernel, stride, pad, dilation, first, count; };
DEVICE int reach(const Slide& s) { return divided((s.kernel - 1) * s.dilation, s.stride); }  // places of a phase beyond the window's own
DEVICE int phases(const Slide& s) { return min(s.stride, (s.kernel - 1) * s.dilation + 1); }

struct Band {
  Slide down, across;
  int rows, pitch;  // of a phase
  int windows;      // their numbers end there
};
DEVICE Band band_of(const Slide& down, const Slide& across) {
  const int pitch = across.count + reach(across);
  return {down, across, down.count + reach(down), pitch, (down.count - 1) * pitch + across.count};
}
DEVICE int distance(const Band& band, int i, int j) {
  const int h = i * band.down.dilation, w = j * band.across.dilation, down = band.down.stride, across = band.across.stride;
  const int phase = remainder_of(h, down) * phases(band.across) + remainder_of(w, across);
  return (phase * band.rows + divided(h, down)) * band.pitch + divided(w, across);
}

// Part `piece` of `windows` windows, `together` a part.
DEVICE Slide windows_of(Slide slide, int windows, int piece, int together) {
  slide.first = piece * together, slide.count = min(together, windows - slide.first);
  return slide;
}

// The places q of a row of so many for which q * stride + shift lies among `width`, those beside them in its padding.
struct Span { int first, last; };
DEVICE Span span_of(int shift, int stride, int width, int places) {
  const int first = shift < 0 ? divided(-shift + stride - 1, stride) : 0, last = shift < width ? divided(width - shift + stride - 1, stride) : 0;
  return {min(first, places), max(min(first, places), min(last, places))};
}

// use(q, q * stride) for 0..n-1; a stride that the compiler knows makes vectors
template <class Use>
DEVICE void for_strided(int n, int stride, Use use) {
  if (stride == 1) {
    for_threads(q, n) use(q, q);
  } else if (stride == 2) {
    for_threads(q, n) use(q, 2 * q);
  } else {
    for_threads(q, n) use(q, q * stride);
  }
}

// to = from. Blocks of one thread leave it to the C library: the ends of a compiler's vectors cost a short row more than its middle.
DEVICE void copy_row(real* __restrict__ to, const real* __restrict__ from, int n) {
#if defined(__CUDACC__) || defined(BLOCK_THREADS)
  for_threads(q, n) to[q] = from[q];
#else
  __builtin_memcpy(to, from, n * sizeof(real));
#endif
}

// to = the band of a plane (height x width), `outside` beyond it. All threads of the block have come here before and after.
DEVICE void fill_band(const Band& band, const real* __restrict__ plane, real outside, Buffer& buffer) {
  const Slide &down = band.down, &across = band.across;
  real* __restrict__ to = buffer.of;
  sync_block();
  for_threads(q, phases(down) * phases(across) * band.rows * band.pitch) to[q] = outside;
  sync_block();
  for (int a = 0; a < phases(down); ++a)
    for (int b = 0; b < phases(across); ++b, to += band.rows * band.pitch) {
      const int top = down.first * down.stride + a - down.pad, left = across.first * across.stride + b - across.pad;
      const Span rows = span_of(top, down.stride, down.size, band.rows), span = span_of(left, across.stride, across.size, band.pitch);
      for (int row = rows.first; row < rows.last; ++row) {
        const real* __restrict__ from = plane + (index)(top + row * down.stride) * across.size + left + span.first * across.stride;
        real* __restrict__ inside = to + row * band.pitch + span.first;
        if (across.stride == 1) {
          copy_row(inside, from, span.last - span.first);
        } else {
          for_strided(span.last - span.first, across.stride, [=](int q, int place) { inside[q] = from[place]; });
        }
      }
    }
  sync_block();
}
