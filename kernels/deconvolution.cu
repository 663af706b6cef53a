// Transposed convolution, gathered: each output sums what reaches it,
//   y[n, g, o, h, w] = sum over (c, i, j) of x[n, g, c, (h + pad - i * dilation) / stride, ...] * weights[g, c, o, i, j] where the division is exact.
// For grouped and strided upsampling (bilinear layers of FCN), where a product has nothing to share. Its adjoints follow.
// Compulsory bytes: read x and the weights once, write y once.
#include "kernel.h"

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
