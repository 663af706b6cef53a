// Winograd's F(4x4, 3x3) in one dimension, of T: a value, or a vector of values of neighbouring channels (docs/winograd.md).
//   forward            Y = At [ (G g Gt) . (Bt d B) ] A      per tile and pair of channels; d is the 6x6 patch under the tile
//   gradient of g      dg = Gt [ sum over tiles of (A dY At) . (Bt d B) ] G, the transpose of the same map
// The point-wise products, summed over channels or tiles, are 36 matrix products, one for each place k of a transformed tile.
#pragma once

#define PLACES 36  // of a transformed tile

// The points 0, NEAR, -NEAR, FAR, -FAR and infinity (docs/winograd.md); their squares are exact, too.
#define NEAR ((acc).625)
#define FAR ((acc)1.5)
#define NEAR2 (NEAR * NEAR)
#define FAR2 (FAR * FAR)

// Bt, six values to six
template <class T>
DEVICE void patch_1d(T* t, int step) {
  const T a = t[0], b = t[step], c = t[2 * step], d = t[3 * step], e = t[4 * step], f = t[5 * step];
  const T near_even = e - FAR2 * c, near_odd = d - FAR2 * b, far_even = e - NEAR2 * c, far_odd = d - NEAR2 * b;
  t[0] = NEAR2 * FAR2 * a - (NEAR2 + FAR2) * c + e, t[step] = near_even + NEAR * near_odd, t[2 * step] = near_even - NEAR * near_odd;
  t[3 * step] = far_even + FAR * far_odd, t[4 * step] = far_even - FAR * far_odd, t[5 * step] = NEAR2 * FAR2 * b - (NEAR2 + FAR2) * d + f;
}

// At, six values to four
template <class T>
DEVICE void result_1d(const T* t, int step, T* y, int y_step) {
  const T sum = t[step] + t[2 * step], difference = NEAR * (t[step] - t[2 * step]);
  const T far_sum = t[3 * step] + t[4 * step], far_difference = FAR * (t[3 * step] - t[4 * step]);
  y[0] = t[0] + sum + far_sum, y[y_step] = difference + far_difference;
  y[2 * y_step] = NEAR2 * sum + FAR2 * far_sum, y[3 * y_step] = NEAR2 * difference + FAR2 * far_difference + t[5 * step];
}

// A, four values to six
template <class T>
DEVICE void spread_1d(const T* y, int y_step, T* t, int step) {
  const T a = y[0], b = y[y_step], c = y[2 * y_step], d = y[3 * y_step];
  const T even = a + NEAR2 * c, odd = NEAR * (b + NEAR2 * d), far_even = a + FAR2 * c, far_odd = FAR * (b + FAR2 * d);
  t[0] = a, t[step] = even + odd, t[2 * step] = even - odd;
  t[3 * step] = far_even + far_odd, t[4 * step] = far_even - far_odd, t[5 * step] = d;
}

// what interpolation divides by: the products of the differences between a point and the others
#define AT_ZERO (NEAR2 * FAR2)
#define AT_NEAR (2 * NEAR2 * (NEAR2 - FAR2))
#define AT_FAR (2 * FAR2 * (FAR2 - NEAR2))

// G, three values to six
template <class T>
DEVICE void filter_1d(const T* g, int g_step, T* t, int step) {
  const T a = g[0], b = g[g_step], c = g[2 * g_step];
  const T even = a * (1 / AT_NEAR) + c * (NEAR2 / AT_NEAR), odd = b * (NEAR / AT_NEAR);
  const T far_even = a * (1 / AT_FAR) + c * (FAR2 / AT_FAR), far_odd = b * (FAR / AT_FAR);
  t[0] = a * (1 / AT_ZERO), t[step] = even + odd, t[2 * step] = even - odd;
  t[3 * step] = far_even + far_odd, t[4 * step] = far_even - far_odd, t[5 * step] = c;
}

// Gt, six values to three
template <class T>
DEVICE void gradient_1d(const T* t, int step, T* g, int g_step) {
  const T sum = t[step] + t[2 * step], difference = t[step] - t[2 * step];
  const T far_sum = t[3 * step] + t[4 * step], far_difference = t[3 * step] - t[4 * step];
  g[0] = t[0] * (1 / AT_ZERO) + sum * (1 / AT_NEAR) + far_sum * (1 / AT_FAR);
  g[g_step] = difference * (NEAR / AT_NEAR) + far_difference * (FAR / AT_FAR);
  g[2 * g_step] = sum * (NEAR2 / AT_NEAR) + far_sum * (FAR2 / AT_FAR) + t[5 * step];
}
