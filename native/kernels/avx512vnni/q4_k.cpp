// Q4_K on AVX-512 VNNI. A sum of four products is at most 4 * 15 * 127 = 7,620 and fits into int16.
#if defined(__x86_64__)
#include "native/kernels/avx512vnni/avx512vnni.h"
#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/avx512vnni/scales_6bit.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

struct Q4K {
  using Block = BlockQ4K;
  static constexpr int kMins = 8;
  static constexpr int kOffset = 0;
  static constexpr int kSubBlockSteps = 8;

  static uint32_t halves(const Block& w) { return load_u32(w.d); }

  static __m512i dot(const Block& w, const ActivationA256& a) {
    const __m512i shift = join(_mm256_setzero_si256(), _mm256_set1_epi16(4));
    __m512i pair[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512i q = _mm512_and_si512(
          _mm512_srlv_epi16(broadcast_32(w.low + 32 * j), shift), _mm512_set1_epi8(15));
      pair[j] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, load_64(a.q + 64 * j));
    }
    return apply_scales(pair, w.scales);
  }

  static __m128i mins(const Block& w, const ActivationA256& a) { return dot_mins(w.scales, a); }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, Strip& strip) {
    unpack_head(rows, row_bytes, strip);
    const uint8_t* low = rows + __builtin_offsetof(Block, low);
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int c = 0; c < 8; ++c) {
      __m512i v[4];
      load_columns(low + 16 * c, row_bytes, v);
      // Chunks 2 g and 2 g + 1 hold sub-blocks 2 g and 2 g + 1, eight steps each.
      uint8_t(*q)[64] = strip.q + 16 * (c / 2) + 4 * (c % 2);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        _mm512_store_si512(q[s], _mm512_and_si512(v[s], nibble));
        _mm512_store_si512(q[8 + s], _mm512_and_si512(_mm512_srli_epi16(v[s], 4), nibble));
      }
    }
  }
};

}  // namespace

void matmul_q4_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_k<Q4K>(weights, n_cols, rows, activations, activation_stride, n_positions, out,
                out_stride);
}

}  // namespace hypura::kernels::avx512vnni

#endif  // __x86_64__
