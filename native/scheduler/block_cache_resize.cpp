// A running cache under another budget: bands leave from the end of the pin order and expert slots from the top of the pool;
// they come back the other way round.
//
// A block is where it always was or not in memory at all, so nothing is moved and no pointer changes. The pinned stack is in
// pin order, so what leaves is its end:
//
//   loaded with a ring      | band 0 | band 1 | ... hole ................... |        ring elsewhere, never touched
//   loaded without one      | band 0 | band 1 | ... hole ......... |  ring   |        once bands stream
//   all bands in memory     | band 0 | band 1 | band 2 | ... | band n        |
//
// A ring that has to go stops reading past the end of a sweep and is empty after it. The bands that lie where it was can then
// not stream, so no sweep begins until they are read: the only moment in which a resize holds up a token.
// What grows is fetched from the system first; memory that does not come, and a read that fails, leave all as it was.
#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "native/base/check.h"
#include "native/scheduler/block_cache_state.h"
#include "native/scheduler/poison.h"

namespace hypura::scheduler {
namespace {

// One step up: fresh memory costs 2 s per GiB, so a token waits 130 ms for it at most.
constexpr uint64_t kGrowStepBytes = 64u << 20;

Status refused(std::string sentence) {
  return Status::error(Code::kInvalidArgument, "the division of memory: " + std::move(sentence));
}

}  // namespace

Status BlockCache::State::check_division(const CacheDivision& wanted) const {
  const uint32_t bands = static_cast<uint32_t>(table.pin_order().size());
  if (wanted.pin_count > sizes.pin_count || wanted.pool_slots > sizes.pool_slots)
    return refused("loaded were " + std::to_string(sizes.pin_count) + " bands and " +
                   std::to_string(sizes.pool_slots) + " expert slots, wanted are " +
                   std::to_string(wanted.pin_count) + " and " + std::to_string(wanted.pool_slots));
  if (wanted.pool_slots < std::min(2u, sizes.pool_slots))
    return refused("two expert slots are the least, wanted are " +
                   std::to_string(wanted.pool_slots));
  if (wanted.ring_bytes % kDirectAlignmentBytes != 0 ||
      (sizes.ring_bytes > 0 && wanted.ring_bytes != sizes.ring_bytes))
    return refused("a ring of " + std::to_string(wanted.ring_bytes) +
                   " bytes is not possible, the loaded one has " +
                   std::to_string(sizes.ring_bytes));
  if (sizes.ring_bytes == 0 &&
      wanted.ring_bytes > regions.pinned.size() - stack_bytes[wanted.pin_count])
    return refused(std::to_string(wanted.pin_count) + " bands leave no room for a ring of " +
                   std::to_string(wanted.ring_bytes) + " bytes");
  // One that is cut from the stack holds any band: on the way to another division others may stream than at its end.
  const bool any = sizes.ring_bytes == 0 && wanted.ring_bytes > 0;
  for (uint32_t rank = any ? 0 : wanted.pin_count; rank < bands; ++rank)
    if (hulls.slot_bytes(table.pin_order()[rank]) > wanted.ring_bytes)
      return refused("a ring of " + std::to_string(wanted.ring_bytes) +
                     " bytes does not hold every band that streams");
  return {};
}

Status BlockCache::set_division(const CacheDivision& target) {
  if (fixed_)
    return Status::error(Code::kUnsupported,
                         "weights outside of a cache stay where they are: there is no other division");
  State& s = *state_;
  HYPURA_TRY(s.check_division(target));
  s.target = target;
  s.stream.resize(s.stream.region(), s.division.pin_count);  // a ring that was to go may stay
  return {};
}

Result<ResizeProgress> BlockCache::resize_step() {
  if (fixed_) return ResizeProgress::kDone;
  auto progress = state_->resize_step();
  state_->count_placed();
  state_->io->kick();
  return progress;
}

uint64_t BlockCache::division_bytes(const CacheDivision& division) const {
  if (fixed_) return 0;
  const State& s = *state_;
  if (!s.check_division(division).ok()) return std::numeric_limits<uint64_t>::max();
  return s.sizes.trunk_bytes + s.stack_bytes[division.pin_count] + division.ring_bytes +
         division.pool_slots * s.sizes.pool_slot_bytes +
         s.sizes.row_slots * s.sizes.row_slot_bytes;
}

bool BlockCache::sweepable() const { return fixed_ || !state_->fills_ring; }
CacheDivision BlockCache::division() const { return fixed_ ? CacheDivision{} : state_->division; }

Result<ResizeProgress> BlockCache::State::resize_step() {
  pump();
  // What leaves goes first: it makes room for what comes.
  if (target.pool_slots < division.pool_slots) {
    experts.limit(target.pool_slots);
    division.pool_slots = target.pool_slots;
  }
  HYPURA_TRY(move_pool_hole(division.pool_slots));
  if (filling()) {
    if (load_failure || target.pin_count < fill_end) stop_fill();
    if (!fill_stopped) queue_jobs(fills_ring ? ReadClass::kDemand : ReadClass::kWarm);
    if (!jobs_over()) return ResizeProgress::kWaits;
    HYPURA_TRY(end_fill());
  }
  if (target.pin_count < division.pin_count) let_bands_go();
  if (sizes.ring_bytes == 0 && target.ring_bytes > 0 && target.ring_bytes != division.ring_bytes) {
    if (!stream.drain()) return ResizeProgress::kWaits;
    HYPURA_TRY(change_ring(target.ring_bytes));
  }
  HYPURA_TRY(move_stack_hole(division.pin_count, division.ring_bytes));

  if (division.pool_slots < target.pool_slots) {
    HYPURA_TRY(grow_pool());
    return ResizeProgress::kMore;
  }
  if (division.pin_count < target.pin_count) return grow_stack();
  return experts.pool().used_end() > division.pool_slots ? ResizeProgress::kWaits
                                                         : ResizeProgress::kDone;
}

// Reads into places are over, so nobody writes there. Where all bands were in memory, the ring they now stream through comes
// to life; its bytes belonged to bands that leave.
void BlockCache::State::let_bands_go() {
  poison(regions.pinned.subspan(stack_bytes[target.pin_count],
                                stack_bytes[division.pin_count] - stack_bytes[target.pin_count]));
  division.pin_count = fill_end = target.pin_count;
  if (sizes.ring_bytes == 0 && division.ring_bytes == 0) division.ring_bytes = target.ring_bytes;
  stream.resize(sizes.ring_bytes > 0 ? regions.ring : ring_in_stack(division.ring_bytes),
                division.pin_count);
}

// The ring is empty. Its new bytes may lie in the hole.
Status BlockCache::State::change_ring(uint64_t ring_bytes) {
  if (Status status = move_stack_hole(division.pin_count, ring_bytes); !status.ok())
    return give_up(std::move(status));
  division.ring_bytes = ring_bytes;
  stream.resize(ring_in_stack(ring_bytes), division.pin_count);
  return {};
}

Status BlockCache::State::grow_pool() {
  const uint64_t step = std::max<uint64_t>(1, kGrowStepBytes / sizes.pool_slot_bytes);
  const auto slots = static_cast<uint32_t>(
      std::min<uint64_t>(division.pool_slots + step, target.pool_slots));
  if (Status status = move_pool_hole(slots); !status.ok()) return give_up(std::move(status));
  experts.limit(slots);
  division.pool_slots = slots;
  return {};
}

// Begins to read the next bands into their places.
Result<ResizeProgress> BlockCache::State::grow_stack() {
  const uint64_t in_stack = sizes.ring_bytes > 0 ? 0 : division.ring_bytes;
  const uint64_t most = std::min(stack_bytes[division.pin_count] + kGrowStepBytes,
                                 regions.pinned.size() - in_stack);
  uint32_t end = division.pin_count;
  while (end < target.pin_count && stack_bytes[end + 1] <= most) ++end;
  if (end == division.pin_count && stack_bytes[end + 1] <= regions.pinned.size() - in_stack)
    ++end;  // a band larger than a step
  if (end > division.pin_count) {
    if (Status status = move_stack_hole(end, in_stack); !status.ok())
      return give_up(std::move(status));
    begin_fill(end, ReadClass::kWarm);
    return ResizeProgress::kWaits;
  }
  // All that is left lies where the ring is.
  if (!stream.drain()) return ResizeProgress::kWaits;
  if (Status status = move_stack_hole(target.pin_count, 0); !status.ok())
    return give_up(std::move(status));
  stream.resize({}, division.pin_count);
  fills_ring = true;
  begin_fill(target.pin_count, ReadClass::kDemand);
  return ResizeProgress::kWaits;
}

void BlockCache::State::begin_fill(uint32_t end, ReadClass read_class) {
  jobs.clear();
  next_job = 0;
  load_failure.reset();
  fill_stopped = false;
  fill_end = end;
  for (uint32_t rank = division.pin_count; rank < end; ++rank) {
    const BlockId band = table.pin_order()[rank];
    jobs.push_back({.block = band, .into = regions.pinned.data() + stack_bytes[rank]});
  }
  unpoison(regions.pinned.subspan(stack_bytes[division.pin_count],
                                  stack_bytes[end] - stack_bytes[division.pin_count]));
  queue_jobs(read_class);
}

// Nothing more is read; what the kernel has is waited for.
void BlockCache::State::stop_fill() {
  fill_stopped = true;
  next_job = jobs.size();
  for (uint32_t fetch = fetches.load; fetch < fetches.count; ++fetch) {
    if (std::find(free_fetches.begin(), free_fetches.end(), fetch) != free_fetches.end()) continue;
    if (io->drop(fetch))
      free_fetches.push_back(fetch);
    else
      io->abandon(fetch);
  }
  io->kick();
}

// All reads of the fill came back: its bands are in place, or the stack is as it was.
Status BlockCache::State::end_fill() {
  const bool done = !fill_stopped && !load_failure;
  const bool replaces_ring = std::exchange(fills_ring, false);
  const uint32_t end = std::exchange(fill_end, division.pin_count);
  if (done) {
    division.pin_count = fill_end = end;
    if (replaces_ring) division.ring_bytes = 0;
    stream.resize(stream.region(), division.pin_count);
    return {};
  }
  poison(regions.pinned.subspan(stack_bytes[division.pin_count],
                                stack_bytes[end] - stack_bytes[division.pin_count]));
  if (replaces_ring) stream.resize(ring_in_stack(division.ring_bytes), division.pin_count);
  return load_failure ? give_up(error_of(*load_failure)) : Status{};
}

// Stays with what is in force, and says why.
Status BlockCache::State::give_up(Status status) {
  target = division;
  load_failure.reset();
  (void)move_stack_hole(division.pin_count, sizes.ring_bytes > 0 ? 0 : division.ring_bytes);
  (void)move_pool_hole(division.pool_slots);
  return status;
}

Status BlockCache::State::move_stack_hole(uint32_t bands, uint64_t ring_bytes) {
  const uint64_t in_stack = sizes.ring_bytes > 0 ? 0 : ring_bytes;
  return stack_hole.move(regions.pinned.subspan(
      stack_bytes[bands], regions.pinned.size() - in_stack - stack_bytes[bands]));
}

Status BlockCache::State::move_pool_hole(uint32_t slots) {
  return pool_hole.move(regions.experts.subspan(std::max(slots, experts.pool().used_end()) *
                                                sizes.pool_slot_bytes));
}

void BlockCache::State::count_placed() {
  const uint32_t slots = std::max(division.pool_slots, experts.pool().used_end());
  const uint64_t ring = fills_ring ? 0 : division.ring_bytes;
  log.counters.placed_bytes.store(
      sizes.trunk_bytes + stack_bytes[fill_end] + ring + slots * sizes.pool_slot_bytes +
          sizes.row_slots * sizes.row_slot_bytes,
      std::memory_order_relaxed);
  log.counters.given_back_bytes.store(
      stack_hole.given_back_bytes() + pool_hole.given_back_bytes(), std::memory_order_relaxed);
}

}  // namespace hypura::scheduler
