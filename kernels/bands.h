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

// One direction: the windows first, first + 1 ... first + count - 1 over `size` places.
struct Slide { int size, kernel, stride, pad, dilation, first, count; };
DEVICE int reach(const Slide& s) { return (s.kernel - 1) * s.dilation / s.stride; }  // places of a phase beyond the window's own
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
  const int h = i * band.down.dilation, w = j * band.across.dilation, phase = h % band.down.stride * phases(band.across) + w % band.across.stride;
  return (phase * band.rows + h / band.down.stride) * band.pitch + w / band.across.stride;
}

// Part `piece` of `windows` windows, `together` a part.
DEVICE Slide windows_of(Slide slide, int windows, int piece, int together) {
  slide.first = piece * together, slide.count = min(together, windows - slide.first);
  return slide;
}

// The places q of a row of so many for which q * stride + shift lies among `width`, those beside them in its padding.
struct Span { int first, last; };
DEVICE Span span_of(int shift, int stride, int width, int places) {
  const int first = shift < 0 ? (-shift + stride - 1) / stride : 0, last = shift < width ? (width - shift + stride - 1) / stride : 0;
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

// to = the band of a plane (height x width), `outside` beyond it. All threads of the block have come here before and after.
DEVICE void fill_band(const Band& band, const real* __restrict__ plane, real outside, Buffer& buffer) {
  const Slide &down = band.down, &across = band.across;
  real* __restrict__ to = buffer.of;
  sync_block();
  for (int a = 0; a < phases(down); ++a)
    for (int b = 0; b < phases(across); ++b) {
      const int shift = across.first * across.stride + b - across.pad;
      const Span span = span_of(shift, across.stride, across.size, band.pitch);
      for (int row = 0; row < band.rows; ++row, to += band.pitch) {
        const int h = (down.first + row) * down.stride + a - down.pad, inside = h >= 0 && h < down.size ? span.last - span.first : 0;
        const int before = inside ? span.first : band.pitch;
        for_threads(q, before) to[q] = outside;
        const real* __restrict__ from = plane + (index)h * across.size + shift + span.first * across.stride;
        for_strided(inside, across.stride, [=](int q, int place) { to[before + q] = from[place]; });
        for_threads(q, band.pitch - before - inside) to[before + inside + q] = outside;
      }
    }
  sync_block();
}
