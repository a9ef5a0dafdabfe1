#include "native/model/kv_cache.h"

#include <algorithm>
#include <limits>
#include <string>

#include "native/base/bytes.h"
#include "native/base/check.h"
#include "native/base/limits.h"
#include "native/kernels/kv_rows.h"

namespace hypura::model {
namespace {

using kernels::KvType;

// A row fits in 33 bits, two rows times 256 positions in 42; the rest is checked.
uint64_t page_bytes(const ModelSpec& spec, KvTypes types) {
  const uint64_t per_head = (kernels::kv_row_bytes(types.k, spec.head_dim_k) +
                             kernels::kv_row_bytes(types.v, spec.head_dim_v)) *
                            kPositionsPerPage;
  return checked_mul(per_head, spec.n_head_kv).value_or(std::numeric_limits<uint64_t>::max());
}

uint64_t pages_for(uint32_t n_ctx) {
  return (uint64_t{n_ctx} + kPositionsPerPage - 1) / kPositionsPerPage;
}

Status check_type(const char* what, KvType type, uint32_t head_dim) {
  const uint32_t block = kernels::kv_block(type);
  if (head_dim % block == 0) return {};
  return Status::error(Code::kUnsupported,
                       std::string("heads of ") + std::to_string(head_dim) + " elements: " + what +
                           " of a Q8_0 cache are stored in blocks of " + std::to_string(block) +
                           ". Take F16.");
}

}  // namespace

Status KvCache::check_types(const ModelSpec& spec, KvTypes types) {
  HYPURA_TRY(check_type("keys", types.k, spec.head_dim_k));
  return check_type("values", types.v, spec.head_dim_v);
}

uint64_t KvCache::kv_bytes(const ModelSpec& spec, uint32_t n_ctx, uint32_t n_sequences,
                           KvTypes types) {
  uint64_t bytes = page_bytes(spec, types);
  for (const uint64_t factor : {pages_for(n_ctx), uint64_t{spec.n_layer}, uint64_t{n_sequences}})
    bytes = checked_mul(bytes, factor).value_or(std::numeric_limits<uint64_t>::max());
  return bytes;
}

Result<KvCache> KvCache::create(const ModelSpec& spec, uint32_t n_ctx, uint32_t n_sequences,
                                std::span<std::byte> memory, KvTypes types) {
  HYPURA_TRY(check_types(spec, types));
  const uint64_t bytes = kv_bytes(spec, n_ctx, n_sequences, types);
  if (bytes == 0)
    return Status::error(Code::kInvalidArgument,
                         "a KV cache needs at least one position, sequence, layer and head");
  if (memory.size() < bytes)
    return Status::error(Code::kInsufficientMemory,
                         "the KV cache of " + std::to_string(n_sequences) + " x " +
                             std::to_string(n_ctx) + " positions needs " + std::to_string(bytes) +
                             " bytes, it was given " + std::to_string(memory.size()) +
                             ". Lower the context length or the number of sequences.");
  CHECK(reinterpret_cast<uintptr_t>(memory.data()) % 64 == 0);

  KvCache cache;
  cache.n_ctx_ = n_ctx;
  cache.n_layer_ = spec.n_layer;
  cache.n_head_kv_ = spec.n_head_kv;
  cache.head_dim_k_ = spec.head_dim_k;
  cache.head_dim_v_ = spec.head_dim_v;
  cache.types_ = types;
  cache.k_row_bytes_ = kernels::kv_row_bytes(types.k, spec.head_dim_k);
  cache.v_row_bytes_ = kernels::kv_row_bytes(types.v, spec.head_dim_v);
  cache.pages_per_layer_ = static_cast<uint32_t>(pages_for(n_ctx));
  cache.lengths_.assign(n_sequences, 0);
  cache.pages_.resize(uint64_t{n_sequences} * spec.n_layer * cache.pages_per_layer_);
  for (uint64_t i = 0; i < cache.pages_.size(); ++i)
    cache.pages_[i] = memory.data() + i * page_bytes(spec, types);
  return cache;
}

void KvCache::set_length(uint32_t sequence, uint32_t length) {
  CHECK(sequence < lengths_.size() && length <= n_ctx_);
  lengths_[sequence] = length;
}

void KvCache::truncate(uint32_t sequence, uint32_t length) {
  CHECK(sequence < lengths_.size());
  lengths_[sequence] = std::min(lengths_[sequence], length);
}

std::byte* KvCache::page(uint32_t sequence, uint32_t layer, uint32_t position) {
  const uint64_t table = (uint64_t{sequence} * n_layer_ + layer) * pages_per_layer_;
  // The table is const for the attention kernel; the memory behind it was given as writable.
  return static_cast<std::byte*>(const_cast<void*>(pages_[table + position / kPositionsPerPage]));
}

std::byte* KvCache::k_row(uint32_t sequence, uint32_t layer, uint32_t kv_head, uint32_t position) {
  const uint64_t row = uint64_t{kv_head} * kPositionsPerPage + position % kPositionsPerPage;
  return page(sequence, layer, position) + row * k_row_bytes_;
}

std::byte* KvCache::v_row(uint32_t sequence, uint32_t layer, uint32_t kv_head, uint32_t position) {
  const uint64_t all_k = uint64_t{n_head_kv_} * kPositionsPerPage * k_row_bytes_;
  const uint64_t row = uint64_t{kv_head} * kPositionsPerPage + position % kPositionsPerPage;
  return page(sequence, layer, position) + all_k + row * v_row_bytes_;
}

kernels::KvView KvCache::view(uint32_t sequence, uint32_t layer, uint32_t kv_head) const {
  const uint64_t table = (uint64_t{sequence} * n_layer_ + layer) * pages_per_layer_;
  const uint64_t k_bytes = kPositionsPerPage * k_row_bytes_;
  const uint64_t v_bytes = kPositionsPerPage * v_row_bytes_;
  return {.pages = &pages_[table],
          .k_offset_bytes = kv_head * k_bytes,
          .v_offset_bytes = n_head_kv_ * k_bytes + kv_head * v_bytes,
          .head_dim_k = head_dim_k_,
          .head_dim_v = head_dim_v_,
          .k_type = types_.k,
          .v_type = types_.v};
}

}  // namespace hypura::model
