// The maximum of a window and its place in the plane: the first in scan order wins a tie, and a NaN beats every number.
#pragma once
#include "kernel.h"

// what Caffe gives for a window beyond the map (a stride larger than the kernel, rounded up); its switch is -1
#define LOWEST -3.402823466e38f

DEVICE bool beats(real value, real best) { return value > best || (value != value && best == best); }

struct Best {
  real value;
  int place;
};
DEVICE Best better(Best a, real value, int place) { return beats(value, a.value) ? Best{value, place} : a; }

// of a window over rows top..end-1 and columns left..right-1
DEVICE Best best_of(const real* __restrict__ plane, int top, int end, int left, int right, int width) {
  const int corner = top < end && left < right ? top * width + left : -1;
  Best best = {corner < 0 ? (real)LOWEST : plane[corner], corner};
  for (int h = top; h < end; ++h)
    for (int w = left; w < right; ++w) best = better(best, plane[h * width + w], h * width + w);
  return best;
}
