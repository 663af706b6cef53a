// Convolution, its two adjoints and fully connected layers as one product on tensor cores, operands rounded to TF32 or bfloat16, sums in float:
//   forward            y[o, (n, p)] = sum over (c, tap) of w[o, (c, tap)] x[n, c, the place that tap reaches from p]
//   backward-data      dx[c, (n, p)] = sum over (o, tap) of w[o, c, tap] dy[n, o, the place that reaches p by tap]
//   backward-weights   dw[o, (c, tap)] = sum over (n, p) of dy[n, o, p] x[n, c, the place that tap reaches from p]
// The left matrix is w or dy as it lies there; the right one, a product's columns, is gathered from an image while it is loaded.
// One side of it counts taps, the other places; both are looked up in tables of offsets, so that an element costs no division.
// A block computes TILE x TILE sums, WORDS words deep at a time: while the warps multiply one pair of tiles the next is under way to
// registers, where it is rounded when it is stored. Long sums of few results are split among blocks and merged in one order.
// Compulsory bytes: read both operands once, write the result once; a tile of columns is read again for each TILE rows, and the reverse.
#include "warp.h"

enum {
  TEAM = 8,           // warps of a block, 2 along the rows and 4 along the columns of a tile
  TILE = 128,         // rows and columns of a tile
  WORDS = 16,         // its depth
  PITCH = WORDS + 4,  // from row to row: eight rows of a fragment then lie in different banks, and so do rows of four words
  EACH = TILE * WORDS / (32 * TEAM),  // words of a tile that a lane loads
  NOWHERE = -(1 << 29)                // a row outside every image
};

// A place in the images to gather from, or what a tap adds to it. Both have a residue: they meet only where it is the same.
struct alignas(16) Place {
  int offset, row, column, residue;
};

// How a window moves over maps of height x width; `map` is their size, `image` the size of all maps of one image.
struct Window {
  int height, width, map, image, places, place_width, taps, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, transposed;
};

// What tap k, counted through the channels, adds to a place.
DEVICE Place tap_of(const Window& v, int k) {
  const int tap = k % v.taps, down = tap / v.kernel_w * v.dilation_h, right = tap % v.kernel_w * v.dilation_w;
  const int row = v.transposed ? -(down / v.stride_h) : down, column = v.transposed ? -(right / v.stride_w) : right;
  const int residue = v.transposed ? down % v.stride_h * v.stride_w + right % v.stride_w : 0;
  return {k / v.taps * v.map + row * v.width + column, row, column, residue};
}

// Where place n, counted through the images, has its first tap.
DEVICE Place place_of_window(const Window& v, int n) {
  const int p = n % v.places, h = p / v.place_width, w = p % v.place_width;
  const int row = v.transposed ? (h + v.pad_h) / v.stride_h : h * v.stride_h - v.pad_h;
  const int column = v.transposed ? (w + v.pad_w) / v.stride_w : w * v.stride_w - v.pad_w;
  const int residue = v.transposed ? (h + v.pad_h) % v.stride_h * v.stride_w + (w + v.pad_w) % v.stride_w : 0;
  return {n / v.places * v.image + row * v.width + column, row, column, residue};
}

// The sizes of a product: results rows x columns, sums of `depth` terms, of which a block takes `share`.
// Element (m, k) of the left matrix lies at m * left_row + k / left_run * left_jump + k % left_run.
struct Sizes {
  int rows, columns, depth, share, left_row, left_run, left_jump;
};

template <class kind> struct alignas(16) Four { typename kind::word of[4]; };  // one store to shared memory

template <class kind> struct Tiles {
  Four<kind> left[TILE][PITCH / 4], right[TILE][PITCH / 4];
  Place columns[TILE], steps[WORDS * kind::DEPTH];  // the right matrix's two sides
  int offsets[WORDS * kind::DEPTH];                 // of the left matrix along the sum; -1 beyond its end
};

template <class kind> struct Loaded { real left[EACH][kind::DEPTH], right[EACH][kind::DEPTH]; };

