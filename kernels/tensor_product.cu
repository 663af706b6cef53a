// Convolution, its two adjoints and fully connected layers as one product on tensor cores, operands rounded to TF32 or bfloat16, sums in float:
//   forward            y[o, (n, p)] = sum over (c, tap) of w[o, (c, tap)] x[n, c, the place that tap reaches from p]
//   backward-data      dx[c, (n, p)] = sum over (o, tap) of w[o, c, tap] dy[n, o, the place that reaches p by tap]
//   backward-weights   dw[o, (c, tap)] = sum over (n, p) of dy[n, o, p] x[n, c, the place that tap reaches from p]
// The left matrix is w or dy as it lies there; the right one, a product's columns, is gathered from an image while it is loaded.
// One side of it counts taps, the other places; both are looked up in tables of offsets, so that an element costs no division, and of bits,
// so that whether it lies in the image costs one instruction.
// A block computes TILE x TILE sums, TERMS of each at a time: while the warps multiply one pair of tiles the next is under way to
// registers, where it is rounded when it is stored. Long sums of few results are split among blocks and merged in one order.
// Compulsory bytes: read both operands once, write the result once; a tile of columns is read again for each TILE rows, and the reverse.
#include "warp.h"

constexpr int TEAM = 4;                             // warps of a block
constexpr int TILE = sizeof(real) == 4 ? 128 : 64;  // rows and columns of a tile
constexpr int SIDE = TILE / 32;                     // sixteens of rows, and of columns, that a warp has of it
constexpr int TERMS = 16;                           // its depth
constexpr int VALUES = TILE * TERMS / (32 * TEAM);  // of a tile that a thread loads
constexpr int LOOKED_UP = 32 * TEAM;                // terms at once

// A place in the images to gather from, or what a tap adds to it. The bits of a place are those rows and columns of its window that lie outside
// the image or between its places, the bits of a tap its row and its column: they meet in the image where they have none in common.
struct alignas(8) Place {
  int offset;
  unsigned bits;
};
constexpr unsigned OF_PLACES = 1u << 31;  // each place has it, so that none meets what has all bits
constexpr Place BEYOND = {0, ~0u};        // what comes after the last place or tap: meets none

// How a window moves over maps of height x width; `map` is their size, `image` the size of all maps of one image.
struct Window {
  int height, width, map, image, places, place_width, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, transposed;
};

// What tap k, counted through the channels, adds to a place.
DEVICE Place tap_of(const Window& v, int k) {
  const int taps = v.kernel_h * v.kernel_w, tap = k % taps, i = tap / v.kernel_w, j = tap % v.kernel_w;
  const int row = v.transposed ? -(i * v.dilation_h / v.stride_h) : i * v.dilation_h;
  const int column = v.transposed ? -(j * v.dilation_w / v.stride_w) : j * v.dilation_w;
  return {k / taps * v.map + row * v.width + column, 1u << i | 1u << (v.kernel_h + j)};
}

// Which of a window's rows (or columns) lie outside the image or, transposed, between its places.
DEVICE unsigned outside(int place, int kernel, int stride, int pad, int dilation, int size, int transposed) {
  unsigned bits = 0;
  NOT_UNROLLED for (int i = 0; i < kernel; ++i) {
    const int reached = transposed ? place + pad - i * dilation : place * stride - pad + i * dilation;
    bits |= (unsigned)(reached < 0 || (transposed ? reached % stride || reached / stride >= size : reached >= size)) << i;
  }
  return bits;
}

// Where place n, counted through the images, has its first tap.
DEVICE Place place_of_window(const Window& v, int n) {
  const int p = n % v.places, h = p / v.place_width, w = p % v.place_width;
  const int row = v.transposed ? (h + v.pad_h) / v.stride_h : h * v.stride_h - v.pad_h;
  const int column = v.transposed ? (w + v.pad_w) / v.stride_w : w * v.stride_w - v.pad_w;
  return {n / v.places * v.image + row * v.width + column,
          outside(h, v.kernel_h, v.stride_h, v.pad_h, v.dilation_h, v.height, v.transposed) |
              outside(w, v.kernel_w, v.stride_w, v.pad_w, v.dilation_w, v.width, v.transposed) << v.kernel_h | OF_PLACES};
}

