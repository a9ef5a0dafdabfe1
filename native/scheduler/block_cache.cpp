#include "native/scheduler/block_cache.h"

#include <algorithm>
#include <string>

#include "native/base/check.h"
#include "native/base/hot_path_guard.h"
#include "native/scheduler/block_cache_state.h"
#include "native/scheduler/fixed_weights.h"

namespace hypura::scheduler {
namespace {

Status misuse(BlockId block, const char* what) {
  const HotPathPause pause;
  return Status::error(Code::kInternal, "block " + std::to_string(index_of(block)) + " " + what);
}
Status cancelled_status() {
  const HotPathPause pause;
  return Status::error(Code::kCancelled, "cancelled while waiting for weights");
}
// Nothing is being read, and nothing can be freed but by the caller: waiting would never end.
Status too_small(const char* region) {
  const HotPathPause pause;
  return Status::error(Code::kInsufficientMemory,
                       std::string("the ") + region +
                           " is too small for the blocks held at once. Give more --memory.");
}

}  // namespace

Status BlockCache::State::error_of(const FetchOutcome& outcome) const {
  const HotPathPause pause;
  return io->status_of(outcome);
}

void BlockCache::State::pump() {
  Completion completion;
  while (io->poll(completion)) {
    const uint32_t fetch = completion.fetch;
    if (fetch >= fetches.load)
      load_completed(fetch, completion.what);
    else if (fetch >= fetches.ring)
      stream.completed(SlotId{fetch - fetches.ring}, completion.what);
    else if (fetch >= fetches.rows)
      rows.completed(SlotId{fetch - fetches.rows}, completion.what);
    else
      experts.completed(SlotId{fetch}, completion.what);
  }
}

Status BlockCache::State::wait_for_band(BlockId band) {
  Stall stall(log, io->bell(), StallCause::kRing);
  stall.block = band;
  stream.seek(band);
  io->kick();
  while (true) {
    const uint64_t heard = io->bell().rings();
    pump();
    if (stream.ready(band)) return {};
    if (const FetchOutcome* failure = stream.failure_of(band)) return error_of(*failure);
    if (!stream.inside(band)) {
      stream.seek(band);
      io->kick();
      if (!stream.inside(band) && !stream.room_will_come()) return too_small("ring");
    }
    if (cancelled()) {
      stream.cancel(band);
      io->kick();
      return cancelled_status();
    }
    stall.sleep(heard);
  }
}

// A band that is in memory, counted as used; null when it is not.
const std::byte* BlockCache::State::band_data(BlockId band) {
  const bool streamed = stream.streamed(band);
  if (streamed && !stream.ready(band)) return nullptr;
  log.used(band, !streamed);
  return streamed ? stream.lease(band) : data[index_of(band)];
}

Result<std::optional<SlotId>> BlockCache::State::next(PoolRequest& request, StallCause cause) {
  Stall stall(log, io->bell(), cause);
  while (true) {
    const uint64_t heard = io->bell().rings();
    pump();
    SlotId slot{};
    const PoolRequest::Step step = request.next(slot);
    io->kick();
    switch (step) {
      case PoolRequest::Step::kLeased:
        stall.block = request.pool().block(slot);
        return std::optional(slot);
      case PoolRequest::Step::kEmpty: return std::optional<SlotId>();
      case PoolRequest::Step::kFailed: return error_of(request.failure());
      case PoolRequest::Step::kStuck: return too_small("pool");
      case PoolRequest::Step::kWait: break;
    }
    if (cancelled()) {
      request.cancel();
      io->kick();
      return cancelled_status();
    }
    stall.sleep(heard);
  }
}

void BlockCache::begin_sweep(const Plan& plan, const SweepInfo& sweep) {
  if (fixed_) return;
  State& s = *state_;
  CHECK(!s.fills_ring);
  s.sweep = sweep;
  s.sweeping = true;
  s.log.begin_sweep(sweep.number);
  s.pump();
  const PrefillAdmission admission =
      sweep.prefill ? plan.prefill_admission : PrefillAdmission::kNormal;
  s.experts.begin_sweep(plan, admission);
  s.guesses.begin_sweep(plan, sweep.prefill);
  s.followers.begin_sweep(plan, sweep.prefill, sweep.continues);
  s.rows.begin_sweep(plan, PrefillAdmission::kNormal);
  s.stream.begin_sweep(std::min(plan.pin_count, s.division.pin_count), sweep.with_head,
                       sweep.next_with_head);
  s.io->kick();
}

void BlockCache::end_sweep() {
  if (fixed_) return;
  State& s = *state_;
  s.pump();
  s.stream.end_sweep();
  s.guesses.end_sweep();
  s.experts.warm();
  s.io->kick();
}

void BlockCache::copies_checked() { state_->io->read_own_copy(state_->fetches.load); }

void BlockCache::drop_copy(uint32_t copy) {
  State& s = *state_;
  s.log.counters.copies[copy].state.store(CopyState::kDropped, std::memory_order_release);
  s.pump();
  s.experts.forget();
  s.rows.forget();
  s.stream.forget();
  s.io->kick();
}

const std::byte* BlockCache::trunk(BlockId block) const {
  if (fixed_) return fixed_->extent(block, 0);
  DCHECK(state_->is(block, BlockKind::kTrunk));
  return state_->data[index_of(block)];
}

Result<BandRun> BlockCache::acquire_run(BlockId first, uint32_t count_max) {
  BandRun run;
  if (fixed_) {
    run.count_ = fixed_->run(first, std::span(run.views_).first(std::min(count_max, BandRun::kBandsMax)));
    if (run.count_ == 0) return misuse(first, "is not a band");
    return run;
  }
  State& s = *state_;
  if (!s.is(first, BlockKind::kBand)) return misuse(first, "is not a band");
  if (!s.sweeping || count_max == 0) return misuse(first, "was asked for outside of a sweep");
  s.pump();
  if (!s.stream.streamed(first)) {
    s.stream.pass_before(first);
  } else if (Status status = s.wait_for_band(first); !status.ok()) {
    return status;
  }
  run.cache_ = this;
  for (const uint32_t limit = std::min(count_max, BandRun::kBandsMax); run.count_ < limit;) {
    const BlockId band{index_of(first) + run.count_};
    if (!s.is(band, BlockKind::kBand)) break;
    const std::byte* data = s.band_data(band);
    if (data == nullptr) break;
    const Block& block = s.table[band];
    run.views_[run.count_++] = {band, data, block.row_begin, block.row_count};
  }
  s.stream.refill();
  s.io->kick();
  return run;
}

void BlockCache::release_run(BandRun& run) {
  State& s = *state_;
  for (const BandView& view : run.bands())
    if (s.stream.owns(view.data)) s.stream.release(view.block);
  s.stream.refill();
  s.io->kick();
}

Status BlockCache::request(std::span<const BlockId> blocks) {
  if (blocks.empty()) return {};
  if (fixed_) {
    fixed_->request(blocks);
    return {};
  }
  State& s = *state_;
  const BlockId first = blocks.front();
  const BlockKind kind =
      s.is(first, BlockKind::kRowBand) ? BlockKind::kRowBand : BlockKind::kExpert;
  for (BlockId block : blocks)
    if (!s.is(block, kind)) return misuse(block, "cannot be requested with the others");
  if (!s.sweeping) return misuse(first, "was asked for outside of a sweep");
  s.pump();
  if (kind == BlockKind::kExpert) {
    s.guesses.judge(blocks);
    s.followers.asked(blocks);
  }
  const Status status = (kind == BlockKind::kExpert ? s.experts : s.rows).begin(blocks);
  s.io->kick();
  return status;
}

bool BlockCache::has_expert(BlockId block) const { return fixed_ || state_->experts.has(block); }

uint32_t BlockCache::guesses_wanted() const { return fixed_ ? 0 : state_->guesses.wanted(); }

void BlockCache::guess(std::span<const BlockId> blocks) {
  if (fixed_) return;
  state_->guesses.guess(blocks);
  state_->io->kick();
}

bool BlockCache::guess_followers(BlockId first, uint32_t count, uint32_t most) {
  if (fixed_ || !state_->followers.is_source()) return false;
  guess(state_->followers.likeliest(first, count, most));
  return true;
}

Result<std::optional<BlockLease>> BlockCache::next_expert() { return next(BlockKind::kExpert); }
Result<std::optional<BlockLease>> BlockCache::next_row_band() { return next(BlockKind::kRowBand); }

Result<std::optional<BlockLease>> BlockCache::next(BlockKind kind) {
  BlockLease lease;
  if (fixed_) {
    const std::optional<BlockId> block = fixed_->next(kind);
    if (!block) return std::optional<BlockLease>();
    lease.block_ = *block;
    for (uint32_t i = 0; i < fixed_->extent_count(*block); ++i)
      lease.extents_[i] = fixed_->extent(*block, i);
    return std::optional(std::move(lease));
  }
  State& s = *state_;
  const bool expert = kind == BlockKind::kExpert;
  PoolRequest& request = expert ? s.experts : s.rows;
  auto slot = s.next(request, expert ? StallCause::kExpert : StallCause::kRow);
  if (!slot.ok()) return slot.status();
  if (!slot.value()) return std::optional<BlockLease>();
  lease.cache_ = this;
  lease.slot_ = *slot.value();
  lease.block_ = request.pool().block(lease.slot_);
  const std::byte* at = request.pool().bytes(lease.slot_).data();
  for (uint32_t i = 0; i < s.hulls.extent_count(lease.block_); ++i) {
    const Hull hull = s.hulls.hull(lease.block_, i);
    lease.extents_[i] = at + hull.lead_bytes;
    at += placed_bytes(hull);
  }
  return std::optional(std::move(lease));
}

std::optional<BlockId> BlockCache::another_expert() {
  if (fixed_) return fixed_->another(BlockKind::kExpert);
  state_->pump();
  return state_->experts.another();
}

void BlockCache::release_lease(BlockLease& lease) {
  State& s = *state_;
  const bool expert = s.is(lease.block_, BlockKind::kExpert);
  (expert ? s.experts : s.rows).release(lease.slot_);
  s.io->kick();
}

const CacheCounters& BlockCache::counters() const {
  return fixed_ ? fixed_->counters : state_->log.counters;
}

BandRun::BandRun(BandRun&& other) noexcept
    : cache_(std::exchange(other.cache_, nullptr)),
      count_(std::exchange(other.count_, 0)),
      views_(other.views_) {}
BandRun& BandRun::operator=(BandRun&& other) noexcept {
  if (this == &other) return *this;
  if (cache_ != nullptr) cache_->release_run(*this);
  cache_ = std::exchange(other.cache_, nullptr);
  count_ = std::exchange(other.count_, 0);
  views_ = other.views_;
  return *this;
}
BandRun::~BandRun() {
  if (cache_ != nullptr) cache_->release_run(*this);
}

BlockLease::BlockLease(BlockLease&& other) noexcept
    : cache_(std::exchange(other.cache_, nullptr)),
      block_(other.block_),
      slot_(other.slot_),
      extents_(other.extents_) {}
BlockLease& BlockLease::operator=(BlockLease&& other) noexcept {
  if (this == &other) return *this;
  if (cache_ != nullptr) cache_->release_lease(*this);
  cache_ = std::exchange(other.cache_, nullptr);
  block_ = other.block_;
  slot_ = other.slot_;
  extents_ = other.extents_;
  return *this;
}
BlockLease::~BlockLease() {
  if (cache_ != nullptr) cache_->release_lease(*this);
}

}  // namespace hypura::scheduler
