// What could break: pieces that cut a pair of strips, that leave threads without work, or that are so small that the
// counter they are taken from is what threads wait for. How we notice: the sizes over shapes of real layers and over odd ones.
#include "native/kernels/row_pieces.h"

#include "native/base/testing.h"

namespace hypura::kernels {
namespace {

TEST(pieces_are_whole_pairs_of_strips_and_never_none) {
  for (const uint32_t n_rows : {1u, 31u, 256u, 4096u, 128'256u})
    for (const uint32_t n_cols : {1u, 256u, 4096u, 14'336u})
      for (const uint64_t n_positions : {uint64_t{0}, uint64_t{1}, uint64_t{63}, uint64_t{64}, uint64_t{512}})
        for (const uint32_t n_threads : {1u, 2u, 64u}) {
          const uint32_t rows = rows_per_piece(n_rows, n_cols, n_positions, n_threads);
          EXPECT(rows >= 32 && rows % 32 == 0 && rows <= 512);
        }
}

TEST(every_thread_gets_pieces_of_a_matrix_that_has_them) {
  EXPECT_EQ(rows_per_piece(256, 2048, 512, 2), 32u);    // a small K or V
  EXPECT_EQ(rows_per_piece(4096, 4096, 512, 2), 256u);  // eight pieces per thread
  EXPECT_EQ(rows_per_piece(4096, 4096, 512, 32), 32u);  // four
}

TEST(few_positions_give_pieces_of_equal_work) {
  EXPECT_EQ(rows_per_piece(4096, 4096, 1, 2), 64u);
  EXPECT_EQ(rows_per_piece(4096, 1024, 1, 2), 256u);
  EXPECT_EQ(rows_per_piece(4096, 256, 1, 2), 512u);
}

}  // namespace
}  // namespace hypura::kernels
