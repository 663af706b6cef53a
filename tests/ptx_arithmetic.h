// What PTX's instructions compute in registers, by their names; see ptx_machine.cpp and PTX ISA 8.8.
#pragma once
#include <algorithm>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

union Slot {
  bool p;
  uint16_t h;
  uint32_t u;
  int32_t s;
  float f;
  uint64_t ul;
  int64_t sl;
  double d;
};

typedef void (*Compute)(Slot* r, const int* o);  // o: the numbers of the slots, the result first

static std::map<std::string, int> names;
static std::vector<Compute> computes;

static void define(const std::string& name, Compute compute) {
  names[name] = computes.size();
  computes.push_back(compute);
}

template <class T> static T& as(Slot& slot);
template <> bool& as(Slot& slot) { return slot.p; }
template <> uint16_t& as(Slot& slot) { return slot.h; }
template <> uint32_t& as(Slot& slot) { return slot.u; }
template <> int32_t& as(Slot& slot) { return slot.s; }
template <> float& as(Slot& slot) { return slot.f; }
template <> uint64_t& as(Slot& slot) { return slot.ul; }
template <> int64_t& as(Slot& slot) { return slot.sl; }
template <> double& as(Slot& slot) { return slot.d; }

#define ONE(name, to, from, value) \
  define(name, [](Slot* r, const int* o) { const from a = as<from>(r[o[1]]); as<to>(r[o[0]]) = value; })
#define TWO(name, type, value)                                                \
  define(name, [](Slot* r, const int* o) {                                    \
    const type a = as<type>(r[o[1]]), b = as<type>(r[o[2]]);                  \
    as<type>(r[o[0]]) = value;                                                \
  })
#define THREE(name, type, value)                                                                       \
  define(name, [](Slot* r, const int* o) {                                                             \
    const type a = as<type>(r[o[1]]), b = as<type>(r[o[2]]), c = as<type>(r[o[3]]);                    \
    as<type>(r[o[0]]) = value;                                                                         \
  })
#define COMPARE(name, type, value)                                            \
  define(std::string("setp.") + name, [](Slot* r, const int* o) {             \
    const type a = as<type>(r[o[1]]), b = as<type>(r[o[2]]);                  \
    r[o[0]].p = value;                                                        \
  })
#define SELECT(name, type) \
  define(name, [](Slot* r, const int* o) { as<type>(r[o[0]]) = r[o[3]].p ? as<type>(r[o[1]]) : as<type>(r[o[2]]); })

template <class F> static auto rounded(int direction, F compute) {
  const int before = std::fegetround();
  std::fesetround(direction);
  volatile auto result = compute();
  std::fesetround(before);
  return result;
}

static float fma_down(float a, float b, float c) {
  volatile float x = a, y = b, z = c;
  return rounded(FE_DOWNWARD, [&] { return std::fma((float)x, (float)y, (float)z); });
}
template <class T> static T add_to_zero(T a, T b) {
  volatile T x = a, y = b;
  return rounded(FE_TOWARDZERO, [&] { return x + y; });
}

template <class T> static T saturated(double a) {
  if (a != a) return 0;
  return (T)std::clamp(a, (double)std::numeric_limits<T>::min(), (double)std::numeric_limits<T>::max());
}

static uint32_t bits(float f) { Slot s; s.f = f; return s.u; }
static float float_of(uint32_t u) { Slot s; s.u = u; return s.f; }
// round to nearest, ties away from zero, to 10 bits of fraction
static uint32_t tf32(float f) { return std::isnan(f) ? 0x7fffffffu : (bits(f) + (1u << 12)) >> 13 << 13; }
// round to nearest, ties to even, to 7 bits of fraction
static uint32_t bf16(float f) {
  const uint32_t u = bits(f), low = u & 0xffff;
  if (std::isnan(f)) return 0x7fff;
  return (u >> 16) + (low > 0x8000 || (low == 0x8000 && (u >> 16 & 1)));
}

