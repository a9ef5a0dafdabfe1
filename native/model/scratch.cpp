#include "native/model/scratch.h"

#include <algorithm>
#include <limits>
#include <string>

#include "native/base/bytes.h"
#include "native/base/check.h"
#include "native/kernels/attention.h"

namespace hypura::model {
namespace {

using kernels::ActivationForm;

constexpr uint64_t kTooLarge = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kBufferAlignment = 64;

// Hands out buffers one after the other. Without memory it only counts: the pointers are then null.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}

  template <typename T>
  void take(T*& buffer, uint64_t rows, uint64_t width = 1) {
    buffer = reinterpret_cast<T*>(bytes(product(product(rows, width), sizeof(T))));
  }
  void take(ActivationRows& rows, uint64_t n_rows, uint32_t width) {
    for (uint32_t form = 0; form < kernels::kActivationForms; ++form) {
      rows.stride_bytes[form] = activation_stride(static_cast<ActivationForm>(form), width);
      rows.data[form] = bytes(product(n_rows, rows.stride_bytes[form]));
    }
  }
  uint64_t used() const { return used_; }

 private:
  static uint64_t product(uint64_t a, uint64_t b) { return checked_mul(a, b).value_or(kTooLarge); }

  std::byte* bytes(uint64_t size) {
    const uint64_t begin = used_;
    const uint64_t end = checked_add(used_, size).value_or(kTooLarge);
    used_ = end > kTooLarge - kBufferAlignment ? kTooLarge : align_up(end, kBufferAlignment);
    return base_ == nullptr ? nullptr : base_ + begin;
  }

  std::byte* base_;
  uint64_t used_ = 0;
};

uint64_t lay_out(Scratch& s, std::byte* base, const ModelSpec& spec, uint32_t batch_positions,
                 uint32_t logits_rows, uint32_t n_threads) {
  const uint64_t P = batch_positions;
  const uint64_t rows = P * spec.n_expert_used;
  const uint32_t n_qkv_out = spec.n_head * spec.head_dim_v;
  const uint32_t n_in = std::max(spec.n_embd, n_qkv_out);
  const uint32_t n_mid = std::max({spec.n_ff, spec.n_ff_expert, spec.n_ff_shared});
  const uint32_t n_group = spec.n_head_kv == 0 ? 1 : spec.n_head / spec.n_head_kv;
  const uint32_t n_tile_rows =
      std::min(batch_positions, kernels::attention_tile_positions(n_group)) * n_group;

  Carver carver(base);
  carver.take(s.x, P, spec.n_embd);
  carver.take(s.block_out, P, spec.n_embd);
  carver.take(s.q, P, uint64_t{spec.n_head} * spec.head_dim_k);
  carver.take(s.k, P, uint64_t{spec.n_head_kv} * spec.head_dim_k);
  carver.take(s.v, P, uint64_t{spec.n_head_kv} * spec.head_dim_v);
  carver.take(s.attention_out, P, n_qkv_out);
  s.n_mid_rows = std::max(batch_positions, spec.n_expert == 0 ? 0 : spec.n_expert_used);
  carver.take(s.gate, s.n_mid_rows, n_mid);
  carver.take(s.up, s.n_mid_rows, n_mid);
  carver.take(s.cosines, P, spec.n_rot / 2);
  carver.take(s.sines, P, spec.n_rot / 2);
  carver.take(s.logits, logits_rows, spec.n_vocab);
  s.thread_row_floats = align_up(
      std::max<uint64_t>(spec.n_embd, kernels::attention_tile_floats(n_tile_rows, spec.head_dim_k,
                                                                     spec.head_dim_v)),
      kBufferAlignment / sizeof(float));
  carver.take(s.thread_row, n_threads, s.thread_row_floats);
  s.attention_part_floats = kernels::attention_part_floats(n_tile_rows, spec.head_dim_v);
  carver.take(s.attention_parts, kAttentionPartsPerThread * uint64_t{n_threads},
              s.attention_part_floats);
  carver.take(s.tiles, P);
  carver.take(s.input, P, n_in);
  carver.take(s.mid, s.n_mid_rows, n_mid);
  carver.take(s.entries, P);
  carver.take(s.blocks, std::max<uint64_t>(P, spec.n_expert));
  if (spec.n_expert == 0) return carver.used();

  carver.take(s.gathered, s.n_mid_rows, spec.n_embd);
  carver.take(s.router, P, spec.n_expert);
  carver.take(s.selection, n_threads, spec.n_expert);
  carver.take(s.shared_gate, P);
  carver.take(s.expert_rows, rows, spec.n_embd);
  carver.take(s.chosen, rows);
  carver.take(s.weights, rows);
  carver.take(s.row_of, rows);
  carver.take(s.entry_of, rows);
  carver.take(s.first_row, uint64_t{spec.n_expert} + 2);
  carver.take(s.expert_union, spec.n_expert);
  carver.take(s.guessed, spec.n_expert_used);
  carver.take(s.guess_weights, spec.n_expert_used);
  return carver.used();
}

}  // namespace

uint64_t scratch_bytes(const ModelSpec& spec, uint32_t batch_positions, uint32_t logits_rows,
                       uint32_t n_threads) {
  Scratch pointers;
  return lay_out(pointers, nullptr, spec, batch_positions, logits_rows, n_threads);
}

Result<Scratch> Scratch::carve(std::span<std::byte> memory, const ModelSpec& spec,
                               uint32_t batch_positions, uint32_t logits_rows, uint32_t n_threads) {
  const uint64_t bytes = scratch_bytes(spec, batch_positions, logits_rows, n_threads);
  if (memory.size() < bytes)
    return Status::error(Code::kInsufficientMemory,
                         "a sweep of " + std::to_string(batch_positions) + " positions needs " +
                             std::to_string(bytes) + " bytes of scratch, it was given " +
                             std::to_string(memory.size()) + ". Lower the batch size.");
  CHECK(reinterpret_cast<uintptr_t>(memory.data()) % kBufferAlignment == 0);
  Scratch scratch;
  lay_out(scratch, memory.data(), spec, batch_positions, logits_rows, n_threads);
  return scratch;
}

}  // namespace hypura::model
