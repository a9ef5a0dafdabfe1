// Grouped-query attention of one query position and one kv head (rule E6). Per chunk of 256
// absolute positions:
//   s = scale * (q . k)                      the dot by E4, over head_dim_k
//   m = max s;  p = e^(s - m);  l = sum p    the sum by E4, i counted from the chunk's start
//   o_d = fma(p, v_d, o_d)                   from +0, positions ascending
// The first chunk is taken as it is. Each later one (m', l', o') is merged in order, M = max(m, m'):
//   l = fma(l, e^(m - M), l' * e^(m' - M)), o_d likewise
// At the end o_d * (1 / l).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "native/base/limits.h"
#include "native/kernels/scalar/exp.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/lanes.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

float half_at(const uint8_t* halves, uint64_t i) { return read_half(halves + 2 * i); }

}  // namespace

void attention(const float* q, uint32_t n_group, uint64_t q_stride, const KvView& kv,
               uint32_t n_keys, float scale, float* out, uint64_t out_stride, float* scratch) {
  float* p = scratch;                              // [256]
  float* chunk_out = scratch + kPositionsPerPage;  // [head_dim_v]
  for (uint32_t g = 0; g < n_group; ++g) {
    const float* query = q + g * q_stride;
    float* o = out + g * out_stride;
    float max = 0, sum = 0;
    for (uint32_t begin = 0; begin < n_keys; begin += kPositionsPerPage) {
      const uint8_t* page = static_cast<const uint8_t*>(kv.pages[begin / kPositionsPerPage]);
      const uint8_t* keys = page + kv.k_offset_bytes;
      const uint8_t* values = page + kv.v_offset_bytes;
      const uint32_t n = std::min(kPositionsPerPage, n_keys - begin);

      for (uint32_t i = 0; i < n; ++i) {
        Lanes lanes;
        for (uint32_t d = 0; d < kv.head_dim_k; ++d)
          lanes.fma(d, query[d], half_at(keys, uint64_t{i} * kv.head_dim_k + d));
        p[i] = scale * lanes.fold();
      }
      float chunk_max = p[0];
      for (uint32_t i = 1; i < n; ++i) chunk_max = p[i] > chunk_max ? p[i] : chunk_max;
      Lanes lanes;
      for (uint32_t i = 0; i < n; ++i) {
        p[i] = exp_f32(p[i] - chunk_max);
        lanes.add(i, p[i]);
      }
      const float chunk_sum = lanes.fold();
      for (uint32_t d = 0; d < kv.head_dim_v; ++d) {
        float acc = 0;
        for (uint32_t i = 0; i < n; ++i)
          acc = std::fma(p[i], half_at(values, uint64_t{i} * kv.head_dim_v + d), acc);
        chunk_out[d] = acc;
      }

      if (begin == 0) {
        max = chunk_max;
        sum = chunk_sum;
        std::memcpy(o, chunk_out, kv.head_dim_v * sizeof(float));
        continue;
      }
      const float merged_max = chunk_max > max ? chunk_max : max;
      const float keep = exp_f32(max - merged_max), take = exp_f32(chunk_max - merged_max);
      max = merged_max;
      sum = std::fma(sum, keep, chunk_sum * take);
      for (uint32_t d = 0; d < kv.head_dim_v; ++d) o[d] = std::fma(o[d], keep, chunk_out[d] * take);
    }
    const float inverse = 1.0f / sum;
    for (uint32_t d = 0; d < kv.head_dim_v; ++d) o[d] *= inverse;
  }
}

}  // namespace hypura::kernels::scalar
