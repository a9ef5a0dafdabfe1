// Q2_K on AVX-512 VNNI. A sum of four products is at most 4 * 3 * 127 = 1,524 and fits into int16.
#if defined(__x86_64__)
#include "native/kernels/avx512vnni/avx512vnni.h"
#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/avx512vnni/scales_16.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

struct Q2K {
  using Block = BlockQ2K;
  static constexpr int kMins = 16;
  static constexpr int kOffset = 0;
  static constexpr int kSubBlockSteps = 4;

  static uint32_t halves(const Block& w) { return load_u32(w.d); }

  static __m512i dot(const Block& w, const ActivationA256& a) {
    const __m512i two = _mm512_set1_epi8(3);
    __m512i dot[4];  // [2 h + g]: groups 2 g and 2 g + 1 of half h, a sub-block in every 128 bits
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i shift = join(_mm256_set1_epi16(4 * (i % 2)), _mm256_set1_epi16(4 * (i % 2) + 2));
      const __m512i q =
          _mm512_and_si512(_mm512_srlv_epi16(broadcast_32(w.low + 32 * (i / 2)), shift), two);
      dot[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, load_64(a.q + 64 * i));
    }
    const __m128i scales = _mm_and_si128(load_16(w.scales), _mm_set1_epi8(15));
    return apply_scales(dot, _mm256_cvtepu8_epi16(scales));
  }

  static __m128i mins(const Block& w, const ActivationA256& a) {
    const __m128i mins =
        _mm_and_si128(_mm_srli_epi16(load_16(w.scales), 4), _mm_set1_epi8(15));
    const __m256i sums = _mm256_madd_epi16(_mm256_cvtepu8_epi16(mins), load_32(a.sum16));
    return _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, Strip& strip) {
    const __m512i nibble = _mm512_set1_epi8(15), two = _mm512_set1_epi8(3);
    __m512i both[4], scales[4], mins[4];
    load_columns(rows + __builtin_offsetof(Block, scales), row_bytes, both);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      scales[i] = _mm512_and_si512(both[i], nibble);
      mins[i] = _mm512_and_si512(_mm512_srli_epi16(both[i], 4), nibble);
    }
    store_scales<4>(scales, strip);
    store_mins<4>(mins, strip);
    _mm512_store_ps(strip.d, halves_of_rows(rows + __builtin_offsetof(Block, d), row_bytes));
    _mm512_store_ps(strip.dmin, halves_of_rows(rows + __builtin_offsetof(Block, dmin), row_bytes));
    for (int part = 0; part < 4; ++part) {  // sixteen bytes of a half's 32
      const int h = part / 2, c = part % 2;
      __m512i low[4];
      load_columns(rows + __builtin_offsetof(Block, low) + 32 * h + 16 * c, row_bytes, low);
      uint8_t(*q)[64] = strip.q + 32 * h + 4 * c;  // groups of eight steps
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s)
#pragma GCC unroll 4
        for (int g = 0; g < 4; ++g)
          _mm512_store_si512(q[8 * g + s],
                             _mm512_and_si512(_mm512_srli_epi16(low[s], 2 * g), two));
    }
  }
};

}  // namespace

void matmul_q2_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_k<Q2K>(weights, n_cols, rows, activations, activation_stride, n_positions, out,
                out_stride);
}

}  // namespace hypura::kernels::avx512vnni

#endif  // __x86_64__
