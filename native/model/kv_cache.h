// Keys and values of all sequences, as F16 or Q8_0, in pages of 256 positions: the memory of attention.
//
// Why pages of 256: a page is one attention chunk, so the merge order of rule E6 is the page order. All pages are placed at
// load; nothing is allocated when a sequence grows, and truncating only forgets.
// Page of one (sequence, layer): K [n_head_kv][256][head_dim_k], then V [n_head_kv][256][head_dim_v], each of its type.
// Holds always: positions 0 .. length - 1 of a sequence are written in every layer.
// Thread: token loop; rows of different positions may be written by different threads at once.
// Allocates: in create() (the page tables), never later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "native/base/status.h"
#include "native/kernels/attention.h"
#include "native/model/model_spec.h"

namespace hypura::model {

// How K and V are stored. Part of the recipe: another type gives other logits.
struct KvTypes {
  kernels::KvType k = kernels::KvType::kF16;
  kernels::KvType v = kernels::KvType::kF16;
};

class KvCache {
 public:
  // Error: kUnsupported when rows of these heads cannot be stored in blocks of their type.
  static Status check_types(const ModelSpec& spec, KvTypes types);

  // Exact size: n_sequences * n_layer * ceil(n_ctx / 256) * 256 * n_head_kv * bytes of a row of K and one of V (an element
  // of F16 has 2 bytes, 32 of Q8_0 have 34). 2^64 - 1 when that does not fit in 64 bits.
  static uint64_t kv_bytes(const ModelSpec& spec, uint32_t n_ctx, uint32_t n_sequences,
                           KvTypes types = {});

  // memory: kv_bytes at least, 64-byte aligned; stays the caller's and must outlive the cache.
  // Errors: kInsufficientMemory with both sizes, kInvalidArgument for a cache of nothing, those of check_types().
  static Result<KvCache> create(const ModelSpec& spec, uint32_t n_ctx, uint32_t n_sequences,
                                std::span<std::byte> memory, KvTypes types = {});

  uint32_t n_ctx() const { return n_ctx_; }
  uint32_t n_sequences() const { return static_cast<uint32_t>(lengths_.size()); }

  // Positions that are complete. The decoder raises it at the end of a sweep that succeeded.
  uint32_t length(uint32_t sequence) const { return lengths_[sequence]; }
  void set_length(uint32_t sequence, uint32_t length);
  // Forgets positions from `length` on; does nothing when the sequence is not longer.
  void truncate(uint32_t sequence, uint32_t length);

  // Where the K and V of one position and kv head lie: kernels::write_kv_row writes them.
  std::byte* k_row(uint32_t sequence, uint32_t layer, uint32_t kv_head, uint32_t position);
  std::byte* v_row(uint32_t sequence, uint32_t layer, uint32_t kv_head, uint32_t position);
  KvTypes types() const { return types_; }
  kernels::KvView view(uint32_t sequence, uint32_t layer, uint32_t kv_head) const;

 private:
  KvCache() = default;
  std::byte* page(uint32_t sequence, uint32_t layer, uint32_t position);

  uint32_t n_ctx_ = 0;
  uint32_t n_layer_ = 0;
  uint32_t n_head_kv_ = 0;
  uint32_t head_dim_k_ = 0;
  uint32_t head_dim_v_ = 0;
  KvTypes types_;
  uint64_t k_row_bytes_ = 0;
  uint64_t v_row_bytes_ = 0;
  uint32_t pages_per_layer_ = 0;
  std::vector<const void*> pages_;  // [n_sequences][n_layer][pages_per_layer]
  std::vector<uint32_t> lengths_;   // [n_sequences]
};

}  // namespace hypura::model
