// How the rows of a product are cut into the pieces that threads take.
#pragma once

#include <cstdint>

namespace hypura::kernels {

// Rows of one piece, a multiple of 32, which the kernels take at once. n_positions: of the product, on average.
// The cut changes no bit (rule E11).
uint32_t rows_per_piece(uint32_t n_rows, uint32_t n_cols, uint64_t n_positions, uint32_t n_threads);

}  // namespace hypura::kernels
