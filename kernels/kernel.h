// One source, three ways to run it: CUDA, the host with blocks of one thread (fast), the host with blocks of real threads (tests).
//
// A kernel is written for any block size. Blocks stride over rows (`for_blocks`), the threads of a block over a contiguous
// row (`for_threads`). `real` is what is stored, float or what the compiler's command line says; `acc`, the same, is what is summed in.
//   KERNEL(name, args...)          a kernel and, on the host, the exported launcher `name_float` or `name_double`
//   for_blocks(r, n)               blocks share the rows 0..n-1
//   for_threads(i, n)              the block's threads share 0..n-1; iterations must not depend on each other
//   for_threads_sum(i, n, s...)    the same, where each thread adds into its own s
//   for_threads_in_order(i, n)     the same, where the host keeps the order because iterations may meet
//   stream(n, read, use)           use(i, read(i)) for 0..n-1 that the block's threads share: on a GPU a thread reads IN_FLIGHT of its values
//                                  before it uses the first, which may overwrite what it was read from
//   for_each(i, n)                 every thread of the grid shares 0..n-1, for element-wise work
//   UNROLL                         before a loop over an array that a GPU is to keep in registers
//   sync_block()                   all threads of a block have come here
//   block_sum(v)                   the sum of v over the block, known to every thread of it
//   block_any(v)                   whether v is true of a thread of the block
//   lanes                          LANES neighbouring values, a vector on the host and a single value on a GPU: at(p) is those from p on,
//                                  lane(v, l) one of them, sum_of(v) their sum
#pragma once

#ifndef real
#define real float
#endif
typedef real acc;
typedef long long index;  // plane * size overflows 32 bits on large blobs

#if defined(__CUDACC__)  // ------------------------------------------------------------------ a GPU, by NVRTC or nvcc

#define UNROLL _Pragma("unroll")
#define DEVICE __device__ __forceinline__  // not static: a source may leave some of them unused
#define BOUNDS  // of the threads and registers of the kernels that follow, where a file sets them
#define KERNEL(name, ...) extern "C" __global__ void BOUNDS name(__VA_ARGS__)
#define for_blocks(r, n) for (int r = blockIdx.x; r < (n); r += gridDim.x)
#define for_threads(i, n) for (int i = threadIdx.x; i < (n); i += blockDim.x)
#define for_threads_sum(i, n, ...) for_threads(i, n)
#define for_threads_in_order(i, n) for_threads(i, n)
#define for_each(i, n) \
  for (index i = THREAD_OF_GRID; i < (n); i += THREADS_OF_GRID)
#define sync_block() __syncthreads()
#define THREAD ((int)threadIdx.x)
#define THREADS ((int)blockDim.x)
#define THREAD_OF_GRID (blockIdx.x * (index)blockDim.x + threadIdx.x)
#define THREADS_OF_GRID (gridDim.x * (index)blockDim.x)
#define NOT_UNROLLED _Pragma("unroll 1")

DEVICE void raise_to(int* place, int value) { atomicMax(place, value); }

