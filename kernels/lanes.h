// Rows of several planes, read side by side into the lanes of vectors: what lies apart in memory is then computed at once.
#pragma once
#include "kernel.h"

#if SHUFFLES
template <class number>
struct Swaps {  // for blocks of 1, 2, 4 ...: which lanes of a pair of vectors the first and the second keep
  alignas(64) number first[4][VECTOR_BYTES / sizeof(number)] = {}, second[4][VECTOR_BYTES / sizeof(number)] = {};
  constexpr Swaps() {
    for (int n = 0, s = 1; s < LANES; ++n, s *= 2)
      for (int l = 0; l < LANES; ++l) first[n][l] = l & s ? LANES + l - s : l, second[n][l] = l & s ? LANES + l : l + s;
  }
};
template <int bytes> struct integers_of { typedef int type; };
template <> struct integers_of<8> { typedef long long type; };
typedef integers_of<sizeof(real)>::type whole;
typedef whole wholes __attribute__((vector_size(VECTOR_BYTES), may_alias));
static constexpr Swaps<whole> swaps;
#endif

// Exchange rows and lanes of LANES vectors, by swapping ever larger blocks across the diagonal.
DEVICE void transpose(lanes* block) {
#if SHUFFLES
#pragma GCC unroll 4
  for (int n = 0; 1 << n < LANES; ++n) {
    const wholes first = *(const wholes*)swaps.first[n], second = *(const wholes*)swaps.second[n];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; ++i) {
      if (i & 1 << n) continue;
      const lanes a = block[i], b = block[i + (1 << n)];
      block[i] = __builtin_shuffle(a, b, first), block[i + (1 << n)] = __builtin_shuffle(a, b, second);
    }
  }
#else
  for (int i = 0; i < LANES; ++i)
    for (int l = 0; l < i; ++l) {
      const real held = lane(block[i], l);
      lane(block[i], l) = lane(block[l], i), lane(block[l], i) = held;
    }
#endif
}

// Rows of LANES planes, `stride` values apart, to `count` vectors with the planes in their lanes; only `planes` of them exist. Of the `room`
// values that do from the first row on, whole vectors are read: more than the rows have, where that is no multiple of LANES.
DEVICE void gather_lanes(const real* from, index stride, int planes, int count, index room, lanes* to) {
  int done = 0;
  if (planes >= LANES)
    for (; done < count && (LANES - 1) * stride + done + LANES <= room; done += LANES) {
      lanes block[LANES];
      for (int l = 0; l < LANES; ++l) block[l] = at(from + l * stride + done);
      transpose(block);
      for (int l = 0; l < min(LANES, count - done); ++l) to[done + l] = block[l];
    }
  for (int l = 0; l < LANES; ++l)
    for (int j = done; j < count; ++j) lane(to[j], l) = l < planes ? from[l * stride + j] : 0;
}
