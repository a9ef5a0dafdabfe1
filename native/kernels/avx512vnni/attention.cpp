// Attention over one chunk on AVX-512; the arithmetic and its order stand in scalar/attention.cpp.
//
// Two small matrix products with the exponential between them. Rows of K and V are widened to floats
// in L1 a few at a time and used for all query rows, so decode (the heads of a group) and prefill
// (those of some positions) are one code.
//   q . k   four queries times four keys are sixteen accumulators of sixteen lanes (E4); they are
//           folded together, sixteen sums in one register, beside the next block's fma.
//   p . v   four queries times 64 dimensions are sixteen accumulators; positions are the inner loop.
#if defined(__x86_64__)
#include "native/kernels/avx512vnni/avx512vnni.h"
#include "native/kernels/avx512vnni/exp16.h"
#include "native/kernels/avx512vnni/lanes.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

inline uint32_t to_sixteen(uint32_t n) { return (n + 15) / 16 * 16; }
inline uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }
inline uint32_t most(uint32_t a, uint32_t b) { return a > b ? a : b; }

// Row i of n elements, as floats; zeros to the next multiple of sixteen.
inline void widen_row(const void* rows, KvType type, uint32_t n, uint32_t i, float* out) {
  if (type == KvType::kQ8_0) {
    const BlockQ8_0* block = static_cast<const BlockQ8_0*>(rows) + static_cast<uint64_t>(i) * (n / 32);
    for (uint32_t d = 0; d < n; d += 32, ++block) {
      const __m512 scale = _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<short>(load_u16(block->d))));
      const __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(block->q)));
      const __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(block->q + 16)));
      _mm512_storeu_ps(out + d, _mm512_mul_ps(scale, low));
      _mm512_storeu_ps(out + d + 16, _mm512_mul_ps(scale, high));
    }
    return;
  }
  const uint8_t* halves = static_cast<const uint8_t*>(rows) + 2 * static_cast<uint64_t>(i) * n;
  uint32_t d = 0;
  for (; d + 16 <= n; d += 16) _mm512_storeu_ps(out + d, _mm512_cvtph_ps(load_32(halves + 2 * d)));
  if (d == n) return;
  const __mmask16 rest = static_cast<__mmask16>((1u << (n - d)) - 1);
  _mm512_storeu_ps(out + d, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(rest, halves + 2 * d)));
}

// Lane i: the lanes of acc[i], the upper half added to the lower, 16 to 8, 4, 2, 1.
inline __m512 fold_each(const __m512 acc[16]) {
  __m512 fours[4];  // fours[t]: four lanes each of acc[t], acc[4 + t], acc[8 + t], acc[12 + t]
#pragma GCC unroll 4
  for (int t = 0; t < 4; ++t) {
    const __m512 a = acc[t], b = acc[4 + t], c = acc[8 + t], d = acc[12 + t];
    const __m512 ab =
        _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    const __m512 cd =
        _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    fours[t] = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
  }
  __m512 twos[2];
#pragma GCC unroll 2
  for (int t = 0; t < 2; ++t) {
    const __m512d x = _mm512_castps_pd(fours[2 * t]), y = _mm512_castps_pd(fours[2 * t + 1]);
    twos[t] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)),
                            _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  }
  return _mm512_add_ps(_mm512_shuffle_ps(twos[0], twos[1], 0x88),
                       _mm512_shuffle_ps(twos[0], twos[1], 0xdd));
}

// scores[r][i] = scale * (q_r . k_i) for kRows queries and sixteen keys; scores are kScoreStride apart.
template <int kRows>
inline void score_rows(const float* q, const float* keys, uint32_t width, __m512 scale,
                       float* scores) {
  constexpr int kKeys = 16 / kRows;
  for (int first = 0; first < 16; first += kKeys) {
    const float* at = keys + static_cast<uint64_t>(first) * width;
    __m512 acc[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) acc[i] = _mm512_setzero_ps();
    for (uint32_t d = 0; d < width; d += 16) {
      __m512 query[kRows];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r)
        query[r] = _mm512_loadu_ps(q + static_cast<uint64_t>(r) * width + d);
#pragma GCC unroll 16
      for (int k = 0; k < kKeys; ++k) {
        const __m512 key = _mm512_loadu_ps(at + static_cast<uint64_t>(k) * width + d);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r)
          acc[r * kKeys + k] = _mm512_fmadd_ps(query[r], key, acc[r * kKeys + k]);
      }
    }
    const __m512 sums = _mm512_mul_ps(scale, fold_each(acc));
    if constexpr (kRows == 4) {
      _mm_storeu_ps(scores + first, _mm512_castps512_ps128(sums));
      _mm_storeu_ps(scores + kScoreStride + first, _mm512_extractf32x4_ps(sums, 1));
      _mm_storeu_ps(scores + 2 * kScoreStride + first, _mm512_extractf32x4_ps(sums, 2));
      _mm_storeu_ps(scores + 3 * kScoreStride + first, _mm512_extractf32x4_ps(sums, 3));
    } else if constexpr (kRows == 2) {
      _mm256_storeu_ps(scores + first, _mm512_castps512_ps256(sums));
      _mm256_storeu_ps(scores + kScoreStride + first, _mm512_extractf32x8_ps(sums, 1));
    } else {
      _mm512_storeu_ps(scores, sums);
    }
  }
}

