// The twelve scale bytes of Q4_K and Q5_K, decoded with masks on words (scalar/scales_6bit.h says
// what they are). Internal linkage (neon_dotprod.h).
#pragma once

#include <arm_neon.h>

#include "native/kernels/neon_dotprod/k_rows.h"
#include "native/kernels/neon_dotprod/lanes.h"

namespace hypura::kernels::neon_dotprod {
namespace {

inline Sixteen eight_bytes(uint32_t first, uint32_t last) {
  const uint8x8_t bytes = vcreate_u8(first | static_cast<uint64_t>(last) << 32);
  return {vreinterpretq_s16_u16(vmovl_u8(bytes)), vdupq_n_s16(0)};
}

inline Sixteen scales_6bit(const uint8_t bytes[12]) {
  const uint32_t a = load_u32(bytes), c = load_u32(bytes + 8);
  return eight_bytes(a & 0x3f3f3f3fu, (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u));
}

inline Sixteen mins_6bit(const uint8_t bytes[12]) {
  const uint32_t b = load_u32(bytes + 4), c = load_u32(bytes + 8);
  return eight_bytes(b & 0x3f3f3f3fu, (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u));
}

}  // namespace
}  // namespace hypura::kernels::neon_dotprod
