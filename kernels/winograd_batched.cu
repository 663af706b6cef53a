// Winograd's tiles on a GPU: the 36 places of a tile (winograd.h) are 36 matrix products by the library, and these kernels stand around them.
// A thread carries one tile, or one filter, and its neighbours the next ones, so that each place is written side by side.
// Layouts, the tiles counted along tile rows, down the image and through the images, `row` values from one row of tiles to the next and
// `plane` from one place to the next:
//   v (36, channels, row) patches   m (36, outputs, row) results   d (36, outputs, row) gradients   u (36, A, B) of weights (A, B, 3, 3)
// The products between them: m[k] = u[k] v[k], with u[k] transposed for an adjoint; q[k] = d[k] v[k] transposed. Of few filters that is
// too little work at once: then v and d are (36, groups, ...), the tiles of some images each, and q (36, groups, A, B).
// Compulsory bytes: read x and the weights once, write y once; what is transformed comes on top: 36/16 of x, of y, and 4 times the weights.
#include "kernel.h"
#include "winograd.h"

#define PIECE 256  // tiles, or filters, of a row of blocks

struct Corner { int image, top, left; };
DEVICE Corner corner_of(int tile, int tile_rows, int tile_columns) {
  const int down = tile / tile_columns;
  return {down / tile_rows, down % tile_rows * 4, tile % tile_columns * 4};
}

struct alignas(4 * sizeof(real)) FourValues { real values[4]; };  // one transaction of 16 bytes in float
DEVICE bool fits_four(const real* at, int columns) { return columns == 4 && (unsigned long long)at % sizeof(FourValues) == 0; }

// v[k, c, tile] = (Bt d B)[k]
KERNEL(winograd_batched_patches, const real* __restrict__ x, real* __restrict__ v, int channels, int height, int width, int pad_h, int pad_w,
       int tile_rows, int tile_columns, int tiles, int row, index plane) {
  const int pieces = (tiles + PIECE - 1) / PIECE;
  for_blocks(r, channels * pieces) {
    const int c = r / pieces, begin = r % pieces * PIECE;
    for_threads(i, min(PIECE, tiles - begin)) {
      const Corner corner = corner_of(begin + i, tile_rows, tile_columns);
      const int top = corner.top - pad_h, left = corner.left - pad_w;
      const real* __restrict__ image = x + ((index)corner.image * channels + c) * height * width;
      real t[PLACES];
      UNROLL for (int n = 0; n < PLACES; ++n) {
        const int h = top + n / 6, w = left + n % 6;
        t[n] = h >= 0 && h < height && w >= 0 && w < width ? image[(index)h * width + w] : 0;
      }
      UNROLL for (int n = 0; n < 6; ++n) patch_1d(t + n, 6);
      UNROLL for (int n = 0; n < 6; ++n) patch_1d(t + 6 * n, 1);
      real* __restrict__ to = v + (index)c * row + begin + i;
      UNROLL for (int k = 0; k < PLACES; ++k) to[k * plane] = t[k];
    }
  }
}

// d[k, o, tile] = (A dY At)[k]
KERNEL(winograd_batched_gradients, const real* __restrict__ dy, real* __restrict__ d, int outputs, int height, int width, int tile_rows,
       int tile_columns, int tiles, int row, index plane) {
  const int pieces = (tiles + PIECE - 1) / PIECE;
  for_blocks(r, outputs * pieces) {
    const int o = r / pieces, begin = r % pieces * PIECE;
    for_threads(i, min(PIECE, tiles - begin)) {
      const Corner corner = corner_of(begin + i, tile_rows, tile_columns);
      const int rows = min(4, height - corner.top), columns = min(4, width - corner.left);
      const real* __restrict__ from = dy + (((index)corner.image * outputs + o) * height + corner.top) * width + corner.left;
      real y[16], half[24];
      UNROLL for (int h = 0; h < 4; ++h) {
        if (h < rows && fits_four(from + h * width, columns)) {
          const FourValues four = *(const FourValues*)(from + h * width);
          UNROLL for (int w = 0; w < 4; ++w) y[4 * h + w] = four.values[w];
        } else {
          UNROLL for (int w = 0; w < 4; ++w) y[4 * h + w] = h < rows && w < columns ? from[h * width + w] : 0;
        }
      }
      UNROLL for (int n = 0; n < 4; ++n) spread_1d(y + n, 4, half + n, 4);
      real* __restrict__ to = d + (index)o * row + begin + i;
      UNROLL for (int h = 0; h < 6; ++h) {
        real one[6];
        spread_1d(half + 4 * h, 1, one, 1);
        UNROLL for (int w = 0; w < 6; ++w) to[(6 * h + w) * plane] = one[w];
      }
    }
  }
}