// All rows times all keys that one of them sees. Scores of keys that a row does not see, in blocks
// that another row needs, have no meaning.
inline void score(const AttentionChunk& c, const float* q, uint32_t width, float* widened,
                  float* scores) {
  const uint32_t n_rows = c.n_positions * c.n_group;
  const KeyRange first = c.seen[0], last = c.seen[c.n_positions - 1];
  const __m512 scale = _mm512_set1_ps(c.scale);
  for (uint32_t i = first.begin / 16 * 16; i < last.end; i += 16) {
    for (uint32_t k = 0; k < 16; ++k)
      if (i + k >= first.begin && i + k < last.end)
        widen_row(c.keys, c.k_type, c.head_dim_k, i + k,
                  widened + static_cast<uint64_t>(k) * width);
      else
        __builtin_memset(widened + static_cast<uint64_t>(k) * width, 0, width * sizeof(float));
    // Rows outside of [r, end) see none of these keys.
    uint32_t begin = 0, end = n_rows;
    while (c.seen[begin / c.n_group].end <= i) begin += c.n_group;
    while (c.seen[(end - 1) / c.n_group].begin >= i + 16) end -= c.n_group;
    uint32_t r = begin;
    for (; r + 4 <= end; r += 4)
      score_rows<4>(q + static_cast<uint64_t>(r) * width, widened, width, scale,
                    scores + r * kScoreStride + i);
    if (r + 2 <= end) {
      score_rows<2>(q + static_cast<uint64_t>(r) * width, widened, width, scale,
                    scores + r * kScoreStride + i);
      r += 2;
    }
    if (r < end)
      score_rows<1>(q + static_cast<uint64_t>(r) * width, widened, width, scale,
                    scores + r * kScoreStride + i);
  }
}

