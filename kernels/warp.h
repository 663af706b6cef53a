// Warps that multiply small matrices together, and memory that a block shares: for kernels whose blocks have a fixed number of warps.
//
//   SHARED(type, name)       one object for the whole block
//   for_warps(w, n)          the block's n warps; within it
//   for_lanes(l)             the 32 lanes of warp w
//   Own<type, n>             an object for each lane of n warps, its registers on a GPU: own(w, l)
//   anew(t)                  t, but what follows from it is computed again where it is used, not kept in registers from round to round
//   read_unless(bits, p)     *p where no bit is set, else 0; read_four_unless likewise, of four that lie at a multiple of their size
//   load_left_fragment(...)  and right: what the lanes of a warp hold of matrices in shared memory, by all of it: not within for_lanes
//   warp_product<kind>(...)  sums += left * right, likewise
// On a host one thread walks through all lanes of a warp; in the build for the sanitizers real threads share the warps.
//
// A `kind` says what the tensor cores multiply. Its word, 32 bits, holds DEPTH neighbours along the sum: one TF32 or two bfloat16.
// One product is 16 x 8 words times 8 words x 8, PTX's mma.m16n8k8 (TF32) and mma.m16n8k16 (bfloat16); in words both spread the
// matrices over the lanes in the same way, g = lane / 4, t = lane % 4:
//   left   register r is row g + 8 (r % 2), word t + 4 (r / 2)
//   right  register r is word t + 4 (r % 2), column g + 8 (r / 2): of two products
//   sums   register r is row g + 8 (r / 2), column 2 t + r % 2
// Where values are doubles a word is one double, and nothing is rounded: so gradient checks see the same indices.
#pragma once
#include "kernel.h"

template <class number> struct Tf32 { typedef unsigned word; static constexpr int DEPTH = 1; };
template <class number> struct Bf16 { typedef unsigned word; static constexpr int DEPTH = 2; };
template <> struct Tf32<double> { typedef double word; static constexpr int DEPTH = 1; };
template <> struct Bf16<double> { typedef double word; static constexpr int DEPTH = 1; };

template <class word, int I> struct Left { word of[I][4]; };  // I times 16 rows
template <class word> struct Right { word of[4]; };  // 16 columns
template <int I> struct Sums { acc of[2][I][4]; };  // those rows and columns

#if defined(__CUDACC__)
#define SHARED(type, name) __shared__ type name
#define for_warps(w, n) if (const int w = threadIdx.x / 32; w < (n))
#define for_lanes(l) if (const int l = threadIdx.x % 32; true)
#define TENSOR_CORES (__CUDA_ARCH__ >= 800)
template <class type, int n> struct Own {
  type of;
  DEVICE type& operator()(int, int) { return of; }
};
DEVICE unsigned anew(unsigned t) {
  asm volatile("" : "+r"(t));
  return t;
}
DEVICE const float* anew(const float* p) {
  asm volatile("" : "+l"(p));
  return p;
}
DEVICE const double* anew(const double* p) { return p; }
// A read behind a predicate: of `bits ? 0 : *p` the compiler makes a branch.
DEVICE float read_unless(unsigned bits, const float* p) {
  float value;
  asm volatile("{ .reg .pred %%free; setp.eq.u32 %%free, %1, 0; mov.f32 %0, 0f00000000; @%%free ld.global.nc.f32 %0, [%2]; }"
               : "=&f"(value) : "r"(bits), "l"(p));
  return value;
}
DEVICE void read_four_unless(unsigned bits, const float* p, float* four) {
  asm volatile("{ .reg .pred %%free; setp.eq.u32 %%free, %4, 0; mov.f32 %0, 0f00000000; mov.f32 %1, 0f00000000; mov.f32 %2, 0f00000000; "
               "mov.f32 %3, 0f00000000; @%%free ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%5]; }"
               : "=&f"(four[0]), "=&f"(four[1]), "=&f"(four[2]), "=&f"(four[3]) : "r"(bits), "l"(p));
}
DEVICE double read_unless(unsigned bits, const double* p) { return bits ? 0 : *p; }
DEVICE void read_four_unless(unsigned bits, const double* p, double* four) {
  UNROLL for (int k = 0; k < 4; ++k) four[k] = bits ? 0 : p[k];
}
DEVICE unsigned bits_of(float x) { return __float_as_uint(x); }
DEVICE float from_bits(unsigned bits) { return __uint_as_float(bits); }
#else
#if defined(BLOCK_THREADS)
#define SHARED(type, name) type& name = *(type*)shared_memory(sizeof(type))
#define for_warps(w, n) for_threads(w, n)
#else
#define SHARED(type, name) type name
#define for_warps(w, n) for (int w = 0; w < (n); ++w)
#endif
#define for_lanes(l) for (int l = 0; l < 32; ++l)
#define TENSOR_CORES 0
template <class type, int n> struct Own {
  type of[n][32];
  type& operator()(int w, int l) { return of[w][l]; }
};
template <class type> DEVICE type anew(type t) { return t; }
DEVICE real read_unless(unsigned bits, const real* p) { return bits ? 0 : *p; }
DEVICE void read_four_unless(unsigned bits, const real* p, real* four) {
  for (int k = 0; k < 4; ++k) four[k] = bits ? 0 : p[k];
}
DEVICE unsigned bits_of(float x) { return __builtin_bit_cast(unsigned, x); }
DEVICE float from_bits(unsigned bits) { return __builtin_bit_cast(float, bits); }
#endif

