// Attention over one chunk, and the merge of chunks, on NEON; the arithmetic and its order stand in
// scalar/attention.cpp.
//
// Two small matrix products with the exponential between them. Rows of K and V are widened to floats
// in L1 a few at a time and used for all query rows, so decode (the heads of a group) and prefill
// (those of some positions) are one code. Tiles are sixteen registers of sums: for q . k two queries
// times two keys of sixteen lanes (E4), for p . v four queries times sixteen dimensions with the
// positions as the inner loop.
#if defined(__aarch64__)
#include "native/kernels/blocks.h"
#include "native/kernels/neon_dotprod/exp4.h"
#include "native/kernels/neon_dotprod/lanes.h"
#include "native/kernels/neon_dotprod/neon_dotprod.h"

namespace hypura::kernels::neon_dotprod {
namespace {

constexpr uint32_t kChunk = 256;  // positions of a chunk (kPositionsPerPage)

inline uint32_t to_sixteen(uint32_t n) { return (n + 15) / 16 * 16; }
inline uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }
inline uint32_t most(uint32_t a, uint32_t b) { return a > b ? a : b; }

inline Lanes load_halves(const uint8_t* halves) {
  Lanes lanes;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    lanes.four[i] = widen_halves(vreinterpret_u16_u8(vld1_u8(halves + 8 * i)));
  return lanes;
}

inline Lanes widen_bytes(int8x16_t q, float scale) {
  const int16x8_t low = vmovl_s8(vget_low_s8(q)), high = vmovl_high_s8(q);
  const int32x4_t four[4] = {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low),
                             vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)};
  Lanes lanes;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) lanes.four[i] = vmulq_n_f32(vcvtq_f32_s32(four[i]), scale);
  return lanes;
}

