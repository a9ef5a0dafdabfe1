#include "native/model/kv_cache.h"

#include <algorithm>
#include <limits>
#include <string>

#include "native/base/bytes.h"
#include "native/base/check.h"
#include "native/base/limits.h"

namespace hypura::model {
namespace {

constexpr uint64_t kF16Bytes = 2;

// head_dim_k + head_dim_v fits in 33 bits, times 256 positions and 2 bytes in 42; the rest is checked.
uint64_t page_bytes(const ModelSpec& spec) {
  const uint64_t per_head =
      (uint64_t{spec.head_dim_k} + spec.head_dim_v) * kPositionsPerPage * kF16Bytes;
  return checked_mul(per_head, spec.n_head_kv).value_or(std::numeric_limits<uint64_t>::max());
}

uint64_t pages_for(uint32_t n_ctx) {
  return (uint64_t{n_ctx} + kPositionsPerPage - 1) / kPositionsPerPage;
}

}  // namespace

uint64_t KvCache::kv_bytes(const ModelSpec& spec, uint32_t n_ctx, uint32_t n_sequences) {
  uint64_t bytes = page_bytes(spec);
  for (const uint64_t factor : {pages_for(n_ctx), uint64_t{spec.n_layer}, uint64_t{n_sequences}})
    bytes = checked_mul(bytes, factor).value_or(std::numeric_limits<uint64_t>::max());
  return bytes;
}

Result<KvCache> KvCache::create(const ModelSpec& spec, uint32_t n_ctx, uint32_t n_sequences,
                                std::span<std::byte> memory) {
  const uint64_t bytes = kv_bytes(spec, n_ctx, n_sequences);
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
  cache.pages_per_layer_ = static_cast<uint32_t>(pages_for(n_ctx));
  cache.lengths_.assign(n_sequences, 0);
  cache.pages_.resize(uint64_t{n_sequences} * spec.n_layer * cache.pages_per_layer_);
  for (uint64_t i = 0; i < cache.pages_.size(); ++i)
    cache.pages_[i] = memory.data() + i * page_bytes(spec);
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

uint16_t* KvCache::page(uint32_t sequence, uint32_t layer, uint32_t position) {
  const uint64_t table = (uint64_t{sequence} * n_layer_ + layer) * pages_per_layer_;
  // The table is const for the attention kernel; the memory behind it was given as writable.
  return static_cast<uint16_t*>(const_cast<void*>(pages_[table + position / kPositionsPerPage]));
}

uint16_t* KvCache::k_row(uint32_t sequence, uint32_t layer, uint32_t kv_head, uint32_t position) {
  const uint64_t row = uint64_t{kv_head} * kPositionsPerPage + position % kPositionsPerPage;
  return page(sequence, layer, position) + row * head_dim_k_;
}

uint16_t* KvCache::v_row(uint32_t sequence, uint32_t layer, uint32_t kv_head, uint32_t position) {
  const uint64_t all_k = uint64_t{n_head_kv_} * kPositionsPerPage * head_dim_k_;
  const uint64_t row = uint64_t{kv_head} * kPositionsPerPage + position % kPositionsPerPage;
  return page(sequence, layer, position) + all_k + row * head_dim_v_;
}

kernels::KvView KvCache::view(uint32_t sequence, uint32_t layer, uint32_t kv_head) const {
  const uint64_t table = (uint64_t{sequence} * n_layer_ + layer) * pages_per_layer_;
  const uint64_t k_bytes = uint64_t{kPositionsPerPage} * head_dim_k_ * kF16Bytes;
  const uint64_t v_bytes = uint64_t{kPositionsPerPage} * head_dim_v_ * kF16Bytes;
  return {.pages = &pages_[table],
          .k_offset_bytes = kv_head * k_bytes,
          .v_offset_bytes = n_head_kv_ * k_bytes + kv_head * v_bytes,
          .head_dim_k = head_dim_k_,
          .head_dim_v = head_dim_v_};
}

}  // namespace hypura::model
