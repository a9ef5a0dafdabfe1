// What could break: a victim that is not the least worthy one, one that is leased or wanted, a clock that falls, a slot lost
// or given out twice. A naive list that is searched from end to end is the second implementation.
#include "native/scheduler/slot_pool.h"

#include <map>
#include <random>

#include "native/base/testing.h"

namespace hypura::scheduler {
namespace {

struct NaiveBlock {
  double priority;
  uint64_t used_at;
  PoolSlotState state = PoolSlotState::kLoading;
  bool wanted = false;
  uint32_t leases = 0;
};

struct NaivePool {
  uint32_t slots;
  std::map<uint32_t, NaiveBlock> blocks;  // loading or ready
  uint32_t quarantined = 0;
  std::vector<bool> held;
  double clock = 0;
  uint64_t uses = 0;

  // The block that leaves, -1 when a slot is free, -2 when there is no slot to be had.
  int64_t victim() {
    if (blocks.size() + quarantined < slots) return -1;
    int64_t best = -2;
    for (const bool take_held : {false, true}) {
      for (const auto& [id, block] : blocks) {
        if (block.state != PoolSlotState::kReady || block.wanted || block.leases > 0) continue;
        if (held[id] != take_held) continue;
        if (best < 0 || block.priority < blocks.at(static_cast<uint32_t>(best)).priority ||
            (block.priority == blocks.at(static_cast<uint32_t>(best)).priority &&
             block.used_at < blocks.at(static_cast<uint32_t>(best)).used_at))
          best = id;
      }
      if (best >= 0) break;
    }
    return best;
  }
};

TEST(pool_agrees_with_a_naive_search_on_random_traces) {
  uint32_t evictions = 0;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    std::mt19937_64 random(seed);
    const auto below = [&](uint64_t limit) { return static_cast<uint32_t>(random() % limit); };
    const uint32_t n_blocks = 20 + below(80), slots = 2 + below(24);
    std::vector<std::byte> region(slots * 64ull);
    SlotPool pool(region, 64, slots, n_blocks);
    NaivePool naive{.slots = slots, .blocks = {}, .held = std::vector<bool>(n_blocks, false)};
    std::vector<SlotId> quarantined;
    std::vector<double> score(n_blocks);
    for (double& s : score) s = below(4) * 0.5;  // many ties
    std::vector<bool> held;

    for (uint32_t step = 0; step < 6000; ++step) {
      const BlockId block{below(n_blocks)};
      const auto slot = pool.find(block);
      const auto it = naive.blocks.find(index_of(block));
      ASSERT(slot.has_value() == (it != naive.blocks.end()));
      switch (below(9)) {
        case 0:
        case 1: {  // load
          if (slot) break;
          const int64_t victim = naive.victim();
          const auto taken = pool.take();
          ASSERT(taken.has_value() == (victim != -2));
          if (!taken) break;
          ASSERT(index_of(taken->evicted) == (victim < 0 ? index_of(kNoBlock) : victim));
          if (victim >= 0) {
            ++evictions;
            const double priority = naive.blocks.at(static_cast<uint32_t>(victim)).priority;
            EXPECT_EQ(taken->priority, priority);
            naive.clock = std::max(naive.clock, priority);
            naive.blocks.erase(static_cast<uint32_t>(victim));
          }
          pool.assign(taken->slot, block, score[index_of(block)], step);
          naive.blocks[index_of(block)] = {.priority = naive.clock + score[index_of(block)],
                                           .used_at = ++naive.uses};
          break;
        }
        case 2:
        case 3:  // arrive
          if (!slot || it->second.state != PoolSlotState::kLoading) break;
          pool.set_ready(*slot);
          it->second.state = PoolSlotState::kReady;
          break;
        case 4:  // use
          if (!slot) break;
          pool.touch(*slot, score[index_of(block)], step);
          it->second.priority = naive.clock + score[index_of(block)];
          it->second.used_at = ++naive.uses;
          break;
        case 5: {  // want
          if (!slot) break;
          it->second.wanted = below(4) == 0;
          pool.want(*slot, it->second.wanted);
          break;
        }
        case 6:  // lease, release
          if (!slot || it->second.state != PoolSlotState::kReady) break;
          if (it->second.leases > 0 && below(4) > 0) {
            pool.release(*slot);
            --it->second.leases;
          } else if (it->second.leases < 3) {
            pool.lease(*slot);
            ++it->second.leases;
          }
          break;
        case 7:  // drop, fail, come back
          if (slot && it->second.state == PoolSlotState::kLoading) {
            if (below(2)) {
              pool.quarantine(*slot);
              quarantined.push_back(*slot);
              ++naive.quarantined;
            } else {
              pool.give_back(*slot);
            }
            naive.blocks.erase(it);
          } else if (!quarantined.empty()) {
            pool.set_free(quarantined.back());
            quarantined.pop_back();
            --naive.quarantined;
          }
          break;
        case 8:  // new plan
          if (below(20) > 0) break;
          held.assign(n_blocks, false);
          for (uint32_t i = 0; i < n_blocks; ++i) held[i] = below(6) == 0;
          if (below(4) == 0) held.clear();
          pool.hold(held);
          naive.held = held.empty() ? std::vector<bool>(n_blocks, false) : held;
          break;
      }
      EXPECT_EQ(pool.clock(), naive.clock);
    }
  }
  EXPECT(evictions > 1000);
}

}  // namespace
}  // namespace hypura::scheduler