// The sizes of a product: results rows x columns, sums of `depth` terms, of which a block takes `share`.
// Element (m, k) of the left matrix lies at m * left_row + k / left_run * left_jump + k % left_run.
struct Sizes {
  int rows, columns, depth, share, left_row, left_run, left_jump;
};

template <class kind, int n> struct alignas(n * sizeof(typename kind::word) < 16 ? n * sizeof(typename kind::word) : 16) Words {  // stored at once
  typename kind::word of[n];
};

// A tile's rows of words. From row to row lie four words more: eight rows of a fragment are in different banks then.
template <class kind> struct Tile {
  static constexpr int WORDS = TERMS / kind::DEPTH, PITCH = sizeof(real) == 4 ? WORDS + 4 : WORDS;
  alignas(16) typename kind::word words[TILE][PITCH];
};

template <class kind> struct Shared {
  Tile<kind> left[2], right[2];                       // one pair is multiplied while the other is stored
  alignas(16) Place columns[TILE], steps[LOOKED_UP];  // the right matrix's two sides
  int offsets[LOOKED_UP];                             // of the left matrix along the sum; -1 beyond its end
};

struct Loaded { real left[VALUES], right[VALUES]; };

// How threads share a tile. ACROSS, where memory runs across its rows: neighbours take neighbouring rows, a thread terms of one. ALONG, where it
// runs along the sum: neighbours take neighbouring words of some rows. FOURS: the same, four values at once.
enum Way { ALONG, ACROSS, FOURS };

// Where thread t's n-th value belongs. Of a row it has OF_ROW values, so that the next row comes OF_ROW values later.
template <class kind, Way way> constexpr int OF_ROW = way == ALONG ? kind::DEPTH : way == FOURS ? 4 : VALUES;

template <class kind, Way way>
DEVICE int tile_row(unsigned t, unsigned n) {
  if (way == ACROSS) return t % TILE;
  constexpr int threads = TERMS / OF_ROW<kind, way>, apart = Tile<kind>::WORDS / 4;  // that share a row; rows that lie side by side in the banks
  const unsigned row = t / threads, eighth = row % 8;
  return row / 8 * 8 + eighth % (8 / apart) * apart + eighth / (8 / apart) + n / OF_ROW<kind, way> * (32 * TEAM / threads);
}
template <class kind, Way way>
DEVICE int tile_term(unsigned t, unsigned n) {
  constexpr int of_row = OF_ROW<kind, way>;
  return (way == ACROSS ? t / TILE : t % (TERMS / of_row)) * of_row + n % of_row;
}

template <class kind, Way way>
DEVICE void load_left(const real* __restrict__ from, const Sizes& s, const int* offsets, int first_row, unsigned t, real (&values)[VALUES]) {
  constexpr int of_row = OF_ROW<kind, way>;
  UNROLL for (int d = 0; d < of_row; d += way == FOURS ? 4 : 1) {
    const int offset = offsets[tile_term<kind, way>(t, d)];
    UNROLL for (int n = d; n < VALUES; n += of_row) {
      const int row = min(first_row + tile_row<kind, way>(t, n), s.rows - 1);  // what comes of those beyond is not written
      const real* place = from + (row * s.left_row + offset);
      if (way == FOURS) read_four_unless(offset < 0, place, values + n);
      else values[n] = read_unless(offset < 0, place);
    }
  }
}

template <class kind, Way way>
DEVICE void load_right(const real* __restrict__ from, const Place* columns, const Place* steps, unsigned t, real (&values)[VALUES]) {
  constexpr int of_row = OF_ROW<kind, way>;
  if (way == ACROSS) {
    const Place column = columns[tile_row<kind, way>(t, 0)];
    const real* place = anew(from + column.offset);
    const Place* own = (const Place*)__builtin_assume_aligned(steps + tile_term<kind, way>(t, 0), 16);  // two are read at once
    UNROLL for (int n = 0; n < VALUES; ++n) values[n] = read_unless(column.bits & own[n].bits, place + own[n].offset);
  } else {
    UNROLL for (int d = 0; d < of_row; ++d) {
      const Place step = steps[tile_term<kind, way>(t, d)];
      const real* place = anew(from + step.offset);
      UNROLL for (int n = d; n < VALUES; n += of_row) {
        const Place column = columns[tile_row<kind, way>(t, n)];
        values[n] = read_unless(column.bits & step.bits, place + column.offset);
      }
    }
  }
}

