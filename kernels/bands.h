// Bands of a plane for windows that slide over it, in the layout in which a CPU's vectors read a tap of many windows in one run.
//
// The padded plane is taken apart by stride: phase (a, b) has its rows a, a + stride, a + 2 stride ... and of these the columns b, b + stride ...
// Window (h, w) of a band finds tap (i, j) in phase (i dilation % stride, j dilation % stride), i dilation / stride rows and j dilation / stride
// columns beyond its own place. A row has `pitch` values in every phase, so window number h * pitch + w finds a tap always at the same distance,
// over the ends of rows, too; what numbers behind a row's last window find is never looked at.
#pragma once
#include "warp.h"

#define BAND (8192 / (int)sizeof(real))  // values, so that three bands lie in the first cache; kernels/bands.py knows the bytes

#define MOST_TAPS 128  // of a window, where something is kept for each; kernels/bands.py knows it

struct Buffer { alignas(64) real of[BAND + 2 * LANES]; };  // the last vectors may reach beyond a band

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

// Rows of few values cost by their ends, which are no whole vectors. A host's block of one thread takes whole ones: what lies behind the n values
// is written again by what follows, as long as all goes from left to right and there is room for it.

// to = from, fewer than LANES values
DEVICE void copy_few(real* __restrict__ to, const real* __restrict__ from, int n) {
#if !defined(THREADS)
#pragma GCC unroll 5
  for (int half = LANES / 2; half; half /= 2)
    if (n & half) {  // a known number of bytes: one move of a vector
      __builtin_memcpy(to, from, half * sizeof(real));
      to += half, from += half;
    }
#else
  for (int q = 0; q < n; ++q) to[q] = from[q];
#endif
}
// to = value, n times; in a Buffer
DEVICE void put(real* __restrict__ to, int n, real value) {
#if defined(THREADS)
  for_threads(q, n) to[q] = value;
#else
  at(to) = lanes{} + value;  // most are so few; a longer loop the compiler may leave to the C library
  for (int q = LANES; q < n; q += LANES) at(to + q) = lanes{} + value;
#endif
}
// to = from, in a Buffer; `room` values exist from there on, n at least
DEVICE void put_row(real* __restrict__ to, const real* __restrict__ from, int n, [[maybe_unused]] index room) {
#if !defined(THREADS)
  int q = 0;
  for (; q < n && q + LANES <= room; q += LANES) at(to + q) = at(from + q);
  if (q < n) copy_few(to + q, from + q, n - q);
#else
  for_threads(q, n) to[q] = from[q];
#endif
}
// likewise, of each `stride`-th value; a stride that the compiler knows makes vectors
DEVICE void put_strided(real* __restrict__ to, const real* __restrict__ from, int n, int stride, [[maybe_unused]] index room) {
  if (stride != 2) {
    for_threads(q, n) to[q] = from[q * stride];
    return;
  }
  int q = 0;
#if SHUFFLES && !defined(THREADS)
  decltype(lanes{} < lanes{}) evens = {};
  for (int l = 0; l < LANES; ++l) evens[l] = 2 * l;
  for (; q < n && 2 * (q + LANES) <= room; q += LANES) at(to + q) = __builtin_shuffle(at(from + 2 * q), at(from + 2 * q + LANES), evens);
#endif
  for_threads(rest, n - q) to[q + rest] = from[2 * (q + rest)];
}
// to[q * stride] = from[q]
DEVICE void spread_row(real* __restrict__ to, const real* __restrict__ from, int n, int stride) {
  if (stride == 1) {
    for_threads(q, n) to[q] = from[q];
  } else if (stride == 2) {
    for_threads(q, n) to[2 * q] = from[q];
  } else {
    for_threads(q, n) to[q * stride] = from[q];
  }
}
// to = the lanes of f(0), f(LANES) ...; `room` values from there on are this thread's to write
template <class F>
DEVICE void take_row(real* __restrict__ to, int n, [[maybe_unused]] int room, F f) {
#if defined(THREADS)
  const int whole = 0;
#else
  const int whole = min((n + LANES - 1) / LANES, room / LANES);
  for (int v = 0; v < whole; ++v) at(to + v * LANES) = f(v * LANES);
#endif
  for_threads(v, (n + LANES - 1) / LANES - whole) {
    const int q = (whole + v) * LANES;
    const lanes rest = f(q);
    if (n - q >= LANES)
      at(to + q) = rest;
    else
      copy_few(to + q, (const real*)&rest, n - q);
  }
}

// to = the band of a plane (height x width), `outside` beyond it. All threads of the block have come here before and after.
DEVICE void fill_band(const Band& band, const real* __restrict__ plane, real outside, Buffer& buffer) {
  const Slide &down = band.down, &across = band.across;
  real* __restrict__ to = buffer.of;
  sync_block();
  for (int a = 0; a < phases(down); ++a)
    for (int b = 0; b < phases(across); ++b, to += band.rows * band.pitch) {
      const int top = down.first * down.stride + a - down.pad, left = across.first * across.stride + b - across.pad;
      const Span rows = span_of(top, down.stride, down.size, band.rows), span = span_of(left, across.stride, across.size, band.pitch);
      const int count = span.last - span.first;
      int done = 0;
      for (int row = rows.first; row < rows.last; ++row) {
        const index start = (index)(top + row * down.stride) * across.size + left + span.first * across.stride;
        const int inside = row * band.pitch + span.first;
        put(to + done, inside - done, outside);
        const index room = (index)down.size * across.size - start;
        if (across.stride == 1)
          put_row(to + inside, plane + start, count, room);
        else
          put_strided(to + inside, plane + start, count, across.stride, room);
        done = inside + count;
      }
      put(to + done, band.rows * band.pitch - done, outside);
    }
  sync_block();
}
