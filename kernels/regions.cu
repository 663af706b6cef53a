// Max-pooling of regions of interest (Girshick, Fast R-CNN, ICCV 2015, section 2.1): the part of an image's map under a box, as a grid of cells.
// A region is (image, x1, y1, x2, y2) in pixels, corners included; times `scale` and rounded, half away from 0, it covers first..last of the map.
// With h = last - first + 1, at least 1, of `cells` cells the i-th covers first + floor(i * h / cells) .. first + ceil((i + 1) * h / cells) - 1, as far
// as the map goes: neighbours share a place where h does not divide. An empty cell gives 0, and its place is -1.
// Compulsory bytes: forward writes two values a cell and reads what the regions cover, backward reads both and writes the maps.
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
