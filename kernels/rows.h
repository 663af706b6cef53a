// Rows of neighbouring values, which teams of a block's threads share and a GPU reads and writes sixteen bytes at once.
//
//   visit_row(team, n, use, x...)  use(i, x[i]...) for 0..n-1 that a team of threads shares (team_of); on a GPU a thread reads 16 bytes at once
//   write_row(team, n, y, f, x...) y[i] = f(i, x[i]...), likewise, and writes 16 bytes at once; y may be one of x
//   write_each(n, y, f, x...)      the same over the whole grid, for element-wise work
//   for_rows(p, team, n)           the block's teams share the rows 0..n-1
//   for_team(i, team, n)           the team's threads share 0..n-1
// Arrays may begin anywhere: values before the first sixteen bytes and behind the last are taken singly.
#pragma once
#include "kernel.h"

struct alignas(2 * sizeof(real)) Side { real left, right; };  // two neighbours, which a GPU reads or writes at once

#if defined(THREADS)
#define PACK (16 / (int)sizeof(real))  // a thread's widest access; 2048 threads of a processor then have 32 KB on their way, as above
struct alignas(16) Pack { real of[PACK]; };

// Values before the first pack of a row, packs, and where the values behind them begin; none are packed where arrays do not lie alike.
template <class I> struct Split { I head, packs, rest; };
template <class I, class... X>
DEVICE Split<I> split(I n, const real* first, const X*... others) {
  const int beyond = (size_t)first / sizeof(real) % PACK;
  if (!(true && ... && ((size_t)others / sizeof(real) % PACK == beyond))) return {0, 0, 0};
  const I head = min(n, (I)((PACK - beyond) % PACK)), packs = (n - head) / PACK;
  return {head, packs, head + packs * PACK};
}
DEVICE const Pack& pack_at(const real* x) { return *(const Pack*)x; }

template <class I, class Use, class... P>
DEVICE void use_packs(I i, Use use, P... packs) {
  UNROLL for (int k = 0; k < PACK; ++k) use(i + k, packs.of[k]...);
}
template <class I, class F, class... P>
DEVICE Pack made_of_packs(I i, F f, P... packs) {
  Pack made;
  UNROLL for (int k = 0; k < PACK; ++k) made.of[k] = f(i + k, packs.of[k]...);
  return made;
}

template <class I, class Use, class... X>
DEVICE void visit_from(I first, I step, I n, Use use, const X*... x) {
  const Split<I> row = split(n, x...);
  for (I i = first; i < row.head; i += step) use(i, x[i]...);
  for (I q = first; q < row.packs; q += step) {
    const I i = row.head + q * PACK;
    use_packs(i, use, pack_at(x + i)...);
  }
  for (I i = row.rest + first; i < n; i += step) use(i, x[i]...);
}
template <class I, class F, class... X>
DEVICE void write_from(I first, I step, I n, real* y, F f, const X*... x) {
  const Split<I> row = split(n, (const real*)y, x...);
  for (I i = first; i < row.head; i += step) y[i] = f(i, x[i]...);
  for (I q = first; q < row.packs; q += step) {
    const I i = row.head + q * PACK;
    *(Pack*)(y + i) = made_of_packs(i, f, pack_at(x + i)...);
  }
  for (I i = row.rest + first; i < n; i += step) y[i] = f(i, x[i]...);
}

// Teams of up to a warp for rows that keep so many threads busy; the whole block where there is one row.
struct Team { int row, rows, first, step; };
DEVICE Team team_of(int rows, int threads) {
  const int bits = (threads > 1) + (threads > 2) + (threads > 4) + (threads > 8) + (threads > 16), last = (1 << bits) - 1;
  if (rows == 1 || (THREADS & last)) return {0, 1, THREAD, THREADS};
  return {THREAD >> bits, THREADS >> bits, THREAD & last, last + 1};
}
#define packs_in(n) (((n) + PACK - 1) / PACK)
#define for_team(i, team, n) for (int i = (team).first; i < (n); i += (team).step)
#define for_rows(p, team, n) for (int p = (team).row; p < (n); p += (team).rows)
#define visit_row(team, n, ...) visit_from<int>((team).first, (team).step, n, __VA_ARGS__)
#define write_row(team, n, ...) write_from<int>((team).first, (team).step, n, __VA_ARGS__)
#define write_each(n, ...) write_from<index>(THREAD_OF_GRID, THREADS_OF_GRID, n, __VA_ARGS__)
#else
struct [[maybe_unused]] Team {};  // one thread: nothing to share
DEVICE Team team_of(int, int) { return {}; }
#define packs_in(n) (n)
#define for_team(i, team, n) for_threads(i, n)
#define for_rows(p, team, n) for (int p = 0; p < (n); ++p)
template <class Use, class... X>
DEVICE void visit_row(Team, int n, Use use, const X*... x) {
  for_threads(i, n) use(i, x[i]...);
}
template <class F, class... X>
DEVICE void write_row(Team, int n, real* y, F f, const X*... x) {
  for_threads(i, n) y[i] = f(i, x[i]...);
}
template <class F, class... X>
DEVICE void write_each(index n, real* y, F f, const X*... x) {
  for_each(i, n) y[i] = f(i, x[i]...);
}
#endif