template <class T>
DEVICE T block_sum(T value) {  // launches use whole warps, so every lane takes part
  __shared__ T partial[32];
  for (int step = 16; step; step >>= 1) value += __shfl_xor_sync(0xffffffffu, value, step);
  __syncthreads();  // an earlier sum may still be read
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  value = threadIdx.x % 32 < blockDim.x / 32 ? partial[threadIdx.x % 32] : 0;
  for (int step = 16; step; step >>= 1) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

DEVICE bool block_any(bool flag) { return __syncthreads_or(flag); }

#else  // ------------------------------------------------------------------------------------------------- the host

#include <cfloat>
#include <cmath>
#include <cstddef>
using std::ceil;
using std::exp;
using std::expm1;
using std::fabs;
using std::floor;
using std::log;
using std::log1p;
using std::pow;
using std::round;
using std::size_t;
using std::sqrt;
using std::tanh;
template <class T>
static inline T max(T a, T b) { return a > b ? a : b; }
template <class T>
static inline T min(T a, T b) { return a < b ? a : b; }

#define UNROLL
#define DEVICE static inline __attribute__((always_inline))
#define PRAGMA(text) _Pragma(#text)
#define JOIN(a, b) a##_##b
#define LAUNCHER(name, type) JOIN(name, type)
// not inlined: copies of a kernel might round differently, by how many threads run it
#define KERNEL(name, ...)                                                     \
  static __attribute__((noinline)) void name(__VA_ARGS__);                    \
  extern "C" { auto LAUNCHER(name, real) = &Grid<decltype(&name)>::template run<&name>; } \
  static void name(__VA_ARGS__)

#ifndef BLOCK_THREADS  // ------------------------------------------------- blocks of one thread, over BLAS's threads or OpenMP's

static thread_local int block_index, block_count;

// The threads of NumPy's BLAS, as many as it lends (host.py sets both): run(n, f, p, s) calls f(p + i * s) for 0..n-1, each on its own.
#define MOST_PARTS 256
extern "C" {
inline int (*run_on_blas_threads)(int, void*, void*, int) = nullptr;
inline int blas_threads = 0;  // with more parts than that it would wait for itself
}

template <class F> struct Grid;
template <class... A>
struct Grid<void (*)(A...)> {
  template <void (*kernel)(A...)>
  static void run(int blocks, A... args) {
    auto run_block = [&](int block) {
      block_index = block, block_count = blocks;
      kernel(args...);
    };
    if (blocks == 1) {
      run_block(0);
    } else if (blocks <= min(blas_threads, MOST_PARTS)) {
      struct Part { decltype(run_block)* run; int block; } parts[MOST_PARTS];
      for (int block = 0; block < blocks; ++block) parts[block] = {&run_block, block};
      void (*run_part)(Part*) = [](Part* part) { (*part->run)(part->block); };
      run_on_blas_threads(blocks, (void*)run_part, parts, sizeof(Part));
    } else {
#pragma omp parallel for schedule(static, 1) num_threads(blocks)
      for (int block = 0; block < blocks; ++block) run_block(block);
    }
  }
};

static inline index share(index n, int block) { return n * block / block_count; }

#define for_blocks(r, n) for (int r = share(n, block_index), r##_end = share(n, block_index + 1); r < r##_end; ++r)
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif
#define for_threads(i, n) INDEPENDENT for (int i = 0; i < (n); ++i)
#define for_threads_sum(i, n, ...) PRAGMA(omp simd reduction(+ : __VA_ARGS__)) for (int i = 0; i < (n); ++i)
#define for_threads_in_order(i, n) for (int i = 0; i < (n); ++i)
#define for_each(i, n)                        \
  const index i##_end = share(n, block_index + 1); \
  INDEPENDENT for (index i = share(n, block_index); i < i##_end; ++i)
#define sync_block()
#define NOT_UNROLLED

template <class T>
DEVICE T block_sum(T value) { return value; }
DEVICE bool block_any(bool flag) { return flag; }
DEVICE void raise_to(int* place, int value) { if (*place < value) *place = value; }

#else  // -------------------------------------- blocks of BLOCK_THREADS real threads, two blocks at once, for the sanitizers

#include <atomic>
#include <barrier>
#include <memory>
#include <thread>
#include <vector>

struct Block {
  std::barrier<> barrier{BLOCK_THREADS};
  double partial[BLOCK_THREADS];
  std::vector<std::unique_ptr<char[]>> shared;
};
static thread_local int block_index, block_count, thread_index;
static thread_local Block* this_block;

// All is static, as what it sets is: float and double are units of their own. Threads stay, for making them takes longer than most kernels;
// they serve one caller at a time, and no forked child.
static struct { void (*call)(void*); void* kernel; int first, blocks; Block* two; } work;
static auto &work_begins = *new std::barrier<>(2 * BLOCK_THREADS + 1), &work_ends = *new std::barrier<>(2 * BLOCK_THREADS + 1);

static void stay(int thread) {
  for (thread_index = thread % BLOCK_THREADS;;) {
    work_begins.arrive_and_wait();
    block_index = work.first + thread / BLOCK_THREADS, block_count = work.blocks, this_block = &work.two[thread / BLOCK_THREADS];
    if (block_index < block_count) work.call(work.kernel);
    work_ends.arrive_and_wait();
  }
}

// call(kernel), by each thread of all blocks
static void run_blocks(int blocks, void (*call)(void*), void* kernel) {
  static bool started = false;
  for (int thread = 0; !started && thread < 2 * BLOCK_THREADS; ++thread) std::thread(stay, thread).detach();
  started = true;
  for (int first = 0; first < blocks; first += 2) {
    Block two[2];
    work = {call, kernel, first, blocks, two};
    work_begins.arrive_and_wait();
    work_ends.arrive_and_wait();
  }
}

template <class F> struct Grid;
template <class... A>
struct Grid<void (*)(A...)> {
  template <void (*kernel)(A...)>
  static void run(int blocks, A... args) {
    auto with_arguments = [&] { kernel(args...); };
    run_blocks(blocks, [](void* to_call) { (*(decltype(with_arguments)*)to_call)(); }, &with_arguments);
  }
};

#define for_blocks(r, n) for (int r = block_index; r < (n); r += block_count)
#define for_threads(i, n) for (int i = thread_index; i < (n); i += BLOCK_THREADS)
#define for_threads_sum(i, n, ...) for_threads(i, n)
#define for_threads_in_order(i, n) for_threads(i, n)
#define for_each(i, n) \
  for (index i = THREAD_OF_GRID; i < (n); i += THREADS_OF_GRID)
#define sync_block() this_block->barrier.arrive_and_wait()
#define THREAD thread_index
#define THREADS BLOCK_THREADS
#define THREAD_OF_GRID ((index)block_index * BLOCK_THREADS + thread_index)
#define THREADS_OF_GRID ((index)block_count * BLOCK_THREADS)
#define NOT_UNROLLED

// Memory of its own for the block (warp.h's SHARED), which every thread of it asks for.
static inline void* shared_memory(size_t size) {
  sync_block();
  if (thread_index == 0) this_block->shared.emplace_back(new char[size]);
  sync_block();
  return this_block->shared.back().get();
}

template <class T>
static T block_sum(T value) {
  sync_block();  // an earlier sum may still be read
  this_block->partial[thread_index] = value;
  sync_block();
  double sum = 0;
  for (int thread = 0; thread < BLOCK_THREADS; ++thread) sum += this_block->partial[thread];
  return (T)sum;
}

static inline bool block_any(bool flag) { return block_sum((int)flag); }

static inline void raise_to(int* place, int value) {
  std::atomic_ref<int> at(*place);
  for (int seen = at; seen < value && !at.compare_exchange_weak(seen, value);) {
  }
}

#endif
#endif

// ----------------------------------------------------------------------------------------- several loads of a thread under way at once

#if defined(THREADS)
#define IN_FLIGHT 4  // times 2048 threads of a processor are 32 KB on their way: about what memory takes in its latency

template <class Read, class Use>
DEVICE void stream(int n, Read read, Use use) {
  NOT_UNROLLED for (int first = THREAD; first < n; first += IN_FLIGHT * THREADS) {
    decltype(read(first)) held[IN_FLIGHT];
    for (int k = 0; k < IN_FLIGHT; ++k) held[k] = read(first + k * THREADS < n ? first + k * THREADS : first);
    for (int k = 0; k < IN_FLIGHT; ++k)
      if (first + k * THREADS < n) use(first + k * THREADS, held[k]);
  }
}
#else
template <class Read, class Use>
DEVICE void stream(int n, Read read, Use use) {
  for_threads(i, n) use(i, read(i));
}
#endif

// ------------------------------------------------------------------------------------------------ vectors, where the host's have to be explicit

#if defined(__CUDACC__)
#define LANES 1
typedef real lanes, lanes_anywhere;
DEVICE real& lane(lanes& v, int) { return v; }
DEVICE acc sum_of(lanes v) { return v; }
#else
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define LANES ((int)(VECTOR_BYTES / sizeof(real)))
typedef real lanes __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef lanes lanes_anywhere __attribute__((aligned(sizeof(real))));  // as they lie in arrays
DEVICE real& lane(lanes& v, int l) { return ((real*)&v)[l]; }
DEVICE acc sum_of(lanes v) {  // of a copy: whose lanes are asked for one by one lies in memory
  acc sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int l = 0; l < LANES; ++l) sum += lane(v, l);
  return sum;
}
#endif

// whether two vectors can be mixed lane by lane, as the compiler at hand writes it
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#define SHUFFLES 1
#else
#define SHUFFLES 0
#endif

// v, in a register from here on: left to itself the compiler reads a factor from memory again for each product that it goes into
DEVICE lanes in_register(lanes v) {
#if defined(__x86_64__) && !defined(__CUDACC__)
  asm("" : "+v"(v));
#endif
  return v;
}

DEVICE const lanes_anywhere& at(const real* p) { return *(const lanes_anywhere*)p; }
DEVICE lanes_anywhere& at(real* p) { return *(lanes_anywhere*)p; }