// Row i of n elements, as floats; zeros to the next multiple of sixteen.
inline void widen_row(const void* rows, KvType type, uint32_t n, uint32_t i, float* out) {
  if (type == KvType::kQ8_0) {
    const BlockQ8_0* block =
        static_cast<const BlockQ8_0*>(rows) + static_cast<uint64_t>(i) * (n / 32);
    for (uint32_t d = 0; d < n; d += 32, ++block) {
      const float scale = load_half(block->d);
      store_lanes(out + d, widen_bytes(vld1q_s8(block->q), scale));
      store_lanes(out + d + 16, widen_bytes(vld1q_s8(block->q + 16), scale));
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
inline float32x4_t fold_each(const Lanes acc[4]) {
  float32x4_t four[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    four[i] = vaddq_f32(vaddq_f32(acc[i].four[0], acc[i].four[2]),
                        vaddq_f32(acc[i].four[1], acc[i].four[3]));
  const auto halves = [](float32x4_t a, float32x4_t b) {  // two sums of a, then two of b
    const float64x2_t x = vreinterpretq_f64_f32(a), y = vreinterpretq_f64_f32(b);
    return vaddq_f32(vreinterpretq_f32_f64(vzip1q_f64(x, y)),
                     vreinterpretq_f32_f64(vzip2q_f64(x, y)));
  };
  return vpaddq_f32(halves(four[0], four[1]), halves(four[2], four[3]));
}

// scores[r][i] = scale * (q_r . k_i) for kRows queries and sixteen keys; scores are kChunk apart.
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
      for (int r = 0; r < kRows; ++r)
        query[r] = load_lanes(q + static_cast<uint64_t>(r) * width + d);
#pragma GCC unroll 4
      for (int k = 0; k < kKeys; ++k) {
        const Lanes key = load_lanes(at + static_cast<uint64_t>(k) * width + d);
#pragma GCC unroll 2
        for (int r = 0; r < kRows; ++r) add_products(acc[r * kKeys + k], query[r], key);
      }
    }
    const float32x4_t sums = vmulq_n_f32(fold_each(acc), scale);
    if constexpr (kRows == 2) {
      vst1_f32(scores + first, vget_low_f32(sums));
      vst1_f32(scores + kChunk + first, vget_high_f32(sums));
    } else {
      vst1q_f32(scores + first, sums);
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
    for (uint32_t k = 0; k < 16; ++k) {
      float* row = widened + static_cast<uint64_t>(k) * width;
      if (i + k >= first.begin && i + k < last.end)
        widen_row(c.keys, c.k_type, c.head_dim_k, i + k, row);
      else
        __builtin_memset(row, 0, width * sizeof(float));
    }
    // Rows outside of [r, end) see none of these keys.
    uint32_t begin = 0, end = n_rows;
    while (c.seen[begin / c.n_group].end <= i) begin += c.n_group;
    while (c.seen[(end - 1) / c.n_group].begin >= i + 16) end -= c.n_group;
    uint32_t r = begin;
    for (; r + 2 <= end; r += 2)
      score_rows<2>(q + static_cast<uint64_t>(r) * width, widened, width, c.scale,
                    scores + r * kChunk + i);
    if (r < end)
      score_rows<1>(q + static_cast<uint64_t>(r) * width, widened, width, c.scale,
                    scores + r * kChunk + i);
  }
}

// Scores to e^(s - max), in place; the sum by E4. What the row does not see of its first and last
// sixteen is -inf, whose exp is +0 and adds nothing.
inline void soften(float* scores, KeyRange seen, float* max_out, float* sum_out) {
  const uint32_t begin = seen.begin / 16 * 16, end = to_sixteen(seen.end);
  for (uint32_t i = begin; i < seen.begin; ++i) scores[i] = -__builtin_inff();
  for (uint32_t i = seen.end; i < end; ++i) scores[i] = -__builtin_inff();
  float32x4_t max = vld1q_f32(scores + begin);
  for (uint32_t i = begin + 4; i < end; i += 4) max = vmaxq_f32(max, vld1q_f32(scores + i));
  *max_out = vmaxvq_f32(max);
  max = vdupq_n_f32(*max_out);
  Lanes lanes = zero_lanes();
  for (uint32_t i = begin; i < end; i += 16)
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; ++k) {
      const float32x4_t p = exp4(vsubq_f32(vld1q_f32(scores + i + 4 * k), max));
      vst1q_f32(scores + i + 4 * k, p);
      lanes.four[k] = vaddq_f32(lanes.four[k], p);
    }
  *sum_out = fold(lanes);
}

// out[r][d] = fma(p[r][i], v[i][d], out[r][d]), ascending in i, for kRows rows that see all of these
// keys; out and v are `width` apart.
template <int kRows>
inline void add_rows(const float* p, const float* v, uint32_t n, uint32_t width, float* out) {
  for (uint32_t d = 0; d < width; d += 16) {
    Lanes acc[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) acc[r] = load_lanes(out + static_cast<uint64_t>(r) * width + d);
    const float* value = v + d;
    for (uint32_t i = 0; i < n; ++i, value += width) {
      const Lanes here = load_lanes(value);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k)
          acc[r].four[k] = vfmaq_n_f32(acc[r].four[k], here.four[k], p[r * kChunk + i]);
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
      add_rows<1>(p + r * kChunk + a, v + static_cast<uint64_t>(a - begin) * width, b - a, width,
                  out + static_cast<uint64_t>(r) * width);
  };
  uint32_t from = most(begin, last.begin), to = least(end, first.end);
  if (from >= to) from = to = end;  // nothing is seen by all
  for (uint32_t r = 0; r < 4; ++r) alone(r, begin, from);
  if (from < to)
    add_rows<4>(p + from, v + static_cast<uint64_t>(from - begin) * width, to - from, width, out);
  for (uint32_t r = 0; r < 4; ++r) alone(r, to, end);
}

inline void add_values(const AttentionChunk& c, const float* p, uint32_t width, float* widened,
                       float* out) {
  const uint32_t n_rows = c.n_positions * c.n_group;
  const KeyRange first = c.seen[0], last = c.seen[c.n_positions - 1];
  __builtin_memset(out, 0, static_cast<uint64_t>(n_rows) * width * sizeof(float));
  for (uint32_t i = first.begin; i < last.end; i += kWidenedValues) {
    const uint32_t end = least(i + kWidenedValues, last.end);
    for (uint32_t k = i; k < end; ++k)
      widen_row(c.values, c.v_type, c.head_dim_v, k,
                widened + static_cast<uint64_t>(k - i) * width);
    uint32_t r = 0;
    for (; r + 4 <= n_rows; r += 4)
      add_four(c, r, p + r * kChunk, widened, i, end, width,
               out + static_cast<uint64_t>(r) * width);
    for (; r < n_rows; ++r) {
      const KeyRange seen = c.seen[r / c.n_group];
      const uint32_t a = most(i, seen.begin), b = least(end, seen.end);
      if (a < b)
        add_rows<1>(p + r * kChunk + a, widened + static_cast<uint64_t>(a - i) * width, b - a,
                    width, out + static_cast<uint64_t>(r) * width);
    }
  }
}

}  // namespace