template <class kind, Way way>
DEVICE void store_words(const real (&values)[VALUES], unsigned t, Tile<kind>& tile) {
  constexpr int depth = kind::DEPTH, together = way == ACROSS ? 4 : OF_ROW<kind, way> / depth;
  UNROLL for (int n = 0; n < VALUES; n += together * depth) {
    Words<kind, together> words;
    UNROLL for (int q = 0; q < together; ++q) words.of[q] = packed(kind(), values + n + q * depth);
    *(Words<kind, together>*)&tile.words[tile_row<kind, way>(t, n)][tile_term<kind, way>(t, n) / depth] = words;
  }
}

// Bias, then gain and shift, then rectification, each where it is wanted (null or 0: not); a channel has `run` rows.
struct After {
  const real *bias, *gain, *shift;
  int rectified, run;
};

// The same for one row of results.
struct RowFinish {
  acc bias, gain, shift;
  bool biased, scaled, rectified;
};
DEVICE RowFinish finish_of(const After& after, int row) {
  const int channel = after.run == 1 ? row : row / after.run;
  const bool biased = after.bias, scaled = after.gain;
  return {biased ? after.bias[channel] : 0, scaled ? after.gain[channel] : 0, scaled ? after.shift[channel] : 0, biased, scaled, after.rectified != 0};
}
DEVICE acc finished(acc value, const RowFinish& finish) {
  if (finish.biased) value += finish.bias;
  if (finish.scaled) value = finish.gain * value + finish.shift;
  return finish.rectified && value < 0 ? 0 : value;
}

struct Product {
  const real *left, *right;
  real* out;
  After after;
  Sizes s;
  Window v;
  int splits, out_run, out_jump, adds, left_across, right_across, steps_are_places;
};

DEVICE Way left_way(const Product& p) {
  if (p.left_across) return ACROSS;
  return (p.s.left_row | p.s.left_run | p.s.left_jump) % 4 || (size_t)p.left % (4 * sizeof(real)) ? ALONG : FOURS;
}

DEVICE Place column_of(const Product& p, int n) {
  return n >= p.s.columns ? BEYOND : p.steps_are_places ? tap_of(p.v, n) : place_of_window(p.v, n);
}

// What thread t of the block looks up of the terms from k on, up to `end`.
template <class kind>
DEVICE void look_up(const Product& p, int k, int end, int t, Shared<kind>& shared) {
  const int at = k + t;
  shared.steps[t] = at >= end ? BEYOND : p.steps_are_places ? place_of_window(p.v, at) : tap_of(p.v, at);
  shared.offsets[t] = at >= end ? -1 : at / p.s.left_run * p.s.left_jump + at % p.s.left_run;
}

// Thread t's values of the pair of tiles whose terms were looked up at `at`.
template <class kind>
DEVICE void load_tiles(const Product& p, Way way, int first_row, unsigned at, unsigned t, const Shared<kind>& shared, Loaded& own) {
  const int* offsets = shared.offsets + at;
  if (way == FOURS) load_left<kind, FOURS>(p.left, p.s, offsets, first_row, t, own.left);
  if (way == ALONG) load_left<kind, ALONG>(p.left, p.s, offsets, first_row, t, own.left);
  if (way == ACROSS) load_left<kind, ACROSS>(p.left, p.s, offsets, first_row, t, own.left);
  if (p.right_across) load_right<kind, ACROSS>(p.right, shared.columns, shared.steps + at, t, own.right);
  if (!p.right_across) load_right<kind, ALONG>(p.right, shared.columns, shared.steps + at, t, own.right);
}

template <class kind>
DEVICE void store_tiles(const Product& p, Way way, unsigned t, const Loaded& own, Tile<kind>& left, Tile<kind>& right) {
  if (way == FOURS) store_words<kind, FOURS>(own.left, t, left);
  if (way == ALONG) store_words<kind, ALONG>(own.left, t, left);
  if (way == ACROSS) store_words<kind, ACROSS>(own.left, t, left);
  if (p.right_across) store_words<kind, ACROSS>(own.right, t, right);
  if (!p.right_across) store_words<kind, ALONG>(own.right, t, right);
}

