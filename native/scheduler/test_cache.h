// A BlockCache over a random model in a temporary file, with a decoder that only compares bytes.
//
// The decoder asks for blocks as the real one does, in random variations, and checks every leased byte against the file:
// the oracle of every test of the cache. All calls run under HotPathGuard, so an allocation aborts.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "native/base/check.h"
#include "native/base/hot_path_guard.h"
#include "native/base/testing.h"
#include "native/nvme_io/arena.h"
#include "native/nvme_io/io_testing.h"
#include "native/nvme_io/model_file.h"
#include "native/scheduler/block_cache.h"
#include "native/scheduler/event_ring.h"
#include "native/scheduler/plan.h"
#include "native/scheduler/test_io.h"
#include "native/scheduler/test_model.h"

namespace hypura::scheduler {

// Ends the program when a test hangs, with the test's name.
class Watchdog {
 public:
  Watchdog(std::string name, std::chrono::seconds limit)
      : thread_([this, name = std::move(name), limit] {
          std::unique_lock lock(mutex_);
          if (over_.wait_for(lock, limit, [&] { return done_; })) return;
          std::cerr << "watchdog: " << name << " hangs\n";
          std::abort();
        }) {}
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    over_.notify_one();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool done_ = false;
  std::thread thread_;
};

struct CacheShape {
  TestShape model;
  uint32_t pin_count = 0;
  uint64_t ring_bytes = 0;  // 0: the largest streamed band
  uint32_t pool_slots = 0;
  uint32_t row_slots = 2;
  uint32_t io_depth = 4;
  bool direct = false;
};

class CacheBench {
 public:
  // backend: null for a drive in memory.
  CacheBench(const CacheShape& shape, uint64_t seed,
             std::unique_ptr<nvme_io::IoBackend> backend = nullptr)
      : model(make_test_model(shape.model, seed)),
        table(model.table()),
        drive(seed),
        events(4096),
        random(seed) {
    std::vector<uint32_t> alignments;
    for (size_t i = 0; i < model.files.size(); ++i) {
      const std::string path = folder.path("part" + std::to_string(i) + ".gguf");
      const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
      CHECK(fd >= 0);
      const auto& bytes = model.files[i];
      CHECK(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
      CHECK(::fsync(fd) == 0);
      ::close(fd);
      auto file = nvme_io::ModelFile::open(path, nvme_io::testing::identity_of(path), shape.direct);
      CHECK(file.ok());
      files.push_back(std::move(file).value());
      alignments.push_back(files.back().alignment_bytes());
      drive.files.emplace_back(files.back().fd(), &model.files[i]);
    }
    drive.faults.alignment_bytes = *std::min_element(alignments.begin(), alignments.end());
    hulls = std::make_unique<BlockHulls>(table, alignments);
    size_regions(shape);
    const uint64_t arena_bytes = sizes.trunk_bytes + sizes.pinned_bytes + sizes.ring_bytes +
                                 sizes.pool_slots * sizes.pool_slot_bytes +
                                 sizes.row_slots * sizes.row_slot_bytes;
    auto made = nvme_io::Arena::create(std::max<uint64_t>(arena_bytes, 4096));
    CHECK(made.ok());
    arena.emplace(std::move(made).value());
    if (backend == nullptr) backend = std::make_unique<FakeIo>(drive, shape.io_depth);
    auto cache_made = BlockCache::create(table, sizes, files, std::move(backend), shape.io_depth,
                                         *arena, events);
    EXPECT_OK(cache_made.status());
    if (cache_made.ok()) cache = std::move(cache_made).value();
    plan.pin_count = sizes.pin_count;
  }
  bool load() {
    const std::atomic<bool> never{false};
    const Status status = cache->load(plan, never);
    EXPECT_OK(status);
    return status.ok();
  }

  // A random plan; the former one stays alive until the next call.
  const Plan& new_plan() {
    former_plan = std::exchange(plan, Plan{});
    plan.sequence_number = former_plan.sequence_number + 1;
    plan.pin_count = below(3) ? sizes.pin_count : below(sizes.pin_count + 1);
    plan.prefill_admission = static_cast<PrefillAdmission>(below(3));
    if (below(4) > 0)
      for (uint32_t i = 0; i < table.size(); ++i)
        plan.score.push_back(static_cast<float>(below(5)));
    if (below(2) && !model.experts.empty()) {
      plan.hold.assign(table.size(), false);
      for (uint32_t i = 0; i < sizes.pool_slots / 2; ++i)
        plan.hold[index_of(model.experts[below(model.experts.size())])] = true;
    }
    plan.guess_mode = static_cast<GuessMode>(below(4));
    plan.guesses_max = below(kGuessesMax + 1);
    plan.guess_source = static_cast<GuessSource>(below(kGuessSources));
    if (!model.experts.empty()) plan.followers = random_followers();
    for (uint32_t i = 0; below(3) && i < model.experts.size(); ++i)
      plan.warm.push_back(model.experts[below(model.experts.size())]);
    return plan;
  }

  // A table of the first experts, at random, empty places among them.
  FollowTable random_followers() {
    FollowTable followers;
    followers.first_row = model.experts.front();
    followers.n_rows = below(model.experts.size() + 1);
    followers.n_followers = below(5);
    for (uint32_t i = below(5); i > 0; --i) {
      const FollowOf of = static_cast<FollowOf>(below(2));
      followers.relations.push_back(
          {of, static_cast<uint16_t>(of == FollowOf::kToken ? 1 : 1 + below(kFollowLayersMax))});
    }
    for (uint32_t i = 0; i < followers.n_rows; ++i)
      followers.base.push_back(static_cast<uint16_t>(below(4)));
    const uint64_t places = followers.relations.size() * followers.n_rows * followers.n_followers;
    for (uint64_t i = 0; i < places; ++i)
      followers.followers.push_back({static_cast<uint16_t>(chance(20) ? kNobody : below(4)),
                                     static_cast<uint16_t>(below(3) ? below(6) : 0xffff)});
    return followers;
  }

  // What a sweep does. Zero in a field of chances means never.
  struct Walk {
    bool with_head = true;
    bool next_with_head = true;
    bool prefill = false;
    uint32_t skip_percent = 0;      // leave a band out
    uint32_t back_percent = 0;      // ask for an earlier band again
    uint32_t stop_percent = 0;      // end the sweep early
    uint32_t run_max = 8;
    uint32_t experts_max = 0;       // per request
    uint32_t leases_max = 1;        // held at once
    uint32_t guess_percent = 0;     // after a request for experts, guess the next; one in two guesses is right
    const std::atomic<bool>* cancelled = nullptr;
  };

  // One sweep; the first error ends it, as it ends a decoder's.
  Status sweep(const Walk& walk) {
    const SweepInfo info{.number = ++sweeps,
                         .with_head = walk.with_head,
                         .next_with_head = walk.next_with_head,
                         .prefill = walk.prefill,
                         .continues = below(4) > 0,
                         .cancelled = walk.cancelled};
    {
      const HotPathGuard guard;
      cache->begin_sweep(plan, info);
    }
    const Status status = walk_blocks(walk);
    {
      const HotPathGuard guard;
      cache->end_sweep();
    }
    return status;
  }

  uint32_t below(uint64_t limit) { return static_cast<uint32_t>(random() % limit); }
  bool chance(uint32_t percent) { return percent > 0 && below(100) < percent; }
  uint64_t streamed_bytes(uint32_t pin_count, bool with_head) const {
    uint64_t sum = 0;
    for (size_t rank = pin_count; rank < model.pin_order.size(); ++rank)
      if (with_head || model.pin_order[rank] < model.first_head_band)
        sum += hulls->hull_bytes(model.pin_order[rank]);
    return sum;
  }
  std::vector<Event> drained() {
    std::vector<Event> all(4096);
    all.resize(events.drain(all));
    return all;
  }

  nvme_io::testing::TempFolder folder;
  TestModel model;
  BlockTable table;
  Drive drive;
  EventRing events;
  std::mt19937_64 random;
  std::vector<nvme_io::ModelFile> files;
  std::unique_ptr<BlockHulls> hulls;
  CacheSizes sizes;
  std::optional<nvme_io::Arena> arena;
  Plan plan, former_plan;
  std::unique_ptr<BlockCache> cache;
  uint32_t sweeps = 0;
  uint64_t compared = 0;  // leases whose bytes were compared

 private:
  void size_regions(const CacheShape& shape) {
    const auto largest = [&](const std::vector<BlockId>& blocks) {
      uint64_t bytes = 0;
      for (BlockId block : blocks) bytes = std::max(bytes, hulls->slot_bytes(block));
      return bytes;
    };
    for (BlockId block : model.trunks) sizes.trunk_bytes += hulls->slot_bytes(block);
    sizes.pin_count = shape.pin_count;
    for (uint32_t rank = 0; rank < shape.pin_count; ++rank)
      sizes.pinned_bytes += hulls->slot_bytes(model.pin_order[rank]);
    const std::vector<BlockId> streamed(model.pin_order.begin() + shape.pin_count,
                                        model.pin_order.end());
    sizes.ring_bytes = std::max(largest(streamed), align_up(shape.ring_bytes, 4096));
    sizes.pool_slots = model.experts.empty() ? 0 : shape.pool_slots;
    sizes.pool_slot_bytes = largest(model.experts);
    sizes.row_slots = shape.row_slots;
    sizes.row_slot_bytes = largest(model.row_bands);
  }

  std::vector<BlockId> next_experts_;  // asked for by the next request

  bool same(BlockId block, uint32_t extent, const std::byte* data) {
    ++compared;
    const uint64_t bytes = table.extents(block)[extent].size_bytes;
    if (std::memcmp(data, model.extent_bytes(block, extent), bytes) == 0) return true;
    std::cerr << "  sweep " << sweeps << ": block " << index_of(block) << " has other bytes\n";
    return false;
  }

  Status walk_blocks(const Walk& walk) {
    for (BlockId block : model.trunks) EXPECT(same(block, 0, cache->trunk(block)));
    HYPURA_TRY(walk_pool(walk, model.row_bands, 3, false));
    const auto end = walk.with_head ? model.bands.end()
                                    : std::lower_bound(model.bands.begin(), model.bands.end(),
                                                       model.first_head_band);
    for (auto at = model.bands.begin(); at != end;) {
      if (chance(walk.stop_percent)) return {};
      if (chance(walk.back_percent)) at = model.bands.begin() + below(at - model.bands.begin() + 1);
      if (chance(walk.skip_percent)) {
        ++at;
        continue;
      }
      uint32_t taken = 0;
      {
        std::optional<Result<BandRun>> run;
        const uint32_t count_max = 1 + below(std::min<uint64_t>(walk.run_max, end - at));
        {
          const HotPathGuard guard;
          run.emplace(cache->acquire_run(*at, count_max));
        }
        if (!run->ok()) return run->status();
        const auto bands = run->value().bands();
        EXPECT(!bands.empty() && bands.size() <= count_max);
        for (const BandView& view : bands) {
          EXPECT(index_of(view.block) == index_of(*at) + taken++);
          EXPECT(view.row_begin == table[view.block].row_begin && view.row_count == 32);
          EXPECT(same(view.block, 0, view.data));
        }
        const HotPathGuard guard;
        run.reset();
      }
      at += taken;
      if (walk.experts_max > 0 && chance(50))
        HYPURA_TRY(walk_pool(walk, model.experts, walk.experts_max, true));
    }
    return {};
  }

  std::vector<BlockId> some_of(std::vector<BlockId> blocks, uint32_t count_max) {
    std::shuffle(blocks.begin(), blocks.end(), random);
    blocks.resize(1 + below(std::min<uint64_t>(count_max, blocks.size())));
    return blocks;
  }

  // Requests some of these blocks and takes them all, each once.
  Status walk_pool(const Walk& walk, const std::vector<BlockId>& all, uint32_t count_max,
                   bool experts) {
    if (all.empty()) return {};
    std::vector<BlockId> asked = experts && !next_experts_.empty() ? std::exchange(next_experts_, {})
                                                                    : some_of(all, count_max);
    {
      const HotPathGuard guard;
      if (Status status = cache->request(asked); !status.ok()) return status;
    }
    if (experts && chance(walk.guess_percent)) {
      std::vector<BlockId> guess = some_of(all, kGuessesMax);
      if (below(2)) next_experts_ = some_of(guess, count_max);
      guess.resize(std::min<size_t>(guess.size(), cache->guesses_wanted()));
      const HotPathGuard guard;
      const BlockId first = model.experts[below(model.experts.size() - 3)];
      if (!cache->guess_followers(first, 4, static_cast<uint32_t>(guess.size()))) cache->guess(guess);
    }
    std::vector<std::optional<BlockLease>> held;
    held.reserve(asked.size());
    while (true) {
      if (held.size() >= walk.leases_max) {
        const HotPathGuard guard;
        held[held.size() - walk.leases_max].reset();
      }
      std::optional<Result<std::optional<BlockLease>>> next;
      {
        const HotPathGuard guard;
        next.emplace(experts ? cache->next_expert() : cache->next_row_band());
      }
      if (!next->ok()) return next->status();
      if (!next->value()) break;
      held.push_back(std::move(next->value()));
      const BlockId block = held.back()->block();
      const auto it = std::find(asked.begin(), asked.end(), block);
      EXPECT(it != asked.end());
      if (it != asked.end()) asked.erase(it);
      // All leases that are still held, the new one and the older ones.
      for (const auto& lease : held)
        for (uint32_t i = 0; lease && i < table[lease->block()].n_extents; ++i)
          EXPECT(same(lease->block(), i, lease->extent(i)));
    }
    EXPECT(asked.empty());
    return {};
  }
};

}  // namespace hypura::scheduler
