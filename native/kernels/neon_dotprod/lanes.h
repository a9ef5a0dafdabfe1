// Sixteen float lanes in four registers (rule E4), tails, and small loads. Internal linkage throughout
// (neon_dotprod.h).
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace hypura::kernels::neon_dotprod {
namespace {

struct Lanes {
  float32x4_t four[4];  // lanes 4 i .. 4 i + 3
};

[[maybe_unused]] inline Lanes zero_lanes() {
  const float32x4_t zero = vdupq_n_f32(0);
  return {{zero, zero, zero, zero}};
}

[[maybe_unused]] inline Lanes load_lanes(const float* x) {
  return {{vld1q_f32(x), vld1q_f32(x + 4), vld1q_f32(x + 8), vld1q_f32(x + 12)}};
}

[[maybe_unused]] inline void store_lanes(float* y, const Lanes& lanes) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) vst1q_f32(y + 4 * i, lanes.four[i]);
}

// lanes = fma(a, b, lanes)
[[maybe_unused]] inline void add_products(Lanes& lanes, const Lanes& a, const Lanes& b) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) lanes.four[i] = vfmaq_f32(lanes.four[i], a.four[i], b.four[i]);
}

// The same in the first n of sixteen lanes; the others are left alone.
[[maybe_unused]] inline void add_products(Lanes& lanes, const Lanes& a, const Lanes& b,
                                          uint32_t n) {
  const uint32x4_t count = vdupq_n_u32(n);
  uint32x4_t place = {0, 1, 2, 3};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const float32x4_t sum = vfmaq_f32(lanes.four[i], a.four[i], b.four[i]);
    lanes.four[i] = vbslq_f32(vcltq_u32(place, count), sum, lanes.four[i]);
    place = vaddq_u32(place, vdupq_n_u32(4));
  }
}

// Adds the upper half to the lower, 16 to 8, 4, 2, 1.
[[maybe_unused]] inline float fold(const Lanes& lanes) {
  const float32x4_t four = vaddq_f32(vaddq_f32(lanes.four[0], lanes.four[2]),
                                     vaddq_f32(lanes.four[1], lanes.four[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

// Elements 0 .. n - 1 of x, n <= 4; `other` in the lanes after them.
[[maybe_unused]] inline float32x4_t load_first(const float* x, uint32_t n, float other = 0) {
  float padded[4] = {other, other, other, other};
  __builtin_memcpy(padded, x, n * sizeof(float));
  return vld1q_f32(padded);
}

[[maybe_unused]] inline void store_first(float* y, uint32_t n, float32x4_t four) {
  float padded[4];
  vst1q_f32(padded, four);
  __builtin_memcpy(y, padded, n * sizeof(float));
}

[[maybe_unused]] inline uint16_t load_u16(const void* bytes) {
  uint16_t value;
  __builtin_memcpy(&value, bytes, sizeof value);
  return value;
}

[[maybe_unused]] inline uint32_t load_u32(const void* bytes) {
  uint32_t value;
  __builtin_memcpy(&value, bytes, sizeof value);
  return value;
}

[[maybe_unused]] inline float32x4_t widen_halves(uint16x4_t halves) {
  return vcvt_f32_f16(vreinterpret_f16_u16(halves));
}

[[maybe_unused]] inline float load_half(const uint8_t bytes[2]) {
  return vgetq_lane_f32(widen_halves(vdup_n_u16(load_u16(bytes))), 0);
}

// 32 weights in their order.
struct Weights32 {
  int8x16_t first;
  int8x16_t second;
};

// The nibbles of sixteen bytes: low ones are weights 0-15, high ones 16-31.
[[maybe_unused]] inline Weights32 nibbles(const uint8_t low[16]) {
  const uint8x16_t bytes = vld1q_u8(low);
  return {vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15))),
          vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4))};
}

// Bits kMask of each byte after its bit kFrom was moved to place kTo.
template <int kFrom, int kTo>
inline uint8x16_t moved_bits(uint8x16_t bytes, uint8_t mask) {
  uint8x16_t moved;
  if constexpr (kFrom <= kTo)
    moved = vshlq_n_u8(bytes, kTo - kFrom);
  else
    moved = vshrq_n_u8(bytes, kFrom - kTo);
  return vandq_u8(moved, vdupq_n_u8(mask));
}

[[maybe_unused]] inline int8x16_t minus(int8x16_t weights, int8_t offset) {
  return vsubq_s8(weights, vdupq_n_s8(offset));
}

}  // namespace
}  // namespace hypura::kernels::neon_dotprod
