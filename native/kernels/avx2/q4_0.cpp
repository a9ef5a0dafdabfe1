// Q4_0 on AVX2. Nibbles stay unsigned and 8 * (sum of a) is subtracted per block. Pair sums are at
// most 2 * 15 * 127 = 3,810, the eight steps of a strip's block 30,480: widened once.
#if defined(__x86_64__)
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx2/rows_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

// Low nibbles are weights 0-15, high ones 16-31.
inline __m256i nibbles(const BlockQ4_0& block) {
  const __m128i bytes = load_16(block.low);
  return _mm256_and_si256(_mm256_setr_m128i(bytes, _mm_srli_epi16(bytes, 4)), _mm256_set1_epi8(15));
}

struct Q4_0 {
  using Block = BlockQ4_0;
  static constexpr int kOffset = 8;

  static __m256i dot(const Block& block, __m256i q) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(nibbles(block), q), _mm256_set1_epi16(1));
  }

  static void unpack(const Block* rows, uint64_t row_blocks, Strip& strip, uint32_t k) {
    __m256i v[8];
    for (uint32_t r = 0; r < 8; ++r) v[r] = nibbles(rows[r * row_blocks]);
    transpose_8x8(v);
    for (int s = 0; s < 8; ++s) _mm256_store_si256(reinterpret_cast<__m256i*>(strip.q[k][s]), v[s]);
  }

  template <int kPositions>
  static void strip_dot(const Strip& strip, int k, const ActivationA32* const* a, __m256i* isum) {
    __m256i dot[kPositions];
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) dot[i] = _mm256_setzero_si256();
    for (int s = 0; s < 8; ++s) {
      const __m256i w = load_32(strip.q[k][s]);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i)
        dot[i] = _mm256_add_epi16(dot[i], _mm256_maddubs_epi16(w, broadcast_4(a[i]->q[k] + 4 * s)));
    }
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) isum[i] = _mm256_madd_epi16(dot[i], _mm256_set1_epi16(1));
  }
};

}  // namespace

void matmul_q4_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_32<Q4_0>(weights, n_cols, rows, activations, activation_stride, n_positions, out,
                  out_stride);
}

}  // namespace hypura::kernels::avx2

#endif  // __x86_64__
