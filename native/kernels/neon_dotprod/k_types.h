// The types of 256 weights, as the frame of k_rows.h wants them: where the bits of 32 weights lie, and
// what their scales are. The formats stand with the scalar kernels. Internal linkage
// (neon_dotprod.h).
#pragma once

#include <arm_neon.h>

#include "native/kernels/blocks.h"
#include "native/kernels/neon_dotprod/iq4_values.h"
#include "native/kernels/neon_dotprod/k_rows.h"
#include "native/kernels/neon_dotprod/lanes.h"
#include "native/kernels/neon_dotprod/scales_6bit.h"

namespace hypura::kernels::neon_dotprod {
namespace {

// 32 bytes, and what is done to both halves of them.
struct Bytes32 {
  uint8x16_t first;
  uint8x16_t second;
};
inline Bytes32 load_32(const uint8_t* bytes) { return {vld1q_u8(bytes), vld1q_u8(bytes + 16)}; }
template <int kFrom, int kTo>
inline Bytes32 moved_bits(Bytes32 bytes, uint8_t mask) {
  return {moved_bits<kFrom, kTo>(bytes.first, mask), moved_bits<kFrom, kTo>(bytes.second, mask)};
}
inline Bytes32 both(Bytes32 a, Bytes32 b) {
  return {vorrq_u8(a.first, b.first), vorrq_u8(a.second, b.second)};
}
inline Weights32 minus(Bytes32 bytes, int8_t offset) {
  return {minus(vreinterpretq_s8_u8(bytes.first), offset),
          minus(vreinterpretq_s8_u8(bytes.second), offset)};
}
inline Weights32 unsigned_weights(Bytes32 bytes) {
  return {vreinterpretq_s8_u8(bytes.first), vreinterpretq_s8_u8(bytes.second)};
}

struct Q2K {
  using Block = BlockQ2K;
  static constexpr int kScales = 16;
  static constexpr int kMins = 16;

  template <int kSub>
  static Weights32 weights(const Block& w) {
    return unsigned_weights(moved_bits<2 * (kSub % 4), 0>(load_32(w.low + kSub / 4 * 32), 3));
  }
  static Sixteen widen(uint8x16_t bytes) {
    return {vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))),
            vreinterpretq_s16_u16(vmovl_high_u8(bytes))};
  }
  static Sixteen scales(const Block& w) {
    return widen(vandq_u8(vld1q_u8(w.scales), vdupq_n_u8(15)));
  }
  static Sixteen mins(const Block& w) { return widen(vshrq_n_u8(vld1q_u8(w.scales), 4)); }
};

struct Q3K {
  using Block = BlockQ3K;
  static constexpr int kScales = 16;
  static constexpr int kMins = 0;

  template <int kSub>
  static Weights32 weights(const Block& w) {
    const Bytes32 low = moved_bits<2 * (kSub % 4), 0>(load_32(w.low + kSub / 4 * 32), 3);
    return minus(both(low, moved_bits<kSub, 2>(load_32(w.high), 4)), 4);
  }
  static Sixteen scales(const Block& w) {
    uint64_t low;
    __builtin_memcpy(&low, w.scales, sizeof low);
    const uint64_t high = load_u32(w.scales + 8), nibbles = 0x0f0f0f0f0f0f0f0f;
    const uint64_t tops = (high | high << 30) & 0x0303030303030303;
    const uint64_t later_tops = (high >> 4 | high << 26) & 0x0303030303030303;
    const int8x8_t offset = vdup_n_s8(32);
    return {vsubl_s8(vcreate_s8((low & nibbles) | tops << 4), offset),
            vsubl_s8(vcreate_s8((low >> 4 & nibbles) | later_tops << 4), offset)};
  }
};

// Nibbles of sub-block kSub: bytes 32 (kSub / 2) and on, low ones of even sub-blocks.
template <int kSub>
inline Bytes32 nibbles_32(const uint8_t* low) {
  return moved_bits<kSub % 2 * 4, 0>(load_32(low + kSub / 2 * 32), 15);
}

struct Q4K {
  using Block = BlockQ4K;
  static constexpr int kScales = 8;
  static constexpr int kMins = 8;

  template <int kSub>
  static Weights32 weights(const Block& w) {
    return unsigned_weights(nibbles_32<kSub>(w.low));
  }
  static Sixteen scales(const Block& w) { return scales_6bit(w.scales); }
  static Sixteen mins(const Block& w) { return mins_6bit(w.scales); }
};

struct Q5K {
  using Block = BlockQ5K;
  static constexpr int kScales = 8;
  static constexpr int kMins = 8;

  template <int kSub>
  static Weights32 weights(const Block& w) {
    return unsigned_weights(
        both(nibbles_32<kSub>(w.low), moved_bits<kSub, 4>(load_32(w.high), 16)));
  }
  static Sixteen scales(const Block& w) { return scales_6bit(w.scales); }
  static Sixteen mins(const Block& w) { return mins_6bit(w.scales); }
};

struct Q6K {
  using Block = BlockQ6K;
  static constexpr int kScales = 16;
  static constexpr int kMins = 0;

  template <int kSub>
  static Weights32 weights(const Block& w) {
    constexpr int kHalf = kSub / 4, kGroup = kSub % 4;
    const Bytes32 low = load_32(w.low + 64 * kHalf + 32 * (kGroup % 2));
    const Bytes32 high = load_32(w.high + 32 * kHalf);
    return minus(both(moved_bits<kGroup / 2 * 4, 0>(low, 15), moved_bits<2 * kGroup, 4>(high, 48)),
                 32);
  }
  static Sixteen scales(const Block& w) {
    const int8x16_t bytes = vld1q_s8(w.scales);
    return {vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)};
  }
};

struct IQ4XS {
  using Block = BlockIQ4XS;
  static constexpr int kScales = 8;
  static constexpr int kMins = 0;

  template <int kSub>
  static Weights32 weights(const Block& w) {
    return iq4_values(nibbles(w.low + 16 * kSub));
  }
  static Sixteen scales(const Block& w) {
    const int16x8_t down = {0, -2, -4, -6, -8, -10, -12, -14};
    const int16x8_t down_twice = {0, -4, -8, -12, 0, -4, -8, -12};
    const uint16x8_t high = vshlq_u16(vdupq_n_u16(load_u16(w.scales_high)), down);
    const uint16x8_t lows = vcombine_u16(vdup_n_u16(load_u16(w.scales_low)),
                                         vdup_n_u16(load_u16(w.scales_low + 2)));
    const uint16x8_t low = vandq_u16(vshlq_u16(lows, down_twice), vdupq_n_u16(15));
    const uint16x8_t all = vorrq_u16(low, vshlq_n_u16(vandq_u16(high, vdupq_n_u16(3)), 4));
    return {vsubq_s16(vreinterpretq_s16_u16(all), vdupq_n_s16(32)), vdupq_n_s16(0)};
  }
};

}  // namespace
}  // namespace hypura::kernels::neon_dotprod