// ------------------------------------------------------------------------------------------------ words: rounded values, and what they hold

// TF32 keeps 10 bits after the point; a tie goes away from zero, as by cvt.rna, which makes infinities of some NaNs. Tensor cores ignore the
// other 13 bits.
DEVICE unsigned packed(Tf32<float>, const float* x) {
  const unsigned word = x[0] != x[0] ? 0x7fffffffu : bits_of(x[0]) + 0x1000u;
  return TENSOR_CORES ? word : word & ~0x1fffu;
}
DEVICE float value_of(Tf32<float>, unsigned word, int) { return from_bits(word); }

// bfloat16 keeps 7 bits; a tie goes to the even one, as by cvt.rn
DEVICE unsigned nearest_bf16(float x) { return x != x ? 0x7fffu : (bits_of(x) + 0x7fffu + (bits_of(x) >> 16 & 1)) >> 16; }
DEVICE unsigned packed(Bf16<float>, const float* x) {
#if TENSOR_CORES
  unsigned word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(x[1]), "f"(x[0]));  // the first operand goes to the upper half
  return word;
#else
  return nearest_bf16(x[0]) | nearest_bf16(x[1]) << 16;
#endif
}
DEVICE float value_of(Bf16<float>, unsigned word, int n) { return from_bits(n ? word & 0xffff0000u : word << 16); }

DEVICE double packed(Tf32<double>, const double* x) { return x[0]; }
DEVICE double packed(Bf16<double>, const double* x) { return x[0]; }
DEVICE double value_of(Tf32<double>, double word, int) { return word; }
DEVICE double value_of(Bf16<double>, double word, int) { return word; }

// ------------------------------------------------------------------------------------------------- fragments, of rows that lie PITCH words apart

#if defined(__CUDACC__) && TENSOR_CORES
// Lane l names the row l % 8 of four words of the (l / 8)-th matrix of 8 x 4, of which each lane then holds a word.
DEVICE void load_matrices(unsigned (&to)[4], const unsigned* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"((unsigned)__cvta_generic_to_shared(row)));
}
template <int I, int PITCH, int n>
DEVICE void load_left_fragment(Own<Left<unsigned, I>, n>& left, const unsigned (*rows)[PITCH], int word, int) {
  const unsigned l = threadIdx.x % 32;
  UNROLL for (int i = 0; i < I; ++i) load_matrices(left.of.of[i], rows[16 * i + l % 16] + word + l / 16 * 4);
}
template <int PITCH, int n>
DEVICE void load_right_fragment(Own<Right<unsigned>, n>& right, const unsigned (*rows)[PITCH], int word, int) {
  const unsigned l = threadIdx.x % 32;
  load_matrices(right.of.of, rows[l / 16 * 8 + l % 8] + word + l / 8 % 2 * 4);
}
#endif

