// Max-pooling with switches (paper, 3.2.1): y = the maximum of each window, switches = its flat index h * width + w in the plane.
// The first maximum in scan order wins a tie; a NaN beats every number, so that it is not lost on the way to the loss.
// Average pooling divides by the window's size, its padding counted, as Caffe does.
// Compulsory bytes per plane: forward reads H * W, writes one (max: two) values per window; backward reads those and writes H * W.
#include "kernel.h"

// what Caffe gives for a window beyond the map (a stride larger than the kernel, rounded up); its switch is -1
#define LOWEST -3.402823466e38f

DEVICE bool beats(real value, real best) { return value > best || (value != value && best == best); }

// kernel 2, stride 2, no padding, the window whole: the case of the paper's net, free of inner loops so that it vectorises
DEVICE void pool_pairs(const real* __restrict__ upper, const real* __restrict__ lower, real* __restrict__ y, real* __restrict__ switches,
                       int windows, int at, int width) {
  for_threads(i, windows) {
    real best = upper[2 * i];
    int place = at + 2 * i;
    if (beats(upper[2 * i + 1], best)) best = upper[2 * i + 1], place = at + 2 * i + 1;
    if (beats(lower[2 * i], best)) best = lower[2 * i], place = at + width + 2 * i;
    if (beats(lower[2 * i + 1], best)) best = lower[2 * i + 1], place = at + width + 2 * i + 1;
    y[i] = best;
    switches[i] = place;
  }
}

KERNEL(max_pool_forward, const real* __restrict__ x, real* __restrict__ y, real* __restrict__ switches, int planes, int height, int width,
       int out_height, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w) {
  for_blocks(r, planes * out_height) {
    const int oh = r % out_height, top = max(oh * stride_h - pad_h, 0), end = min(oh * stride_h - pad_h + kernel_h, height);
    const real* __restrict__ plane = x + (index)(r / out_height) * height * width;
    real* __restrict__ to = y + (index)r * out_width;
    real* __restrict__ to_switches = switches + (index)r * out_width;
    int done = 0;
    if (kernel_h == 2 && kernel_w == 2 && stride_w == 2 && !pad_h && !pad_w && end - top == 2) {
      done = min(width / 2, out_width);
      pool_pairs(plane + top * width, plane + (top + 1) * width, to, to_switches, done, top * width, width);
    }
    for_threads(rest, out_width - done) {
      const int ow = done + rest, left = max(ow * stride_w - pad_w, 0), right = min(ow * stride_w - pad_w + kernel_w, width);
      int place = top < end && left < right ? top * width + left : -1;
      for (int h = top; h < end; ++h)
        for (int w = left; w < right; ++w)
          if (beats(plane[h * width + w], plane[place])) place = h * width + w;
      to[ow] = place < 0 ? LOWEST : plane[place];
      to_switches[ow] = place;
    }
  }
}

// The same for a GPU: a block owns a run of a plane's windows, so that narrow maps fill a warp too.
KERNEL(max_pool_runs, const real* __restrict__ x, real* __restrict__ y, real* __restrict__ switches, int planes, int height, int width,
       int out_height, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w, int run) {
  const int windows = out_height * out_width, runs = (windows + run - 1) / run;
  for_blocks(r, planes * runs) {
    const int first = r % runs * run;
    const index to = (index)(r / runs) * windows + first;
    const real* __restrict__ plane = x + (index)(r / runs) * height * width;
    for_threads(i, min(run, windows - first)) {
      const int oh = (first + i) / out_width, ow = first + i - oh * out_width;
      const int top = max(oh * stride_h - pad_h, 0), end = min(oh * stride_h - pad_h + kernel_h, height);
      const int left = max(ow * stride_w - pad_w, 0), right = min(ow * stride_w - pad_w + kernel_w, width);
      int place = top < end && left < right ? top * width + left : -1;
      real best = place < 0 ? (real)LOWEST : plane[place];
      if (end - top == 2 && right - left == 2) {  // three loads that do not wait for each other
        const real b = plane[place + 1], c = plane[place + width], d = plane[place + width + 1];
        const int corner = place;
        if (beats(b, best)) best = b, place = corner + 1;
        if (beats(c, best)) best = c, place = corner + width;
        if (beats(d, best)) best = d, place = corner + width + 1;
      } else {
        for (int h = top; h < end; ++h)
          for (int w = left; w < right; ++w)
            if (beats(plane[h * width + w], best)) best = plane[h * width + w], place = h * width + w;
      }
      y[to + i] = best;
      switches[to + i] = place;
    }
  }
}

