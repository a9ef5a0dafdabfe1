// What the frames of strips (k_rows.h, rows_32.h) have in common: sizes, groups of positions, and
// what is asked for ahead of time. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace hypura::kernels::avx512vnni {
namespace {

constexpr uint32_t kStripRows = 16;
// Positions of one pass over a strip: the accumulators, 32 KiB, stay in L1 or L2.
constexpr uint32_t kStripPositions = 256;
// Six positions times two strips are twelve chains, enough to hide the latency of dpbusd, and 24
// registers of sums.
constexpr uint32_t kGroupPositions = 6;

// Positions of the next group when `left` are left: sixes, and fours rather than a last two, whose
// four chains would wait for each other.
inline uint32_t group_of(uint32_t left) {
  if (left >= kGroupPositions && left != 8) return kGroupPositions;
  return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

// Every 64th byte of kBytes: what the last line holds beyond is left to the block after it. Memory
// past the last row may not exist, which a prefetch ignores. Always inline, as what calls it: a call that only prefetches
// has no effect that the compiler knows of, and is removed.
template <uint32_t kBytes>
__attribute__((always_inline)) inline void prefetch(const uint8_t* bytes) {
#pragma GCC unroll 8
  for (uint32_t i = 0; i < kBytes; i += 64)
    _mm_prefetch(reinterpret_cast<const char*>(bytes + i), _MM_HINT_T0);
}

// Which four rows are multiplied at once, and so how memory is asked for them (docs/decisions/0017).
enum class RowOrder {
  // Neighbours, while the next four are asked for: right on Zen 5. In a loop over the rows, so that each instruction meets all four in
  // turn: unrolled, a prefetch of its own per row costs Q4_K and Q5_K a quarter of the bandwidth there, probably because such an
  // instruction has a stride that the hardware follows too.
  kNeighbours,
  // One of each quarter of a piece, while what follows in the same row, and then in the row after it, is asked for: four long
  // sequences, which the L2 prefetcher of Intel's cores follows with more requests at once than a core has of its own. Loops cost it time.
  kQuarters,
};

// kBytes of each of four rows, `ahead` bytes after them.
template <RowOrder kOrder, uint32_t kBytes, typename Block>
__attribute__((always_inline)) inline void prefetch_rows(const Block* const rows[4], uint64_t ahead) {
  if constexpr (kOrder == RowOrder::kNeighbours) {
#pragma GCC unroll 1
    for (int i = 0; i < 4; ++i) prefetch<kBytes>(reinterpret_cast<const uint8_t*>(rows[i]) + ahead);
  } else {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) prefetch<kBytes>(reinterpret_cast<const uint8_t*>(rows[i]) + ahead);
  }
}

// The weights that the strips need next, a share of the rows per group of positions: their addresses
// are a row apart, which the hardware's prefetcher does not follow.
template <uint32_t kBytes, uint32_t kRows>
struct RowsAhead {
  const uint8_t* row;  // of the first row, what comes next
  uint64_t row_bytes;
  uint32_t share;
  uint32_t left = kRows;

  RowsAhead(const uint8_t* first, uint64_t stride, uint32_t n_groups)
      : row(first), row_bytes(stride), share((kRows + n_groups - 1) / n_groups) {}

  void ask_for_share() {
    for (uint32_t i = 0; i < share && left > 0; ++i, --left, row += row_bytes)
      prefetch<kBytes + 63>(row);  // all lines
  }
};

// Line `line` of the activations of kPositions positions: a block of a vector and the same block of
// the next one lie a vector apart, and all of them are more than L1, often L2 holds.
template <int kPositions>
inline void prefetch_line(const uint8_t* activations, uint64_t stride, int line) {
#pragma GCC unroll 8
  for (int i = 0; i < kPositions; ++i)
    _mm_prefetch(reinterpret_cast<const char*>(activations + i * stride + 64 * line), _MM_HINT_T0);
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
