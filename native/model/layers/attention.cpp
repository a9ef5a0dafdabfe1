#include "native/model/layers/attention.h"

#include "native/kernels/kv_rows.h"
#include "native/model/layers/query_tiles.h"

namespace hypura::model {
namespace {

// Bias, norm and rotation of one row of query or key heads.
void finish_heads(const Sweep& sweep, float* heads, uint32_t n_heads, const float* bias,
                  const float* norm, const float* cosines, const float* sines) {
  const ModelSpec& spec = sweep.spec;
  const uint32_t head_dim = spec.head_dim_k;
  if (bias != nullptr) sweep.kernels.add(bias, n_heads * head_dim, heads);
  if (spec.qk_norm == QkNorm::kWholeRow)
    sweep.kernels.rms_norm(heads, norm, n_heads * head_dim, spec.norm_epsilon, heads);
  if (spec.qk_norm == QkNorm::kPerHead)
    for (uint32_t h = 0; h < n_heads; ++h) {
      float* head = heads + uint64_t{h} * head_dim;
      sweep.kernels.rms_norm(head, norm, head_dim, spec.norm_epsilon, head);
    }
  if (spec.rope != RopeKind::kNone)
    sweep.kernels.rope(heads, n_heads, head_dim, spec.n_rot / 2, cosines, sines,
                       spec.rope == RopeKind::kNeox);
}

// Finishes q, k and v of one entry and writes k and v to the cache.
void finish_entry(const Sweep& sweep, const AttentionWeights& weights, uint16_t layer, uint32_t i) {
  const ModelSpec& spec = sweep.spec;
  const Scratch& s = sweep.scratch;
  const TokenEntry& entry = sweep.entries()[i];
  const float* cosines = s.cosines + uint64_t{i} * (spec.n_rot / 2);
  const float* sines = s.sines + uint64_t{i} * (spec.n_rot / 2);
  float* q = s.q + uint64_t{i} * spec.n_head * spec.head_dim_k;
  float* k = s.k + uint64_t{i} * spec.n_head_kv * spec.head_dim_k;
  float* v = s.v + uint64_t{i} * spec.n_head_kv * spec.head_dim_v;

  finish_heads(sweep, q, spec.n_head, weights.query_bias, weights.query_norm, cosines, sines);
  finish_heads(sweep, k, spec.n_head_kv, weights.key_bias, weights.key_norm, cosines, sines);
  if (weights.value_bias != nullptr)
    sweep.kernels.add(weights.value_bias, spec.n_head_kv * spec.head_dim_v, v);
  const KvTypes types = sweep.kv.types();
  for (uint32_t h = 0; h < spec.n_head_kv; ++h) {
    kernels::write_kv_row(sweep.kernels, types.k, k + uint64_t{h} * spec.head_dim_k, spec.head_dim_k,
                          sweep.kv.k_row(entry.sequence, layer, h, entry.position));
    kernels::write_kv_row(sweep.kernels, types.v, v + uint64_t{h} * spec.head_dim_v, spec.head_dim_v,
                          sweep.kv.v_row(entry.sequence, layer, h, entry.position));
  }
}

}  // namespace

Status attend(const Sweep& sweep, const AttentionWeights& weights, uint16_t layer) {
  const ModelSpec& spec = sweep.spec;
  const Scratch& s = sweep.scratch;
  const uint32_t n = sweep.n_entries();

  const FormSet forms = weights.query.forms() | weights.key.forms() | weights.value.forms();
  HYPURA_TRY(
      quantize_normed(sweep, nullptr, n, weights.norm, forms, layer, "the input of attention"));
  const Projection qkv[] = {{&weights.query, s.q}, {&weights.key, s.k}, {&weights.value, s.v}};
  HYPURA_TRY(project(sweep, qkv, s.input, n));

  sweep.pool.for_each(n, 1, [&](uint32_t begin, uint32_t end, uint32_t) {
    for (uint32_t i = begin; i < end; ++i) finish_entry(sweep, weights, layer, i);
  });
  // All keys of the batch are in the cache: an entry sees the ones before it.
  attend_tiles(sweep, layer);

  HYPURA_TRY(quantize_rows(sweep, s.attention_out, n, spec.n_head * spec.head_dim_v,
                           weights.output.forms(), s.input, layer, "the result of attention"));
  const Projection output[] = {{&weights.output, s.block_out}};
  HYPURA_TRY(project(sweep, output, s.input, n));
  add_block(sweep, weights.output_bias, weights.post_norm);
  return {};
}

}  // namespace hypura::model
