// Attention over one chunk, and the merge of chunks, on AVX2; the arithmetic and its order stand in
// scalar/attention.cpp.
//
// Two small matrix products with the exponential between them. Rows of K and V are widened to floats
// in L1 a few at a time and used for all query rows, so decode (the heads of a group) and prefill
// (those of some positions) are one code. Tiles are eight registers of sums: for q . k two queries
// times two keys of sixteen lanes (E4), for p . v four queries times sixteen dimensions with the
// positions as the inner loop.
#if defined(__x86_64__)
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx2/exp8.h"
#include "native/kernels/avx2/lanes.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

inline uint32_t to_sixteen(uint32_t n) { return (n + 15) / 16 * 16; }
inline uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }
inline uint32_t most(uint32_t a, uint32_t b) { return a > b ? a : b; }

inline Lanes load_lanes(const float* x) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
inline void store_lanes(float* y, Lanes lanes) {
  _mm256_storeu_ps(y, lanes.low);
  _mm256_storeu_ps(y + 8, lanes.high);
}
inline Lanes load_halves(const uint8_t* halves) {
  return {_mm256_cvtph_ps(load_16(halves)), _mm256_cvtph_ps(load_16(halves + 16))};
}
inline __m256 widen_bytes(const int8_t* q) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(q))));
}

// Row i of n elements, as floats; zeros to the next multiple of sixteen.
inline void widen_row(const void* rows, KvType type, uint32_t n, uint32_t i, float* out) {
  if (type == KvType::kQ8_0) {
    const BlockQ8_0* block = static_cast<const BlockQ8_0*>(rows) + static_cast<uint64_t>(i) * (n / 32);
    for (uint32_t d = 0; d < n; d += 32, ++block) {
      const __m256 scale = _mm256_cvtph_ps(_mm_set1_epi16(static_cast<short>(load_u16(block->d))));
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k)
        _mm256_storeu_ps(out + d + 8 * k, _mm256_mul_ps(scale, widen_bytes(block->q + 8 * k)));
    }
    return;
  }
  const uint8_t* halves = static_cast<const uint8_t*>(rows) + 2 * static_cast<uint64_t>(i) * n;
  uint32_t d = 0;
  for (; d + 16 <= n; d += 16) store_lanes(out + d, load_halves(halves + 2 * d));
  if (d == n) return;
  uint8_t padded[32] = {};
  __builtin_memcpy(padded, halves + 2 * d, 2 * (n - d));
  store_lanes(out + d, load_halves(padded));
}

// Lane i: the lanes of acc[i], the upper half added to the lower, 16 to 8, 4, 2, 1.
inline __m128 fold_each(const Lanes acc[4]) {
  __m256 eight[4], four[2];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) eight[i] = _mm256_add_ps(acc[i].low, acc[i].high);
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i)  // of acc[i] in the lower half, of acc[2 + i] in the upper
    four[i] = _mm256_add_ps(_mm256_permute2f128_ps(eight[i], eight[2 + i], 0x20),
                            _mm256_permute2f128_ps(eight[i], eight[2 + i], 0x31));
  const __m256 two = _mm256_add_ps(_mm256_shuffle_ps(four[0], four[1], 0x44),
                                   _mm256_shuffle_ps(four[0], four[1], 0xee));
  const __m256 one = _mm256_add_ps(two, _mm256_movehdup_ps(two));  // in lanes 0, 2, 4, 6
  return _mm_shuffle_ps(_mm256_castps256_ps128(one), _mm256_extractf128_ps(one, 1), 0x88);
}

// scores[r][i] = scale * (q_r . k_i) for kRows queries and sixteen keys; scores are kScoreStride apart.
template <int kRows>
inline void score_rows(const float* q, const float* keys, uint32_t width, float scale,
                       float* scores) {
  constexpr int kKeys = 4 / kRows;
  for (int first = 0; first < 16; first += kKeys) {
    const float* at = keys + static_cast<uint64_t>(first) * width;
    Lanes acc[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) acc[i] = zero_lanes();
    for (uint32_t d = 0; d < width; d += 16) {
      Lanes query[kRows];
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) query[r] = load_lanes(q + static_cast<uint64_t>(r) * width + d);
#pragma GCC unroll 4
      for (int k = 0; k < kKeys; ++k) {
        const Lanes key = load_lanes(at + static_cast<uint64_t>(k) * width + d);
#pragma GCC unroll 2
        for (int r = 0; r < kRows; ++r) {
          Lanes& sum = acc[r * kKeys + k];
          sum.low = _mm256_fmadd_ps(query[r].low, key.low, sum.low);
          sum.high = _mm256_fmadd_ps(query[r].high, key.high, sum.high);
        }
      }
    }
    const __m128 sums = _mm_mul_ps(_mm_set1_ps(scale), fold_each(acc));
    if constexpr (kRows == 2) {
      _mm_storel_pi(reinterpret_cast<__m64*>(scores + first), sums);
      _mm_storeh_pi(reinterpret_cast<__m64*>(scores + kScoreStride + first), sums);
    } else {
      _mm_storeu_ps(scores + first, sums);
    }
  }
}

