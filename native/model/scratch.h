// All activations of one sweep, laid out once in one piece of memory.
//
// Why one layout function: the size the planner budgets and the pointers the decoder uses come from the same code, so they
// cannot disagree. Rows of quantised activations are 64-byte aligned; buffers begin on multiples of 64 bytes.
// Thread: token loop; its workers write rows of their own.   Allocates: never.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "native/base/ids.h"
#include "native/base/status.h"
#include "native/kernels/quant_types.h"
#include "native/model/model_spec.h"

namespace hypura::model {

// The same vectors in each form their weights may ask for; only the forms that are asked for are written.
struct ActivationRows {
  std::array<std::byte*, kernels::kActivationForms> data{};
  std::array<uint64_t, kernels::kActivationForms> stride_bytes{};

  std::byte* row(kernels::ActivationForm form, uint32_t i) const {
    const auto f = static_cast<uint32_t>(form);
    return data[f] + i * stride_bytes[f];
  }
  uint64_t stride(kernels::ActivationForm form) const {
    return stride_bytes[static_cast<uint32_t>(form)];
  }
};

// Consecutive positions of one sequence, as attention takes them together.
struct QueryTile {
  uint32_t entry;  // of the batch: the first one
  uint32_t n_positions;
};

// Where attention has less than two tiles per thread, chunks of keys are the pieces of work. Then there are at most
// 2 T - 1 tiles: that many states, and the rest for chunks.
inline constexpr uint32_t kAttentionPartsPerThread = 6;

// P: batch_positions, T: n_threads, K: n_expert_used. Widths: n_qkv_out = n_head * head_dim_v; n_mid = the largest of n_ff,
// n_ff_expert and n_ff_shared; n_in = the larger of n_embd and n_qkv_out.
struct Scratch {
  float* x = nullptr;              // (P, n_embd) the residual stream
  float* block_out = nullptr;      // (P, n_embd) what a block adds to it
  float* q = nullptr;              // (P, n_head * head_dim_k)
  float* k = nullptr;              // (P, n_head_kv * head_dim_k)
  float* v = nullptr;              // (P, n_head_kv * head_dim_v)
  float* attention_out = nullptr;  // (P, n_qkv_out)
  float* gate = nullptr;           // (n_mid_rows, n_mid)
  float* up = nullptr;             // (n_mid_rows, n_mid)
  uint32_t n_mid_rows = 0;         // P, and K at least: the experts of a single position are computed together
  float* cosines = nullptr;        // (P, n_rot / 2)
  float* sines = nullptr;          // (P, n_rot / 2)
  float* logits = nullptr;         // (logits_rows, n_vocab)
  float* thread_row = nullptr;     // (T, thread_row_floats): a normed row, or parts of attention
  uint64_t thread_row_floats = 0;
  float* attention_parts = nullptr;  // (kAttentionPartsPerThread * T, attention_part_floats)
  uint64_t attention_part_floats = 0;
  QueryTile* tiles = nullptr;  // (P) tiles of the batch's queries
  ActivationRows input;         // (P, n_in)
  ActivationRows mid;           // (n_mid_rows, n_mid)
  uint32_t* entries = nullptr;  // (P) entries that want logits; while embedding, entries by token
  BlockId* blocks = nullptr;    // (max(P, n_expert)) of one request

  // Mixture layers only.
  ActivationRows gathered;        // (n_mid_rows, n_embd) inputs of each expert's positions, side by side
  float* router = nullptr;        // (P, n_expert)
  float* selection = nullptr;     // (T, n_expert) what the choice is made by
  float* shared_gate = nullptr;   // (P, 1)
  float* expert_rows = nullptr;   // (P * K, n_embd) one row per (position, rank), grouped by expert
  uint16_t* chosen = nullptr;     // (P, K) best first
  float* weights = nullptr;       // (P, K)
  uint32_t* row_of = nullptr;     // (P, K) row of expert_rows
  uint32_t* entry_of = nullptr;   // (P * K) the inverse: entry of a row
  uint32_t* first_row = nullptr;  // (n_expert + 2) of expert e; it ends before that of e + 1
  uint16_t* expert_union = nullptr;  // (n_expert)
  uint16_t* guessed = nullptr;       // (K) what the next layer may choose
  float* guess_weights = nullptr;    // (K)

  // memory: scratch_bytes at least, 64-byte aligned. Error: kInsufficientMemory with both sizes.
  static Result<Scratch> carve(std::span<std::byte> memory, const ModelSpec& spec,
                               uint32_t batch_positions, uint32_t logits_rows, uint32_t n_threads);
};

// Exact size of the layout. 2^64 - 1 when it does not fit in 64 bits.
uint64_t scratch_bytes(const ModelSpec& spec, uint32_t batch_positions, uint32_t logits_rows,
                       uint32_t n_threads);

}  // namespace hypura::model
