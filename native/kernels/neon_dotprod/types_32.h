// The types of 32 weights, as the frame of rows_32.h wants them. The formats stand with the scalar
// kernels. Internal linkage (neon_dotprod.h).
#pragma once

#include <arm_neon.h>

#include "native/kernels/blocks.h"
#include "native/kernels/neon_dotprod/iq4_values.h"
#include "native/kernels/neon_dotprod/lanes.h"
#include "native/kernels/neon_dotprod/rows_32.h"

namespace hypura::kernels::neon_dotprod {
namespace {

inline Weights32 minus(Weights32 weights, int8_t offset) {
  return {minus(weights.first, offset), minus(weights.second, offset)};
}

// Bit i of a 32-bit word is the fifth bit of weight i.
inline Weights32 with_fifth_bits(Weights32 nibbles, const uint8_t high[4]) {
  const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
  const uint8x16_t sixteen = vdupq_n_u8(16);
  const auto add = [&](int8x16_t weights, const uint8_t* bytes) {
    const uint8x16_t spread = vcombine_u8(vdup_n_u8(bytes[0]), vdup_n_u8(bytes[1]));
    const uint8x16_t fifth = vandq_u8(vtstq_u8(spread, bit), sixteen);
    return vorrq_s8(weights, vreinterpretq_s8_u8(fifth));
  };
  return {add(nibbles.first, high), add(nibbles.second, high + 2)};
}

// What types with a half d, or also a half m, have in common.
template <typename StoredBlock>
struct WithHalves {
  using Block = StoredBlock;
  static Eight scales(const Block* w, uint64_t stride) {
    return half_fields<__builtin_offsetof(Block, d)>(w, stride);
  }
};

struct Q4_0 : WithHalves<BlockQ4_0> {
  static constexpr bool kMins = false;
  static Weights32 weights(const Block& w) { return minus(nibbles(w.low), 8); }
};

struct Q4_1 : WithHalves<BlockQ4_1> {
  static constexpr bool kMins = true;
  static Weights32 weights(const Block& w) { return nibbles(w.low); }
  static Eight mins(const Block* w, uint64_t stride) {
    return half_fields<__builtin_offsetof(Block, m)>(w, stride);
  }
};

struct Q5_0 : WithHalves<BlockQ5_0> {
  static constexpr bool kMins = false;
  static Weights32 weights(const Block& w) {
    return minus(with_fifth_bits(nibbles(w.low), w.high), 16);
  }
};

struct Q5_1 : WithHalves<BlockQ5_1> {
  static constexpr bool kMins = true;
  static Weights32 weights(const Block& w) { return with_fifth_bits(nibbles(w.low), w.high); }
  static Eight mins(const Block* w, uint64_t stride) {
    return half_fields<__builtin_offsetof(Block, m)>(w, stride);
  }
};

struct Q8_0 : WithHalves<BlockQ8_0> {
  static constexpr bool kMins = false;
  static Weights32 weights(const Block& w) { return {vld1q_s8(w.q), vld1q_s8(w.q + 16)}; }
};

struct IQ4NL : WithHalves<BlockIQ4NL> {
  static constexpr bool kMins = false;
  static Weights32 weights(const Block& w) { return iq4_values(nibbles(w.low)); }
};

struct MXFP4 {
  using Block = BlockMXFP4;
  static constexpr bool kMins = false;

  static Weights32 weights(const Block& w) {
    return table_values(int8x16_t{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12},
                        nibbles(w.low));
  }

  // 2^(e - 128): exponent e - 1 from e = 2 on, subnormal below.
  static float32x4_t powers(uint32x4_t e) {
    const uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    const uint32x4_t subnormal = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), subnormal, normal));
  }
  static Eight scales(const Block* w, uint64_t stride) {
    uint64_t e = 0;
#pragma GCC unroll 8
    for (uint32_t i = 0; i < 8; ++i) e |= static_cast<uint64_t>(w[i * stride].e) << 8 * i;
    const uint16x8_t wide = vmovl_u8(vcreate_u8(e));
    return {powers(vmovl_u16(vget_low_u16(wide))), powers(vmovl_high_u16(wide))};
  }
};

}  // namespace
}  // namespace hypura::kernels::neon_dotprod
