// The plan's table as a source of guesses: what was asked for so far, and what that says of the next layer.
//
// Sums of integers, ties to the lower expert: a pure function of the plan and of what this token's layers and the token before
// asked for. Guesses that are wrong cost time and nothing else, so sequences in turn may spoil what is known of the token before: it is
// left out unless the sweep before was of the position before.
// Thread: token loop only.   Allocates: in the constructor, never later.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "native/base/ids.h"
#include "native/base/limits.h"
#include "native/scheduler/plan.h"

namespace hypura::scheduler {

class BlockTable;

class Followers {
 public:
  explicit Followers(const BlockTable& table);

  // The plan stays alive until the next call. prefill: nothing is learnt of what single positions choose.
  // continues: the sweep before was of the position before, in the same sequence
  void begin_sweep(const Plan& plan, bool prefill, bool continues);
  // What the next mixture layer of the sweep asks for.
  void asked(std::span<const BlockId> blocks);

  // Whether the plan's table is what guesses come from.
  bool is_source() const { return plan_ != nullptr && plan_->guess_source == GuessSource::kTable; }
  // Of the layer that comes next, whose experts are blocks [first, first + count): those with the highest sums, best first, at most
  // `most`; experts of which the table says nothing are left out. Valid until the next call.
  std::span<const BlockId> likeliest(BlockId first, uint32_t count, uint32_t most);

 private:
  void add(std::span<const Follower> row);

  const Plan* plan_ = nullptr;
  bool prefill_ = false;
  bool continues_ = false;
  uint32_t sweep_ = 1;               // counts
  uint32_t layers_asked_ = 0;        // of this sweep
  std::vector<uint32_t> asked_in_;   // by block: the last sweep of one position that asked for it
  std::array<std::vector<BlockId>, kFollowLayersMax> recent_;  // of layer n of the sweep: n % kFollowLayersMax
  std::vector<uint64_t> sums_;       // by expert of the layer that is guessed
  std::span<uint64_t> open_;         // of them those in use
  std::array<BlockId, kGuessesMax> named_{};
};

}  // namespace hypura::scheduler