// Thread t's n-th word of a tile. ACROSS: neighbours take neighbouring rows, where memory runs that way; else neighbouring words.
// Else a half warp takes the words of a row, the other half those of the fourth next, whose banks are free.
template <bool ACROSS>
DEVICE int tile_row(int t, int n) { return ACROSS ? t % TILE : t / 32 % 4 + t / 16 % 2 * 4 + t / 128 * 8 + n * 16; }
template <bool ACROSS>
DEVICE int tile_word(int t, int n) { return ACROSS ? t / TILE * EACH + n : t % WORDS; }

template <class kind, bool ACROSS>
DEVICE void load_left(const real* __restrict__ from, const Sizes& s, const Tiles<kind>& tiles, int first_row, int t, Loaded<kind>& loaded) {
  UNROLL for (int n = 0; n < EACH; ++n) {
    UNROLL for (int d = 0; d < kind::DEPTH; ++d) {
      const int row = first_row + tile_row<ACROSS>(t, n), offset = tiles.offsets[tile_word<ACROSS>(t, n) * kind::DEPTH + d];
      loaded.left[n][d] = row < s.rows && offset >= 0 ? from[row * s.left_row + offset] : 0;
    }
  }
}

template <class kind, bool ACROSS>
DEVICE void load_right(const real* __restrict__ from, const Window& v, const Tiles<kind>& tiles, int t, Loaded<kind>& loaded) {
  UNROLL for (int n = 0; n < EACH; ++n) {
    UNROLL for (int d = 0; d < kind::DEPTH; ++d) {
      const Place one = tiles.columns[tile_row<ACROSS>(t, n)], other = tiles.steps[tile_word<ACROSS>(t, n) * kind::DEPTH + d];
      const int row = one.row + other.row, column = one.column + other.column;
      const bool inside = (unsigned)row < (unsigned)v.height && (unsigned)column < (unsigned)v.width && one.residue == other.residue;
      loaded.right[n][d] = inside ? from[one.offset + other.offset] : 0;
    }
  }
}

template <class kind, bool ACROSS>
DEVICE void store_words(const real (&values)[EACH][kind::DEPTH], int t, Four<kind> (*tile)[PITCH / 4]) {
  if (ACROSS) {
    UNROLL for (int n = 0; n < EACH; n += 4) {
      Four<kind> four;
      UNROLL for (int q = 0; q < 4; ++q) four.of[q] = packed(kind(), values[n + q]);
      tile[tile_row<ACROSS>(t, n)][tile_word<ACROSS>(t, n) / 4] = four;
    }
  } else {
    UNROLL for (int n = 0; n < EACH; ++n) {
      tile[tile_row<ACROSS>(t, n)][tile_word<ACROSS>(t, n) / 4].of[tile_word<ACROSS>(t, n) % 4] = packed(kind(), values[n]);
    }
  }
}

// What thread t of the block knows of the terms from k on, up to `end`.
template <class kind>
DEVICE void look_up(const Sizes& s, const Window& v, bool steps_are_places, int k, int end, int t, Tiles<kind>& tiles) {
  if (t < WORDS * kind::DEPTH) {
    const int at = k + t;
    const Place nowhere = {0, NOWHERE, 0, 0};
    tiles.steps[t] = at >= end ? nowhere : steps_are_places ? place_of_window(v, at) : tap_of(v, at);
    tiles.offsets[t] = at >= end ? -1 : at / s.left_run * s.left_jump + at % s.left_run;
  }
}

// Bias, then gain and shift, then rectification, each where it is wanted (null or 0: not); a channel has `run` rows.
struct After {
  const real *bias, *gain, *shift;
  int rectified, run;
};
DEVICE acc finished(acc value, int row, const After& after) {
  const int channel = after.run == 1 ? row : row / after.run;
  if (after.bias) value += after.bias[channel];
  if (after.gain) value = after.gain[channel] * value + after.shift[channel];
  return after.rectified && value < 0 ? 0 : value;
}