#define FLOATING(t, type)                                                                             \
  TWO("add." t, type, a + b); TWO("add.rn." t, type, a + b); TWO("sub." t, type, a - b);              \
  TWO("mul." t, type, a * b); TWO("mul.rn." t, type, a * b); TWO("div.rn." t, type, a / b);           \
  TWO("min." t, type, std::fmin(a, b)); TWO("max." t, type, std::fmax(a, b));                         \
  THREE("fma.rn." t, type, std::fma(a, b, c));                                                        \
  ONE("neg." t, type, type, -a); ONE("abs." t, type, type, std::fabs(a)); ONE("mov." t, type, type, a); \
  ONE("sqrt.rn." t, type, type, std::sqrt(a)); ONE("rcp.rn." t, type, type, 1 / a);                   \
  ONE("rcp.approx." t, type, type, 1 / a);                                                        \
  ONE("cvt.rzi." t "." t, type, type, std::trunc(a)); ONE("cvt.rmi." t "." t, type, type, std::floor(a)); \
  ONE("cvt.rni." t "." t, type, type, std::nearbyint(a)); ONE("cvt.rpi." t "." t, type, type, std::ceil(a)); \
  TWO("add.rz." t, type, add_to_zero(a, b));                                                          \
  SELECT("selp." t, type);                                                                            \
  COMPARE("eq." t, type, a == b); COMPARE("lt." t, type, a < b); COMPARE("le." t, type, a <= b);      \
  COMPARE("gt." t, type, a > b); COMPARE("ge." t, type, a >= b);                                      \
  COMPARE("ne." t, type, a < b || a > b); COMPARE("equ." t, type, !(a < b || a > b));                 \
  COMPARE("neu." t, type, a != b); COMPARE("ltu." t, type, !(a >= b)); COMPARE("leu." t, type, !(a > b)); \
  COMPARE("gtu." t, type, !(a <= b)); COMPARE("geu." t, type, !(a < b));                              \
  COMPARE("num." t, type, a == a && b == b); COMPARE("nan." t, type, a != a || b != b)

#define INTEGER(t, type)                                                                              \
  TWO("add." t, type, a + b); TWO("sub." t, type, a - b); TWO("mul.lo." t, type, a * b);              \
  TWO("div." t, type, b ? a / b : (type)~0ull); TWO("rem." t, type, b ? a % b : a);                   \
  TWO("min." t, type, std::min(a, b)); TWO("max." t, type, std::max(a, b));                           \
  THREE("mad.lo." t, type, a * b + c); ONE("neg." t, type, type, 0 - a); ONE("mov." t, type, type, a); \
  SELECT("selp." t, type);                                                                            \
  COMPARE("eq." t, type, a == b); COMPARE("ne." t, type, a != b); COMPARE("lt." t, type, a < b);      \
  COMPARE("le." t, type, a <= b); COMPARE("gt." t, type, a > b); COMPARE("ge." t, type, a >= b)

#define BITS(t, type, width)                                                                          \
  TWO("and." t, type, a & b); TWO("or." t, type, a | b); TWO("xor." t, type, a ^ b); ONE("not." t, type, type, ~a); \
  ONE("mov." t, type, type, a); SELECT("selp." t, type); COMPARE("eq." t, type, a == b); COMPARE("ne." t, type, a != b); \
  define("shl." t, [](Slot* r, const int* o) { const uint32_t n = r[o[2]].u; as<type>(r[o[0]]) = n < width ? as<type>(r[o[1]]) << n : 0; })

#define SHIFT(t, type, width) \
  define("shr." t, [](Slot* r, const int* o) { as<type>(r[o[0]]) = as<type>(r[o[1]]) >> std::min(r[o[2]].u, (uint32_t)width - 1); })
#define SHIFT_UNSIGNED(t, type, width) \
  define("shr." t, [](Slot* r, const int* o) { const uint32_t n = r[o[2]].u; as<type>(r[o[0]]) = n < width ? as<type>(r[o[1]]) >> n : 0; })

