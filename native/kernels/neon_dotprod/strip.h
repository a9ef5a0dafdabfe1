// Strips: eight rows unpacked once into L1 and used for many positions. What the frames (k_rows.h,
// rows_32.h) share, and how sdot multiplies them.
//
// A way of multiplying (Sdot here, Smmla in neon_i8mm) gives (all static):
//   kStripPositionsMin: positions from which on a strip is used
//   kRegisters<kPositions>: registers of integers for eight rows and that many positions
//   arrange(rows, q): sixteen weights of each of eight rows, to 128 bytes
//   add_products<kPositions>(q, a, sums): sums += products of such bytes with sixteen int8 of each
//     position; a[i] points at those of position i. Always inlined: the sums are registers
//   spread(eight): one int32 per row to registers, of which register i of the sums meets
//     [spread_of(i)]
//   by_rows<kPositions>(sums, rows): rows[i][h] are the integers of rows 4 h .. 4 h + 3, position i
// Internal linkage throughout (neon_dotprod.h).
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace hypura::kernels::neon_dotprod {
namespace {

constexpr uint32_t kStripRows = 8;
// Positions of one pass over a strip: the accumulators, 16 KiB, stay in L1 or L2.
constexpr uint32_t kStripPositions = 512;

struct Spread {
  int32x4_t v[4];
};

// Four rows of sixteen bytes as words w0 .. w3: afterwards v[s] holds word s of every row.
inline void transpose_4x4(int8x16_t v[4]) {
  const auto words = [](int8x16_t bytes) { return vreinterpretq_s32_s8(bytes); };
  const auto bytes = [](int64x2_t pairs) { return vreinterpretq_s8_s64(pairs); };
  const int64x2_t low01 = vreinterpretq_s64_s32(vzip1q_s32(words(v[0]), words(v[1])));
  const int64x2_t high01 = vreinterpretq_s64_s32(vzip2q_s32(words(v[0]), words(v[1])));
  const int64x2_t low23 = vreinterpretq_s64_s32(vzip1q_s32(words(v[2]), words(v[3])));
  const int64x2_t high23 = vreinterpretq_s64_s32(vzip2q_s32(words(v[2]), words(v[3])));
  v[0] = bytes(vzip1q_s64(low01, low23));
  v[1] = bytes(vzip2q_s64(low01, low23));
  v[2] = bytes(vzip1q_s64(high01, high23));
  v[3] = bytes(vzip2q_s64(high01, high23));
}

// Bytes: step s of four weights, [s][row][4]. Register 2 i + h: rows 4 h .. 4 h + 3, position i.
struct Sdot {
  static constexpr uint32_t kStripPositionsMin = 4;
  template <int kPositions>
  static constexpr int kRegisters = 2 * kPositions;

  static void arrange(const int8x16_t rows[8], int8_t* q) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      int8x16_t v[4] = {rows[4 * h], rows[4 * h + 1], rows[4 * h + 2], rows[4 * h + 3]};
      transpose_4x4(v);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) vst1q_s8(q + 32 * s + 16 * h, v[s]);
    }
  }

  template <int kPositions, int kStep>
  static void add_step(const int8_t* q, const int8x16_t* x, int32x4_t* sums) {
    const int8x16_t low = vld1q_s8(q + 32 * kStep), high = vld1q_s8(q + 32 * kStep + 16);
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) {
      sums[2 * i] = vdotq_laneq_s32(sums[2 * i], low, x[i], kStep);
      sums[2 * i + 1] = vdotq_laneq_s32(sums[2 * i + 1], high, x[i], kStep);
    }
  }

  template <int kPositions>
  [[gnu::always_inline]] static void add_products(const int8_t* q, const int8_t* const* a, int32x4_t* sums) {
    int8x16_t x[kPositions];
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) x[i] = vld1q_s8(a[i]);
    add_step<kPositions, 0>(q, x, sums);
    add_step<kPositions, 1>(q, x, sums);
    add_step<kPositions, 2>(q, x, sums);
    add_step<kPositions, 3>(q, x, sums);
  }

  static Spread spread(const int16_t eight[8]) {
    const int16x8_t v = vld1q_s16(eight);
    return {{vmovl_s16(vget_low_s16(v)), vmovl_high_s16(v)}};
  }
  static constexpr int spread_of(int i) { return i % 2; }

  template <int kPositions>
  static void by_rows(const int32x4_t* sums, int32x4_t (*rows)[2]) {
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) {
      rows[i][0] = sums[2 * i];
      rows[i][1] = sums[2 * i + 1];
    }
  }
};

// The passes over a matrix: strips for eight rows at a time, kRest for the rows that are left, or for
// all when there are few positions. StripRows: a function of (rows, n_blocks, activations, stride,
// n_positions <= kStripPositions, out, out_stride).
template <typename Block, uint32_t kBlockWeights, uint32_t kPositionsMin, auto kStripOf, auto kRest>
inline void matmul_strips(const void* weights, uint32_t n_cols, RowRange rows,
                          const void* activations, uint64_t activation_stride,
                          uint32_t n_positions, float* out, uint64_t out_stride) {
  const uint32_t n_blocks = n_cols / kBlockWeights;
  const uint8_t* a = static_cast<const uint8_t*>(activations);
  uint32_t r = rows.begin;
  if (n_positions >= kPositionsMin)
    for (; r + kStripRows <= rows.end; r += kStripRows)
      for (uint32_t p = 0; p < n_positions; p += kStripPositions) {
        const uint32_t n = n_positions - p < kStripPositions ? n_positions - p : kStripPositions;
        kStripOf(static_cast<const Block*>(weights) + static_cast<uint64_t>(r) * n_blocks, n_blocks,
                 a + p * activation_stride, activation_stride, n, out + p * out_stride + r,
                 out_stride);
      }
  if (r < rows.end)
    kRest(weights, n_cols, {r, rows.end}, activations, activation_stride, n_positions, out,
          out_stride);
}

}  // namespace
}  // namespace hypura::kernels::neon_dotprod
