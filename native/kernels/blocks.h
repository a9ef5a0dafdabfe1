// The weight blocks of GGUF as they lie in the file: plain bytes, little-endian, no padding, any
// alignment.
//
// Every field is a byte array, so that a block may start anywhere and no load needs an alignment.
// Halves (d, dmin, m) are IEEE binary16. What the fields mean stands with the scalar kernel of each
// type, which is the specification. Included by ISA files: plain structs only, no functions.
// Layout: ggml, block_q*, block_iq4_*, block_mxfp4.
#pragma once

#include <cstdint>

namespace hypura::kernels {

using Half = uint8_t[2];

// 32 weights. Byte i of `low` holds weight i in its low nibble and weight i + 16 in its high
// nibble.
struct BlockQ4_0 {
  Half d;
  uint8_t low[16];
};
struct BlockQ4_1 {
  Half d, m;
  uint8_t low[16];
};
// Bit i of the 32-bit word `high` is the fifth bit of weight i.
struct BlockQ5_0 {
  Half d;
  uint8_t high[4];
  uint8_t low[16];
};
struct BlockQ5_1 {
  Half d, m;
  uint8_t high[4];
  uint8_t low[16];
};
struct BlockQ8_0 {
  Half d;
  int8_t q[32];  // -128 is legal
};
// Nibbles are places in a table of sixteen values.
struct BlockIQ4NL {
  Half d;
  uint8_t low[16];
};
struct BlockMXFP4 {
  uint8_t e;  // d = 2^(e - 128)
  uint8_t low[16];
};

// 256 weights each.
struct BlockQ2K {
  uint8_t scales[16];  // low nibble: scale, high nibble: min, of 16 weights
  uint8_t low[64];     // two bits per weight
  Half d, dmin;
};
struct BlockQ3K {
  uint8_t high[32];    // third bit, set: 0, clear: -4
  uint8_t low[64];     // two bits per weight
  uint8_t scales[12];  // sixteen 6-bit scales, offset 32
  Half d;
};
struct BlockQ4K {
  Half d, dmin;
  uint8_t scales[12];  // eight 6-bit scales, eight 6-bit mins
  uint8_t low[128];
};
struct BlockQ5K {
  Half d, dmin;
  uint8_t scales[12];
  uint8_t high[32];  // bit s of byte i: fifth bit of weight i of sub-block s
  uint8_t low[128];
};
struct BlockQ6K {
  uint8_t low[128];
  uint8_t high[64];   // two bits per weight
  int8_t scales[16];  // of 16 weights
  Half d;
};
// Each 16 bytes of `low` are a sub-block of 32 weights, in the nibbles of BlockIQ4NL.
struct BlockIQ4XS {
  Half d;
  uint8_t scales_high[2];  // eight 6-bit scales, offset 32: two high bits each,
  uint8_t scales_low[4];   // four low ones
  uint8_t low[128];
};

static_assert(sizeof(BlockQ4_0) == 18 && alignof(BlockQ4_0) == 1);
static_assert(sizeof(BlockQ4_1) == 20 && alignof(BlockQ4_1) == 1);
static_assert(sizeof(BlockQ5_0) == 22 && alignof(BlockQ5_0) == 1);
static_assert(sizeof(BlockQ5_1) == 24 && alignof(BlockQ5_1) == 1);
static_assert(sizeof(BlockQ8_0) == 34 && alignof(BlockQ8_0) == 1);
static_assert(sizeof(BlockIQ4NL) == 18 && alignof(BlockIQ4NL) == 1);
static_assert(sizeof(BlockMXFP4) == 17 && alignof(BlockMXFP4) == 1);
static_assert(sizeof(BlockQ2K) == 84 && alignof(BlockQ2K) == 1);
static_assert(sizeof(BlockQ3K) == 110 && alignof(BlockQ3K) == 1);
static_assert(sizeof(BlockQ4K) == 144 && alignof(BlockQ4K) == 1);
static_assert(sizeof(BlockQ5K) == 176 && alignof(BlockQ5K) == 1);
static_assert(sizeof(BlockQ6K) == 210 && alignof(BlockQ6K) == 1);
static_assert(sizeof(BlockIQ4XS) == 136 && alignof(BlockIQ4XS) == 1);

}  // namespace hypura::kernels