template <class type, int I, int PITCH, int n>
DEVICE void load_left_fragment(Own<Left<type, I>, n>& left, const type (*rows)[PITCH], int word, int w) {
  for_lanes(l) {
    UNROLL for (int r = 0; r < 4 * I; ++r) left(w, l).of[r / 4][r % 4] = rows[r / 4 * 16 + l / 4 + 8 * (r % 2)][word + r % 4 / 2 * 4 + l % 4];
  }
}
template <class type, int PITCH, int n>
DEVICE void load_right_fragment(Own<Right<type>, n>& right, const type (*rows)[PITCH], int word, int w) {
  for_lanes(l) {
    UNROLL for (int r = 0; r < 4; ++r) right(w, l).of[r] = rows[r / 2 * 8 + l / 4][word + r % 2 * 4 + l % 4];
  }
}

// ---------------------------------------------------------------------------------------------------------------------------- products

#if defined(__CUDACC__)
#if TENSOR_CORES
#define MMA(shape, type)                                                                                                     \
  asm volatile(                                                                                                              \
      "mma.sync.aligned." shape ".row.col.f32." type "." type ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])                                                           \
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]))
DEVICE void multiply_one(Tf32<float>, const unsigned* left, const unsigned* right, float* sums) { MMA("m16n8k8", "tf32"); }
DEVICE void multiply_one(Bf16<float>, const unsigned* left, const unsigned* right, float* sums) { MMA("m16n8k16", "bf16"); }
#endif

// The same by shuffles: for doubles, and for GPUs whose tensor cores know neither kind.
template <class kind, class word>
DEVICE void multiply_one(kind, const word* left, const word* right, acc* sums) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll 1  // a rare path: kept short
  for (int k = 0; k < 8; ++k) {
    const word top = k < 4 ? left[0] : left[2], bottom = k < 4 ? left[1] : left[3], side = k < 4 ? right[0] : right[1];
    const word upper = __shfl_sync(~0u, top, 4 * g + k % 4), lower = __shfl_sync(~0u, bottom, 4 * g + k % 4);
    const word even = __shfl_sync(~0u, side, 8 * t + k % 4), odd = __shfl_sync(~0u, side, 8 * t + 4 + k % 4);
    for (int n = 0; n < kind::DEPTH; ++n) {
      const acc a = value_of(kind(), upper, n), b = value_of(kind(), lower, n), c = value_of(kind(), even, n), d = value_of(kind(), odd, n);
      sums[0] += a * c, sums[1] += a * d, sums[2] += b * c, sums[3] += b * d;
    }
  }
}

template <class kind, class word, int I, int n>
DEVICE void warp_product(Own<Left<word, I>, n>& left, Own<Right<word>, n>& right, Own<Sums<I>, n>& sums, int) {
  UNROLL for (int j = 0; j < 2; ++j) {
    UNROLL for (int i = 0; i < I; ++i) multiply_one(kind(), left.of.of[i], right.of.of + 2 * j, sums.of.of[j][i]);
  }
}

#else
// The matrices are put together from what the lanes of warp w hold, multiplied, and handed out again.
template <class kind, class word, int I, int n>
DEVICE void warp_product(Own<Left<word, I>, n>& left, Own<Right<word>, n>& right, Own<Sums<I>, n>& sums, int w) {
  const int D = kind::DEPTH;
  acc a[16 * I][8 * D], b[8 * D][16], c[16 * I][16];
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, t = l % 4;
    for (int d = 0; d < D; ++d) {
      for (int r = 0; r < 4; ++r) b[(t + 4 * (r % 2)) * D + d][g + 8 * (r / 2)] = value_of(kind(), right(w, l).of[r], d);
      for (int i = 0; i < I; ++i)
        for (int r = 0; r < 4; ++r) a[16 * i + g + 8 * (r % 2)][(t + 4 * (r / 2)) * D + d] = value_of(kind(), left(w, l).of[i][r], d);
    }
    for (int q = 0; q < 8 * I; ++q) c[q / 4 % I * 16 + g + 8 * (q % 4 / 2)][q / (4 * I) * 8 + 2 * t + q % 2] = sums(w, l).of[q / (4 * I)][q / 4 % I][q % 4];
  }
  for (int i = 0; i < 16 * I; ++i)
    for (int k = 0; k < 8 * D; ++k)
      for (int j = 0; j < 16; ++j) c[i][j] += a[i][k] * b[k][j];
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, t = l % 4;
    for (int q = 0; q < 8 * I; ++q) sums(w, l).of[q / (4 * I)][q / 4 % I][q % 4] = c[q / 4 % I * 16 + g + 8 * (q % 4 / 2)][q / (4 * I) * 8 + 2 * t + q % 2];
  }
}
#endif