// A warp's part of a tile: half its rows and half its columns or, where there are no more rows, a quarter of the columns.
struct WarpPart {
  int row, column;
  bool wide;
};
DEVICE WarpPart warp_part(int w, int rows) {
  const bool wide = rows > TILE / 2;
  return {wide ? w / 2 * (TILE / 2) : 0, wide ? w % 2 * (TILE / 2) : w * (TILE / 4), wide};
}

// Multiply half the rows and SIXTEENS times 16 columns of what a pair of tiles holds.
template <int SIXTEENS, class kind>
DEVICE void multiply_tiles(const Tile<kind>& left_tile, const Tile<kind>& right_tile, const WarpPart& part, int w, Own<Sums<SIDE>, TEAM> (&sums)[SIDE]) {
  UNROLL for (int word = 0; word < Tile<kind>::WORDS; word += 8) {
    Own<Left<typename kind::word, SIDE>, TEAM> left;
    load_left_fragment(left, left_tile.words + part.row, word, w);
    UNROLL for (int j = 0; j < SIXTEENS; ++j) {
      Own<Right<typename kind::word>, TEAM> right;
      load_right_fragment(right, right_tile.words + part.column + 16 * j, word, w);
      warp_product<kind>(left, right, sums[j], w);
    }
  }
}

// Lane l of warp w writes its results, whose first are at `row` and `column`.
DEVICE void write_sums(const Product& p, int row, int column, bool wide, int split, int w, int l, Own<Sums<SIDE>, TEAM> (&sums)[SIDE]) {
  int at[4 * SIDE];  // of the lane's columns; -1: not wanted
  UNROLL for (int c = 0; c < 4 * SIDE; ++c) {
    const int n = column + c / 2 * 8 + l % 4 * 2 + c % 2;
    at[c] = n >= p.s.columns || (c >= 2 * SIDE && !wide) ? -1 : p.splits > 1 ? n : n / p.out_run * p.out_jump + n % p.out_run;
  }
  UNROLL for (int i = 0; i < 2 * SIDE; ++i) {
    const int m = row + i / 2 * 16 + i % 2 * 8 + l / 4;
    if (m < p.s.rows) {
      real* to = p.out + (p.splits > 1 ? (index)(split * p.s.rows + m) * p.s.columns : (index)m * p.out_run);
      const RowFinish finish = finish_of(p.after, m);
      UNROLL for (int c = 0; c < 4 * SIDE; ++c) {
        const acc sum = sums[c / 4](w, l).of[c / 2 % 2][i / 2][i % 2 * 2 + c % 2];
        if (at[c] >= 0) to[at[c]] = p.splits > 1 ? sum : p.adds ? to[at[c]] + sum : finished(sum, finish);
      }
    }
  }
}

