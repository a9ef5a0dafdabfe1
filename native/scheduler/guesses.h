// Experts that will probably be asked for next, read before they are: scored always, bounded when acted on, off by itself.
//
// The decoder names candidates for a later layer while the reads of this one are under way; when that layer asks, the guess is
// judged and expires. Four modes, from the plan: off; shadow, which only keeps score; retain, which gives up guessed residents
// last; prefetch, which also reads those that are absent. Nothing here can change a logit, only what is in memory when.
//
// Bounds on prefetch, whatever the plan says: its reads come after all demand and ring reads and are few in the kernel at once
// (io_thread.h); those that have not begun when the guess expires are dropped; what is read in vain stays within
// kWasteShare of what was needed; and where fewer than half of the reads are used, it rests for kRestSweeps. Each source of guesses
// has an account of its own, so that a bad one spoils no other's trial.
// Thread: token loop only.   Allocates: in the constructor, never later.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "native/base/ids.h"
#include "native/scheduler/cache_log.h"
#include "native/scheduler/hull.h"
#include "native/scheduler/plan.h"
#include "native/scheduler/pool_request.h"

namespace hypura::scheduler {

class Guesses {
 public:
  // Bytes read in vain per byte that was needed, in the long run.
  static constexpr double kWasteShare = 0.15;
  static constexpr uint32_t kRestSweeps = 256;
  // And at once: blocks that may be read in vain before any was of use, by each source.
  static constexpr uint32_t kWasteBlocksMax = 32;

  // experts, log and hulls outlive it.
  Guesses(const BlockHulls& hulls, PoolRequest& experts, CacheLog& log, uint64_t slot_bytes,
          uint32_t n_experts);

  // prefill: guesses rest, because a chunk asks for nearly all.
  void begin_sweep(const Plan& plan, bool prefill);
  void end_sweep();
  // How many candidates are worth naming, 0 for none.
  uint32_t wanted() const;
  // The next request will probably be for some of these, best first; replaces a guess that was not judged.
  void guess(std::span<const BlockId> blocks);
  // Before the request: these are what is asked for.
  void judge(std::span<const BlockId> asked);

 private:
  struct Guess {
    BlockId block = kNoBlock;
    bool read = false;     // by this guess
    bool correct = false;
  };
  // What a source has deserved.
  struct Account {
    uint32_t rest_sweeps = 0;  // left without reads, because too few were of use
    double credit_bytes = 0;
    double recent_reads = 0, recent_used = 0;  // decayed
  };
  Account& account() { return accounts_[static_cast<size_t>(source_)]; }
  void take_back_unbegun();
  void expire();

  const BlockHulls& hulls_;
  PoolRequest& experts_;
  CacheLog& log_;
  const uint32_t n_experts_;
  const double credit_most_bytes_;

  GuessMode mode_ = GuessMode::kOff;
  uint32_t most_ = 0;
  GuessSource source_ = GuessSource::kRouter;
  bool resting_ = false;     // in prefill
  std::array<Account, kGuessSources> accounts_;
  std::vector<Guess> guesses_;
  std::vector<uint32_t> asked_in_;  // by block: number of the last judged request that named it
  uint32_t number_ = 0;
  GuessScore score_;  // of this sweep
};

}  // namespace hypura::scheduler
