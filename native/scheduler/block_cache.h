// The one door to weights: trunk, pinned stack, ring and pools behind a handful of functions.
//
// The decoder asks for blocks in the order it computes and gets leases: pointers that stay valid until they are released.
// Only acquire_run() and next() wait, and that wait is the stall that is counted. Reads go on in the I/O thread meanwhile.
// Thread: token loop only, unless stated.   Allocates: in create(), never later (error paths excepted).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "native/base/ids.h"
#include "native/base/limits.h"
#include "native/base/status.h"
#include "native/scheduler/copies.h"

namespace hypura::nvme_io {
class Arena;
class IoBackend;
class ModelFile;
}  // namespace hypura::nvme_io

namespace hypura::scheduler {

class BlockTable;
class EventRing;
class FixedWeights;
struct Plan;
enum class BlockKind : uint8_t;

// Sizes of the regions, summed by the planner and checked by load_message: a record of the Load message's budget.
struct CacheSizes {
  uint64_t trunk_bytes = 0;       // sum of the trunk blocks' hulls, each rounded up to 4096
  uint64_t pinned_bytes = 0;      // sum of the hulls of the first pin_count bands of the pin order
  uint64_t ring_bytes = 0;        // multiple of 4096; 0 only when every band is pinned
  uint64_t pool_slot_bytes = 0;   // multiple of 4096: sum of the extents' hulls of the largest expert; 0 without experts
  uint32_t pool_slots = 0;
  uint32_t row_slots = 0;
  uint64_t row_slot_bytes = 0;    // multiple of 4096: largest hull of a row band
  uint32_t pin_count = 0;
};

// How much of the loaded regions is used under another budget; never more than was loaded.
struct CacheDivision {
  uint32_t pin_count = 0;   // bands of the pin order that stay
  uint32_t pool_slots = 0;
  // As loaded. A cache that was loaded without a ring: 0 while all bands stay, else a multiple of 4096 that holds any band,
  // which is cut from the end of the pinned stack.
  uint64_t ring_bytes = 0;
};

enum class ResizeProgress : uint8_t {
  kDone,
  kMore,   // call again
  kWaits,  // for reads: call again a little later
};

// Since load; read by any thread.
struct CacheCounters {
  std::atomic<uint64_t> read_bytes{0};        // bytes that came back from reads, hulls and retried parts included
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> retries{0};
  std::atomic<uint64_t> hits{0};              // blocks found in memory when first asked for in a sweep
  std::atomic<uint64_t> misses{0};            // blocks that had to be read for this sweep
  std::atomic<uint64_t> hit_bytes{0};
  std::atomic<uint64_t> miss_bytes{0};
  std::atomic<uint64_t> stall_ns{0};          // time that acquire_run() and next() waited
  std::atomic<uint64_t> evictions{0};
  std::atomic<uint64_t> load_bytes{0};        // bytes filled by load() so far
  std::atomic<uint64_t> load_bytes_total{0};  // what load() will fill
  std::array<CopyCounters, kCopiesMax> copies;
  std::atomic<uint64_t> guessed{0};           // blocks that guesses named, and how many of them were asked for
  std::atomic<uint64_t> guessed_correctly{0};
  std::atomic<uint64_t> guess_asked{0};       // blocks asked for in layers that were guessed
  std::atomic<uint64_t> guess_read_bytes{0};  // read for guesses, and how much of it was of use
  std::atomic<uint64_t> guess_used_bytes{0};
  std::atomic<uint64_t> placed_bytes{0};      // in use now, of what the sizes say
  std::atomic<uint64_t> given_back_bytes{0};  // pages of the regions that are with the system now
};

class BlockCache;

// One band in memory: `data` is row `row_begin` of its tensor.
struct BandView {
  BlockId block = kNoBlock;
  const std::byte* data = nullptr;
  uint32_t row_begin = 0;
  uint32_t row_count = 0;
};

// Right to use a run of bands; the destructor releases them.
class BandRun {
 public:
  static constexpr uint32_t kBandsMax = 64;
  BandRun() = default;
  BandRun(BandRun&& other) noexcept;
  BandRun& operator=(BandRun&& other) noexcept;
  ~BandRun();
  std::span<const BandView> bands() const { return {views_.data(), count_}; }

 private:
  friend class BlockCache;
  BlockCache* cache_ = nullptr;
  uint32_t count_ = 0;
  std::array<BandView, kBandsMax> views_;
};

// Right to use one pool block; the destructor releases it.
class BlockLease {
 public:
  BlockLease() = default;
  BlockLease(BlockLease&& other) noexcept;
  BlockLease& operator=(BlockLease&& other) noexcept;
  ~BlockLease();
  BlockId block() const { return block_; }
  // Where extent i of the block begins, past the hull's lead.
  const std::byte* extent(uint32_t i) const { return extents_[i]; }

