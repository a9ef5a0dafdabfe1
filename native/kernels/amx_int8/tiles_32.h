// The frame of the 32-weight types on AMX: two strips of sixteen rows by groups of up to sixteen positions. A tile
// product is one block deep, because every block has a scale of its own in weights and activations; the terms of eight blocks are
// added in the tree of rule E3. Internal linkage (amx_int8.h).
//
// Floats take as long as tiles do, so the two run side by side: while one strip's pair of blocks is multiplied, the other strip's,
// multiplied before, is stored and turned into terms. Three things decide whether they do (docs/decisions/0019): tiles are stored
// only after the next ones were asked for, the whole group is one function, without a call between its tiles, and the next group's
// activations are asked for a line at a time.
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
  using Block = typename Type::Block;
  using Activation = ActivationA32;
  using Strip = avx512vnni::Strip32;
  static constexpr uint32_t kBlockWeights = 32, kGroupBlocks = 8;
  static constexpr uint32_t kGroupPositions = kTileRows;

  // Two blocks of a strip at a time: their sums, [strip][block][position][row].
  struct alignas(64) Sums {
    int32_t of[kStrips][2][kTileRows][16];
  };
  // Terms added so far (rule E3): of two blocks and of four, [strip][position][row].
  struct alignas(64) Terms {
    float of_two[kStrips][kTileRows][16];
    float of_four[kStrips][kTileRows][16];
    float d_sum[kTileRows][8];  // [position][block]: scale times sum, for the minima
  };

  // Tiles 0 and 1 sums of the first strip, 2 and 3 of the second, 4 and 5 A, 6 and 7 B.
  static void configure(uint32_t n) {
    TileConfig config;
    for (int c = 0; c < 4; ++c) config.set(c, n, kTileBytes);
    for (int a = 4; a < 6; ++a) config.set(a, n, 32);
    for (int b = 6; b < 8; ++b) config.set(b, 8, kTileBytes);
    config.load();
  }

  // Two blocks of a strip, from `first` on. Their activations are in tiles 4 and 5.
  template <int kStrip>
  __attribute__((always_inline)) static void multiply_pair(const Strip& w, uint32_t first) {
    zero_tile<2 * kStrip>();
    load_tile<6>(w.q[first], kTileBytes);
    multiply_tiles<true, 2 * kStrip, 4, 6>();
    zero_tile<2 * kStrip + 1>();
    load_tile<7>(w.q[first + 1], kTileBytes);
    multiply_tiles<true, 2 * kStrip + 1, 5, 7>();
  }

  // The terms of blocks 2 kPair and 2 kPair + 1 of a strip.
  template <int kStrip, uint32_t kPair>
  __attribute__((always_inline)) static void finish_pair(const Strip& w, const Group group, uint64_t stride, Sums& sums,
                                                         Terms& terms) {
    store_tile<2 * kStrip>(sums.of[kStrip][0]);
    store_tile<2 * kStrip + 1>(sums.of[kStrip][1]);
    const __m512 d[2] = {_mm512_load_ps(w.d[2 * kPair]), _mm512_load_ps(w.d[2 * kPair + 1])};
    [[maybe_unused]] __m512 m[2];
    if constexpr (Type::kMins)
      for (int k = 0; k < 2; ++k) m[k] = _mm512_load_ps(w.m[2 * kPair + k]);
    for (uint32_t i = 0; i < group.n; ++i) {
      const auto* a = reinterpret_cast<const ActivationA32*>(group.activations + i * stride);
      // The five lines of an Activation: four with the first strip, one with the second.
      if constexpr (kStrip == 0) group.ask_for_next(i, stride, kPair);
      if constexpr (kStrip == 1 && kPair == 0) group.ask_for_next(i, stride, 4);
      __m512 term[2];
#pragma GCC unroll 2
      for (int k = 0; k < 2; ++k) {
        const __m512 both = _mm512_mul_ps(d[k], _mm512_set1_ps(a->d[2 * kPair + k]));
        const __m512 isum = _mm512_cvtepi32_ps(avx512vnni::load_64(sums.of[kStrip][k][i]));
        if constexpr (Type::kMins)
          term[k] = _mm512_fmadd_ps(both, isum, _mm512_mul_ps(m[k], _mm512_set1_ps(terms.d_sum[i][2 * kPair + k])));
        else
          term[k] = _mm512_mul_ps(both, isum);
      }
      __m512 added = _mm512_add_ps(term[0], term[1]);
      float *two = terms.of_two[kStrip][i], *four = terms.of_four[kStrip][i];
      if constexpr (kPair % 2 == 0) {
        _mm512_store_ps(two, added);
        continue;
      }
      added = _mm512_add_ps(_mm512_load_ps(two), added);
      if constexpr (kPair == 1) {
        _mm512_store_ps(four, added);
      } else {
        float* at = group.acc + (i * kStrips + kStrip) * 16;
        _mm512_store_ps(at, _mm512_add_ps(_mm512_load_ps(at), _mm512_add_ps(_mm512_load_ps(four), added)));
      }
    }
  }

  template <uint32_t kPair>
  __attribute__((always_inline)) static void multiply_pairs(const Strip w[kStrips], const Group group, uint64_t stride,
                                                            Sums& sums, Terms& terms) {
    const auto* a = reinterpret_cast<const ActivationA32*>(group.activations);
    load_tile<4>(a->q[2 * kPair], stride);
    load_tile<5>(a->q[2 * kPair + 1], stride);
    multiply_pair<0>(w[0], 2 * kPair);
    if constexpr (kPair > 0) finish_pair<1, kPair - 1>(w[1], group, stride, sums, terms);
    multiply_pair<1>(w[1], 2 * kPair);
    finish_pair<0, kPair>(w[0], group, stride, sums, terms);
  }

  // Not inlined, and with a copy that nobody else can change: a tile instruction may write anything, as far as the compiler knows.
  __attribute__((noinline)) static void multiply_group(const Strip w[kStrips], const Group& given, uint64_t stride) {
    const Group group = given;
    Sums sums;
    Terms terms;
    if constexpr (Type::kMins)
      for (uint32_t i = 0; i < group.n; ++i) {
        const auto* a = reinterpret_cast<const ActivationA32*>(group.activations + i * stride);
        const __m256 sum = _mm256_cvtepi32_ps(avx512vnni::load_32(a->sum));
        _mm256_store_ps(terms.d_sum[i], _mm256_mul_ps(_mm256_load_ps(a->d), sum));
      }
    multiply_pairs<0>(w, group, stride, sums, terms);
    multiply_pairs<1>(w, group, stride, sums, terms);
    multiply_pairs<2>(w, group, stride, sums, terms);
    multiply_pairs<3>(w, group, stride, sums, terms);
    finish_pair<1, 3>(w[1], group, stride, sums, terms);
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
