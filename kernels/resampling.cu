// Bilinear resizing as MATLAB's imresize, whose kernel widens where it shrinks, and what segmentation does by it. Along an axis
//   y[i] = sum over t of w[t] * x[t],  w[t] = max(1 - |place - t| / reach, 0) over their sum,  place = (i + 0.5) * length / wanted - 0.5
// with reach = max(length / wanted, 1) where it is antialiased, else 1; beyond its border x is mirrored. A map takes the weights of both axes.
// Compulsory bytes: of merged maps, read each once, read and write the canvas once; of windows, read the image once, write each once.
#include "kernel.h"

// The values begin .. begin + count of an axis of `wanted`, made of one of `length`. Value i takes the `taps` neighbours from
// first[axis.first + i] on, the one of number t by weights[axis.weight + t * count + i]. In a picture the axis begins at place `at`.
struct Axis { int length, wanted, begin, count, taps, at, first, weight; };
DEVICE Axis axis_of(const int* axes, int number) { return ((const Axis*)axes)[number]; }

DEVICE double triangle(double apart, double reach) { return max(1 - fabs(apart) / reach, 0.0); }

// What the value at `place` takes of x[t] and of its mirror images.
DEVICE double share_of(int t, double place, double reach, int length) {
  return triangle(place - t, reach) + triangle(place + 1 + t, reach) + triangle(place + 1 + t - 2.0 * length, reach);
}

// A block owns an axis, a thread a value.
KERNEL(axis_taps, real* __restrict__ weights, int* __restrict__ first, const int* __restrict__ axes, int n, int antialias) {
  for_blocks(r, n) {
    const Axis axis = axis_of(axes, r);
    const double reach = antialias ? max((double)axis.length / axis.wanted, 1.0) : 1.0;
    for_threads(i, axis.count) {
      const double place = (axis.begin + i + 0.5) * axis.length / axis.wanted - 0.5;
      const int from = max(0, min((int)floor(place - reach) + 1, axis.length - axis.taps));
      double sum = 0;
      for (int t = 0; t < axis.taps; ++t) sum += share_of(from + t, place, reach, axis.length);
      for (int t = 0; t < axis.taps; ++t)
        weights[axis.weight + (index)t * axis.count + i] = (real)(share_of(from + t, place, reach, axis.length) / sum);
      first[axis.first + i] = from;
    }
  }
}

// the sum, or the greatest; what is not a number stays
DEVICE real merged(real old, real value, int greatest) { return !greatest ? old + value : old >= value || old != old ? old : value; }

// (Interp gives tables by another rule: corner_taps in resampling.py.)
// canvas (classes, rows, columns) is merged with each of n maps (classes, height, width) in the place of its box, box after box. A block owns
// a row of the canvas. axes: of each box down and across, the part of it that lies on the canvas.
KERNEL(merge_maps, const real* __restrict__ maps, const int* __restrict__ axes, const int* __restrict__ first,
       const real* __restrict__ weights, real* __restrict__ canvas, int n, int classes, int height, int width, int rows, int columns,
       int greatest) {
  for_blocks(r, classes * rows) {
    const int y = r % rows, k = r / rows;
    for (int box = 0; box < n; ++box) {
      const Axis down = axis_of(axes, 2 * box), across = axis_of(axes, 2 * box + 1);
      const int i = y - down.at;
      if (i < 0 || i >= down.count) continue;
      const real* __restrict__ from = maps + (((index)box * classes + k) * height + first[down.first + i]) * width;
      const real *__restrict__ wy = weights + down.weight + i, *__restrict__ wx = weights + across.weight;
      const int* __restrict__ start = first + across.first;
      real* __restrict__ to = canvas + (index)r * columns + across.at;
      if (down.taps == 2 && across.taps == 2) {  // it grows
        const acc upper = wy[0], lower = wy[down.count];
        for_threads(j, across.count) {
          const real* at = from + start[j];
          const acc left = upper * at[0] + lower * at[width], right = upper * at[1] + lower * at[width + 1];
          to[j] = merged(to[j], wx[j] * left + wx[across.count + j] * right, greatest);
        }
      } else {
        for_threads(j, across.count) {
          acc sum = 0;
          for (int a = 0; a < down.taps; ++a) {
            const real* at = from + (index)a * width + start[j];
            acc row = 0;
            for (int b = 0; b < across.taps; ++b) row += wx[(index)b * across.count + j] * at[b];
            sum += wy[(index)a * down.count] * row;
          }
          to[j] = merged(to[j], sum, greatest);
        }
      }
      sync_block();  // the next box gives a place to another thread
    }
  }
}

// y (n, channels, rows, columns) = boxes of an image (height, width, channels), zero beyond its border, resized; then less the mean of each
// channel and times `scale`. A block owns a row of y; `at` of an axis is where the box begins in the image.
KERNEL(resize_windows, const real* __restrict__ mean, const unsigned char* __restrict__ image, const int* __restrict__ axes,
       const int* __restrict__ first, const real* __restrict__ weights, real* __restrict__ y, int n, int channels, int height, int width,
       int rows, int columns, acc scale) {
  for_blocks(r, n * channels * rows) {
    const int i = r % rows, c = r / rows % channels, box = r / rows / channels;
    const Axis down = axis_of(axes, 2 * box), across = axis_of(axes, 2 * box + 1);
    const int top = down.at + first[down.first + i];
    const int upper = max(0, -top), lower = min(down.taps, height - top);  // the taps that lie in the image
    const real *__restrict__ wy = weights + down.weight + i, *__restrict__ wx = weights + across.weight;
    for_threads(j, columns) {
      const int left = across.at + first[across.first + j];
      const int nearest = max(0, -left), farthest = min(across.taps, width - left);
      acc sum = 0;
      for (int a = upper; a < lower; ++a) {
        const index place = (index)(top + a) * width + left;
        acc row = 0;
        for (int b = nearest; b < farthest; ++b) row += wx[(index)b * columns + j] * image[(place + b) * channels + c];
        sum += wy[(index)a * rows] * row;
      }
      y[(index)r * columns + j] = (real)((sum - mean[c]) * scale);
    }
  }
}
