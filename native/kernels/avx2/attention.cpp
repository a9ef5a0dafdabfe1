// Grouped-query attention on AVX2; the arithmetic and its order stand in scalar/attention.cpp.
//
// The query heads of a kv head are a small matrix: each K and V row is widened once for up to four
// of them. For q . k the sixteen lanes of four heads are eight registers; for p . v four heads
// times sixteen dimensions are, with the positions of the chunk as the inner loop, so that sums
// never leave registers.
#if defined(__x86_64__)
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx2/exp8.h"
#include "native/kernels/avx2/lanes.h"

namespace hypura::kernels::avx2 {
namespace {

constexpr uint32_t kChunk = 256;  // positions of a chunk and of a page (kPositionsPerPage)

struct Chunk {
  const uint8_t* keys;    // [n][head_dim_k] F16
  const uint8_t* values;  // [n][head_dim_v] F16
  uint32_t n;
};

inline Lanes load_halves(const uint8_t* halves) {
  return {_mm256_cvtph_ps(load_16(halves)), _mm256_cvtph_ps(load_16(halves + 16))};
}

// The first `n` < 16 of them; zeros for the others.
inline Lanes load_first_halves(const uint8_t* halves, uint32_t n) {
  uint8_t padded[32] = {};
  __builtin_memcpy(padded, halves, 2 * n);
  return load_halves(padded);
}

// scores[g][i] = scale * (q_g . k_i) for kHeads heads; scores are kChunk apart.
template <int kHeads>
inline void score_heads(const float* q, uint64_t q_stride, const Chunk& chunk, uint32_t head_dim,
                        float scale, float* scores) {
  const uint32_t whole = head_dim / 16 * 16, rest = head_dim - whole;
  const __m256i mask_low = first_lanes(static_cast<int>(rest));
  const __m256i mask_high = first_lanes(static_cast<int>(rest) - 8);
  for (uint32_t i = 0; i < chunk.n; ++i) {
    const uint8_t* key = chunk.keys + 2 * static_cast<uint64_t>(i) * head_dim;
    Lanes acc[kHeads];
#pragma GCC unroll 8
    for (int g = 0; g < kHeads; ++g) acc[g] = zero_lanes();
    for (uint32_t d = 0; d < whole; d += 16) {
      const Lanes k = load_halves(key + 2 * d);
#pragma GCC unroll 8
      for (int g = 0; g < kHeads; ++g) {
        const float* query = q + g * q_stride + d;
        acc[g].low = _mm256_fmadd_ps(_mm256_loadu_ps(query), k.low, acc[g].low);
        acc[g].high = _mm256_fmadd_ps(_mm256_loadu_ps(query + 8), k.high, acc[g].high);
      }
    }
    if (rest != 0) {
      const Lanes k = load_first_halves(key + 2 * whole, rest);
#pragma GCC unroll 8
      for (int g = 0; g < kHeads; ++g) {
        const float* query = q + g * q_stride + whole;
        acc[g].low = masked_fma(_mm256_maskload_ps(query, mask_low), k.low, acc[g].low, mask_low);
        acc[g].high =
            masked_fma(_mm256_maskload_ps(query + 8, mask_high), k.high, acc[g].high, mask_high);
      }
    }
#pragma GCC unroll 8
    for (int g = 0; g < kHeads; ++g) scores[g * kChunk + i] = scale * fold(acc[g]);
  }
}

// out[g][d] = sum over i of p[g][i] * v[i][d], ascending in i, for kHeads heads.
template <int kHeads>
inline void sum_values(const float* p, const Chunk& chunk, uint32_t head_dim, float* out) {
  for (uint32_t d = 0; d < head_dim; d += 16) {
    const uint32_t rest = head_dim - d < 16 ? head_dim - d : 16;
    Lanes acc[kHeads];
#pragma GCC unroll 8
    for (int g = 0; g < kHeads; ++g) acc[g] = zero_lanes();
    for (uint32_t i = 0; i < chunk.n; ++i) {
      const uint8_t* value = chunk.values + 2 * (static_cast<uint64_t>(i) * head_dim + d);
      const Lanes v = rest == 16 ? load_halves(value) : load_first_halves(value, rest);
#pragma GCC unroll 8
      for (int g = 0; g < kHeads; ++g) {
        const __m256 weight = _mm256_set1_ps(p[g * kChunk + i]);
        acc[g].low = _mm256_fmadd_ps(weight, v.low, acc[g].low);
        acc[g].high = _mm256_fmadd_ps(weight, v.high, acc[g].high);
      }
    }
#pragma GCC unroll 8
    for (int g = 0; g < kHeads; ++g) {
      float* y = out + static_cast<uint64_t>(g) * head_dim + d;
      _mm256_maskstore_ps(y, first_lanes(static_cast<int>(rest)), acc[g].low);
      if (rest > 8)
        _mm256_maskstore_ps(y + 8, first_lanes(static_cast<int>(rest) - 8), acc[g].high);
    }
  }
}

// Scores to e^(s - max), in place; the sum by E4. The score row has room for kChunk floats: the
// last register is filled up with -inf, whose exp is +0 and adds nothing.
inline void soften(float* scores, uint32_t n, float* max_out, float* sum_out) {
  const uint32_t padded = (n + 15) / 16 * 16;
  for (uint32_t i = n; i < padded; ++i) scores[i] = -__builtin_inff();
  __m256 max = _mm256_loadu_ps(scores);
  for (uint32_t i = 8; i < padded; i += 8) max = _mm256_max_ps(_mm256_loadu_ps(scores + i), max);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  *max_out = _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
  max = _mm256_set1_ps(*max_out);
  Lanes lanes = zero_lanes();
  for (uint32_t i = 0; i < padded; i += 16) {
    const __m256 low = exp8(_mm256_sub_ps(_mm256_loadu_ps(scores + i), max));
    const __m256 high = exp8(_mm256_sub_ps(_mm256_loadu_ps(scores + i + 8), max));
    _mm256_storeu_ps(scores + i, low);
    _mm256_storeu_ps(scores + i + 8, high);
    lanes.low = _mm256_add_ps(lanes.low, low);
    lanes.high = _mm256_add_ps(lanes.high, high);
  }
  *sum_out = fold(lanes);
}

inline float exp_one(float x) { return _mm256_cvtss_f32(exp8(_mm256_set1_ps(x))); }

// o = fma(o, keep, chunk * take)
inline void merge(const float* chunk, float keep, float take, uint32_t n, float* o) {
  for (uint32_t d = 0; d < n; d += 8) {
    const __m256i mask = first_lanes(static_cast<int>(n - d));
    const __m256 added = _mm256_mul_ps(_mm256_maskload_ps(chunk + d, mask), _mm256_set1_ps(take));
    _mm256_maskstore_ps(
        o + d, mask, _mm256_fmadd_ps(_mm256_maskload_ps(o + d, mask), _mm256_set1_ps(keep), added));
  }
}

// kHeads query heads over all chunks. scratch: kHeads * (kChunk + head_dim_v) floats.
template <int kHeads>
inline void attend(const float* q, uint64_t q_stride, const KvView& kv, uint32_t n_keys,
                   float scale, float* out, uint64_t out_stride, float* scratch) {
  float* scores = scratch;                       // [kHeads][kChunk]
  float* chunk_out = scratch + kHeads * kChunk;  // [kHeads][head_dim_v]
  const uint32_t head_dim_v = kv.head_dim_v;
  float max[kHeads] = {}, sum[kHeads] = {};
  for (uint32_t begin = 0; begin < n_keys; begin += kChunk) {
    const uint8_t* page = static_cast<const uint8_t*>(kv.pages[begin / kChunk]);
    const Chunk chunk = {page + kv.k_offset_bytes, page + kv.v_offset_bytes,
                         n_keys - begin < kChunk ? n_keys - begin : kChunk};
    score_heads<kHeads>(q, q_stride, chunk, kv.head_dim_k, scale, scores);
    float chunk_max[kHeads], chunk_sum[kHeads];
#pragma GCC unroll 8
    for (int g = 0; g < kHeads; ++g)
      soften(scores + g * kChunk, chunk.n, &chunk_max[g], &chunk_sum[g]);
    sum_values<kHeads>(scores, chunk, head_dim_v, chunk_out);
#pragma GCC unroll 8
    for (int g = 0; g < kHeads; ++g) {
      const float* added = chunk_out + static_cast<uint64_t>(g) * head_dim_v;
      float* o = out + g * out_stride;
      if (begin == 0) {
        max[g] = chunk_max[g];
        sum[g] = chunk_sum[g];
        __builtin_memcpy(o, added, head_dim_v * sizeof(float));
        continue;
      }
      const float merged = chunk_max[g] > max[g] ? chunk_max[g] : max[g];
      const float keep = exp_one(max[g] - merged), take = exp_one(chunk_max[g] - merged);
      max[g] = merged;
      sum[g] = __builtin_fmaf(sum[g], keep, chunk_sum[g] * take);
      merge(added, keep, take, head_dim_v, o);
    }
  }
#pragma GCC unroll 8
  for (int g = 0; g < kHeads; ++g) avx2::scale(1.0f / sum[g], head_dim_v, out + g * out_stride);
}

}  // namespace

void attention(const float* q, uint32_t n_group, uint64_t q_stride, const KvView& kv,
               uint32_t n_keys, float scale, float* out, uint64_t out_stride, float* scratch) {
  uint32_t g = 0;
  for (; g + 4 <= n_group; g += 4)
    attend<4>(q + g * q_stride, q_stride, kv, n_keys, scale, out + g * out_stride, out_stride,
              scratch);
  for (; g + 2 <= n_group; g += 2)
    attend<2>(q + g * q_stride, q_stride, kv, n_keys, scale, out + g * out_stride, out_stride,
              scratch);
  for (; g < n_group; ++g)
    attend<1>(q + g * q_stride, q_stride, kv, n_keys, scale, out + g * out_stride, out_stride,
              scratch);
}

}  // namespace hypura::kernels::avx2

#endif  // __x86_64__
