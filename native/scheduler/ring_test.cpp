// What could break: two bands on the same bytes, a band across the region's end, room that is never given back. A map of
// owned bytes is the second implementation; it also says when a refused push would have been possible.
#include "native/scheduler/ring.h"

#include <random>

#include "native/base/testing.h"

namespace hypura::scheduler {
namespace {

TEST(ring_never_overlaps_live_bytes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    const uint32_t region_bytes = static_cast<uint32_t>(50 + random() % 200);
    const uint32_t slots_max = static_cast<uint32_t>(2 + random() % 20);
    std::vector<std::byte> region(region_bytes);
    BlockRing ring(region, slots_max);
    std::vector<uint32_t> owner(region_bytes, 0);  // 0: free
    std::vector<std::pair<uint32_t, SlotId>> live;  // oldest first
    uint32_t number = 0, pushed = 0;
    for (int step = 0; step < 4000; ++step) {
      if (random() % 2) {
        const uint64_t bytes = 1 + random() % std::min(region_bytes, 60u);
        const auto slot = ring.push(BlockId{++number}, bytes);
        if (!slot) {
          EXPECT(ring.size() > 0);  // an empty ring takes anything up to its size
          continue;
        }
        ++pushed;
        const RingSlot& at = ring[*slot];
        EXPECT(at.begin_bytes + at.size_bytes <= region_bytes && at.size_bytes == bytes);
        EXPECT(ring.bytes(*slot).data() == region.data() + at.begin_bytes);
        for (uint64_t i = 0; i < bytes; ++i) {
          EXPECT(owner[at.begin_bytes + i] == 0);
          owner[at.begin_bytes + i] = number;
        }
        live.emplace_back(number, *slot);
      } else if (!live.empty()) {
        // Any slot may become free; only the ends give their bytes back.
        const auto i = random() % 3 ? 0 : random() % live.size();
        ring[live[i].second].state = RingSlotState::kFree;
        ring.pop_free();
        const auto give_back = [&](auto it) {
          for (uint32_t& byte : owner)
            if (byte == it->first) byte = 0;
          live.erase(it);
        };
        // A slot that was popped may have been reset; the ring's own size says how many are left.
        while (!live.empty() && ring.size() < live.size()) {
          if (ring.size() == 0 || ring.at(0) != live.front().second)
            give_back(live.begin());
          else
            give_back(live.end() - 1);
        }
      }
      EXPECT_EQ(ring.size(), live.size());
      for (uint32_t i = 0; i < ring.size(); ++i)
        EXPECT(index_of(ring[ring.at(i)].band) == live[i].first);
    }
    EXPECT(pushed > 500);
  }
}

TEST(ring_refuses_only_what_does_not_fit) {
  std::vector<std::byte> region(100);
  BlockRing ring(region, 8);
  EXPECT(!ring.push(BlockId{0}, 101));
  const auto a = ring.push(BlockId{1}, 40);
  const auto b = ring.push(BlockId{2}, 40);
  ASSERT(a && b);
  EXPECT(!ring.push(BlockId{3}, 21));  // 20 at the end, none at the begin
  ring[*a].state = RingSlotState::kFree;
  ring.pop_free();
  const auto c = ring.push(BlockId{3}, 40);
  ASSERT(c);
  EXPECT_EQ(ring[*c].begin_bytes, 0u);
  EXPECT(!ring.push(BlockId{4}, 1));  // head meets tail: full to the last byte
  ring[*c].state = RingSlotState::kFree;
  ring.pop_free();
  EXPECT_EQ(ring.size(), 1u);  // given back at the head
}

}  // namespace
}  // namespace hypura::scheduler
