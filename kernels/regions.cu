// Max-pooling of regions of interest (Girshick, Fast R-CNN, ICCV 2015, section 2.1): the part of an image's map under a box, as a grid of cells.
// A region is (image, x1, y1, x2, y2) in pixels, corners included; times `scale` and rounded, half away from 0, it covers first..last of the map.
// With h = last - first + 1, at least 1, of `cells` cells the i-th covers first + floor(i * h / cells) .. first + ceil((i + 1) * h / cells) - 1, as far
// as the map goes: neighbours share a place where h does not divide. An empty cell gives 0, and its place is -1.
// Means (Dai et al., R-FCN, NIPS 2016, section 2.2): each cell has maps of its own, y of cell i and output o is the mean of map o * cells + i under it.
// There a region covers the real places from round(x1) * scale up to (round(x2) + 1) * scale, at least 0.1, and the i-th cell all that its part touches.
// Compulsory bytes: forward writes two values a cell (a mean: one) and reads what the regions cover, backward reads both and writes the maps.
#include "maximum.h"

#define REGION 5            // numbers
#define FARTHEST (real)1e7  // more than any map is long, and exact in float

struct Cover { int first, end; };

// the places of a map's side, `size` long, that a cell covers
DEVICE Cover cover_of(real from, real to, real scale, int cell, int cells, int size) {
  // written so that a NaN becomes a number
  const int first = (int)min(max(round(from * scale), -FARTHEST), FARTHEST), last = (int)min(max(round(to * scale), -FARTHEST), FARTHEST);
  const real each = (real)max(last - first + 1, 1) / cells;
  return {min(max(first + (int)floor(cell * each), 0), size), min(max(first + (int)ceil((cell + 1) * each), 0), size)};
}

KERNEL(region_pool_forward, const real* __restrict__ x, const real* __restrict__ regions, real* __restrict__ y, real* __restrict__ places,
       int count, int channels, int height, int width, int cells_h, int cells_w, acc scale) {
  for_blocks(r, count * channels) {
    const real* __restrict__ region = regions + (index)(r / channels) * REGION;
    const real* __restrict__ plane = x + ((index)(int)region[0] * channels + r % channels) * height * width;
    for_threads(i, cells_h * cells_w) {
      const Cover down = cover_of(region[2], region[4], scale, i / cells_w, cells_h, height);
      const Cover across = cover_of(region[1], region[3], scale, i % cells_w, cells_w, width);
      const Best best = best_of(plane, down.first, down.end, across.first, across.end, width);
      const index to = (index)r * cells_h * cells_w + i;
      y[to] = best.place < 0 ? 0 : best.value, places[to] = best.place;
    }
  }
}

// dx = the sum of dy over the cells that chose a place; a place or an image that is not there, since forward saw others, gets nothing.
// A block owns a channel, and one thread adds, as cells and regions share places.
KERNEL(region_pool_backward, const real* __restrict__ dy, const real* __restrict__ regions, const real* __restrict__ places,
       real* __restrict__ dx, int count, int images, int channels, int size, int cells) {
  for_blocks(c, channels) {
    for (int n = 0; n < images; ++n)
      for_threads(i, size) dx[((index)n * channels + c) * size + i] = 0;
    sync_block();
    for_threads(once, 1) {
      for (int r = 0; r < count; ++r) {
        const real image = regions[(index)r * REGION];
        if (!(image >= 0 && image < images)) continue;
        real* __restrict__ plane = dx + ((index)(int)image * channels + c) * size;
        for (int i = 0; i < cells; ++i) {
          const index from = ((index)r * channels + c) * cells + i;
          const int at = (int)places[from];
          if (0 <= at && at < size) plane[at] += dy[from];
        }
      }
    }
  }
}

DEVICE Cover touched_by(real from, real to, real scale, int cell, int cells, int size) {
  const real first = min(max(round(from) * scale, -FARTHEST), FARTHEST), end = min(max((round(to) + 1) * scale, -FARTHEST), FARTHEST);
  const real each = max(end - first, (real)0.1) / cells;
  return {min(max((int)floor(cell * each + first), 0), size), min(max((int)ceil((cell + 1) * each + first), 0), size)};
}

KERNEL(region_means_forward, const real* __restrict__ x, const real* __restrict__ regions, real* __restrict__ y, int count, int outputs,
       int height, int width, int group, acc scale) {
  const int cells = group * group;
  for_blocks(r, count * outputs) {
    const real* __restrict__ region = regions + (index)(r / outputs) * REGION;
    for_threads(i, cells) {
      const Cover down = touched_by(region[2], region[4], scale, i / group, group, height);
      const Cover across = touched_by(region[1], region[3], scale, i % group, group, width);
      const real* __restrict__ plane = x + (((index)(int)region[0] * outputs + r % outputs) * cells + i) * height * width;
      acc sum = 0;
      for (int h = down.first; h < down.end; ++h)
        for (int w = across.first; w < across.end; ++w) sum += plane[h * width + w];
      const int places = max(down.end - down.first, 0) * max(across.end - across.first, 0);
      y[(index)r * cells + i] = places ? sum / places : 0;
    }
  }
}

// dx = the sum of dy over the places of each cell; a block owns a map, region after region, whose places its threads share.
KERNEL(region_means_backward, const real* __restrict__ dy, const real* __restrict__ regions, real* __restrict__ dx, int count, int images,
       int outputs, int height, int width, int group, acc scale) {
  const int cells = group * group;
  for_blocks(c, outputs * cells) {
    const int i = c % cells;
    for (int n = 0; n < images; ++n)
      for_threads(at, height * width) dx[((index)n * outputs * cells + c) * height * width + at] = 0;
    for (int r = 0; r < count; ++r) {
      const real* __restrict__ region = regions + (index)r * REGION;
      if (!(region[0] >= 0 && region[0] < images)) continue;
      const Cover down = touched_by(region[2], region[4], scale, i / group, group, height);
      const Cover across = touched_by(region[1], region[3], scale, i % group, group, width);
      const int rows = max(down.end - down.first, 0), columns = max(across.end - across.first, 0);
      real* __restrict__ plane = dx + ((index)(int)region[0] * outputs * cells + c) * height * width;
      const real share = dy[(index)r * outputs * cells + c] / max(rows * columns, 1);
      sync_block();
      for_threads(at, rows * columns) plane[(down.first + at / columns) * width + across.first + at % columns] += share;
    }
  }
}
