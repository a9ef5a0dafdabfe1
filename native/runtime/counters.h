// The numbers an engine reports about itself, as one row of doubles for NativeEngine.counters().
//
// Crosses the border by index: append only, never renumber (ts/native/layout.gen.ts is made from the names below).
// What the process as a whole did (resident bytes, bytes written) is read in TypeScript.
#pragma once

#include <array>
#include <cstdint>

namespace hypura::runtime {

enum class CounterIndex : uint32_t {
  kReadBytes,  // since load: bytes that came back from reads, hulls and retried parts included
  kReads,
  kRetries,
  kHits,    // blocks found in memory when first asked for in a sweep
  kMisses,  // blocks that had to be read for a sweep
  kHitBytes,
  kMissBytes,
  kStallNs,  // time the sweeps waited for bytes
  kEvictions,
  kLoadBytes,       // bytes filled by loading so far
  kLoadBytesTotal,  // what loading will fill
  kEventsDropped,   // event records lost because nobody drained them
  kSweeps,
  kPositions,   // positions evaluated, prompt and generated
  kTokens,      // tokens sampled
  kSweepNs,     // time spent in sweeps, stalls included
  kRequests,    // requests that began
  kPlanNumber,  // sequence number of the plan in force; 0 is the default plan
  kBudgetBytes,  // in force: that of the load, or of the last resize
  kArenaBytes,   // of the arena's pages, those that are not with the system
  kKvBytes,
  kScratchBytes,
  kHugePageBytes,  // of the arena, measured after loading
  kCompareBytes,       // of the model, compared in all copies while opening
  kCompareBytesTotal,  // what will be compared
  kPlacedBytes,    // regions in use; at most the budget in force
  kGuessed,        // experts that guesses named
  kGuessedCorrectly,
  kGuessAsked,     // experts asked for in layers that were guessed
  kGuessReadBytes,
  kGuessUsedBytes,
  kCount,
};

inline constexpr uint32_t kCounterCount = static_cast<uint32_t>(CounterIndex::kCount);

using CounterRow = std::array<double, kCounterCount>;

constexpr std::array<const char*, kCounterCount> kCounterNames = {
    "readBytes",   "reads",      "retries",   "hits",         "misses",         "hitBytes",
    "missBytes",   "stallNs",    "evictions", "loadBytes",    "loadBytesTotal", "eventsDropped",
    "sweeps",      "positions",  "tokens",    "sweepNs",      "requests",       "planNumber",
    "budgetBytes", "arenaBytes", "kvBytes",   "scratchBytes", "hugePageBytes",
    "compareBytes", "compareBytesTotal", "placedBytes",
    "guessed", "guessedCorrectly", "guessAsked", "guessReadBytes", "guessUsedBytes",
};

// What NativeEngine.copies() reports of each copy of the model, one row after the other: append only.
enum class CopyIndex : uint32_t {
  kReadBytes,  // since load, comparing left out
  kFailures,   // reads it did not give
  kState,      // scheduler::CopyState
  kErrno,      // of the latest failure; 0: the file ended early, or was changed
  kFile,       // of the model, and the place in it
  kOffset,
  kCount,
};

inline constexpr uint32_t kCopyIndexCount = static_cast<uint32_t>(CopyIndex::kCount);

constexpr std::array<const char*, kCopyIndexCount> kCopyIndexNames = {
    "readBytes", "failures", "state", "errno", "file", "offset",
};

}  // namespace hypura::runtime
