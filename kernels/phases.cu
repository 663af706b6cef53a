// A map and its phases: phase (a, b) has the rows a, a + down, a + 2 down ... and of these the columns b, b + across ...
// Windows whose taps lie `down` rows and `across` columns apart stay within a phase, where no gap is between them.
//   phases (images, down, across, channels, rows, columns), map (images, channels, height, width)
// Compulsory bytes: read one, write the other.
#include "bands.h"

// phases = those of the map x, zero beyond it
KERNEL(split_phases, const real* __restrict__ x, real* __restrict__ phases, int images, int channels, int height, int width, int down,
       int across, int rows, int columns) {
  for_blocks(r, images * channels * rows * down) {
    const int plane = r / (rows * down), h = r % (rows * down), a = remainder_of(h, down), c = plane % channels;
    for (int b = 0; b < across; ++b) {
      const index phase = ((index)(plane / channels) * down + a) * across + b;
      real* __restrict__ to = phases + ((phase * channels + c) * rows + divided(h, down)) * columns;
      const int count = h < height ? span_of(b, across, width, columns).last : 0;
      const real* __restrict__ from = x + ((index)plane * height + h) * width + b;
      for_threads(q, count) to[q] = from[q * across];
      for_threads(q, columns - count) to[count + q] = 0;
    }
  }
}

// y = the map of these phases
KERNEL(join_phases, const real* __restrict__ phases, real* __restrict__ y, int images, int channels, int height, int width, int down,
       int across, int rows, int columns) {
  for_blocks(r, images * channels * height) {
    const int plane = r / height, h = r % height, a = remainder_of(h, down), c = plane % channels;
    for (int b = 0; b < across; ++b) {
      const index phase = ((index)(plane / channels) * down + a) * across + b;
      const real* __restrict__ from = phases + ((phase * channels + c) * rows + divided(h, down)) * columns;
      spread_row(y + (index)r * width + b, from, span_of(b, across, width, columns).last, across);
    }
  }
}
