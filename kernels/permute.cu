// Axes in another order: the value of x at (a, b, c, ...) goes to the place (c, a, b, ...) of y. Two axes make a plane: `across`, whose
// neighbours lie side by side in x, and `down`, whose neighbours do in y, unless they are those of `across` too. The others count planes.
// Compulsory bytes: read and write each value once.
#include "kernel.h"

// A block owns a part of a plane, at most `tall` x `wide`, and its threads the values across. Steps are from neighbour to neighbour;
// axes: of each other axis its size, its step in x and its step in y.
KERNEL(permute, const real* __restrict__ x, real* __restrict__ y, const index* __restrict__ axes, int others, int planes, int down, int across,
       index x_down, index y_down, index y_across, int tall, int wide) {
  const int bands = (down + tall - 1) / tall, parts = (across + wide - 1) / wide;
  for_blocks(r, planes * bands * parts) {
    const int top = r / parts % bands * tall, left = r % parts * wide;
    index from = top * x_down + left, to = top * y_down + left * y_across;
    int plane = r / parts / bands;
    for (int axis = 0; axis < others; ++axis) {
      const index *own = axes + 3 * axis, place = plane % own[0];
      from += place * own[1], to += place * own[2], plane /= own[0];
    }
    const int rows = min(tall, down - top), columns = min(wide, across - left);
    for (int i = 0; i < rows; ++i)
      for_threads(j, columns) y[to + i * y_down + j * y_across] = x[from + i * x_down + j];
  }
}