template <class kind>
DEVICE void tensor_product(const Product& p) {
  SHARED(Shared<kind>, shared);
  Own<Loaded, TEAM> loaded;
  Own<Sums<SIDE>, TEAM> sums[SIDE];
  const Way way = left_way(p);
  const int row_tiles = (p.s.rows + TILE - 1) / TILE, column_tiles = (p.s.columns + TILE - 1) / TILE;
  for_blocks(r, row_tiles * column_tiles * p.splits) {
    const int first_row = r % row_tiles * TILE, first_column = r / row_tiles % column_tiles * TILE, split = r / row_tiles / column_tiles;
    const int begin = split * p.s.share, end = min(p.s.depth, begin + p.s.share);
    for_warps(w, TEAM) for_lanes(l) {
      for (int t = w * 32 + l; t < TILE; t += 32 * TEAM) shared.columns[t] = column_of(p, first_column + t);
      UNROLL for (int n = 0; n < 8 * SIDE * SIDE; ++n) sums[n / (8 * SIDE)](w, l).of[n / (4 * SIDE) % 2][n / 4 % SIDE][n % 4] = 0;
    }
    const unsigned rounds = (end - begin + TERMS - 1) / TERMS;
    for (unsigned round = 0; round <= rounds; ++round) {  // the first has nothing to multiply yet, the last nothing to load
      const unsigned at = round * TERMS % LOOKED_UP;
      Tile<kind>&left = shared.left[round % 2], &right = shared.right[round % 2];
      if (at == 0 && round < rounds) {
        for_warps(w, TEAM) for_lanes(l) look_up(p, begin + round * TERMS, end, w * 32 + l, shared);
        sync_block();
      }
      for_warps(w, TEAM) {
        const WarpPart part = warp_part(w, p.s.rows - first_row);
        const bool wanted = first_row + part.row < p.s.rows && first_column + part.column < p.s.columns;  // by a whole warp or not at all
        if (round < rounds) for_lanes(l) load_tiles(p, way, first_row, at, anew(w * 32u + l), shared, loaded(w, l));
        const Tile<kind>&earlier_left = shared.left[1 - round % 2], &earlier_right = shared.right[1 - round % 2];
        if (round && wanted) {
          if (part.wide) multiply_tiles<SIDE>(earlier_left, earlier_right, part, w, sums);
          else multiply_tiles<SIDE / 2>(earlier_left, earlier_right, part, w, sums);
        }
        if (round < rounds) for_lanes(l) store_tiles(p, way, anew(w * 32u + l), loaded(w, l), left, right);
      }
      sync_block();
    }
    for_warps(w, TEAM) for_lanes(l) {
      const WarpPart part = warp_part(w, p.s.rows - first_row);
      write_sums(p, first_row + part.row, first_column + part.column, part.wide, split, w, l, sums);
    }
  }
}

// Result (m, n) of rows x columns goes to n / out_run * out_jump + m * out_run + n % out_run of out, `adds`: is added there; where the
// sums are split, the parts go to out (splits, rows, columns). The terms of a sum are places (backward-weights) or taps.
#undef BOUNDS
#define BOUNDS __launch_bounds__(32 * TEAM, TENSOR_CORES && sizeof(real) == 4 ? 2 : 1)  // registers for two blocks a processor
KERNEL(tensor_product_tf32,
       const real* __restrict__ left, const real* __restrict__ right, real* __restrict__ out, const real* __restrict__ bias,
       const real* __restrict__ gain, const real* __restrict__ shift, int rectified, int channel_run, int rows, int columns, int depth, int share, int splits,
       int left_row, int left_run, int left_jump, int out_run, int out_jump, int adds, int left_across, int right_across, int steps_are_places,
       int transposed, int height, int width, int image, int places, int place_width, int kernel_h, int kernel_w, int stride_h, int stride_w,
       int pad_h, int pad_w, int dilation_h, int dilation_w) {
  tensor_product<Tf32<real>>({left, right, out, {bias, gain, shift, rectified, channel_run}, {rows, columns, depth, share, left_row, left_run, left_jump},
                              {height, width, height * width, image, places, place_width, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w,
                               dilation_h, dilation_w, transposed},
                              splits, out_run, out_jump, adds, left_across, right_across, steps_are_places});
}

KERNEL(tensor_product_bf16,
       const real* __restrict__ left, const real* __restrict__ right, real* __restrict__ out, const real* __restrict__ bias,
       const real* __restrict__ gain, const real* __restrict__ shift, int rectified, int channel_run, int rows, int columns, int depth, int share, int splits,
       int left_row, int left_run, int left_jump, int out_run, int out_jump, int adds, int left_across, int right_across, int steps_are_places,
       int transposed, int height, int width, int image, int places, int place_width, int kernel_h, int kernel_w, int stride_h, int stride_w,
       int pad_h, int pad_w, int dilation_h, int dilation_w) {
  tensor_product<Bf16<real>>({left, right, out, {bias, gain, shift, rectified, channel_run}, {rows, columns, depth, share, left_row, left_run, left_jump},
                              {height, width, height * width, image, places, place_width, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w,
                               dilation_h, dilation_w, transposed},
                              splits, out_run, out_jump, adds, left_across, right_across, steps_are_places});
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
    const RowFinish finish = finish_of({bias, gain, shift, rectified, channel_run}, m);
    for_threads(p, run) {
      acc sum = 0;
      for (int split = 0; split < splits; ++split) sum += from[(index)split * rows * images * run + p];
      to[p] = adds ? to[p] + sum : finished(sum, finish);
    }
  }
}
