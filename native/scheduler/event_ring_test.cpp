// What could break: a record lost, doubled or torn between the loop and its reader; an overflow that waits or overwrites
// records nobody has read. Records carry a number in two fields, so a torn one disagrees with itself.
#include "native/scheduler/event_ring.h"

#include <array>
#include <thread>

#include "native/base/testing.h"

namespace hypura::scheduler {
namespace {

Event numbered(uint32_t number) {
  Event event{};
  event.sweep = number;
  event.words[3] = ~number;
  return event;
}

TEST(event_ring_drops_the_newest_when_full_and_counts_it) {
  EventRing ring(4);
  for (uint32_t i = 0; i < 6; ++i) ring.push(numbered(i));
  EXPECT_EQ(ring.dropped(), 2u);
  std::array<Event, 3> three;
  EXPECT_EQ(ring.drain(three), 3u);
  EXPECT_EQ(three[2].sweep, 2u);
  ring.push(numbered(7));
  std::array<Event, 8> rest;
  EXPECT_EQ(ring.drain(rest), 2u);
  EXPECT_EQ(rest[0].sweep, 3u);
  EXPECT_EQ(rest[1].sweep, 7u);
  EXPECT_EQ(ring.drain(rest), 0u);
}

TEST(event_ring_keeps_order_across_threads) {
  constexpr uint32_t kRecords = 50000;
  EventRing ring(64);
  std::thread producer([&] {
    for (uint32_t i = 0; i < kRecords; ++i) {
      const uint64_t before = ring.dropped();
      ring.push(numbered(i));
      if (ring.dropped() != before) {
        --i;
        std::this_thread::yield();
      }
    }
  });
  uint32_t expected = 0;
  std::array<Event, 50> batch;
  while (expected < kRecords) {
    const uint32_t count = ring.drain(batch);
    if (count == 0) std::this_thread::yield();
    for (uint32_t i = 0; i < count; ++i, ++expected) {
      if (batch[i].sweep != expected) EXPECT_EQ(batch[i].sweep, expected);
      if (batch[i].words[3] != ~expected) EXPECT_EQ(batch[i].words[3], ~expected);
    }
  }
  producer.join();
}

}  // namespace
}  // namespace hypura::scheduler
