// The twelve scale bytes of Q4_K and Q5_K: eight 6-bit scales and eight 6-bit mins, one of each per
// 32 weights.
//
// Scale j < 4 is the low six bits of byte j, min j < 4 those of byte j + 4. For j >= 4 the low
// nibble of byte j + 4 is the scale and its high nibble the min; the top two bits of bytes j - 4
// and j stand above them.
// Example: j = 5, byte 9 = 0xa3, byte 1 = 0x80, byte 5 = 0x40: scale
// 0b10'0011 = 35, min 0b01'1010 = 26.
#pragma once

#include <cstdint>

namespace hypura::kernels::scalar {

// Both in sixteen entries, one per 16 weights, each sub-block of 32 twice.
inline void unpack_scales_6bit(const uint8_t bytes[12], int16_t scale[16], int16_t min[16]) {
  for (uint32_t j = 0; j < 8; ++j) {
    int s, m;
    if (j < 4) {
      s = bytes[j] & 63;
      m = bytes[j + 4] & 63;
    } else {
      s = (bytes[j + 4] & 15) | (bytes[j - 4] >> 6) << 4;
      m = bytes[j + 4] >> 4 | (bytes[j] >> 6) << 4;
    }
    scale[2 * j] = scale[2 * j + 1] = static_cast<int16_t>(s);
    min[2 * j] = min[2 * j + 1] = static_cast<int16_t>(m);
  }
}

}  // namespace hypura::kernels::scalar
