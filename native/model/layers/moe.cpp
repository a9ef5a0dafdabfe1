#include "native/model/layers/moe.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "native/base/check.h"
#include "native/model/layers/ffn.h"
#include "native/model/layers/lookahead.h"
#include "native/model/layers/router.h"

namespace hypura::model {
namespace {

using kernels::ActivationForm;

// out (n_entries, matrix.n_rows) = matrix times the normed input.
void multiply_trunk(const Sweep& sweep, const TrunkMatrix& matrix, float* out) {
  const Segment segment{.matmul = matrix.matmul,
                        .weights = matrix.data,
                        .n_rows = matrix.n_rows,
                        .activations = sweep.scratch.input.row(matrix.form, 0),
                        .activation_stride = sweep.scratch.input.stride(matrix.form),
                        .n_positions = sweep.n_entries(),
                        .out = out,
                        .out_stride = matrix.n_rows};
  multiply(sweep, {&segment, 1}, matrix.n_cols);
}

// Fills chosen and weights of all entries.
Status route(const Sweep& sweep, const MoeWeights& weights, uint16_t layer) {
  const Scratch& s = sweep.scratch;
  const uint32_t n_expert = sweep.spec.n_expert;
  const uint32_t n_used = sweep.spec.n_expert_used;
  multiply_trunk(sweep, weights.router, s.router);
  std::atomic<bool> finite{true};
  sweep.pool.for_each(sweep.n_entries(), 1, [&](uint32_t begin, uint32_t end, uint32_t worker) {
    for (uint32_t i = begin; i < end; ++i)
      if (!choose_experts(sweep.spec, sweep.kernels, s.router + uint64_t{i} * n_expert,
                          weights.selection_bias, s.selection + uint64_t{worker} * n_expert,
                          s.chosen + uint64_t{i} * n_used, s.weights + uint64_t{i} * n_used))
        finite.store(false, std::memory_order_relaxed);  // read after for_each, which synchronises
  });
  if (!finite.load(std::memory_order_relaxed)) return non_finite(layer, "the router's result");
  if (sweep.batch.observer != nullptr)
    for (uint64_t i = 0; i < sweep.n_entries(); ++i)
      sweep.batch.observer->on_route(layer, static_cast<uint32_t>(i),
                                     {s.chosen + i * n_used, n_used},
                                     {s.weights + i * n_used, n_used});
  return {};
}

// Gives each (position, rank) a row, those of an expert side by side in the order of positions: a counting sort.
void group_by_expert(const Sweep& sweep) {
  const Scratch& s = sweep.scratch;
  const uint32_t n_expert = sweep.spec.n_expert;
  const uint32_t n_used = sweep.spec.n_expert_used;
  const uint32_t n_rows = sweep.n_entries() * n_used;
  // Counts stand two places up, so that after the sums place e + 1 holds the next free row of expert e, and when all rows
  // are given, the first row of expert e + 1.
  std::fill_n(s.first_row, n_expert + 2, 0u);
  for (uint32_t i = 0; i < n_rows; ++i) ++s.first_row[s.chosen[i] + 2];
  for (uint32_t e = 0; e <= n_expert; ++e) s.first_row[e + 1] += s.first_row[e];
  for (uint32_t i = 0; i < n_rows; ++i) {
    const uint32_t row = s.first_row[s.chosen[i] + 1]++;
    s.row_of[i] = row;
    s.entry_of[row] = i / n_used;
  }
}

// Asks for every expert that has a row.
Status request_union(const Sweep& sweep, const MoeWeights& weights, uint16_t layer) {
  const Scratch& s = sweep.scratch;
  uint32_t n = 0;
  for (uint32_t e = 0; e < sweep.spec.n_expert; ++e) {
    if (s.first_row[e] == s.first_row[e + 1]) continue;
    s.expert_union[n] = static_cast<uint16_t>(e);
    s.blocks[n++] = BlockId{weights.first_block + e};
  }
  if (sweep.batch.observer != nullptr) {
    sweep.batch.observer->on_union(layer, {s.expert_union, n});
    uint32_t absent = 0;
    for (uint32_t i = 0; i < n; ++i)
      if (!sweep.cache.has_expert(s.blocks[i])) s.expert_union[absent++] = s.expert_union[i];
    if (absent > 0) sweep.batch.observer->on_absent(layer, {s.expert_union, absent});
  }
  return sweep.cache.request({s.blocks, n});
}

// block_out of all entries: the shared expert, times the sigmoid of its gate where it has one; zero without one.
Status begin_results(const Sweep& sweep, const LayerWeights& weights, uint16_t layer) {
  const Scratch& s = sweep.scratch;
  const uint32_t n = sweep.n_entries();
  const uint32_t n_embd = sweep.spec.n_embd;
  if (!weights.ffn.gate) {
    std::fill_n(s.block_out, uint64_t{n} * n_embd, 0.0f);
    return {};
  }
  HYPURA_TRY(feed_forward(sweep, weights.ffn, layer));
  if (!weights.moe.shared_router) return {};
  multiply_trunk(sweep, weights.moe.shared_router, s.shared_gate);
  sweep.kernels.sigmoid(s.shared_gate, n);
  sweep.pool.for_each(n, 1, [&](uint32_t begin, uint32_t end, uint32_t) {
    for (uint64_t i = begin; i < end; ++i)
      sweep.kernels.scale(s.shared_gate[i], n_embd, s.block_out + i * n_embd);
  });
  return {};
}

// Experts that are computed together: one job for the products of all, instead of some for each.
struct ExpertBatch {
  static constexpr uint32_t kExpertsMax = 16;
  struct Part {
    scheduler::BlockLease lease;
    uint32_t expert;
    uint32_t first_row;  // of expert_rows
    uint32_t n_rows;
    uint32_t at;  // first row of gate, up, mid and gathered
  };
  std::array<Part, kExpertsMax> storage;
  uint32_t n_parts = 0;
  uint32_t n_rows = 0;

