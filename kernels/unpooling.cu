// Unpooling by switches (paper, 3.2.1): y[p, s[p, i]] = x[p, i], zero elsewhere; one plane p is one (image, channel).
// Compulsory bytes per plane: read 2n, write N reals. Backward reads back: dx[p, i] = dy[p, s[p, i]].
// A switch outside the plane writes nothing and is counted per plane in `outside`.
#include "rows.h"

DEVICE int place_of(real at, int size) { return 0 <= at && at < size ? (int)at : -1; }  // a NaN is outside too

// Switches that name each place at most once, as those of a pooling layer whose windows do not overlap do.
KERNEL(unpool_forward, const real* __restrict__ x, const real* __restrict__ switches, real* __restrict__ y, int* __restrict__ outside,
       int planes, int windows, int size) {
  for_blocks(p, planes) {
    real* __restrict__ to = y + (index)p * size;
    for_threads(i, size) to[i] = 0;
    sync_block();
    int lost = 0;
    for_threads(i, windows) {
      const int at = place_of(switches[(index)p * windows + i], size);
      if (at >= 0) to[at] = x[(index)p * windows + i];
      lost += at < 0;
    }
    lost = block_sum(lost);
    for_threads(once, 1) outside[p] = lost;
  }
}

// The same where the pooling windows, which do not overlap, are known: a thread owns a window and writes its cell, all places up to the next
// window's start, once. A block owns `together` rows of a plane's windows, teams of its threads a row each. Values whose switch lies in another
// cell are left to unpool_elsewhere and counted.
struct Cell { int first, end; };
DEVICE Cell cell_of(int window, int windows, int stride, int pad, int size) {
  return {window ? min(size, window * stride - pad) : 0, window + 1 < windows ? min(size, (window + 1) * stride - pad) : size};
}

KERNEL(unpool_cells, const real* __restrict__ x, const real* __restrict__ switches, real* __restrict__ y, int* __restrict__ outside,
       int* __restrict__ elsewhere, int planes, int height, int width, int out_height, int out_width, int stride_h, int stride_w, int pad_h,
       int pad_w, int together) {
  const int groups = (height + together - 1) / together, size = out_height * out_width;
  // every cell two wide, and its rows where two values are written at once
  const bool paired = stride_w == 2 && !pad_w && out_width == 2 * width && (size_t)y % sizeof(Side) == 0;
  for_blocks(r, planes * groups) {
    const int p = r / groups, first = (r - p * groups) * together, its_rows = min(together, height - first);
    real* __restrict__ to = y + (index)p * size;
    const Team team = team_of(its_rows, width);
    int lost = 0, foreign = 0;
    for_rows(row, team, its_rows) {
      const int i_h = first + row;
      const index from = ((index)p * height + i_h) * width;
      const Cell rows = cell_of(i_h, height, stride_h, pad_h, out_height);
      for_team(i_w, team, width) {
        const real value = x[from + i_w];
        const int at = place_of(switches[from + i_w], size);
        bool own = false;
        if (paired) {
          for (int h = rows.first, place = h * out_width + 2 * i_w; h < rows.end; ++h, place += out_width) {
            const bool left = at == place, right = at == place + 1;
            own |= left | right;
            *(Side*)(to + place) = {left ? value : 0, right ? value : 0};
          }
        } else {
          const Cell columns = cell_of(i_w, width, stride_w, pad_w, out_width);
          for (int h = rows.first; h < rows.end; ++h)
            for (int place = h * out_width + columns.first; place < h * out_width + columns.end; ++place) {
              own |= at == place;
              to[place] = at == place ? value : 0;
            }
        }
        lost += at < 0, foreign += at >= 0 && !own;
      }
    }
    if (block_any(lost + foreign)) lost = block_sum(lost), foreign = block_sum(foreign);
    for_threads(once, 1) outside[r] = lost, elsewhere[r] = foreign;
  }
}

// what unpool_cells left: runs of windows that have values for other cells
KERNEL(unpool_elsewhere, const real* __restrict__ x, const real* __restrict__ switches, real* __restrict__ y,
       const int* __restrict__ elsewhere, int planes, int windows, int size, int run) {
  const int runs = (windows + run - 1) / run;
  for_blocks(r, planes * runs) {
    if (!elsewhere[r]) continue;
    const int first = r % runs * run;
    const index from = (index)(r / runs) * windows + first;
    for_threads(i, min(run, windows - first)) {
      const int at = place_of(switches[from + i], size);
      if (at >= 0) y[(index)(r / runs) * size + at] = x[from + i];
    }
  }
}

