// Rotary embedding on AVX2: a' = fma(-b, sin, a * cos), b' = fma(a, sin, b * cos), as in
// scalar/vectors.cpp.
#if defined(__x86_64__)
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx2/lanes.h"

namespace hypura::kernels::avx2 {
namespace {

// Pairs (i, i + n_pairs): the two halves of the rotated part.
inline void rotate_halves(float* head, uint32_t n_pairs, const float* cosines, const float* sines) {
  for (uint32_t i = 0; i < n_pairs; i += 8) {
    const __m256i mask = first_lanes(static_cast<int>(n_pairs - i));
    const __m256 a = _mm256_maskload_ps(head + i, mask);
    const __m256 b = _mm256_maskload_ps(head + n_pairs + i, mask);
    const __m256 c = _mm256_maskload_ps(cosines + i, mask);
    const __m256 s = _mm256_maskload_ps(sines + i, mask);
    _mm256_maskstore_ps(head + i, mask, _mm256_fnmadd_ps(b, s, _mm256_mul_ps(a, c)));
    _mm256_maskstore_ps(head + n_pairs + i, mask, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)));
  }
}

// Pairs (2 i, 2 i + 1): four of them in a register, {a, b, a, b, ...}. The sine is negated in the a
// lanes.
inline void rotate_neighbours(float* head, uint32_t n_pairs, const float* cosines,
                              const float* sines) {
  const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
  const __m256 signs = _mm256_setr_ps(-0.0f, 0, -0.0f, 0, -0.0f, 0, -0.0f, 0);
  for (uint32_t i = 0; i < n_pairs; i += 4) {
    const int left = static_cast<int>(n_pairs - i);
    const __m128i mask_pairs = _mm256_castsi256_si128(first_lanes(left));
    const __m256i mask = first_lanes(left < 4 ? 2 * left : 8);
    const __m256 c = _mm256_permutevar8x32_ps(
        _mm256_castps128_ps256(_mm_maskload_ps(cosines + i, mask_pairs)), twice);
    const __m256 s = _mm256_permutevar8x32_ps(
        _mm256_castps128_ps256(_mm_maskload_ps(sines + i, mask_pairs)), twice);
    const __m256 ab = _mm256_maskload_ps(head + 2 * i, mask);
    const __m256 ba = _mm256_permute_ps(ab, 0xb1);
    _mm256_maskstore_ps(head + 2 * i, mask,
                        _mm256_fmadd_ps(ba, _mm256_xor_ps(s, signs), _mm256_mul_ps(ab, c)));
  }
}

}  // namespace

void rope(float* heads, uint32_t n_heads, uint32_t head_stride, uint32_t n_pairs,
          const float* cosines, const float* sines, bool neox) {
  const auto rotate = neox ? rotate_halves : rotate_neighbours;
  for (uint32_t h = 0; h < n_heads; ++h)
    rotate(heads + static_cast<uint64_t>(h) * head_stride, n_pairs, cosines, sines);
}

}  // namespace hypura::kernels::avx2

#endif  // __x86_64__