// All rows times all keys that one of them sees. Scores of keys that a row does not see, in blocks
// that another row needs, have no meaning.
inline void score(const AttentionChunk& c, const float* q, uint32_t width, float* widened,
                  float* scores) {
  const uint32_t n_rows = c.n_positions * c.n_group;
  const KeyRange first = c.seen[0], last = c.seen[c.n_positions - 1];
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
    for (; r + 2 <= end; r += 2)
      score_rows<2>(q + static_cast<uint64_t>(r) * width, widened, width, c.scale,
                    scores + r * kScoreStride + i);
    if (r < end)
      score_rows<1>(q + static_cast<uint64_t>(r) * width, widened, width, c.scale,
                    scores + r * kScoreStride + i);
  }
}

// Scores to e^(s - max), in place; the sum by E4. What the row does not see of its first and last
// sixteen is -inf, whose exp is +0 and adds nothing.
inline void soften(float* scores, KeyRange seen, float* max_out, float* sum_out) {
  const uint32_t begin = seen.begin / 16 * 16, end = to_sixteen(seen.end);
  for (uint32_t i = begin; i < seen.begin; ++i) scores[i] = -__builtin_inff();
  for (uint32_t i = seen.end; i < end; ++i) scores[i] = -__builtin_inff();
  __m256 max = _mm256_loadu_ps(scores + begin);
  for (uint32_t i = begin + 8; i < end; i += 8)
    max = _mm256_max_ps(_mm256_loadu_ps(scores + i), max);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  *max_out = _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
  max = _mm256_set1_ps(*max_out);
  Lanes lanes = zero_lanes();
  for (uint32_t i = begin; i < end; i += 16) {
    const Lanes p = {exp8(_mm256_sub_ps(_mm256_loadu_ps(scores + i), max)),
                     exp8(_mm256_sub_ps(_mm256_loadu_ps(scores + i + 8), max))};
    store_lanes(scores + i, p);
    lanes.low = _mm256_add_ps(lanes.low, p.low);
    lanes.high = _mm256_add_ps(lanes.high, p.high);
  }
  *sum_out = fold(lanes);
}

// out[r][d] = fma(p[r][i], v[i][d], out[r][d]), ascending in i, for kRows rows that see all of these
// keys; out and v are `width` apart. Rows whose bit of `fresh` is set begin with +0.
template <int kRows>
inline void add_rows(const float* p, const float* v, uint32_t n, uint32_t width, uint32_t fresh,
                     float* out) {
  for (uint32_t d = 0; d < width; d += 16) {
    Lanes acc[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
      acc[r] = fresh >> r & 1 ? zero_lanes() : load_lanes(out + static_cast<uint64_t>(r) * width + d);
    const float* value = v + d;
    for (uint32_t i = 0; i < n; ++i, value += width) {
      const Lanes here = load_lanes(value);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const __m256 weight = _mm256_set1_ps(p[r * kScoreStride + i]);
        acc[r].low = _mm256_fmadd_ps(weight, here.low, acc[r].low);
        acc[r].high = _mm256_fmadd_ps(weight, here.high, acc[r].high);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) store_lanes(out + static_cast<uint64_t>(r) * width + d, acc[r]);
  }
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
  static_assert(kWidenedKeys == 16, "score() widens sixteen keys");

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

void attention_merge(const AttentionPart& part, uint32_t n_rows, uint32_t head_dim_v,
                     const AttentionPart& into) {
  for (uint32_t r = 0; r < n_rows; r += 8) {
    const __m256i mask = first_lanes(static_cast<int>(least(n_rows - r, 8)));
    const __m256 had = _mm256_maskload_ps(into.max + r, mask);
    const __m256 added = _mm256_maskload_ps(part.max + r, mask);
    const __m256 max = _mm256_max_ps(added, had);
    const __m256 keep = exp8(_mm256_sub_ps(had, max)), take = exp8(_mm256_sub_ps(added, max));
    const __m256 sum = _mm256_mul_ps(_mm256_maskload_ps(part.sum + r, mask), take);
    _mm256_maskstore_ps(into.max + r, mask, max);
    _mm256_maskstore_ps(into.sum + r, mask,
                        _mm256_fmadd_ps(_mm256_maskload_ps(into.sum + r, mask), keep, sum));
    _mm256_maskstore_ps(part.max + r, mask, keep);
    _mm256_maskstore_ps(part.sum + r, mask, take);
  }
  const uint32_t width = to_sixteen(head_dim_v);
  for (uint32_t r = 0; r < n_rows; ++r) {
    const __m256 keep = _mm256_set1_ps(part.max[r]), take = _mm256_set1_ps(part.sum[r]);
    const float* added = part.out + static_cast<uint64_t>(r) * width;
    float* o = into.out + static_cast<uint64_t>(r) * width;
    for (uint32_t d = 0; d < width; d += 8)
      _mm256_storeu_ps(o + d, _mm256_fmadd_ps(_mm256_loadu_ps(o + d), keep,
                                              _mm256_mul_ps(_mm256_loadu_ps(added + d), take)));
  }
}

}  // namespace hypura::kernels::avx2

#endif  // __x86_64__
