// Winograd's tiles on a CPU: a 3x3 correlation in tiles of 4x4 results, 36 products a tile where the definition takes 144 (winograd.h).
// A thread carries `lanes` channels at once (kernel.h). Layouts, the channels always innermost:
//   u (36, panels, depth, PANEL)  filters      v (36, tiles, row) patches      d (36, tiles, row) gradients      q (36, outputs, row)
// Tiles are counted along tile rows, tile rows through the images; a band is some whole tile rows.
// Compulsory bytes: read x and the weights once, write y once; u, v, d and q are meant to stay in the cache.
#include "lanes.h"
#include "winograd.h"

#define PANEL (2 * LANES)  // outputs of one product: two vectors
#if defined(__CUDACC__)    // a GPU has winograd_batched.cu: there these are compiled only, which takes as long as they are large
#define RUN 1
#define FEW_TILES 8
#define DEPTH 8
#else
#define RUN 8              // tiles that are transformed in one go
#define FEW_TILES 64       // tiles whose products wait for the output transform where a block transforms its filters itself: all of them
#define DEPTH 64           // channels of filters that such a block holds
#endif
#if defined(__AVX512F__)
#define ROWS 8    // ROWS x 2 sums in registers
#define BLOCK 16  // tiles whose products wait for the output transform otherwise; kernels/winograd.py knows the least, and FEW_TILES
#else
#define ROWS 6
#define BLOCK 18
#endif

// The strip of `height` rows and `width` columns of LANES planes whose corner is (top, left), zero outside the planes.
template <int HEIGHT, int WIDTH>
DEVICE void load_strip(const real* planes, index plane, int existing, int height, int width, int top, int left, int columns,
                       lanes (*strip)[WIDTH]) {
  const int first = min(max(0, -left), columns), last = max(first, min(columns, width - left));
  for (int i = 0; i < HEIGHT; ++i) {
    const bool inside = top + i >= 0 && top + i < height;
    for (int j = 0; j < (inside ? first : columns); ++j) strip[i][j] = lanes{};
    if (!inside) continue;
    const index start = (index)(top + i) * width + left + first;
    gather_lanes(planes + start, plane, existing, last - first, existing * plane - start, strip[i] + first);
    for (int j = last; j < columns; ++j) strip[i][j] = lanes{};
  }
}

// v[k, tile, c] = (Bt d B)[k]: the patches of a band of tile rows from tile row `first` on.
KERNEL(winograd_patches, const real* __restrict__ x, real* __restrict__ v, int channels, int height, int width, int pad_h, int pad_w,
       int tile_rows, int tile_columns, int first, int rows, int row, index plane) {
  const int runs = (tile_columns + RUN - 1) / RUN;
  for_blocks(r, rows * runs) {
    const int begin = r % runs * RUN, tiles = min(RUN, tile_columns - begin);
    const int image = (first + r / runs) / tile_rows, top = (first + r / runs) % tile_rows * 4 - pad_h;
    for_threads(g, (channels + LANES - 1) / LANES) {
      lanes strip[6][4 * RUN + 2];
      load_strip<6>(x + (index)(image * channels + g * LANES) * height * width, (index)height * width, channels - g * LANES, height, width,
                    top, begin * 4 - pad_w, tiles * 4 + 2, strip);
      for (int j = 0; j < tiles * 4 + 2; ++j) patch_1d(strip[0] + j, 4 * RUN + 2);
      for (int t = 0; t < tiles; ++t) {
        real* to = v + (index)(r / runs * tile_columns + begin + t) * row + g * LANES;
        for (int i = 0; i < 6; ++i) {
          lanes one[6];
          for (int j = 0; j < 6; ++j) one[j] = strip[i][4 * t + j];
          patch_1d(one, 1);
          for (int j = 0; j < 6; ++j) at(to + (i * 6 + j) * plane) = one[j];
        }
      }
    }
  }
}