  std::span<const Part> parts() const { return {storage.data(), n_parts}; }
};

// Waits for one expert, and takes those that are there besides while scratch has rows for them. Empty when all were computed.
Status take_experts(const Sweep& sweep, const MoeWeights& weights, ExpertBatch& batch) {
  const Scratch& s = sweep.scratch;
  do {
    HYPURA_TRY_ASSIGN(std::optional<scheduler::BlockLease> lease, sweep.cache.next_expert());
    if (!lease) return {};
    const uint32_t expert = index_of(lease->block()) - weights.first_block;
    CHECK(expert < sweep.spec.n_expert);
    const uint32_t first_row = s.first_row[expert];
    const uint32_t n_rows = s.first_row[expert + 1] - first_row;
    batch.storage[batch.n_parts++] = {std::move(*lease), expert, first_row, n_rows, batch.n_rows};
    batch.n_rows += n_rows;
    const std::optional<BlockId> another = sweep.cache.another_expert();
    if (!another) return {};
    const uint32_t next = index_of(*another) - weights.first_block;
    if (batch.n_rows + s.first_row[next + 1] - s.first_row[next] > s.n_mid_rows) return {};
  } while (batch.n_parts < ExpertBatch::kExpertsMax);
  return {};
}

// The inputs of one expert's rows in one form, side by side. A single one is used where it lies.
const std::byte* gather(const Sweep& sweep, ActivationForm form, const ExpertBatch::Part& part) {
  const Scratch& s = sweep.scratch;
  if (part.n_rows == 1) return s.input.row(form, s.entry_of[part.first_row]);
  // Rows of `input` may be wider apart than a vector of n_embd is long; those of `gathered` are exactly as far.
  const uint64_t bytes = s.gathered.stride(form);
  sweep.pool.for_each(part.n_rows, 16, [&](uint32_t begin, uint32_t end, uint32_t) {
    for (uint32_t i = begin; i < end; ++i)
      std::memcpy(s.gathered.row(form, part.at + i),
                  s.input.row(form, s.entry_of[part.first_row + i]), bytes);
  });
  return s.gathered.row(form, part.at);
}

// gate and up of all positions of the batch.
void multiply_gate_up(const Sweep& sweep, const MoeWeights& weights, const ExpertBatch& batch) {
  const ModelSpec& spec = sweep.spec;
  const Scratch& s = sweep.scratch;
  std::array<Segment, 2 * ExpertBatch::kExpertsMax> segments;
  uint32_t n_segments = 0;
  for (const ExpertBatch::Part& part : batch.parts()) {
    const auto& [gate, up, down] = weights.experts[part.expert];
    const std::byte* gate_rows = part.lease.extent(0);
    const std::byte* up_rows = weights.fused_gate_up
                                   ? gate_rows + spec.n_ff_expert * row_bytes(*gate.type, spec.n_embd)
                                   : part.lease.extent(1);
    const ActivationForm gate_form = gate.type->form;
    const ActivationForm up_form = up.type->form;
    const std::byte* gate_input = gather(sweep, gate_form, part);
    const std::byte* up_input = up_form == gate_form ? gate_input : gather(sweep, up_form, part);
    const uint64_t at = uint64_t{part.at} * spec.n_ff_expert;
    segments[n_segments++] = {.matmul = gate.matmul,
                              .weights = gate_rows,
                              .n_rows = spec.n_ff_expert,
                              .activations = gate_input,
                              .activation_stride = s.gathered.stride(gate_form),
                              .n_positions = part.n_rows,
                              .out = s.gate + at,
                              .out_stride = spec.n_ff_expert};
    segments[n_segments++] = {.matmul = up.matmul,
                              .weights = up_rows,
                              .n_rows = spec.n_ff_expert,
                              .activations = up_input,
                              .activation_stride = s.gathered.stride(up_form),
                              .n_positions = part.n_rows,
                              .out = s.up + at,
                              .out_stride = spec.n_ff_expert};
  }
  multiply(sweep, {segments.data(), n_segments}, spec.n_embd);
}

// down of all positions of the batch, into their rows of expert_rows.
void multiply_down(const Sweep& sweep, const MoeWeights& weights, const ExpertBatch& batch) {
  const ModelSpec& spec = sweep.spec;
  const Scratch& s = sweep.scratch;
  std::array<Segment, ExpertBatch::kExpertsMax> segments;
  uint32_t n_segments = 0;
  for (const ExpertBatch::Part& part : batch.parts()) {
    const ExpertMatrix& down = weights.experts[part.expert][2];
    segments[n_segments++] = {.matmul = down.matmul,
                              .weights = part.lease.extent(weights.fused_gate_up ? 1 : 2),
                              .n_rows = spec.n_embd,
                              .activations = s.mid.row(down.type->form, part.at),
                              .activation_stride = s.mid.stride(down.type->form),
                              .n_positions = part.n_rows,
                              .out = s.expert_rows + uint64_t{part.first_row} * spec.n_embd,
                              .out_stride = spec.n_embd};
  }
  multiply(sweep, {segments.data(), n_segments}, spec.n_ff_expert);
}

// All experts that were asked for, into expert_rows.
Status compute_experts(const Sweep& sweep, const MoeWeights& weights, uint16_t layer) {
  while (true) {
    ExpertBatch batch;
    HYPURA_TRY(take_experts(sweep, weights, batch));
    if (batch.n_parts == 0) return {};
    multiply_gate_up(sweep, weights, batch);
    FormSet down_forms = 0;
    for (const ExpertBatch::Part& part : batch.parts())
      down_forms |= form_set(weights.experts[part.expert][2].type->form);
    HYPURA_TRY(activate(sweep, batch.n_rows, sweep.spec.n_ff_expert, down_forms, layer));
    multiply_down(sweep, weights, batch);
  }
}

// block_out += weight * row, in rank order.
void add_expert_rows(const Sweep& sweep) {
  const Scratch& s = sweep.scratch;
  const uint32_t n_embd = sweep.spec.n_embd;
  const uint32_t n_used = sweep.spec.n_expert_used;
  sweep.pool.for_each(sweep.n_entries(), 1, [&](uint32_t begin, uint32_t end, uint32_t) {
    for (uint64_t i = begin; i < end; ++i)
      for (uint64_t choice = i * n_used; choice < (i + 1) * n_used; ++choice)
        sweep.kernels.add_scaled(s.expert_rows + uint64_t{s.row_of[choice]} * n_embd,
                                 s.weights[choice], n_embd, s.block_out + i * n_embd);
  });
}

}  // namespace

Status feed_forward_mixture(const Sweep& sweep, const LayerWeights& weights, uint16_t layer,
                            const LayerWeights* next) {
  const MoeWeights& moe = weights.moe;
  const FormSet forms = moe.router.forms() | moe.shared_router.forms() | moe.input_forms |
                        weights.ffn.gate.forms() | weights.ffn.up.forms();
  HYPURA_TRY(quantize_normed(sweep, nullptr, sweep.n_entries(), weights.ffn_norm, forms, layer,
                             "the input of the experts"));
  HYPURA_TRY(route(sweep, moe, layer));
  group_by_expert(sweep);
  HYPURA_TRY(request_union(sweep, moe, layer));
  if (next != nullptr) guess_experts(sweep, *next);
  HYPURA_TRY(begin_results(sweep, weights, layer));
  HYPURA_TRY(compute_experts(sweep, moe, layer));
  add_expert_rows(sweep);
  add_block(sweep, nullptr, weights.ffn_post_norm);
  return {};
}

}  // namespace hypura::model