// Scores to e^(s - max), in place; the sum by E4. What the row does not see of its first and last
// sixteen is -inf, whose exp is +0 and adds nothing.
inline void soften(float* scores, KeyRange seen, float* max_out, float* sum_out) {
  const uint32_t begin = seen.begin / 16 * 16, end = to_sixteen(seen.end);
  for (uint32_t i = begin; i < seen.begin; ++i) scores[i] = -__builtin_inff();
  for (uint32_t i = seen.end; i < end; ++i) scores[i] = -__builtin_inff();
  __m512 max = _mm512_loadu_ps(scores + begin);
  for (uint32_t i = begin + 16; i < end; i += 16)
    max = _mm512_max_ps(_mm512_loadu_ps(scores + i), max);
  *max_out = _mm512_reduce_max_ps(max);
  max = _mm512_set1_ps(*max_out);
  __m512 lanes = _mm512_setzero_ps();
  for (uint32_t i = begin; i < end; i += 16) {
    const __m512 p = exp16(_mm512_sub_ps(_mm512_loadu_ps(scores + i), max));
    _mm512_storeu_ps(scores + i, p);
    lanes = _mm512_add_ps(lanes, p);
  }
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  *sum_out = _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// out[r][d] = fma(p[r][i], v[i][d], out[r][d]), ascending in i, for kRows rows and kVectors times
// sixteen dimensions; out and v are `width` apart. Rows whose bit of `fresh` is set begin with +0.
template <int kRows, int kVectors>
inline void add_block(const float* p, const float* v, uint32_t n, uint32_t width, uint32_t fresh,
                      float* out) {
  __m512 acc[kRows][kVectors];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int d = 0; d < kVectors; ++d)
      acc[r][d] = fresh >> r & 1 ? _mm512_setzero_ps()
                                 : _mm512_loadu_ps(out + static_cast<uint64_t>(r) * width + 16 * d);
  for (uint32_t i = 0; i < n; ++i, v += width) {
    __m512 value[kVectors];
#pragma GCC unroll 4
    for (int d = 0; d < kVectors; ++d) value[d] = _mm512_loadu_ps(v + 16 * d);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m512 weight = _mm512_set1_ps(p[r * kScoreStride + i]);
#pragma GCC unroll 4
      for (int d = 0; d < kVectors; ++d)
        acc[r][d] = _mm512_fmadd_ps(weight, value[d], acc[r][d]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int d = 0; d < kVectors; ++d)
      _mm512_storeu_ps(out + static_cast<uint64_t>(r) * width + 16 * d, acc[r][d]);
}

// Keys begin .. end - 1 of the chunk, whose values lie from v on, for kRows rows that see them all.
template <int kRows>
inline void add_rows(const float* p, const float* v, uint32_t n, uint32_t width, uint32_t fresh,
                     float* out) {
  uint32_t d = 0;
  for (; d + 64 <= width; d += 64) add_block<kRows, 4>(p, v + d, n, width, fresh, out + d);
  for (; d < width; d += 16) add_block<kRows, 1>(p, v + d, n, width, fresh, out + d);
}

// The same for four rows that see different keys of begin .. end - 1: together what all of them
// see, alone what is before and after it.
inline void add_four(const AttentionChunk& c, uint32_t row, const float* p, const float* v,
                     uint32_t begin, uint32_t end, uint32_t width, float* out) {
  const KeyRange first = c.seen[row / c.n_group], last = c.seen[(row + 3) / c.n_group];
  const auto alone = [&](uint32_t r, uint32_t from, uint32_t to) {
    const KeyRange seen = c.seen[(row + r) / c.n_group];
    const uint32_t a = most(from, seen.begin), b = least(to, seen.end);
    if (a < b)
      add_rows<1>(p + r * kScoreStride + a, v + static_cast<uint64_t>(a - begin) * width, b - a, width,
                  a == seen.begin, out + static_cast<uint64_t>(r) * width);
  };
  uint32_t from = most(begin, last.begin), to = least(end, first.end);
  if (from >= to) from = to = end;  // nothing is seen by all
  for (uint32_t r = 0; r < 4; ++r) alone(r, begin, from);
  if (from < to) {
    uint32_t fresh = 0;
    for (uint32_t r = 0; r < 4; ++r) fresh |= (c.seen[(row + r) / c.n_group].begin == from) << r;
    add_rows<4>(p + from, v + static_cast<uint64_t>(from - begin) * width, to - from, width, fresh,
                out);
  }
  for (uint32_t r = 0; r < 4; ++r) alone(r, to, end);
}

inline void add_values(const AttentionChunk& c, const float* p, uint32_t width, float* widened,
                       float* out) {
  const uint32_t n_rows = c.n_positions * c.n_group;
  const KeyRange first = c.seen[0], last = c.seen[c.n_positions - 1];
  for (uint32_t i = first.begin; i < last.end; i += kWidenedValues) {
    const uint32_t end = least(i + kWidenedValues, last.end);
    for (uint32_t k = i; k < end; ++k)
      widen_row(c.values, c.v_type, c.head_dim_v, k,
                widened + static_cast<uint64_t>(k - i) * width);
    uint32_t r = 0;
    if (last.begin <= i && end <= first.end) {  // all see all of it
      const uint32_t fresh = i == first.begin ? 15 : 0;
      for (; r + 4 <= n_rows; r += 4)
        add_rows<4>(p + r * kScoreStride + i, widened, end - i, width, fresh,
                    out + static_cast<uint64_t>(r) * width);
    }
    for (; r + 4 <= n_rows; r += 4)
      add_four(c, r, p + r * kScoreStride, widened, i, end, width, out + static_cast<uint64_t>(r) * width);
    for (; r < n_rows; ++r) {
      const KeyRange seen = c.seen[r / c.n_group];
      const uint32_t a = most(i, seen.begin), b = least(end, seen.end);
      if (a < b)
        add_rows<1>(p + r * kScoreStride + a, widened + static_cast<uint64_t>(a - i) * width, b - a, width,
                    a == seen.begin, out + static_cast<uint64_t>(r) * width);
    }
  }
}

}  // namespace

void attention(const AttentionChunk& c, const AttentionPart& part, float* scratch) {
  const uint32_t n_rows = c.n_positions * c.n_group;
  const uint32_t k_width = to_sixteen(c.head_dim_k), v_width = to_sixteen(c.head_dim_v);
  float* scores = scratch;                                     // [n_rows][kScoreStride]
  float* q = scores + static_cast<uint64_t>(n_rows) * kScoreStride;  // [n_rows][k_width]
  float* keys = q + static_cast<uint64_t>(n_rows) * k_width;   // [kWidenedKeys][k_width]
  float* values = keys + kWidenedKeys * k_width;               // [kWidenedValues][v_width]
  static_assert(kWidenedKeys == 16, "sixteen sums are one register");

  for (uint32_t r = 0; r < n_rows; ++r) {
    float* row = q + static_cast<uint64_t>(r) * k_width;
    __builtin_memcpy(row, c.q + r / c.n_group * c.q_position_stride + r % c.n_group * c.q_head_stride,
                     c.head_dim_k * sizeof(float));
    if (k_width != c.head_dim_k)
      __builtin_memset(row + c.head_dim_k, 0, (k_width - c.head_dim_k) * sizeof(float));
  }
  score(c, q, k_width, keys, scores);
  for (uint32_t r = 0; r < n_rows; ++r)
    soften(scores + r * kScoreStride, c.seen[r / c.n_group], &part.max[r], &part.sum[r]);
  add_values(c, scores, v_width, values, part.out);
}

}  // namespace hypura::kernels::avx512vnni

#endif  // __x86_64__
