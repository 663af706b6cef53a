// Columns of a convolution: col[(c, i, j), (n, oh, ow)] = x[n, c, oh * stride - pad + i * dilation, ow * stride - pad + j * dilation],
// zero outside the image; col2im is its adjoint. One call covers `images` whole images, or `rows` output rows of one image from `first` on.
// Compulsory bytes: im2col reads x and writes col once; col2im reads col and adds into x.
#include "bands.h"

// A block owns the plane of columns of one (channel, tap) and image.
KERNEL(im2col, const real* __restrict__ x, real* __restrict__ col, int images, int channels, int height, int width, int first, int rows,
       int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w) {
  for_blocks(r, channels * kernel_h * kernel_w * images) {
    const int image = r % images, k = r / images, j = k % kernel_w, i = k / kernel_w % kernel_h, c = k / kernel_w / kernel_h;
    const int shift = j * dilation_w - pad_w;
    const Span span = span_of(shift, stride_w, width, out_width);
    const real* __restrict__ plane = x + (index)(image * channels + c) * height * width;
    for (int row = 0; row < rows; ++row) {
      const int h = (first + row) * stride_h - pad_h + i * dilation_h;
      real* __restrict__ to = col + ((index)r * rows + row) * out_width;
      if (h < 0 || h >= height) {
        for_threads(w, out_width) to[w] = 0;
        continue;
      }
      const real* __restrict__ from = plane + (index)h * width + shift;
      for_threads(w, span.first) to[w] = 0;
      if (stride_w == 1) {
        for_threads(w, span.last - span.first) to[span.first + w] = from[span.first + w];
      } else {
        for_threads(w, span.last - span.first) to[span.first + w] = from[(span.first + w) * stride_w];
      }
      for_threads(w, out_width - span.last) to[span.last + w] = 0;
    }
  }
}

// x += the columns that came from it. A block owns a plane of x; its taps follow one another, a barrier between them, because two
// taps reach the same place from different threads.
KERNEL(col2im, const real* __restrict__ col, real* __restrict__ x, int images, int channels, int height, int width, int first, int rows,
       int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w) {
  for_blocks(r, images * channels) {
    const int c = r % channels, image = r / channels;
    real* __restrict__ plane = x + (index)r * height * width;
    for (int tap = 0; tap < kernel_h * kernel_w; ++tap) {
      const int shift = tap % kernel_w * dilation_w - pad_w, down = tap / kernel_w * dilation_h - pad_h;
      const Span span = span_of(shift, stride_w, width, out_width);
      const real* __restrict__ taps = col + ((index)(c * kernel_h * kernel_w + tap) * images + image) * rows * out_width;
      for (int row = 0; row < rows; ++row) {
        const int h = (first + row) * stride_h + down;
        if (h < 0 || h >= height) continue;
        const real* __restrict__ from = taps + (index)row * out_width;
        real* __restrict__ to = plane + (index)h * width + shift;
        if (stride_w == 1) {
          for_threads(w, span.last - span.first) to[span.first + w] += from[span.first + w];
        } else {
          for_threads(w, span.last - span.first) to[(span.first + w) * stride_w] += from[span.first + w];
        }
      }
      sync_block();
    }
  }
}

// (C, N, P) columns of a product to (N, C, P) images.
KERNEL(images_from_columns, const real* __restrict__ columns, real* __restrict__ y, int images, int channels, int size) {
  for_blocks(r, images * channels) {
    const int c = r % channels, image = r / channels;
    const real* __restrict__ from = columns + ((index)c * images + image) * size;
    real* __restrict__ to = y + (index)r * size;
    for_threads(i, size) to[i] = from[i];
  }
}

// (N, C, P) images to the (C, N, P) columns that one product over several images wants.
KERNEL(columns_from_images, const real* __restrict__ x, real* __restrict__ columns, int images, int channels, int size) {
  for_blocks(r, channels * images) {
    const int image = r % images, c = r / images;
    const real* __restrict__ from = x + ((index)image * channels + c) * size;
    real* __restrict__ to = columns + (index)r * size;
    for_threads(i, size) to[i] = from[i];
  }
}

// Both as a GPU does them: a thread owns a place and walks its taps, so that narrow maps fill a warp, one division serves all taps, and
// col2im adds without a barrier, in the same order. A block owns a run of a plane's places.
KERNEL(im2col_places, const real* __restrict__ x, real* __restrict__ col, int images, int channels, int height, int width, int first,
       int rows, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w,
       int run) {
  const int places = rows * out_width, runs = (places + run - 1) / run;
  for_blocks(r, images * channels * runs) {
    const int begin = r % runs * run, image = r / runs / channels, c = r / runs % channels;
    const real* __restrict__ plane = x + (index)(r / runs) * height * width;
    for_threads(i, min(run, places - begin)) {
      const int place = begin + i, row = place / out_width;
      const int top = (first + row) * stride_h - pad_h, left = (place - row * out_width) * stride_w - pad_w;
      real* __restrict__ to = col + ((index)c * kernel_h * kernel_w * images + image) * places + place;
      for (int h = top; h < top + kernel_h * dilation_h; h += dilation_h)
        for (int w = left; w < left + kernel_w * dilation_w; w += dilation_w) {
          *to = 0 <= h && h < height && 0 <= w && w < width ? plane[h * width + w] : 0;
          to += (index)images * places;
        }
    }
  }
}

// The first tap that reaches a place `reached` beyond the start of window 0, and its window. Taps that reach it are `every` apart, and so many
// windows before (`back`, both from the host). A tap beyond the kernel: none does.
struct Reach { int tap, window; };
DEVICE Reach reach_of(int reached, int stride, int dilation, int every, int kernel) {
  int tap = 0;
  if (dilation == 1) tap = stride == 1 ? 0 : reached % stride;
  else while (tap < every && (reached - tap * dilation) % stride) ++tap;
  return {tap < every ? tap : kernel, stride == 1 ? reached - tap * dilation : (reached - tap * dilation) / stride};
}

KERNEL(col2im_places, const real* __restrict__ col, real* __restrict__ x, int images, int channels, int height, int width, int first,
       int rows, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w,
       int every_h, int every_w, int back_h, int back_w, int run) {
  const int places = height * width, runs = (places + run - 1) / run;
  const index jump = (index)images * rows * out_width, next = every_w * jump - back_w;  // from tap to tap, and to the next that reaches a place
  for_blocks(r, images * channels * runs) {
    const int begin = r % runs * run, image = r / runs / channels, c = r / runs % channels;
    real* __restrict__ plane = x + (index)(r / runs) * places;
    const real* __restrict__ from = col + ((index)c * kernel_h * kernel_w * images + image) * rows * out_width;
    for_threads(i, min(run, places - begin)) {
      const int place = begin + i, h = place / width, w = place - h * width;
      const Reach down = reach_of(h + pad_h, stride_h, dilation_h, every_h, kernel_h);
      const Reach right = reach_of(w + pad_w, stride_w, dilation_w, every_w, kernel_w);
      acc sum = plane[place];
      for (int a = down.tap, row = down.window - first; a < kernel_h; a += every_h, row -= back_h) {
        index at = (a * kernel_w + right.tap) * jump + row * out_width + right.window;
        for (int b = right.tap, column = right.window; b < kernel_w && row >= 0 && row < rows; b += every_w, column -= back_w) {
          if (column >= 0 && column < out_width) sum += from[at];
          at += next;
        }
      }
      plane[place] = sum;
    }
  }
}
