// Transposed convolution, gathered: each output sums what reaches it,
//   y[n, g, o, h, w] = sum over (c, i, j) of x[n, g, c, (h + pad - i * dilation) / stride, ...] * weights[g, c, o, i, j] where the division is exact.
// For grouped and strided upsampling (bilinear layers of FCN), where a product has nothing to share. Its adjoints follow.
// On a CPU a block owns a row, which tap after tap is added to; on a GPU (..._places) a thread owns places, whose sums stay in registers.
// Compulsory bytes: read x and the weights once, write y once.
#include "rows.h"

// shape: images, groups, in = channels of x in a group, out = channels of y in a group
KERNEL(deconv_gather_forward, const real* __restrict__ x, const real* __restrict__ weights, real* __restrict__ y, int images, int groups,
       int in, int out, int height, int width, int out_height, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w,
       int pad_h, int pad_w, int dilation_h, int dilation_w) {
  for_blocks(r, images * groups * out * out_height) {
    const int h = r % out_height, o = r / out_height % out, g = r / out_height / out % groups, image = r / out_height / out / groups;
    real* __restrict__ to = y + (index)r * out_width;
    for_threads(w, out_width) to[w] = 0;
    sync_block();
    for (int i = 0; i < kernel_h; ++i) {
      const int reached = h + pad_h - i * dilation_h;
      if (reached < 0 || reached % stride_h || reached / stride_h >= height) continue;
      for (int c = 0; c < in; ++c) {
        const real* __restrict__ from = x + (((index)(image * groups + g) * in + c) * height + reached / stride_h) * width;
        const real* __restrict__ taps = weights + (((index)(g * in + c) * out + o) * kernel_h + i) * kernel_w;
        for (int j = 0; j < kernel_w; ++j) {  // a barrier between taps: two of them reach one place from different threads
          const int shift = j * dilation_w - pad_w;
          const int lo = min(shift < 0 ? (-shift + stride_w - 1) / stride_w : 0, width);
          const int hi = min(shift < out_width ? (out_width - shift + stride_w - 1) / stride_w : 0, width);
          const acc tap = taps[j];
          for_threads(w, hi - lo) to[(lo + w) * stride_w + shift] += tap * from[lo + w];
          sync_block();
        }
      }
    }
  }
}

// How a thread walks down a column of the output, windows not being dilated: the first tap that reaches it is j of x's `column`, and i of its `row`.
struct Walk {
  int row, i, column, j;
};

// Of windows that give no place more than two taps in either direction, as in bilinear upsampling: the four values of x that reach it stay in
// registers until the next row of x begins. A value outside x is 0 and meets the window's first tap.
DEVICE void walk_two_taps(const real* __restrict__ x, const real* __restrict__ weight, real* __restrict__ y, Walk at, int rows, int height,
                          int width, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w) {
  const bool near = at.j < kernel_w && at.column < width, far = at.j + stride_w < kernel_w && at.column > 0 && at.column <= width;
  const real* __restrict__ near_tap = weight + at.i * kernel_w + (near ? at.j : 0);
  const real* __restrict__ far_tap = weight + at.i * kernel_w + (far ? at.j + stride_w : 0);
  const auto value = [&](int row, bool is, int column) { return is && row >= 0 && row < height ? x[row * width + column] : 0; };
  acc near_below = value(at.row, near, at.column), near_above = value(at.row - 1, near, at.column);
  acc far_below = value(at.row, far, at.column - 1), far_above = value(at.row - 1, far, at.column - 1);
  NOT_UNROLLED for (int h = 0; h < rows; ++h) {
    acc sum = 0;
    if (at.i < kernel_h && at.row < height) sum = near_below * near_tap[0] + far_below * far_tap[0];
    if (at.i + stride_h < kernel_h && at.row > 0 && at.row <= height) {
      sum += near_above * near_tap[stride_h * kernel_w];
      sum += far_above * far_tap[stride_h * kernel_w];
    }
    *y = sum;
    y += out_width, near_tap += kernel_w, far_tap += kernel_w;
    if (++at.i == stride_h) {
      at.i = 0, ++at.row, near_tap -= stride_h * kernel_w, far_tap -= stride_h * kernel_w;
      near_above = near_below, far_above = far_below;
      near_below = value(at.row, near, at.column), far_below = value(at.row, far, at.column - 1);
    }
  }
}

// Of any: a map's size and `taps` lead to the next of `in` channels.
DEVICE void walk_all_taps(const real* __restrict__ x, const real* __restrict__ weight, real* __restrict__ y, Walk at, int rows, int in, int height,
                          int width, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, index taps) {
  NOT_UNROLLED for (int h = 0; h < rows; ++h) {
    acc sum = 0;
    for (int i = at.i, row = at.row; i < kernel_h && row >= 0; i += stride_h, --row)
      for (int c = 0; c < in && row < height; ++c)
        for (int j = at.j, column = at.column; j < kernel_w && column >= 0; j += stride_w, --column)
          if (column < width) sum += x[((index)c * height + row) * width + column] * weight[c * taps + i * kernel_w + j];
    *y = sum;
    y += out_width;
    if (++at.i == stride_h) at.i = 0, ++at.row;
  }
}