// Multiply what the tiles hold: warp w has 64 rows and 32 columns of the results, eight in each of its sums.
template <class kind>
DEVICE void multiply_tiles(const Tiles<kind>& tiles, int w, Own<Sums<4>, TEAM> (&sums)[4]) {
  UNROLL for (int step = 0; step < WORDS / 8; ++step) {
    Own<Left<typename kind::word, 4>, TEAM> left;
    for_lanes(l) {
      UNROLL for (int i = 0; i < 4; ++i) {
        UNROLL for (int r = 0; r < 4; ++r)
            left(w, l).of[i][r] = tiles.left[w / 4 * 64 + 16 * i + l / 4 + 8 * (r % 2)][2 * step + r / 2].of[l % 4];
      }
    }
    UNROLL for (int j = 0; j < 4; ++j) {
      Own<Right<typename kind::word>, TEAM> right;
      for_lanes(l) {
        UNROLL for (int r = 0; r < 2; ++r) right(w, l).of[r] = tiles.right[w % 4 * 32 + 8 * j + l / 4][2 * step + r].of[l % 4];
      }
      warp_product<kind>(left, right, sums[j], w);
    }
  }
}

template <class kind>
DEVICE void tensor_product(const real* __restrict__ from_left, const real* __restrict__ from_right, real* __restrict__ out, const After& after,
                           const Sizes& s, const Window& v, int splits, int out_run, int out_jump, bool steps_are_places, bool left_across,
                           bool right_across, bool adds) {
  SHARED(Tiles<kind>, tiles);
  Own<Loaded<kind>, TEAM> loaded;
  Own<Sums<4>, TEAM> sums[4];
  const int row_tiles = (s.rows + TILE - 1) / TILE, column_tiles = (s.columns + TILE - 1) / TILE, deep = WORDS * kind::DEPTH;
  for_blocks(r, row_tiles * column_tiles * splits) {
    const int first_row = r % row_tiles * TILE, first_column = r / row_tiles % column_tiles * TILE, split = r / row_tiles / column_tiles;
    const int begin = split * s.share, end = min(s.depth, begin + s.share);
    for_warps(w, TEAM) for_lanes(l) {
      const int t = w * 32 + l, n = first_column + t;
      if (t < TILE) {
        const Place nowhere = {0, NOWHERE, 0, 0};
        tiles.columns[t] = n >= s.columns ? nowhere : steps_are_places ? tap_of(v, n) : place_of_window(v, n);
      }
      look_up(s, v, steps_are_places, begin, end, t, tiles);
      UNROLL for (int i = 0; i < 16; ++i) {
        UNROLL for (int q = 0; q < 4; ++q) sums[i / 4](w, l).of[i % 4][q] = 0;
      }
    }
    sync_block();
    for (int k = begin - deep; k < end; k += deep) {  // the first round has nothing to multiply yet, the last nothing to load
      if (k >= begin) {
        for_warps(w, TEAM) for_lanes(l) {
          const int t = anew(w * 32 + l);
          const Loaded<kind>& own = loaded(w, l);
          left_across ? store_words<kind, true>(own.left, t, tiles.left) : store_words<kind, false>(own.left, t, tiles.left);
          right_across ? store_words<kind, true>(own.right, t, tiles.right) : store_words<kind, false>(own.right, t, tiles.right);
          look_up(s, v, steps_are_places, k + deep, end, t, tiles);
        }
        sync_block();
      }
      for_warps(w, TEAM) {
        if (k + deep < end) for_lanes(l) {
          const int t = anew(w * 32 + l);
          Loaded<kind>& own = loaded(w, l);
          left_across ? load_left<kind, true>(from_left, s, tiles, first_row, t, own) : load_left<kind, false>(from_left, s, tiles, first_row, t, own);
          right_across ? load_right<kind, true>(from_right, v, tiles, t, own) : load_right<kind, false>(from_right, v, tiles, t, own);
        }
        const bool wanted = first_row + w / 4 * 64 < s.rows && first_column + w % 4 * 32 < s.columns;  // by a whole warp or not at all
        if (k >= begin && wanted) multiply_tiles(tiles, w, sums);
      }
      sync_block();
    }
    for_warps(w, TEAM) for_lanes(l) {
      UNROLL for (int c = 0; c < 8; ++c) {
        const int n = first_column + w % 4 * 32 + c / 2 * 8 + l % 4 * 2 + c % 2;
        if (n < s.columns) {
          const index at = splits > 1 ? (index)split * s.rows * s.columns + n : (index)(n / out_run) * out_jump + n % out_run;
          UNROLL for (int i = 0; i < 8; ++i) {
            const int m = first_row + w / 4 * 64 + i / 2 * 16 + i % 2 * 8 + l / 4;
            if (m < s.rows) {
              real& to = out[at + (index)m * (splits > 1 ? s.columns : out_run)];
              const acc sum = sums[c / 2](w, l).of[i / 2][i % 2 * 2 + c % 2];
              to = splits > 1 ? sum : adds ? to + sum : finished(sum, m, after);
            }
          }
        }
      }
    }
  }
}