// Any switches: of the values that name one place the last in scan order wins. `winner` (planes, size) holds 1 + its index.
KERNEL(unpool_forward_last_wins, const real* __restrict__ x, const real* __restrict__ switches, real* __restrict__ y,
       int* __restrict__ winner, int* __restrict__ outside, int planes, int windows, int size) {
  for_blocks(p, planes) {
    int* __restrict__ won = winner + (index)p * size;
    for_threads(i, size) won[i] = 0;
    sync_block();
    int lost = 0;
    for_threads_in_order(i, windows) {
      const int at = place_of(switches[(index)p * windows + i], size);
      if (at >= 0) raise_to(won + at, i + 1);
      lost += at < 0;
    }
    sync_block();
    for_threads(i, size) y[(index)p * size + i] = won[i] ? x[(index)p * windows + won[i] - 1] : 0;
    lost = block_sum(lost);
    for_threads(once, 1) outside[p] = lost;
  }
}

// A block owns a run of a plane's windows, or all of several planes where these are small.
KERNEL(unpool_backward, const real* __restrict__ dy, const real* __restrict__ switches, real* __restrict__ dx, int planes, int windows,
       int size, int run, int together) {
  const int runs = (windows + run - 1) / run, groups = (planes + together - 1) / together;
  for_blocks(r, groups * runs) {
    const int first = r % runs * run, plane = r / runs * together, its_planes = min(together, planes - plane);
    const index from = (index)plane * windows + first;
    const real* __restrict__ maps = dy + (index)plane * size;
    const auto value = [&](int i, int own) {
      const int at = place_of(switches[from + i], size);
      return at >= 0 ? maps[(index)own * size + at] : (real)0;
    };
    const auto write = [&](int i, acc v) { dx[from + i] = v; };
    if (its_planes == 1) stream(min(run, windows - first), [&](int i) { return value(i, 0); }, write);
    else stream(its_planes * windows, [&](int i) { return value(i, i / windows); }, write);
  }
}

// Without switches: the value goes to its window's top-left corner (MAX), to every place of the window (TILE) or in equal shares (AVE).
// Places sum over the windows that reach them; windows are clipped to the plane.
KERNEL(unpool_spread_forward, const real* __restrict__ x, real* __restrict__ y, int planes, int height, int width, int out_height,
       int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int shares) {
  for_blocks(r, planes * out_height) {
    const int h = r % out_height;
    const real* __restrict__ plane = x + (index)(r / out_height) * height * width;
    const int first_h = max(0, (h - kernel_h + stride_h) / stride_h), last_h = min(height - 1, h / stride_h);
    for_threads(w, out_width) {
      const int first_w = max(0, (w - kernel_w + stride_w) / stride_w), last_w = min(width - 1, w / stride_w);
      acc sum = 0;
      for (int i = first_h; i <= last_h; ++i)
        for (int j = first_w; j <= last_w; ++j) {
          const int size = (min((i * stride_h) + kernel_h, out_height) - i * stride_h) * (min(j * stride_w + kernel_w, out_width) - j * stride_w);
          sum += shares ? plane[i * width + j] / size : plane[i * width + j];
        }
      y[(index)r * out_width + w] = sum;
    }
  }
}

KERNEL(unpool_spread_backward, const real* __restrict__ dy, real* __restrict__ dx, int planes, int height, int width, int out_height,
       int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int shares) {
  for_blocks(r, planes * height) {
    const int from_h = r % height * stride_h, to_h = min(from_h + kernel_h, out_height);
    const real* __restrict__ plane = dy + (index)(r / height) * out_height * out_width;
    for_threads(j, width) {
      const int from_w = j * stride_w, to_w = min(from_w + kernel_w, out_width);
      acc sum = 0;
      for (int h = from_h; h < to_h; ++h)
        for (int w = from_w; w < to_w; ++w) sum += plane[h * out_width + w];
      const int size = (to_h - from_h) * (to_w - from_w);
      dx[(index)r * width + j] = shares && size > 0 ? sum / size : sum;
    }
  }
}