// d[k, tile, o] = (A dY At)[k]: the gradients of a band of tile rows from tile row `first` on.
KERNEL(winograd_gradients, const real* __restrict__ dy, real* __restrict__ d, int outputs, int height, int width, int tile_rows,
       int tile_columns, int first, int rows, int row, index plane) {
  const int runs = (tile_columns + RUN - 1) / RUN;
  for_blocks(r, rows * runs) {
    const int begin = r % runs * RUN, tiles = min(RUN, tile_columns - begin);
    const int image = (first + r / runs) / tile_rows, top = (first + r / runs) % tile_rows * 4;
    for_threads(g, (outputs + LANES - 1) / LANES) {
      lanes strip[4][4 * RUN], spread[6][4 * RUN];
      load_strip<4>(dy + (index)(image * outputs + g * LANES) * height * width, (index)height * width, outputs - g * LANES, height, width,
                    top, begin * 4, tiles * 4, strip);
      for (int j = 0; j < tiles * 4; ++j) spread_1d(strip[0] + j, 4 * RUN, spread[0] + j, 4 * RUN);
      for (int t = 0; t < tiles; ++t) {
        real* to = d + (index)(r / runs * tile_columns + begin + t) * row + g * LANES;
        for (int i = 0; i < 6; ++i) {
          lanes one[6];
          spread_1d(spread[i] + 4 * t, 1, one, 1);
          for (int j = 0; j < 6; ++j) at(to + (i * 6 + j) * plane) = one[j];
        }
      }
    }
  }
}

// u[k, o / PANEL, c, o % PANEL] = (G g Gt)[k]; the tap (o, c, n) lies at o * o_step + c * c_step + n, or 8 - n if rotated.
struct Filters {
  const real* weights;
  real* u;
  int outputs, depth, o_step, c_step, rotated;
  index plane;  // of u, from one k to the next
};
// outputs LANES * g and channels begin and those that follow, LANES and `filters` of them, no more than LANES
DEVICE void transform_filters(const Filters& f, int g, int begin, int filters) {
  const int existing = f.outputs - g * LANES;
  const index start = (index)g * LANES * f.o_step + (index)begin * f.c_step;
  const index room = (index)(f.outputs - 1) * f.o_step + (index)(f.depth - 1) * f.c_step + 9 - start;
  const real* from = f.weights + start;
  lanes taps[LANES * 9];
  if (f.c_step == 9)
    gather_lanes(from, f.o_step, existing, filters * 9, room, taps);
  else
    for (int c = 0; c < filters; ++c) {
      const index step = (index)c * f.c_step;
      gather_lanes(from + step, f.o_step, existing, 9, room - step, taps + c * 9);
    }
  for (int c = 0; c < filters; ++c) {
    lanes turned[9], half[18];
    for (int n = 0; n < 9; ++n) turned[n] = taps[c * 9 + (f.rotated ? 8 - n : n)];
    for (int j = 0; j < 3; ++j) filter_1d(turned + j, 3, half + j, 3);
    real* to = f.u + ((index)(g / 2) * f.depth + begin + c) * PANEL + g % 2 * LANES;
    for (int i = 0; i < 6; ++i) {
      lanes one[6];
      filter_1d(half + 3 * i, 1, one, 1);
      for (int j = 0; j < 6; ++j) at(to + (i * 6 + j) * f.plane) = one[j];
    }
  }
}

KERNEL(winograd_filters, const real* __restrict__ weights, real* __restrict__ u, int outputs, int depth, int o_step, int c_step, int rotated,
       index plane) {
  const Filters filters = {weights, u, outputs, depth, o_step, c_step, rotated, plane};
  for_blocks(r, (depth + LANES - 1) / LANES) {
    for_threads(g, (outputs + LANES - 1) / LANES) transform_filters(filters, g, r * LANES, min(LANES, depth - r * LANES));
  }
}