// Result (m, n) of rows x columns goes to n / out_run * out_jump + m * out_run + n % out_run of out, `adds`: is added there; where the
// sums are split, the parts go to out (splits, rows, columns). The terms of a sum are places (backward-weights) or taps.
#undef BOUNDS
// Registers for two blocks a processor; those of bfloat16, whose next tiles take twice as many, leave room for one.
#define BOUNDS __launch_bounds__(32 * TEAM, TENSOR_CORES && sizeof(real) == 4 ? 2 : 1)
KERNEL(tensor_product_tf32,
       const real* __restrict__ left, const real* __restrict__ right, real* __restrict__ out, const real* __restrict__ bias,
       const real* __restrict__ gain, const real* __restrict__ shift, int rectified, int channel_run, int rows, int columns, int depth, int share, int splits,
       int left_row, int left_run, int left_jump, int out_run, int out_jump, int adds, int left_across, int right_across, int steps_are_places,
       int transposed, int height, int width, int image, int places, int place_width, int kernel_h, int kernel_w, int stride_h, int stride_w,
       int pad_h, int pad_w, int dilation_h, int dilation_w) {
  const Sizes sizes = {rows, columns, depth, share, left_row, left_run, left_jump};
  const Window window = {height, width, height * width, image, places, place_width, kernel_h * kernel_w, kernel_w,
                         stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, transposed};
  const After after = {bias, gain, shift, rectified, channel_run};
  tensor_product<Tf32<real>>(left, right, out, after, sizes, window, splits, out_run, out_jump, steps_are_places, left_across, right_across, adds);
}

#undef BOUNDS
#define BOUNDS __launch_bounds__(32 * TEAM, 1)
KERNEL(tensor_product_bf16,
       const real* __restrict__ left, const real* __restrict__ right, real* __restrict__ out, const real* __restrict__ bias,
       const real* __restrict__ gain, const real* __restrict__ shift, int rectified, int channel_run, int rows, int columns, int depth, int share, int splits,
       int left_row, int left_run, int left_jump, int out_run, int out_jump, int adds, int left_across, int right_across, int steps_are_places,
       int transposed, int height, int width, int image, int places, int place_width, int kernel_h, int kernel_w, int stride_h, int stride_w,
       int pad_h, int pad_w, int dilation_h, int dilation_w) {
  const Sizes sizes = {rows, columns, depth, share, left_row, left_run, left_jump};
  const Window window = {height, width, height * width, image, places, place_width, kernel_h * kernel_w, kernel_w,
                         stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, transposed};
  const After after = {bias, gain, shift, rectified, channel_run};
  tensor_product<Bf16<real>>(left, right, out, after, sizes, window, splits, out_run, out_jump, steps_are_places, left_across, right_across, adds);
}

#undef BOUNDS
#define BOUNDS
// The parts (splits, rows, columns) of the sums, added in their order; results as above, columns being images of `run` places.
KERNEL(merge_splits, const real* __restrict__ parts, real* __restrict__ out, const real* __restrict__ bias, const real* __restrict__ gain,
       const real* __restrict__ shift, int rectified, int channel_run, int splits, int rows, int images, int run, int adds) {
  for_blocks(r, rows * images) {
    const int m = r / images, image = r % images;
    const real* __restrict__ from = parts + ((index)m * images + image) * run;
    real* __restrict__ to = out + ((index)image * rows + m) * run;
    const After after = {bias, gain, shift, rectified, channel_run};
    for_threads(p, run) {
      acc sum = 0;
      for (int split = 0; split < splits; ++split) sum += from[(index)split * rows * images * run + p];
      to[p] = adds ? to[p] + sum : finished(sum, m, after);
    }
  }
}
