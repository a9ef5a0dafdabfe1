// Grouped-query attention over one chunk, and the merge of chunks (rule E6). Per row, over the keys
// it sees:
//   s = scale * (q . k)                      the dot by E4, over head_dim_k
//   m = max s;  p = e^(s - m);  l = sum p    the sum by E4, i counted from the chunk's start
//   o_d = fma(p, v_d, o_d)                   from +0, positions ascending
// A later chunk (m', l', o') is merged with what earlier ones gave, M = max(m, m'):
//   l = fma(l, e^(m - M), l' * e^(m' - M)), o_d likewise
// Elements of K and V are floats that halves, or a half times an int8, represent exactly.
#include <cmath>

#include "native/kernels/blocks.h"
#include "native/kernels/scalar/exp.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/lanes.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

// Element d of row i, in rows of n.
float element(const void* rows, KvType type, uint32_t n, uint32_t i, uint32_t d) {
  const uint64_t at = uint64_t{i} * n + d;
  if (type == KvType::kF16) return read_half(static_cast<const uint8_t*>(rows) + 2 * at);
  const BlockQ8_0& block = static_cast<const BlockQ8_0*>(rows)[at / 32];
  return read_half(block.d) * static_cast<float>(block.q[at % 32]);
}

}  // namespace

void attention(const AttentionChunk& c, const AttentionPart& part, float* scratch) {
  float* p = scratch;
  const uint32_t width = (c.head_dim_v + 15) / 16 * 16;
  for (uint32_t r = 0; r < c.n_positions * c.n_group; ++r) {
    const uint32_t position = r / c.n_group;
    const KeyRange seen = c.seen[position];
    const float* query =
        c.q + position * c.q_position_stride + r % c.n_group * c.q_head_stride;
    float* o = part.out + uint64_t{r} * width;

    for (uint32_t i = seen.begin; i < seen.end; ++i) {
      Lanes lanes;
      for (uint32_t d = 0; d < c.head_dim_k; ++d)
        lanes.fma(d, query[d], element(c.keys, c.k_type, c.head_dim_k, i, d));
      p[i] = c.scale * lanes.fold();
    }
    float max = p[seen.begin];
    for (uint32_t i = seen.begin; i < seen.end; ++i) max = p[i] > max ? p[i] : max;
    Lanes lanes;
    for (uint32_t i = seen.begin; i < seen.end; ++i) {
      p[i] = exp_f32(p[i] - max);
      lanes.add(i, p[i]);
    }
    part.max[r] = max;
    part.sum[r] = lanes.fold();
    for (uint32_t d = 0; d < c.head_dim_v; ++d) {
      float acc = 0;
      for (uint32_t i = seen.begin; i < seen.end; ++i)
        acc = std::fma(p[i], element(c.values, c.v_type, c.head_dim_v, i, d), acc);
      o[d] = acc;
    }
  }
}

void attention_merge(const AttentionPart& part, uint32_t n_rows, uint32_t head_dim_v,
                     const AttentionPart& into) {
  const uint64_t width = (head_dim_v + 15) / 16 * 16;
  for (uint32_t r = 0; r < n_rows; ++r) {
    const float max = part.max[r] > into.max[r] ? part.max[r] : into.max[r];
    const float keep = exp_f32(into.max[r] - max), take = exp_f32(part.max[r] - max);
    into.max[r] = max;
    into.sum[r] = std::fma(into.sum[r], keep, part.sum[r] * take);
    float* o = into.out + r * width;
    const float* added = part.out + r * width;
    for (uint32_t d = 0; d < head_dim_v; ++d) o[d] = std::fma(o[d], keep, added[d] * take);
  }
}

}  // namespace hypura::kernels::scalar