 private:
  friend class BlockCache;
  BlockCache* cache_ = nullptr;
  BlockId block_ = kNoBlock;
  SlotId slot_{};
  std::array<const std::byte*, kExtentsPerBlockMax> extents_{};
};

// What a sweep is about to do, so that the ring can read ahead across its end.
struct SweepInfo {
  uint32_t number = 0;        // counts sweeps since load; stamped on events
  bool with_head = true;      // this sweep takes the head's bands
  bool next_with_head = true; // the next one, as far as known, will
  bool prefill = false;       // more than one position: the plan's prefill admission applies
  bool continues = false;     // the sweep before was of the position before, in the same sequence
  const std::atomic<bool>* cancelled = nullptr;  // tested in every wait; outlives the sweep
};

class BlockCache {
 public:
  // Carves its regions from the arena. `files` in FileId order, those of the first copy, then of the others; all arguments
  // but `copies` outlive the cache. Starts the I/O thread, which owns `backend`; io_depth: reads in flight per drive.
  // Error: kInsufficientMemory, kInternal (sizes that do not agree with the table).
  static Result<std::unique_ptr<BlockCache>> create(const BlockTable& table, const CacheSizes& sizes,
                                                    std::span<const nvme_io::ModelFile> files,
                                                    std::unique_ptr<nvme_io::IoBackend> backend,
                                                    uint32_t io_depth, nvme_io::Arena& arena, EventRing& events,
                                                    const CopyLayout& copies = {});
  // No cache at all: every block lies at its place in a file's image from the beginning (fixed_weights.h). files: byte 0 of
  // each file, in FileId order. Never reads, never waits; load(), plans and sweeps change nothing.
  static std::unique_ptr<BlockCache> create_fixed(const BlockTable& table, std::vector<const std::byte*> files);
  ~BlockCache();  // waits for outstanding reads; no lease may be alive

  // Fills trunk and pinned stack, and the expert pool: with every expert when it holds all, else with what the plan warms. Called
  // once, before any sweep. A warmed expert that cannot be read is left out.
  // Errors: kIo, kModelChanged, kCancelled.
  Status load(const Plan& plan, const std::atomic<bool>& cancelled);

  // Before the first acquire of a sweep. The plan must stay alive until the next begin_sweep().
  void begin_sweep(const Plan& plan, const SweepInfo& sweep);
  // After the last one: lets idle time work on the plan's warm list and the ring run into the next sweep. Never waits.
  void end_sweep();

  // A trunk block's first extent; always in memory after load().
  const std::byte* trunk(BlockId block) const;

  // The longest ready run of bands `first`, `first` + 1, ... of at most count_max; waits for `first` alone. Within a sweep
  // bands are asked for in ascending order; skipping some is allowed (they are read past).
  Result<BandRun> acquire_run(BlockId first, uint32_t count_max);

  // Wants these blocks, all experts or all row bands, each once, any order. Reads of absent ones are queued at once (as far as
  // slots allow). One request of each kind at a time.
  Status request(std::span<const BlockId> blocks);
  // Whether an expert is here or on its way, other than by a guess that was of no use yet: what it counts as if it is asked for now.
  bool has_expert(BlockId block) const;
  // How many candidates for the experts of a later request are worth naming now, best first; 0: none. guesses.h says what
  // becomes of them.
  uint32_t guesses_wanted() const;
  void guess(std::span<const BlockId> blocks);
  // Where the plan has a table of what follows what and says to guess by it: names, of the next layer's experts, which are blocks
  // [first, first + count), at most `most` that follow what was requested. False: guessing is left to the caller.
  bool guess_followers(BlockId first, uint32_t count, uint32_t most);
  // The next block of the last request of that kind: resident ones first, then by arrival; empty when all were handed out.
  // Hold at most one lease when the pool is as small as it may be (two slots).
  Result<std::optional<BlockLease>> next_expert();
  Result<std::optional<BlockLease>> next_row_band();
  // What next_expert() would hand out at once, if that can be held beside other leases: empty when it would wait, and when
  // blocks of the request wait for slots that those leases hold.
  std::optional<BlockId> another_expert();

  // After load(), when every copy was seen to be unchanged: the bytes in their places are good. What is read into such
  // places from here on comes from the first copy alone, because drop_copy() does not forget it.
  void copies_checked();
  // Between sweeps: a copy of the model is not what it was. Nothing more is read from it, and all that sweeps have read
  // so far is forgotten, from whatever copy.
  void drop_copy(uint32_t copy);
  // What a division places; the largest number for one that the regions cannot hold.
  uint64_t division_bytes(const CacheDivision& division) const;
  // Another division, to be reached by resize_step(); it replaces one that is on its way.
  // Errors: kInvalidArgument for one that the regions cannot hold, kUnsupported without a cache; nothing changes.
  Status set_division(const CacheDivision& target);
  // Between sweeps: goes on towards the division and never waits. What leaves is given back at once, but for memory that a
  // read may still write into. What comes back comes in pieces of some 64 MiB, read while sweeps go on.
  // Errors, after which the cache works on with the division it has: kInsufficientMemory, kIo, kModelChanged.
  Result<ResizeProgress> resize_step();
  // False while the last bands are read into the place of a ring that is not needed any more: no sweep may begin.
  bool sweepable() const;
  // The division in force.
  CacheDivision division() const;

  const CacheCounters& counters() const;  // any thread

 private:
  friend class BandRun;
  friend class BlockLease;
  struct State;
  explicit BlockCache(std::unique_ptr<State> state);
  explicit BlockCache(std::unique_ptr<FixedWeights> fixed);
  Result<std::optional<BlockLease>> next(BlockKind kind);
  void release_run(BandRun& run);
  void release_lease(BlockLease& lease);
  std::unique_ptr<State> state_;
  std::unique_ptr<FixedWeights> fixed_;  // one of the two
};

}  // namespace hypura::scheduler
