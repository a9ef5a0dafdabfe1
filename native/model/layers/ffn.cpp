#include "native/model/layers/ffn.h"

#include <atomic>

namespace hypura::model {
namespace {

void add_biases(const Sweep& sweep, const FfnWeights& weights) {
  if (weights.gate_bias == nullptr && weights.up_bias == nullptr) return;
  const uint32_t n_cols = weights.gate.n_rows;
  sweep.pool.for_each(sweep.n_entries(), 1, [&](uint32_t begin, uint32_t end, uint32_t) {
    for (uint32_t i = begin; i < end; ++i) {
      const uint64_t row = uint64_t{i} * n_cols;
      if (weights.gate_bias != nullptr)
        sweep.kernels.add(weights.gate_bias, n_cols, sweep.scratch.gate + row);
      if (weights.up_bias != nullptr)
        sweep.kernels.add(weights.up_bias, n_cols, sweep.scratch.up + row);
    }
  });
}

}  // namespace

Status activate(const Sweep& sweep, uint32_t n_rows, uint32_t n_cols, FormSet forms,
                uint16_t layer) {
  const Scratch& s = sweep.scratch;
  const auto multiply_gate =
      sweep.spec.activation == Activation::kSilu ? sweep.kernels.silu_mul : sweep.kernels.gelu_mul;
  std::atomic<bool> finite{true};
  sweep.pool.for_each(n_rows, 1, [&](uint32_t begin, uint32_t end, uint32_t) {
    for (uint32_t i = begin; i < end; ++i) {
      float* gate = s.gate + uint64_t{i} * n_cols;
      multiply_gate(gate, s.up + uint64_t{i} * n_cols, n_cols, gate);
      if (!quantize_row(sweep, gate, n_cols, forms, s.mid, i))
        finite.store(false, std::memory_order_relaxed);  // read after for_each, which synchronises
    }
  });
  return finite.load(std::memory_order_relaxed)
             ? Status()
             : non_finite(layer, "the middle of the feed-forward network");
}

Status feed_forward(const Sweep& sweep, const FfnWeights& weights, uint16_t layer) {
  const Scratch& s = sweep.scratch;
  const uint32_t n = sweep.n_entries();
  const Projection gate_up[] = {{&weights.gate, s.gate}, {&weights.up, s.up}};
  HYPURA_TRY(project(sweep, gate_up, s.input, n));
  add_biases(sweep, weights);
  HYPURA_TRY(activate(sweep, n, weights.gate.n_rows, weights.down.forms(), layer));
  const Projection down[] = {{&weights.down, s.block_out}};
  return project(sweep, down, s.mid, n);
}

Status feed_forward_dense(const Sweep& sweep, const LayerWeights& weights, uint16_t layer) {
  const FormSet forms = weights.ffn.gate.forms() | weights.ffn.up.forms();
  HYPURA_TRY(quantize_normed(sweep, nullptr, sweep.n_entries(), weights.ffn_norm, forms, layer,
                             "the input of the feed-forward network"));
  HYPURA_TRY(feed_forward(sweep, weights.ffn, layer));
  add_block(sweep, weights.ffn.down_bias, weights.ffn_post_norm);
  return {};
}

}  // namespace hypura::model
