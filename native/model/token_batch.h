// What one sweep computes: a few tokens, each at a position of a sequence, and who wants to hear of the results.
//
// Plain data; the arrays stay the caller's and must outlive the sweep.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "native/base/status.h"

namespace hypura::model {

// One position. Within a batch the entries of a sequence stand in ascending order and continue it without a gap: the
// first one's position is the sequence's length in the KV cache.
struct TokenEntry {
  uint32_t token = 0;     // 0 .. n_vocab - 1
  uint32_t position = 0;  // 0 .. n_ctx - 1
  uint32_t sequence = 0;  // 0 .. n_sequences - 1
  bool wants_logits = false;
};

// Receives rows of logits, in the order of the entries that want them, at most `logits_rows` rows at a time.
//   first_row: counts the entries that want logits, from 0      logits (n_rows, n_vocab), valid during the call only
// An error ends the sweep with that error. Called on the thread that sweeps; must not allocate under a HotPathGuard.
using LogitsSink = Status (*)(void* context, uint32_t first_row, uint32_t n_rows,
                              const float* logits);

// Experience for the planner, one call per entry or layer, on the thread that sweeps; must not allocate.
class SweepObserver {
 public:
  virtual ~SweepObserver() = default;
  // The router's choice for batch entry `entry`, best first, and the weights its experts' rows are added with.
  virtual void on_route(uint16_t layer, uint32_t entry, std::span<const uint16_t> experts,
                        std::span<const float> weights) = 0;
  // All experts the batch needs of this layer, ascending: what the cache is asked for.
  virtual void on_union(uint16_t layer, std::span<const uint16_t> experts) = 0;
  // Those of the union that have to be read for it, ascending; called before they are asked for, if there are any.
  virtual void on_absent(uint16_t layer, std::span<const uint16_t> experts) = 0;
};

struct TokenBatch {
  std::span<const TokenEntry> entries;  // 1 .. batch_positions
  LogitsSink on_logits = nullptr;       // may be null when no entry wants logits
  void* logits_context = nullptr;
  SweepObserver* observer = nullptr;             // may be null
  const std::atomic<bool>* cancelled = nullptr;  // may be null; tested at each layer
};

}  // namespace hypura::model
