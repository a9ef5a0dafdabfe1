#include "native/kernels/row_pieces.h"

#include <algorithm>

#include "native/base/bytes.h"

namespace hypura::kernels {
namespace {

// Pieces begin at multiples of the rows that the kernels take at once: two strips of sixteen.
constexpr uint32_t kRowsPerStrip = 32;

// With few positions a piece should take some ten microseconds: long beside the counter it is taken from, short beside a layer.
constexpr uint64_t kProductsPerPiece = 256 * 1024;
constexpr uint32_t kRowsMax = 512;

// With many, the activations are what a piece reads again for every strip: the more rows, the more often from a nearby cache. A
// thread still gets a few pieces, so that one that is interrupted can be helped.
constexpr uint64_t kManyPositions = 64;
constexpr uint32_t kPiecesPerThread = 4;
constexpr uint32_t kRowsOfManyPositionsMax = 256;

}  // namespace

uint32_t rows_per_piece(uint32_t n_rows, uint32_t n_cols, uint64_t n_positions, uint32_t n_threads) {
  if (n_positions >= kManyPositions) {
    const uint32_t rows = n_rows / (kPiecesPerThread * n_threads) / kRowsPerStrip * kRowsPerStrip;
    return std::clamp(rows, kRowsPerStrip, kRowsOfManyPositionsMax);
  }
  const uint64_t products_per_row = std::max<uint64_t>(1, n_cols * n_positions);
  const uint64_t rows = align_up(kProductsPerPiece / products_per_row, kRowsPerStrip);
  return static_cast<uint32_t>(std::clamp<uint64_t>(rows, kRowsPerStrip, kRowsMax));
}

}  // namespace hypura::kernels
