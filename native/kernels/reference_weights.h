// For tests: what weight i of a row is worth, written a second time, one weight at a time, in
// double, from the format's description rather than from the kernels. Also rows of hostile and of
// well-behaved bytes.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "native/kernels/quant_types.h"

namespace hypura::kernels::testing {

inline double half_value(const uint8_t* bytes) {
  const int bits = bytes[0] + 256 * bytes[1];
  const double sign = bits >= 32768 ? -1.0 : 1.0;
  const int exponent = bits / 1024 % 32, mantissa = bits % 1024;
  if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

// Bits first .. first + count - 1 of a byte string, little-endian.
inline int bits_at(const uint8_t* bytes, int first, int count) {
  int value = 0;
  for (int i = 0; i < count; ++i) {
    const int bit = first + i;
    value += (bytes[bit / 8] >> (bit % 8) & 1) << i;
  }
  return value;
}

// Q4_K, Q5_K: scale j and min j as the bit string's description has them.
inline void six_bit(const uint8_t* s, int j, int* scale, int* min) {
  if (j < 4) {
    *scale = bits_at(s + j, 0, 6);
    *min = bits_at(s + j + 4, 0, 6);
  } else {
    *scale = bits_at(s + j + 4, 0, 4) + 16 * bits_at(s + j - 4, 6, 2);
    *min = bits_at(s + j + 4, 4, 4) + 16 * bits_at(s + j, 6, 2);
  }
}

// The value of a nibble in IQ4_NL and IQ4_XS, by its distance from the one before.
inline int iq4_value(int nibble) {
  static constexpr int kSteps[] = {23, 21, 18, 16, 14, 13, 12, 11, 12, 12, 13, 15, 16, 20, 24};
  int value = -127;
  for (int i = 0; i < nibble; ++i) value += kSteps[i];
  return value;
}

// A float of one sign bit, two bits of exponent (bias 1) and one of mantissa.
inline double fp4_value(int bits) {
  const int exponent = bits / 2 % 4, mantissa = bits % 2;
  const double magnitude = exponent == 0 ? mantissa * 0.5 : std::ldexp(2 + mantissa, exponent - 2);
  return bits >= 8 ? -magnitude : magnitude;
}

inline double weight_value(QuantType type, const uint8_t* row, uint32_t i) {
  const QuantTypeInfo& info = *find_quant_type(static_cast<uint32_t>(type));
  const uint8_t* b = row + uint64_t{i} / info.block_weights * info.block_bytes;
  const int k = static_cast<int>(i % info.block_weights);
  const int nibble_shift = k < 16 ? 0 : 4;                 // 32-weight types
  const int chunk = k / 64, odd = k / 32 % 2, l = k % 32;  // Q4_K, Q5_K
  const int half = k / 128, group = k / 32 % 4;            // Q2_K, Q3_K, Q6_K
  int scale, min;
  switch (type) {
    case QuantType::kF32: {
      float value;
      std::memcpy(&value, b, 4);
      return value;
    }
    case QuantType::kF16:
      return half_value(b);
    case QuantType::kBF16: {
      const uint8_t widened[4] = {0, 0, b[0], b[1]};
      float value;
      std::memcpy(&value, widened, 4);
      return value;
    }
    case QuantType::kQ4_0:
      return half_value(b) * (bits_at(b + 2 + k % 16, nibble_shift, 4) - 8);
    case QuantType::kQ4_1:
      return half_value(b) * bits_at(b + 4 + k % 16, nibble_shift, 4) + half_value(b + 2);
    case QuantType::kQ5_0:
      return half_value(b) *
             (bits_at(b + 6 + k % 16, nibble_shift, 4) + 16 * bits_at(b + 2, k, 1) - 16);
    case QuantType::kQ5_1:
      return half_value(b) *
                 (bits_at(b + 8 + k % 16, nibble_shift, 4) + 16 * bits_at(b + 4, k, 1)) +
             half_value(b + 2);
    case QuantType::kQ8_0:
      return half_value(b) * static_cast<int8_t>(b[2 + k]);
    case QuantType::kQ4_K:
      six_bit(b + 4, k / 32, &scale, &min);
      return half_value(b) * scale * bits_at(b + 16 + 32 * chunk + l, 4 * odd, 4) -
             half_value(b + 2) * min;
    case QuantType::kQ5_K:
      six_bit(b + 4, k / 32, &scale, &min);
      return half_value(b) * scale *
                 (bits_at(b + 48 + 32 * chunk + l, 4 * odd, 4) +
                  16 * bits_at(b + 16 + l, k / 32, 1)) -
             half_value(b + 2) * min;
    case QuantType::kQ6_K:
      return half_value(b + 208) * static_cast<int8_t>(b[192 + k / 16]) *
             (bits_at(b + 64 * half + 32 * (group % 2) + l, group / 2 * 4, 4) +
              16 * bits_at(b + 128 + 32 * half + l, 2 * group, 2) - 32);
    case QuantType::kQ2_K:
      return half_value(b + 80) * bits_at(b + k / 16, 0, 4) *
                 bits_at(b + 16 + 32 * half + l, 2 * group, 2) -
             half_value(b + 82) * bits_at(b + k / 16, 4, 4);
    case QuantType::kIQ4_NL:
      return half_value(b) * iq4_value(bits_at(b + 2 + k % 16, nibble_shift, 4));
    case QuantType::kIQ4_XS:
      scale = bits_at(b + 4, k / 32 * 4, 4) + 16 * bits_at(b + 2, k / 32 * 2, 2) - 32;
      return half_value(b) * scale *
             iq4_value(bits_at(b + 8 + k / 32 * 16 + l % 16, l / 16 * 4, 4));
    case QuantType::kMXFP4:
      return std::ldexp(fp4_value(bits_at(b + 1 + k % 16, nibble_shift, 4)), b[0] - 127);
    case QuantType::kQ3_K: {
      const uint8_t* s = b + 96;
      const int j = k / 16;
      scale = bits_at(s + j % 8, j / 8 * 4, 4) + 16 * bits_at(s + 8 + j % 4, j / 4 * 2, 2) - 32;
      return half_value(b + 108) * scale *
             (bits_at(b + 32 + 32 * half + l, 2 * group, 2) +
              4 * bits_at(b + l, 4 * half + group, 1) - 4);
    }
  }
  return NAN;
}

// Byte offsets of the halves inside a block.
inline std::vector<uint32_t> half_offsets(QuantType type) {
  switch (type) {
    case QuantType::kF32:
      return {};
    case QuantType::kF16:
      return {0};
    case QuantType::kBF16:
    case QuantType::kMXFP4:
      return {};
    case QuantType::kQ4_0:
    case QuantType::kQ5_0:
    case QuantType::kQ8_0:
    case QuantType::kIQ4_NL:
    case QuantType::kIQ4_XS:
      return {0};
    case QuantType::kQ4_1:
    case QuantType::kQ5_1:
    case QuantType::kQ4_K:
    case QuantType::kQ5_K:
      return {0, 2};
    case QuantType::kQ6_K:
      return {208};
    case QuantType::kQ2_K:
      return {80, 82};
    case QuantType::kQ3_K:
      return {108};
  }
  return {};
}

// d (and dmin, m) of a block become 1.
inline void set_unit_scales(QuantType type, uint8_t* block) {
  if (type == QuantType::kMXFP4) block[0] = 128;
  for (const uint32_t offset : half_offsets(type)) {
    block[offset] = 0;
    block[offset + 1] = 0x3c;
  }
}

enum class Bytes {
  kOrdinary,  // random bytes under scales of about 0.01
  kHostile,   // random bytes everywhere, scales extreme, subnormal, negative, zero; finite
  kAllZero,
  kAllOnes,  // 0xff under finite scales
};

inline std::vector<uint8_t> random_rows(QuantType type, uint32_t n_rows, uint32_t n_cols,
                                        Bytes kind, std::mt19937& rng) {
  const QuantTypeInfo& info = *find_quant_type(static_cast<uint32_t>(type));
  const uint64_t n_blocks = uint64_t{n_rows} * n_cols / info.block_weights;
  std::vector<uint8_t> bytes(n_blocks * info.block_bytes);
  for (uint8_t& byte : bytes)
    byte = kind == Bytes::kAllZero ? 0 : kind == Bytes::kAllOnes ? 0xff : uint8_t(rng());
  if (kind == Bytes::kAllZero) return bytes;
  static constexpr uint16_t kScales[] = {0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400,
                                         0x7bff, 0xfbff, 0x3c00, 0xbc01, 0x2001};
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (uint64_t block = 0; block < n_blocks; ++block) {
    uint8_t* b = bytes.data() + block * info.block_bytes;
    if (type == QuantType::kF32 || type == QuantType::kBF16) {
      float value = uniform(rng);
      if (kind == Bytes::kHostile) value = std::ldexp(value, static_cast<int>(rng() % 120) - 100);
      std::memcpy(b, reinterpret_cast<uint8_t*>(&value) + (type == QuantType::kBF16 ? 2 : 0),
                  info.block_bytes);
      continue;
    }
    if (type == QuantType::kMXFP4) {  // 2^-11 .. 2^-4, or all that leave twelve times it finite
      b[0] = uint8_t(117 + rng() % 8);
      if (kind == Bytes::kHostile && rng() % 2 == 0) b[0] = uint8_t(rng() % 253);
    }
    for (const uint32_t offset : half_offsets(type)) {
      // 0x2000 is 2^-7; ten random bits of mantissa above it
      uint16_t half = uint16_t(0x2000 | (rng() & 0x3ff));
      if (type == QuantType::kF16) half = uint16_t((0x2800 + rng() % 0x1400) | (rng() & 0x8000));
      if (kind == Bytes::kHostile && rng() % 2 == 0) half = kScales[rng() % std::size(kScales)];
      std::memcpy(b + offset, &half, 2);
    }
  }
  return bytes;
}

}  // namespace hypura::kernels::testing
