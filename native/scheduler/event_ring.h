// What happened, for the planner: 32-byte records from the token loop to JavaScript.
//
// Single producer (the token loop), single consumer (whoever drains). Full: the newest record is dropped and counted.
// Format: docs/formats/events.md. Allocates: in the constructor.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

namespace hypura::scheduler {

enum class EventKind : uint8_t {
  kRoute = 1,  // data: up to 8 expert ids (u16), count of them in `count`; more experts, more records
  kRead = 2,   // data: block u32, bytes u32, microseconds u32, retries u32
  kStall = 3,  // data: block u32, microseconds u32, bytes missing u32, cause u32 (0 ring, 1 expert, 2 row, 3 pin)
  kEvict = 4,  // data: block u32, replaced by u32, priority f32, age in sweeps u32
  kToken = 5,  // data: token id u32, positions u32, compute microseconds u32, stall microseconds u32
  kGuess = 7,  // per sweep, mode in `count`; data: guessed << 16 | of them asked for, asked for << 16 | of them absent,
               // of those guessed, source (GuessSource)
  kFault = 6,  // data: errno i32, file u32, offset low u32, offset high u32
  kAbsent = 8,  // of a single position's choice, those that have to be read for it; data and `count` as of kRoute
  kSweep = 9,   // before the routes of a sweep; data: number of its sequence u32, that one's client u32,
                // first position u32, positions u32
};

struct Event {
  uint64_t time_ns;   // steady clock
  uint32_t sweep;
  uint16_t layer;     // 0xffff: none
  EventKind kind;
  uint8_t count;      // records or ids in data, by kind
  union {
    uint32_t words[4];
    uint16_t experts[8];
    float floats[4];
  };
};
static_assert(sizeof(Event) == 32);

class EventRing {
 public:
  explicit EventRing(uint32_t capacity);  // a power of two
  void push(const Event& event);          // token loop only
  uint32_t drain(std::span<Event> into);  // one consumer at a time
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  std::vector<Event> records_;
  uint32_t mask_;
  alignas(64) std::atomic<uint64_t> head_{0};  // written by the producer
  alignas(64) std::atomic<uint64_t> tail_{0};  // written by the consumer
  std::atomic<uint64_t> dropped_{0};
};

}  // namespace hypura::scheduler