void attention(const AttentionChunk& c, const AttentionPart& part, float* scratch) {
  const uint32_t n_rows = c.n_positions * c.n_group;
  const uint32_t k_width = to_sixteen(c.head_dim_k), v_width = to_sixteen(c.head_dim_v);
  float* scores = scratch;                                     // [n_rows][kChunk]
  float* q = scores + static_cast<uint64_t>(n_rows) * kChunk;  // [n_rows][k_width]
  float* keys = q + static_cast<uint64_t>(n_rows) * k_width;   // [kWidenedKeys][k_width]
  float* values = keys + kWidenedKeys * k_width;               // [kWidenedValues][v_width]
  static_assert(kWidenedKeys == 16, "score() widens sixteen keys");

  for (uint32_t r = 0; r < n_rows; ++r) {
    float* row = q + static_cast<uint64_t>(r) * k_width;
    __builtin_memcpy(row,
                     c.q + r / c.n_group * c.q_position_stride + r % c.n_group * c.q_head_stride,
                     c.head_dim_k * sizeof(float));
    __builtin_memset(row + c.head_dim_k, 0, (k_width - c.head_dim_k) * sizeof(float));
  }
  score(c, q, k_width, keys, scores);
  for (uint32_t r = 0; r < n_rows; ++r)
    soften(scores + r * kChunk, c.seen[r / c.n_group], &part.max[r], &part.sum[r]);
  add_values(c, scores, v_width, values, part.out);
}

void attention_merge(const AttentionPart& part, uint32_t n_rows, uint32_t head_dim_v,
                     const AttentionPart& into) {
  for (uint32_t r = 0; r < n_rows; r += 4) {
    const uint32_t n = least(n_rows - r, 4);
    const float32x4_t had = load_first(into.max + r, n), added = load_first(part.max + r, n);
    const float32x4_t max = vmaxq_f32(added, had);
    const float32x4_t keep = exp4(vsubq_f32(had, max)), take = exp4(vsubq_f32(added, max));
    const float32x4_t sum = vmulq_f32(load_first(part.sum + r, n), take);
    store_first(into.max + r, n, max);
    store_first(into.sum + r, n, vfmaq_f32(sum, load_first(into.sum + r, n), keep));
    store_first(part.max + r, n, keep);
    store_first(part.sum + r, n, take);
  }
  const uint32_t width = to_sixteen(head_dim_v);
  for (uint32_t r = 0; r < n_rows; ++r) {
    const float keep = part.max[r], take = part.sum[r];
    const float* added = part.out + static_cast<uint64_t>(r) * width;
    float* o = into.out + static_cast<uint64_t>(r) * width;
    for (uint32_t d = 0; d < width; d += 4)
      vst1q_f32(o + d, vfmaq_n_f32(vmulq_n_f32(vld1q_f32(added + d), take), vld1q_f32(o + d), keep));
  }
}

}  // namespace hypura::kernels::neon_dotprod

#endif  // __aarch64__