static void define_all() {
  FLOATING("f32", float);
  FLOATING("f64", double);
  INTEGER("s32", int32_t);
  INTEGER("u32", uint32_t);
  INTEGER("s64", int64_t);
  INTEGER("u64", uint64_t);
  BITS("b16", uint16_t, 16);
  BITS("b32", uint32_t, 32);
  BITS("b64", uint64_t, 64);
  SHIFT("s32", int32_t, 32);
  SHIFT_UNSIGNED("u32", uint32_t, 32);
  SHIFT("s64", int64_t, 64);
  SHIFT_UNSIGNED("u64", uint64_t, 64);
  TWO("and.pred", bool, a && b);
  TWO("or.pred", bool, a || b);
  TWO("xor.pred", bool, a != b);
  ONE("not.pred", bool, bool, !a);
  ONE("mov.pred", bool, uint32_t, a != 0);  // a constant is 0 or -1
  ONE("mov.u16", uint16_t, uint16_t, a);
  SELECT("selp.u16", uint16_t);
  COMPARE("eq.s16", uint16_t, a == b);
  COMPARE("ne.s16", uint16_t, a != b);
  ONE("ex2.approx.f32", float, float, std::exp2(a));
  ONE("ex2.approx.f32", float, float, std::exp2(a));
  ONE("lg2.approx.f32", float, float, std::log2(a));
  THREE("fma.rm.f32", float, fma_down(a, b, c));
  ONE("cvt.f64.f32", double, float, a);
  ONE("cvt.rn.f32.f64", float, double, a);
  ONE("cvt.rn.f32.s32", float, int32_t, a);
  ONE("cvt.rn.f32.u32", float, uint32_t, a);
  ONE("cvt.rn.f64.s32", double, int32_t, a);
  ONE("cvt.rn.f32.u16", float, uint16_t, a);
  ONE("cvt.rn.f64.u16", double, uint16_t, a);
  ONE("cvt.rn.f64.s64", double, int64_t, a);
  ONE("cvt.rzi.s32.f32", int32_t, float, saturated<int32_t>(a));
  ONE("cvt.rzi.s32.f64", int32_t, double, saturated<int32_t>(a));
  ONE("cvt.sat.f32.f32", float, float, a > 0 ? std::min(a, 1.0f) : 0);
  ONE("cvt.s64.s32", int64_t, int32_t, a);
  ONE("cvt.u64.u32", uint64_t, uint32_t, a);
  ONE("cvt.u32.u64", uint32_t, uint64_t, a);
  ONE("cvt.u16.u32", uint16_t, uint32_t, a);
  ONE("cvt.u32.u16", uint32_t, uint16_t, a);
  ONE("cvt.s32.s8", int32_t, uint16_t, (int8_t)a);
  ONE("cvta.to.global.u64", uint64_t, uint64_t, a);
  ONE("cvt.rna.tf32.f32", uint32_t, float, tf32(a));
  define("cvt.rn.bf16x2.f32", [](Slot* r, const int* o) { r[o[0]].u = bf16(r[o[1]].f) << 16 | bf16(r[o[2]].f); });
  define("mul.wide.s32", [](Slot* r, const int* o) { r[o[0]].sl = (int64_t)r[o[1]].s * r[o[2]].s; });
  define("mul.wide.u32", [](Slot* r, const int* o) { r[o[0]].ul = (uint64_t)r[o[1]].u * r[o[2]].u; });
  define("bfi.b32", [](Slot* r, const int* o) {  // the low bits of one among those of the other
    const uint32_t begin = r[o[3]].u & 255, length = r[o[4]].u & 255, mask = begin > 31 ? 0 : ((length > 31 ? 0 : 1u << length) - 1) << begin;
    r[o[0]].u = (r[o[2]].u & ~mask) | (begin > 31 ? 0 : r[o[1]].u << begin & mask);
  });
  define("bfe.u32", [](Slot* r, const int* o) {
    const uint32_t at = r[o[2]].u & 255, length = r[o[3]].u & 255, value = at < 32 ? r[o[1]].u >> at : 0;
    r[o[0]].u = length < 32 ? value & ((1u << length) - 1) : value;
  });
  define("pack.b64", [](Slot* r, const int* o) { r[o[0]].ul = (uint64_t)r[o[2]].u << 32 | r[o[1]].u; });
  define("unpack.b64", [](Slot* r, const int* o) {
    const uint64_t value = r[o[2]].ul;
    r[o[0]].u = value, r[o[1]].u = value >> 32;
  });
  define("bfe.u64", [](Slot* r, const int* o) {
    const uint32_t at = r[o[2]].u & 255, length = r[o[3]].u & 255;
    const uint64_t value = at < 64 ? r[o[1]].ul >> at : 0;
    r[o[0]].ul = length < 64 ? value & ((1ull << length) - 1) : value;
  });
  define("pow.f64", [](Slot* r, const int* o) { r[o[0]].d = std::pow(r[o[1]].d, r[o[2]].d); });
}

extern "C" int compute_of(const char* name) {
  if (names.empty()) define_all();
  const auto found = names.find(name);
  return found == names.end() ? -1 : found->second;
}
