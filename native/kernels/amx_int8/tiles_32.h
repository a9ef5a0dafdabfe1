// The frame of the 32-weight types without minima on AMX: two strips of sixteen rows by groups of up to sixteen positions. A tile
// product is one block deep, because every block has a scale of its own in weights and activations; the terms of four blocks are
// added at once (rule E3). Internal linkage (amx_int8.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/activations.h"
#include "native/kernels/amx_int8/matmul.h"
#include "native/kernels/amx_int8/tiles.h"
#include "native/kernels/avx512vnni/lanes.h"
#include "native/kernels/avx512vnni/rows_32.h"

namespace hypura::kernels::amx_int8 {
namespace {

template <typename Type>
struct Tiles32 {
  static_assert(!Type::kMins);
  using Block = typename Type::Block;
  using Activation = ActivationA32;
  using Strip = avx512vnni::Strip32;
  static constexpr uint32_t kBlockWeights = 32, kGroupBlocks = 8, kHalfBlocks = 4;
  static constexpr uint32_t kGroupPositions = kTileRows;

  static uint32_t pass_positions(uint64_t) { return kPassPositions; }

  // Sums of half a group of blocks: [block][strip][position][row].
  struct alignas(64) Sums {
    int32_t of[kHalfBlocks][kStrips][kTileRows][16];
  };
  // The first half's terms, added: [position][strip][row].
  struct alignas(64) Terms {
    float of[kTileRows][kStrips][16];
  };

  // Tiles 0-3 sums, 4 and 5 A, 6 and 7 B.
  static void configure(uint32_t n) {
    TileConfig config;
    for (int c = 0; c < 4; ++c) config.set(c, n, kTileBytes);
    for (int a = 4; a < 6; ++a) config.set(a, n, 32);
    for (int b = 6; b < 8; ++b) config.set(b, 8, kTileBytes);
    config.load();
  }

  // One block of two strips. kTurn is 0 and 1 in turn, so that one block's tiles are not those of the next.
  template <int kTurn>
  static void multiply_block(const Strip w[kStrips], const ActivationA32* a, uint64_t stride, uint32_t block,
                             int32_t (*sums)[kTileRows][16]) {
    load_tile<4 + kTurn>(a->q[block], stride);
    zero_tile<2 * kTurn>();
    load_tile<6>(w[0].q[block], kTileBytes);
    multiply_tiles<true, 2 * kTurn, 4 + kTurn, 6>();
    zero_tile<2 * kTurn + 1>();
    load_tile<7>(w[1].q[block], kTileBytes);
    multiply_tiles<true, 2 * kTurn + 1, 4 + kTurn, 7>();
    store_tile<2 * kTurn>(sums[0]);
    store_tile<2 * kTurn + 1>(sums[1]);
  }

  template <uint32_t kHalf>
  static void finish(const Strip w[kStrips], const Group& group, uint64_t stride, const Sums& sums, Terms& terms) {
    constexpr uint32_t first = kHalf * kHalfBlocks;
#pragma GCC unroll 2
    for (uint32_t t = 0; t < kStrips; ++t) {
      __m512 d[kHalfBlocks];
#pragma GCC unroll 4
      for (uint32_t k = 0; k < kHalfBlocks; ++k) d[k] = _mm512_load_ps(w[t].d[first + k]);
      for (uint32_t i = 0; i < group.n; ++i) {
        const auto* a = reinterpret_cast<const ActivationA32*>(group.activations + i * stride);
        __m512 term[kHalfBlocks];
#pragma GCC unroll 4
        for (uint32_t k = 0; k < kHalfBlocks; ++k) {
          const __m512 both = _mm512_mul_ps(d[k], _mm512_set1_ps(a->d[first + k]));
          term[k] = _mm512_mul_ps(both, _mm512_cvtepi32_ps(avx512vnni::load_64(sums.of[k][t][i])));
        }
        const __m512 added =
            _mm512_add_ps(_mm512_add_ps(term[0], term[1]), _mm512_add_ps(term[2], term[3]));
        if constexpr (kHalf == 0) {
          _mm512_store_ps(terms.of[i][t], added);
        } else {
          float* at = group.acc + (i * kStrips + t) * 16;
          _mm512_store_ps(at, _mm512_add_ps(_mm512_load_ps(at),
                                            _mm512_add_ps(_mm512_load_ps(terms.of[i][t]), added)));
        }
      }
    }
  }

  template <uint32_t kHalf>
  static void multiply_half(const Strip w[kStrips], const Group& group, uint64_t stride, Terms& terms) {
    const auto* a = reinterpret_cast<const ActivationA32*>(group.activations);
    Sums sums;
    for (uint32_t k = 0; k < kHalfBlocks; k += 2) {
      multiply_block<0>(w, a, stride, kHalf * kHalfBlocks + k, sums.of[k]);
      multiply_block<1>(w, a, stride, kHalf * kHalfBlocks + k + 1, sums.of[k + 1]);
    }
    finish<kHalf>(w, group, stride, sums, terms);
  }

  static void multiply_group(const Strip w[kStrips], const Group& group, uint64_t stride) {
    Terms terms;
    multiply_half<0>(w, group, stride, terms);
    multiply_half<1>(w, group, stride, terms);
  }

  // Weights as signed bytes, worth what they say.
  static void unpack(const uint8_t* rows, uint64_t row_bytes, uint32_t n_present, Strip& strip) {
    avx512vnni::Rows32<Type>::unpack(rows, row_bytes, n_present, strip);
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(Type::kOffset));
    if constexpr (Type::kOffset != 0)
      for (uint32_t k = 0; k < n_present; ++k)
#pragma GCC unroll 8
        for (int s = 0; s < 8; ++s)
          _mm512_store_si512(strip.q[k][s], _mm512_sub_epi8(_mm512_load_si512(strip.q[k][s]), offset));
  }
};

}  // namespace
}  // namespace hypura::kernels::amx_int8