// u[k, f] = (G g Gt)[k] of each filter f of `filters`, turned by half a turn if rotated
KERNEL(winograd_batched_filters, const real* __restrict__ weights, real* __restrict__ u, int filters, int rotated) {
  for_blocks(r, (filters + PIECE - 1) / PIECE) {
    for_threads(i, min(PIECE, filters - r * PIECE)) {
      const index f = (index)r * PIECE + i;
      real g[9], half[18];
      UNROLL for (int n = 0; n < 9; ++n) g[n] = weights[f * 9 + (rotated ? 8 - n : n)];
      UNROLL for (int n = 0; n < 3; ++n) filter_1d(g + n, 3, half + n, 3);
      UNROLL for (int h = 0; h < 6; ++h) {
        real one[6];
        filter_1d(half + 3 * h, 1, one, 1);
        UNROLL for (int w = 0; w < 6; ++w) u[(index)(6 * h + w) * filters + f] = one[w];
      }
    }
  }
}

// y = At m A of each tile, plus bias, then, if there is a gain, times gain plus shift, then, if rectified, not below zero
KERNEL(winograd_batched_results, const real* __restrict__ m, const real* __restrict__ bias, const real* __restrict__ gain,
       const real* __restrict__ shift, real* __restrict__ y, int rectified, int outputs, int height, int width, int tile_rows,
       int tile_columns, int tiles, int row, index plane) {
  const int pieces = (tiles + PIECE - 1) / PIECE;
  for_blocks(r, outputs * pieces) {
    const int o = r / pieces, begin = r % pieces * PIECE;
    const real added = bias ? bias[o] : 0, factor = gain ? gain[o] : 1, moved = gain ? shift[o] : 0;
    for_threads(i, min(PIECE, tiles - begin)) {
      const Corner corner = corner_of(begin + i, tile_rows, tile_columns);
      const int rows = min(4, height - corner.top), columns = min(4, width - corner.left);
      const real* __restrict__ from = m + (index)o * row + begin + i;
      real t[PLACES], half[24];
      UNROLL for (int k = 0; k < PLACES; ++k) t[k] = from[k * plane];
      UNROLL for (int n = 0; n < 6; ++n) result_1d(t + n, 6, half + n, 6);
      real* __restrict__ to = y + (((index)corner.image * outputs + o) * height + corner.top) * width + corner.left;
      UNROLL for (int h = 0; h < 4; ++h) {
        FourValues four;
        result_1d(half + 6 * h, 1, four.values, 1);
        UNROLL for (int w = 0; w < 4; ++w) {
          const real value = factor * (four.values[w] + added) + moved;
          four.values[w] = rectified && value < 0 ? 0 : value;
        }
        if (h < rows && fits_four(to + h * width, columns)) {
          *(FourValues*)(to + h * width) = four;
        } else {
          UNROLL for (int w = 0; w < 4; ++w)
            if (h < rows && w < columns) to[h * width + w] = four.values[w];
        }
      }
    }
  }
}

// dweights[f] += Gt q[f] G of each filter f of `filters`, q summed over the groups
KERNEL(winograd_batched_weights, const real* __restrict__ q, real* __restrict__ dweights, int filters, int groups) {
  for_blocks(r, (filters + PIECE - 1) / PIECE) {
    for_threads(i, min(PIECE, filters - r * PIECE)) {
      const index f = (index)r * PIECE + i;
      real t[PLACES], half[18], taps[9];
      UNROLL for (int k = 0; k < PLACES; ++k) t[k] = 0;
      for (int group = 0; group < groups; ++group)
        UNROLL for (int k = 0; k < PLACES; ++k) t[k] += q[((index)k * groups + group) * filters + f];
      UNROLL for (int n = 0; n < 6; ++n) gradient_1d(t + n, 6, half + n, 6);
      UNROLL for (int n = 0; n < 3; ++n) gradient_1d(half + 6 * n, 1, taps + 3 * n, 1);
      UNROLL for (int n = 0; n < 9; ++n) dweights[f * 9 + n] += taps[n];
    }
  }
}