// A thread owns a column of the output and walks down `together` of its rows.
KERNEL(deconv_gather_forward_places, const real* __restrict__ x, const real* __restrict__ weights, real* __restrict__ y, int images, int groups,
       int in, int out, int height, int width, int out_height, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w,
       int pad_h, int pad_w, int together) {
  const int pieces = (out_height + together - 1) / together, taps = kernel_h * kernel_w;
  const bool two_taps = in == 1 && kernel_h <= 2 * stride_h && kernel_w <= 2 * stride_w;
  for_blocks(r, images * groups * out * pieces) {
    const int plane = r / pieces, first = (r - plane * pieces) * together, rows = min(together, out_height - first);
    const real* __restrict__ from = x + (index)(plane / out) * in * height * width;
    const real* __restrict__ weight = weights + ((index)(plane / out % groups) * in * out + plane % out) * taps;
    const int row = (first + pad_h) / stride_h, i = first + pad_h - row * stride_h;
    for_threads(w, out_width) {
      const int column = (w + pad_w) / stride_w, j = w + pad_w - column * stride_w;
      real* __restrict__ to = y + ((index)plane * out_height + first) * out_width + w;
      if (two_taps) walk_two_taps(from, weight, to, {row, i, column, j}, rows, height, width, out_width, kernel_h, kernel_w, stride_h, stride_w);
      else walk_all_taps(from, weight, to, {row, i, column, j}, rows, in, height, width, out_width, kernel_h, kernel_w, stride_h, stride_w, out * taps);
    }
  }
}

KERNEL(deconv_gather_backward_data, const real* __restrict__ dy, const real* __restrict__ weights, real* __restrict__ dx, int images,
       int groups, int in, int out, int height, int width, int out_height, int out_width, int kernel_h, int kernel_w, int stride_h,
       int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w) {
  for_blocks(r, images * groups * in * height) {
    const int h = r % height, c = r / height % in, g = r / height / in % groups, image = r / height / in / groups;
    real* __restrict__ to = dx + (index)r * width;
    for_threads(w, width) to[w] = 0;
    for (int i = 0; i < kernel_h; ++i) {
      const int place = h * stride_h - pad_h + i * dilation_h;
      if (place < 0 || place >= out_height) continue;
      for (int o = 0; o < out; ++o) {
        const real* __restrict__ from = dy + (((index)(image * groups + g) * out + o) * out_height + place) * out_width;
        const real* __restrict__ taps = weights + (((index)(g * in + c) * out + o) * kernel_h + i) * kernel_w;
        for (int j = 0; j < kernel_w; ++j) {  // each thread keeps its places in x: no barrier
          const int shift = j * dilation_w - pad_w;
          const acc tap = taps[j];
          for_threads(w, width) {
            const int at = w * stride_w + shift;
            if (0 <= at && at < out_width) to[w] += tap * from[at];
          }
        }
      }
    }
  }
}

// A thread owns places; a block `together` rows of x, teams of its threads a row each.
KERNEL(deconv_gather_backward_data_places, const real* __restrict__ dy, const real* __restrict__ weights, real* __restrict__ dx, int images,
       int groups, int in, int out, int height, int width, int out_height, int out_width, int kernel_h, int kernel_w, int stride_h,
       int stride_w, int pad_h, int pad_w, int together) {
  const int pieces = (height + together - 1) / together, taps = kernel_h * kernel_w;
  for_blocks(r, images * groups * in * pieces) {
    const int plane = r / pieces, first = (r - plane * pieces) * together, rows = min(together, height - first);
    const real* __restrict__ maps = dy + (index)(plane / in) * out * out_height * out_width;
    const real* __restrict__ weight = weights + (index)(plane % (groups * in)) * out * taps;
    const Team team = team_of(rows, width);
    for_rows(row, team, rows) {
      const int top = (first + row) * stride_h - pad_h;
      for_team(w, team, width) {
        const int left = w * stride_w - pad_w, begin = max(0, -left), end = min(kernel_w, out_width - left);
        acc sum = 0;
        for (int i = max(0, -top); i < min(kernel_h, out_height - top); ++i)
          for (int o = 0; o < out; ++o) {
            const real* __restrict__ from = maps + ((index)o * out_height + top + i) * out_width + left;
            const real* __restrict__ tap = weight + (o * kernel_h + i) * kernel_w;
            UNROLL for (int j = begin; j < end; ++j) sum += tap[j] * from[j];
          }
        dx[((index)plane * height + first + row) * width + w] = sum;
      }
    }
  }
}

KERNEL(deconv_gather_backward_weights, const real* __restrict__ x, const real* __restrict__ dy, real* __restrict__ dweights, int images,
       int groups, int in, int out, int height, int width, int out_height, int out_width, int kernel_h, int kernel_w, int stride_h,
       int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w) {
  for_blocks(r, groups * in * out * kernel_h * kernel_w) {
    const int j = r % kernel_w, i = r / kernel_w % kernel_h, o = r / kernel_w / kernel_h % out, gc = r / kernel_w / kernel_h / out;
    const int g = gc / in, c = gc % in, shift = j * dilation_w - pad_w;
    double total = 0;
    for (int image = 0; image < images; ++image) {
      for (int h = 0; h < height; ++h) {
        const int place = h * stride_h - pad_h + i * dilation_h;
        if (place < 0 || place >= out_height) continue;
        const real* __restrict__ a = x + (((index)(image * groups + g) * in + c) * height + h) * width;
        const real* __restrict__ b = dy + (((index)(image * groups + g) * out + o) * out_height + place) * out_width;
        acc sum = 0;
        for_threads_sum(w, width, sum) {
          const int at = w * stride_w + shift;
          if (0 <= at && at < out_width) sum += a[w] * b[at];
        }
        total += sum;
      }
    }
    total = block_sum(total);
    for_threads(once, 1) dweights[r] += total;
  }
}