// m[r, 0..W-1] = (or +=) sum over n of a[r * a_row + n * a_step] * b[n * b_row .. + W * LANES], for R rows: R x W sums stay in registers.
template <int R, int W>
DEVICE void product(const real* __restrict__ a, index a_row, index a_step, const real* __restrict__ b, index b_row, int depth,
                    lanes* __restrict__ m, index m_row, bool adds) {
  lanes sums[R][W] = {};
  if (adds)
    for (int r = 0; r < R; ++r)
      for (int w = 0; w < W; ++w) sums[r][w] = m[r * m_row + w];
  for (int n = 0; n < depth; ++n) {
    lanes right[W];
    for (int w = 0; w < W; ++w) right[w] = in_register(at(b + n * b_row + w * LANES));
    for (int r = 0; r < R; ++r) {
      const real factor = a[r * a_row + n * a_step];
      for (int w = 0; w < W; ++w) sums[r][w] += factor * right[w];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int w = 0; w < W; ++w) m[r * m_row + w] = sums[r][w];
}

template <int W>
DEVICE void product_of(int rows, const real* __restrict__ a, index a_row, index a_step, const real* __restrict__ b, index b_row, int depth,
                       lanes* __restrict__ m, index m_row, bool adds = false) {
  switch (rows) {
    case 1: return product<1, W>(a, a_row, a_step, b, b_row, depth, m, m_row, adds);
    case 2: return product<2, W>(a, a_row, a_step, b, b_row, depth, m, m_row, adds);
    case 3: return product<3, W>(a, a_row, a_step, b, b_row, depth, m, m_row, adds);
    case 4: return product<4, W>(a, a_row, a_step, b, b_row, depth, m, m_row, adds);
    case 5: return product<5, W>(a, a_row, a_step, b, b_row, depth, m, m_row, adds);
    case 6: return product<6, W>(a, a_row, a_step, b, b_row, depth, m, m_row, adds);
#if ROWS > 6
    case 7: return product<7, W>(a, a_row, a_step, b, b_row, depth, m, m_row, adds);
    case 8: return product<8, W>(a, a_row, a_step, b, b_row, depth, m, m_row, adds);
#endif
  }
}

// What becomes of LANES outputs: plus bias, then, if scaled, times gain plus shift, then, if rectified, not below zero.
struct Finish {
  lanes bias, gain, shift;
  bool scaled, rectified;
};
DEVICE lanes first_of(const real* values, int count) {
  lanes some = {};
  for (int l = 0; values && l < min(LANES, count); ++l) lane(some, l) = values[l];
  return some;
}

DEVICE Finish finish_lanes(const real* bias, const real* gain, const real* shift, int rectified, int o, int existing) {
  return {first_of(bias ? bias + o : bias, existing), first_of(gain ? gain + o : gain, existing), first_of(gain ? shift + o : gain, existing),
          gain != nullptr, rectified != 0};
}

// Y = At M A of one tile and LANES outputs, finished, into the planes y; the tile may hang over the edge.
DEVICE void store_tile(const lanes* m, index step, const Finish& finish, real* y, index plane, int existing, int height, int width, int top,
                       int left) {
  lanes half[4][6], full[16];
  for (int j = 0; j < 6; ++j) result_1d(m + j * step, 6 * step, half[0] + j, 6);
  for (int i = 0; i < 4; ++i) result_1d(half[i], 1, full + 4 * i, 1);
  for (int n = 0; n < 16; ++n) full[n] += finish.bias;
  if (finish.scaled)
    for (int n = 0; n < 16; ++n) full[n] = finish.gain * full[n] + finish.shift;
  if (finish.rectified)
    for (int n = 0; n < 16; ++n) full[n] = full[n] < 0 ? lanes{} : full[n];
  for (int n = 0; n < 16; n += LANES) transpose(full + n);  // place n of lane l is now lane n % LANES of vector l of its block
  const int rows = min(4, height - top), columns = min(4, width - left);
  for (int l = 0; l < min(LANES, existing); ++l)
    for (int i = 0; i < rows; ++i) {
      real* __restrict__ to = y + l * plane + (index)(top + i) * width + left;
      if (columns == 4) {
        for (int j = 0; j < 4; ++j) to[j] = lane(full[(4 * i + j) / LANES * LANES + l], (4 * i + j) % LANES);
      } else {
        for (int j = 0; j < columns; ++j) to[j] = lane(full[(4 * i + j) / LANES * LANES + l], (4 * i + j) % LANES);
      }
    }
}

// y of a band: the 36 products of patches and filters over `depth` channels, then the output transform. y starts at the first of the
// `outputs` outputs that u holds, of `channels` that an image has. No bias: 0; no gain: neither gain nor shift.
KERNEL(winograd_results, const real* __restrict__ v, const real* __restrict__ u, const real* __restrict__ bias, const real* __restrict__ gain,
       const real* __restrict__ shift, real* __restrict__ y, int rectified, int depth, int outputs, int channels, int height, int width, int tile_rows, int tile_columns, int first, int tiles, int row,
       index plane, index u_plane) {
  const int panels = (outputs + PANEL - 1) / PANEL, blocks = (tiles + BLOCK - 1) / BLOCK, per_block = (tiles + blocks - 1) / blocks;
  const int steps = (per_block + ROWS - 1) / ROWS, per_step = (per_block + steps - 1) / steps;
  for_blocks(r, panels * blocks) {
    const int begin = r % blocks * per_block, end = min(tiles, begin + per_block);
    for_threads(once, 1) {
      lanes m[PLACES][BLOCK][2];
      const int p = r / blocks, vectors = outputs - p * PANEL > LANES ? 2 : 1;
      for (int k = 0; k < PLACES; ++k)
        for (int t = begin; t < end; t += per_step) {
          const real *patches = v + k * plane + (index)t * row, *filters = u + k * u_plane + (index)p * depth * PANEL;
          if (vectors == 2)
            product_of<2>(min(per_step, end - t), patches, row, 1, filters, PANEL, depth, m[k][t - begin], 2);
          else  // so few outputs are left
            product_of<1>(min(per_step, end - t), patches, row, 1, filters, PANEL, depth, m[k][t - begin], 2);
        }
      for (int half = 0; half < vectors; ++half) {
        const int o = p * PANEL + half * LANES, existing = outputs - o;
        const Finish finish = finish_lanes(bias, gain, shift, rectified, o, existing);
        for (int t = begin; t < end; ++t) {
          const int tile_row = first + t / tile_columns, image = tile_row / tile_rows;
          store_tile(&m[0][t - begin][half], 2 * BLOCK, finish, y + ((index)image * channels + o) * height * width, (index)height * width,
                     existing, height, width, tile_row % tile_rows * 4, t % tile_columns * 4);
        }
      }
    }
  }
}

// The same, all at once, where the results are few tiles: a block transforms the filters of its panel itself, DEPTH channels at a time, so that
// they never leave its processor's own cache. They are four times as many as the weights, and few tiles do not repay their way to memory.
KERNEL(winograd_few_tiles, const real* __restrict__ v, const real* __restrict__ weights, const real* __restrict__ bias,
       const real* __restrict__ gain, const real* __restrict__ shift, real* __restrict__ y, int rectified, int depth, int outputs, int height,
       int width, int tile_rows, int tile_columns, int tiles, int row, index plane, int o_step, int c_step, int rotated) {
  for_blocks(p, (outputs + PANEL - 1) / PANEL) {
    for_threads(once, 1) {
      alignas(64) real u[PLACES * (DEPTH * PANEL + LANES)];
      lanes m[PLACES][FEW_TILES][2];
      const int first = p * PANEL, vectors = outputs - first > LANES ? 2 : 1;
      for (int c = 0; c < depth; c += DEPTH) {
        const real* from = weights + (index)first * o_step + (index)c * c_step;
        const Filters filters = {from, u, outputs - first, min(DEPTH, depth - c), o_step, c_step, rotated, DEPTH * PANEL + LANES};
        for (int begin = 0; begin < filters.depth; begin += LANES)
          for (int half = 0; half < vectors; ++half) transform_filters(filters, half, begin, min(LANES, filters.depth - begin));
        for (int k = 0; k < PLACES; ++k)
          for (int t = 0; t < tiles; t += ROWS) {
            const real *patches = v + k * plane + (index)t * row + c, *own = u + k * filters.plane;
            if (vectors == 2)
              product_of<2>(min(ROWS, tiles - t), patches, row, 1, own, PANEL, filters.depth, m[k][t], 2, c > 0);
            else  // so few outputs are left
              product_of<1>(min(ROWS, tiles - t), patches, row, 1, own, PANEL, filters.depth, m[k][t], 2, c > 0);
          }
      }
      for (int half = 0; half < vectors; ++half) {
        const int o = first + half * LANES, existing = outputs - o;
        const Finish finish = finish_lanes(bias, gain, shift, rectified, o, existing);
        for (int t = 0; t < tiles; ++t) {
          const int tile_row = t / tile_columns, image = tile_row / tile_rows;
          store_tile(&m[0][t][half], 2 * FEW_TILES, finish, y + ((index)image * outputs + o) * height * width, (index)height * width, existing,
                     height, width, tile_row % tile_rows * 4, t % tile_columns * 4);
        }
      }
    }
  }
}

// q[k, o, c] = sum over the tiles of a band of d[k, tile, o] * v[k, tile, c], for `outputs` outputs.
KERNEL(winograd_sums, const real* __restrict__ d, const real* __restrict__ v, real* __restrict__ q, int outputs, int channels, int tiles,
       int d_row, index d_plane, int v_row, index v_plane, index q_plane) {
  const int steps = (outputs + ROWS - 1) / ROWS;
  for_blocks(r, PLACES * steps) {
    const int k = r / steps, o = r % steps * ROWS, rows = min(ROWS, outputs - o);
    for_threads(p, (channels + PANEL - 1) / PANEL) {
      const real *left = d + k * d_plane + o, *right = v + k * v_plane + p * PANEL;
      real* to = q + k * q_plane + (index)o * v_row + p * PANEL;
      lanes m[ROWS][2] = {};
      if (channels - p * PANEL > LANES)
        product_of<2>(rows, left, 1, d_row, right, v_row, tiles, m[0], 2);
      else  // so few channels are left
        product_of<1>(rows, left, 1, d_row, right, v_row, tiles, m[0], 2);
      for (int i = 0; i < rows; ++i) at(to + (index)i * v_row) = m[i][0], at(to + (index)i * v_row + LANES) = m[i][1];
    }
  }
}

// dweights[o, c] += Gt q[o, c] G
KERNEL(winograd_weights, const real* __restrict__ q, real* __restrict__ dweights, int outputs, int channels, int row, index plane) {
  for_blocks(o, outputs) {
    for_threads(g, (channels + LANES - 1) / LANES) {
      lanes half[18], taps[9], full[36];
      for (int k = 0; k < PLACES; ++k) full[k] = at(q + k * plane + (index)o * row + g * LANES);
      for (int j = 0; j < 6; ++j) gradient_1d(full + j, 6, half + j, 6);
      for (int i = 0; i < 3; ++i) gradient_1d(half + 6 * i, 1, taps + 3 * i, 1);
      real* to = dweights + ((index)o * channels + g * LANES) * 9;
      for (int l = 0; l < min(LANES, channels - g * LANES); ++l)
        for (int n = 0; n < 9; ++n) to[l * 9 + n] += lane(taps[n], l);
    }
  }
}
