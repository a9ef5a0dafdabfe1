// Operations on float vectors on AVX2; formulas and their order stand in scalar/vectors.cpp. Tails
// are masked loads, stores and fma, so that no element past n is read, written or added.
#if defined(__x86_64__)
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx2/exp8.h"
#include "native/kernels/avx2/lanes.h"

namespace hypura::kernels::avx2 {
namespace {

// y[i] = operation(i, mask) for all i < n, eight at a time; `mask` covers the elements that exist.
template <typename Operation>
inline void store_each(float* y, uint32_t n, Operation operation) {
  uint32_t i = 0;
  const __m256i all = _mm256_set1_epi32(-1);
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, operation(i, all));
  if (i == n) return;
  const __m256i mask = first_lanes(static_cast<int>(n - i));
  _mm256_maskstore_ps(y + i, mask, operation(i, mask));
}

inline __m256 one_plus(__m256 e) { return _mm256_add_ps(_mm256_set1_ps(1.0f), e); }

inline __m256 negate(__m256 x) { return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f)); }

// Elements i .. i + 7 of x that are below n; -inf for the others, whose exp is +0 and adds nothing.
inline __m256 load_or_minus_infinity(const float* x, uint32_t i, uint32_t n) {
  if (i + 8 <= n) return _mm256_loadu_ps(x + i);
  const __m256i mask = first_lanes(n > i ? static_cast<int>(n - i) : 0);
  return _mm256_blendv_ps(_mm256_set1_ps(-__builtin_inff()), _mm256_maskload_ps(x + i, mask),
                          _mm256_castsi256_ps(mask));
}

inline float max_of(const float* x, uint32_t n) {
  __m256 max = _mm256_set1_ps(-__builtin_inff());
  for (uint32_t i = 0; i < n; i += 8) max = _mm256_max_ps(load_or_minus_infinity(x, i, n), max);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

}  // namespace

float dot(const float* x, const float* y, uint32_t n) {
  Lanes lanes = zero_lanes();
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) {
    lanes.low = _mm256_fmadd_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i), lanes.low);
    lanes.high =
        _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 8), _mm256_loadu_ps(y + i + 8), lanes.high);
  }
  if (const int rest = static_cast<int>(n - i); rest != 0) {
    const __m256i low = first_lanes(rest), high = first_lanes(rest - 8);
    lanes.low =
        masked_fma(_mm256_maskload_ps(x + i, low), _mm256_maskload_ps(y + i, low), lanes.low, low);
    if (rest > 8)
      lanes.high = masked_fma(_mm256_maskload_ps(x + i + 8, high),
                              _mm256_maskload_ps(y + i + 8, high), lanes.high, high);
  }
  return fold(lanes);
}

void rms_norm(const float* x, const float* weight, uint32_t n, float epsilon, float* y) {
  const float mean = dot(x, x, n) / static_cast<float>(n);
  const __m128 root = _mm_sqrt_ss(_mm_set_ss(mean + epsilon));
  const __m256 inverse = _mm256_set1_ps(1.0f / _mm_cvtss_f32(root));
  store_each(y, n, [=](uint32_t i, __m256i mask) {
    const __m256 scaled = _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), inverse);
    return weight == nullptr ? scaled : _mm256_mul_ps(scaled, _mm256_maskload_ps(weight + i, mask));
  });
}

void add(const float* x, uint32_t n, float* y) {
  store_each(y, n, [=](uint32_t i, __m256i mask) {
    return _mm256_add_ps(_mm256_maskload_ps(y + i, mask), _mm256_maskload_ps(x + i, mask));
  });
}

void add_scaled(const float* x, float scale, uint32_t n, float* y) {
  store_each(y, n, [=](uint32_t i, __m256i mask) {
    return _mm256_fmadd_ps(_mm256_maskload_ps(x + i, mask), _mm256_set1_ps(scale),
                           _mm256_maskload_ps(y + i, mask));
  });
}

void scale(float factor, uint32_t n, float* y) {
  store_each(y, n, [=](uint32_t i, __m256i mask) {
    return _mm256_mul_ps(_mm256_maskload_ps(y + i, mask), _mm256_set1_ps(factor));
  });
}

void silu_mul(const float* gate, const float* up, uint32_t n, float* y) {
  store_each(y, n, [=](uint32_t i, __m256i mask) {
    const __m256 g = _mm256_maskload_ps(gate + i, mask);
    const __m256 silu = _mm256_div_ps(g, one_plus(exp8(negate(g))));
    return _mm256_mul_ps(silu, _mm256_maskload_ps(up + i, mask));
  });
}

void gelu_mul(const float* gate, const float* up, uint32_t n, float* y) {
  store_each(y, n, [=](uint32_t i, __m256i mask) {
    const __m256 g = _mm256_maskload_ps(gate + i, mask);
    const __m256 z =
        _mm256_mul_ps(g, _mm256_fmadd_ps(_mm256_mul_ps(g, g), _mm256_set1_ps(0.071354814f),
                                         _mm256_set1_ps(1.5957691f)));
    const __m256 gelu = _mm256_div_ps(g, one_plus(exp8(negate(z))));
    return _mm256_mul_ps(gelu, _mm256_maskload_ps(up + i, mask));
  });
}

void softmax(float* x, uint32_t n) {
  if (n == 0) return;
  const __m256 max = _mm256_set1_ps(max_of(x, n));
  Lanes lanes = zero_lanes();
  for (uint32_t i = 0; i < n; i += 16) {
    const __m256 low = exp8(_mm256_sub_ps(load_or_minus_infinity(x, i, n), max));
    lanes.low = _mm256_add_ps(lanes.low, low);
    _mm256_maskstore_ps(x + i, first_lanes(static_cast<int>(n - i)), low);
    if (i + 8 >= n) break;
    const __m256 high = exp8(_mm256_sub_ps(load_or_minus_infinity(x, i + 8, n), max));
    lanes.high = _mm256_add_ps(lanes.high, high);
    _mm256_maskstore_ps(x + i + 8, first_lanes(static_cast<int>(n - i - 8)), high);
  }
  scale(1.0f / fold(lanes), n, x);
}

void sigmoid(float* x, uint32_t n) {
  store_each(x, n, [=](uint32_t i, __m256i mask) {
    const __m256 e = exp8(negate(_mm256_maskload_ps(x + i, mask)));
    return _mm256_div_ps(_mm256_set1_ps(1.0f), one_plus(e));
  });
}

void to_f16(const float* x, uint32_t n, uint16_t* y) {
  uint32_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
  for (; i < n; ++i)
    y[i] = static_cast<uint16_t>(
        _mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(x[i]), _MM_FROUND_TO_NEAREST_INT)));
}

}  // namespace hypura::kernels::avx2

#endif  // __x86_64__