// dx = dy at the switches, for windows that do not overlap; a switch outside the plane writes nothing
KERNEL(max_pool_backward, const real* __restrict__ dy, const real* __restrict__ switches, real* __restrict__ dx, int planes, int windows,
       int size) {
  for_blocks(p, planes) {
    real* __restrict__ to = dx + (index)p * size;
    for_threads(i, size) to[i] = 0;
    sync_block();
    for_threads(i, windows) {
      const index from = (index)p * windows + i;
      const int at = (int)switches[from];
      if (0 <= at && at < size) to[at] = dy[from];
    }
  }
}

// the same for windows that may overlap: each place sums over the windows that reach it and chose it
KERNEL(max_pool_backward_overlapping, const real* __restrict__ dy, const real* __restrict__ switches, real* __restrict__ dx, int planes,
       int height, int width, int out_height, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w) {
  for_blocks(r, planes * height) {
    const int h = r % height;
    const index windows = (index)(r / height) * out_height * out_width;
    const int first_h = max(0, (h + pad_h - kernel_h + stride_h) / stride_h), last_h = min(out_height - 1, (h + pad_h) / stride_h);
    for_threads(w, width) {
      const int first_w = max(0, (w + pad_w - kernel_w + stride_w) / stride_w), last_w = min(out_width - 1, (w + pad_w) / stride_w);
      acc sum = 0;
      for (int oh = first_h; oh <= last_h; ++oh)
        for (int ow = first_w; ow <= last_w; ++ow)
          if ((int)switches[windows + oh * out_width + ow] == h * width + w) sum += dy[windows + oh * out_width + ow];
      dx[(index)r * width + w] = sum;
    }
  }
}

KERNEL(average_pool_forward, const real* __restrict__ x, real* __restrict__ y, int planes, int height, int width, int out_height,
       int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w) {
  for_blocks(r, planes * out_height) {
    const int from_h = r % out_height * stride_h - pad_h, to_h = min(from_h + kernel_h, height + pad_h);
    const real* __restrict__ plane = x + (index)(r / out_height) * height * width;
    for_threads(ow, out_width) {
      const int from_w = ow * stride_w - pad_w, to_w = min(from_w + kernel_w, width + pad_w);
      acc sum = 0;
      for (int h = max(from_h, 0); h < min(to_h, height); ++h)
        for (int w = max(from_w, 0); w < min(to_w, width); ++w) sum += plane[h * width + w];
      const int size = max(0, to_h - from_h) * max(0, to_w - from_w);
      y[(index)r * out_width + ow] = size ? sum / size : 0;
    }
  }
}

KERNEL(average_pool_backward, const real* __restrict__ dy, real* __restrict__ dx, int planes, int height, int width, int out_height,
       int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int pad_h, int pad_w) {
  for_blocks(r, planes * height) {
    const int h = r % height;
    const real* __restrict__ windows = dy + (index)(r / height) * out_height * out_width;
    const int first_h = max(0, (h + pad_h - kernel_h + stride_h) / stride_h), last_h = min(out_height - 1, (h + pad_h) / stride_h);
    for_threads(w, width) {
      const int first_w = max(0, (w + pad_w - kernel_w + stride_w) / stride_w), last_w = min(out_width - 1, (w + pad_w) / stride_w);
      acc sum = 0;
      for (int oh = first_h; oh <= last_h; ++oh)
        for (int ow = first_w; ow <= last_w; ++ow) {
          const int from_h = oh * stride_h - pad_h, from_w = ow * stride_w - pad_w;
          const int size = (min(from_h + kernel_h, height + pad_h) - from_h) * (min(from_w + kernel_w, width + pad_w) - from_w);
          sum += windows[oh * out_width + ow] / size;
        }
      dx[(index)r * width + w] = sum;
    }
  }
}
