// The frame of the 256-weight types on AMX: two strips of sixteen rows by groups of up to 16 or 32 positions, four chains of
// tile products, which hide each other's latency. What they give is turned into floats (rule E2) at once: doing so while the tiles
// multiply the next group gained nothing, and the second buffer cost L1 (docs/decisions/0019).
// Internal linkage (amx_int8.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/activations.h"
#include "native/kernels/amx_int8/matmul.h"
#include "native/kernels/amx_int8/planes.h"
#include "native/kernels/amx_int8/tiles.h"
#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/avx512vnni/lanes.h"

namespace hypura::kernels::amx_int8 {
namespace {

template <typename Type, typename Planes>
struct KTiles {
  using Block = typename Type::Block;
  using Activation = ActivationA256;
  using Strip = PlaneStrip<Planes>;
  static constexpr uint32_t kBlockWeights = 256, kGroupBlocks = 1;
  static constexpr int kPlanes = Planes::kPlanes;
  static constexpr uint32_t kGroupTiles = 2 / kPlanes;  // of positions
  static constexpr uint32_t kGroupPositions = kGroupTiles * kTileRows;

  // Sums of a group: [strip][plane][position][row].
  struct alignas(64) Sums {
    int32_t of[kStrips][kPlanes][kGroupPositions][16];
  };

  // Positions of the first of a group's tiles.
  static uint32_t first_tile_rows(uint32_t n) { return n > kTileRows ? (n + 1) / 2 : n; }

  // Tiles 0-3 sums; A: 4, with two tiles of positions also 5; B: 6 and 7, with one tile of positions 5 to 7.
  static void configure(uint32_t n) {
    TileConfig config;
    const uint32_t rows[2] = {first_tile_rows(n), n - first_tile_rows(n)};
    for (uint32_t c = 0; c < 4; ++c) {
      const uint32_t n_rows = rows[kGroupTiles == 2 ? c / kStrips : 0];
      if (n_rows != 0) config.set(static_cast<int>(c), n_rows, kTileBytes);
    }
    config.set(4, rows[0], kTileBytes);
    config.set(5, kGroupTiles == 1 ? kTileRows : rows[1] != 0 ? rows[1] : 1, kTileBytes);
    for (int b = 6; b < 8; ++b) config.set(b, kTileRows, kTileBytes);
    config.load();
  }

  template <int kC, int kA, int kB>
  static void multiply() {
    multiply_tiles<Planes::kSigned, kC, kA, kB>();
  }

  // 64 of the 256 weights.
  template <uint32_t kTilesUsed>
  static void multiply_quarter(const Strip w[kStrips], const uint8_t* a, uint64_t stride, uint32_t first, int quarter) {
    load_tile<4>(a, stride);
    if constexpr (kPlanes == 2) {
      load_tile<5>(w[0].plane[0][16 * quarter], kTileBytes);
      multiply<0, 4, 5>();
      load_tile<6>(w[0].plane[1][16 * quarter], kTileBytes);
      multiply<1, 4, 6>();
      load_tile<7>(w[1].plane[0][16 * quarter], kTileBytes);
      multiply<2, 4, 7>();
      load_tile<5>(w[1].plane[1][16 * quarter], kTileBytes);
      multiply<3, 4, 5>();
    } else {
      load_tile<6>(w[0].plane[0][16 * quarter], kTileBytes);
      multiply<0, 4, 6>();
      load_tile<7>(w[1].plane[0][16 * quarter], kTileBytes);
      multiply<1, 4, 7>();
      if constexpr (kTilesUsed == 2) {
        load_tile<5>(a + first * stride, stride);
        multiply<2, 5, 6>();
        multiply<3, 5, 7>();
      }
    }
  }

  template <uint32_t kTilesUsed>
  static void zero_sums() {
    zero_tile<0>();
    zero_tile<1>();
    if constexpr (kPlanes == 2 || kTilesUsed == 2) {
      zero_tile<2>();
      zero_tile<3>();
    }
  }

  template <uint32_t kTilesUsed>
  static void store_sums(Sums& sums, uint32_t first) {
    store_tile<0>(sums.of[0][0]);
    if constexpr (kPlanes == 2) {
      store_tile<1>(sums.of[0][1]);
      store_tile<2>(sums.of[1][0]);
      store_tile<3>(sums.of[1][1]);
    } else {
      store_tile<1>(sums.of[1][0]);
      if constexpr (kTilesUsed == 2) {
        store_tile<2>(sums.of[0][0] + first);
        store_tile<3>(sums.of[1][0] + first);
      }
    }
  }

  static void finish(const Strip w[kStrips], const Group group, uint64_t stride, const Sums& sums) {
    for (uint32_t i = 0; i < group.n; ++i) {
      const auto* a = reinterpret_cast<const ActivationA256*>(group.activations + i * stride);
      const __m512 da = _mm512_set1_ps(a->d);
#pragma GCC unroll 5
      for (uint32_t line = 0; line < sizeof(ActivationA256) / 64; ++line) group.ask_for_next(i, stride, line);
#pragma GCC unroll 2
      for (uint32_t t = 0; t < kStrips; ++t) {
        float* at = group.acc + (i * kStrips + t) * 16;
        __m512i isum = load_64(sums.of[t][0][i]);
        if constexpr (kPlanes == 2)
          isum = _mm512_add_epi32(isum, _mm512_slli_epi32(load_64(sums.of[t][1][i]), Planes::kShift));
        if constexpr (Planes::kNegated) isum = _mm512_sub_epi32(_mm512_setzero_si512(), isum);
        const __m512 d = _mm512_mul_ps(_mm512_load_ps(w[t].d), da);
        __m512 sum = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(isum), _mm512_load_ps(at));
        if constexpr (Type::kMins != 0) {
          const int16_t* of_activations = Type::kMins == 8 ? a->sum32 : a->sum16;
          __m512i msum = _mm512_setzero_si512();
#pragma GCC unroll 8
          for (int pair = 0; pair < Type::kMins / 2; ++pair)
            msum = _mm512_dpwssd_epi32(msum, load_64(w[t].mins[pair]),
                                       avx512vnni::broadcast_4(of_activations + 2 * pair));
          const __m512 dmin = _mm512_mul_ps(_mm512_load_ps(w[t].dmin), da);
          sum = _mm512_fnmadd_ps(dmin, _mm512_cvtepi32_ps(msum), sum);
        }
        _mm512_store_ps(at, sum);
      }
    }
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, uint32_t, Strip& strip) {
    avx512vnni::Strip unpacked;
    Type::unpack(rows, row_bytes, unpacked);
    strip.take(unpacked, Type::kSubBlockSteps, Type::kMins / 2);
  }

  static void multiply_group(const Strip w[kStrips], const Group group, uint64_t stride) {
    if (kGroupTiles == 2 && group.n > kTileRows)
      multiply_with<2>(w, group, stride);
    else
      multiply_with<1>(w, group, stride);
  }

  template <uint32_t kTilesUsed>
  static void multiply_with(const Strip w[kStrips], const Group group, uint64_t stride) {
    const uint32_t first = first_tile_rows(group.n);
    zero_sums<kTilesUsed>();
    for (int quarter = 0; quarter < 4; ++quarter)
      multiply_quarter<kTilesUsed>(
          w, group.activations + __builtin_offsetof(ActivationA256, q) + 64 * quarter, stride, first, quarter);
    Sums sums;
    store_sums<kTilesUsed>(sums, first);
    finish(w, group, stride, sums);
  }
};

}  // namespace
}  // namespace hypura::kernels::amx_int8
