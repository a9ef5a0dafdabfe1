#include "native/nvme_io/fault_io.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

namespace hypura::nvme_io {
namespace {

using std::chrono::nanoseconds;

// What a failed or missing part of a read leaves in memory: no weights.
constexpr int kGarbage = 0xa5;
// No file is longer; the sum of offset and length stays below 2^63.
constexpr uint64_t kOffsetMax = static_cast<uint64_t>(INT64_MAX) - kReadBytesMax;
// How long to wait before a read that the inner backend did not take is offered again.
constexpr nanoseconds kOfferAgain = std::chrono::milliseconds(1);

}  // namespace

FaultIo::FaultIo(std::unique_ptr<IoBackend> inner, FaultSchedule schedule, uint32_t alignment_bytes)
    : inner_(std::move(inner)),
      schedule_(std::move(schedule)),
      alignment_bytes_(alignment_bytes),
      slots_(inner_->capabilities().depth_max) {
  done_.reserve(slots_.size());
}

FaultIo::~FaultIo() = default;  // inner_ waits for its reads

Capabilities FaultIo::capabilities() const {
  Capabilities capabilities = inner_->capabilities();
  capabilities.name = "fault";
  return capabilities;
}

uint32_t FaultIo::submit(std::span<const Read> reads) {
  uint32_t taken = 0;
  for (const Read& read : reads) {
    const auto slot = std::find_if(slots_.begin(), slots_.end(),
                                   [](const Slot& s) { return s.place == Place::kFree; });
    if (slot == slots_.end()) break;
    const std::optional<int32_t> refused = watch(read);
    Faults faults = schedule_.next(read);
    if (refused) {
      faults = Faults();
      faults.result = refused;
    }
    {
      const std::lock_guard lock(mutex_);
      slot->order = counters_.reads++;
      for (uint32_t mode = 0; mode < kFaultModes; ++mode)
        counters_.faults[mode] += (faults.modes >> mode) & 1;
    }
    slot->place = Place::kHeldBack;
    slot->read = read;
    slot->faults = faults;
    slot->due = Clock::now() + std::chrono::milliseconds(faults.delay_ms);
    slot->stalled_at = releases_.load(std::memory_order_acquire);
    ++taken;
  }
  begin_due(Clock::now());
  return taken;
}

uint32_t FaultIo::reap(std::span<ReadDone> done, nanoseconds wait) {
  if (done.empty()) return 0;
  const Clock::time_point until =
      Clock::now() + std::clamp(wait, nanoseconds(0), nanoseconds(std::chrono::hours(1)));
  for (bool last = false;;) {
    const Clock::time_point now = Clock::now();
    begin_due(now);
    if (count(Place::kInDrive) == 0) end_late_ones();
    const bool woken = woken_.exchange(false, std::memory_order_acq_rel);
    if (!done_.empty() || woken || last) return hand_out(done);

    // Until the end, or until the next delayed read must begin.
    Clock::time_point next = until;
    for (const Slot& slot : slots_) {
      if (slot.place != Place::kHeldBack || slot.faults.stall) continue;
      next = std::min(next, std::max(slot.due, now + kOfferAgain));
    }
    std::array<ReadDone, kIoDepthMax> from_drive;
    const uint32_t n = inner_->reap(from_drive, std::max(next - now, Clock::duration(0)));
    for (uint32_t i = 0; i < n; ++i) end(slots_[from_drive[i].tag], from_drive[i].result);
    last = Clock::now() >= until;  // one more round, which hands out what came with the end
  }
}

void FaultIo::wake() {
  woken_.store(true, std::memory_order_release);  // pairs with the exchange in reap()
  inner_->wake();
}

void FaultIo::release_stalled() {
  // Pairs with the loads in submit() and begin_due().
  releases_.fetch_add(1, std::memory_order_acq_rel);
  inner_->wake();
}

void FaultIo::close() { closed_.store(true, std::memory_order_release); }

Status FaultIo::violation() const {
  const std::lock_guard lock(mutex_);
  return violation_;
}

FaultIo::Counters FaultIo::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

std::optional<int32_t> FaultIo::watch(const Read& read) {
  if (closed_.load(std::memory_order_acquire)) {
    violate("a read was submitted after close()");
    return -ECANCELED;
  }
  if (read.into == nullptr || read.bytes == 0 || read.bytes > kReadBytesMax ||
      read.offset_bytes > kOffsetMax) {
    violate("a read of " + std::to_string(read.bytes) +
            " bytes, or behind every file, or into nothing");
    return -EINVAL;
  }
  if (read.offset_bytes % alignment_bytes_ != 0 || read.bytes % alignment_bytes_ != 0 ||
      reinterpret_cast<uintptr_t>(read.into) % alignment_bytes_ != 0) {
    violate("offset " + std::to_string(read.offset_bytes) + ", length " +
            std::to_string(read.bytes) + " or memory is no multiple of " +
            std::to_string(alignment_bytes_));
    return -EINVAL;
  }
  for (const Slot& slot : slots_) {
    if (slot.place == Place::kFree) continue;
    const Read& other = slot.read;
    if (read.into < other.into + other.bytes && other.into < read.into + read.bytes) {
      violate("the read with tag " + std::to_string(read.tag) + " shares memory with tag " +
              std::to_string(other.tag) + ", which is outstanding");
      return -EINVAL;
    }
  }
  return std::nullopt;
}

void FaultIo::violate(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (violation_.ok()) violation_ = Status::error(Code::kInternal, what);
}

// Begins every read whose time has come, in the order of submission.
void FaultIo::begin_due(Clock::time_point now) {
  const uint64_t releases = releases_.load(std::memory_order_acquire);
  std::array<Slot*, kIoDepthMax> due;
  size_t n = 0;
  for (Slot& slot : slots_) {
    if (slot.place != Place::kHeldBack || slot.due > now) continue;
    if (slot.faults.stall && slot.stalled_at == releases) continue;
    due[n++] = &slot;
  }
  std::sort(due.begin(), due.begin() + n, [](Slot* a, Slot* b) { return a->order < b->order; });
  for (size_t i = 0; i < n; ++i) begin(*due[i]);
}

void FaultIo::begin(Slot& slot) {
  const Read& read = slot.read;
  if (slot.faults.result) {
    if (slot.faults.garbage) std::memset(read.into, kGarbage, read.bytes);
    return end(slot, *slot.faults.result);
  }
  Read inner = read;
  inner.tag = static_cast<uint64_t>(&slot - slots_.data());
  slot.faults.stall = false;
  if (inner_->submit({&inner, 1}) == 1) slot.place = Place::kInDrive;  // else it is offered again
}

void FaultIo::end(Slot& slot, int32_t result) {
  const Faults& faults = slot.faults;
  if (faults.short_bytes && result > static_cast<int32_t>(*faults.short_bytes)) {
    std::memset(slot.read.into + *faults.short_bytes, kGarbage,
                static_cast<size_t>(result) - *faults.short_bytes);
    result = static_cast<int32_t>(*faults.short_bytes);
  }
  if (faults.flip_bit && result > 0) {
    const uint64_t bit = *faults.flip_bit % (static_cast<uint64_t>(result) * 8);
    slot.read.into[bit / 8] ^= std::byte{1} << (bit % 8);
  }
  slot.result = result;
  slot.place = faults.reorder ? Place::kLate : Place::kDone;
  if (slot.place == Place::kDone) done_.push_back(static_cast<uint32_t>(&slot - slots_.data()));
}

// Nothing else is on its way: the ones held back come, in an order that only the submission decides.
void FaultIo::end_late_ones() {
  const size_t first = done_.size();
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].place != Place::kLate) continue;
    slots_[i].place = Place::kDone;
    done_.push_back(i);
  }
  const auto shuffled = [this](uint32_t i) { return slots_[i].order * 0x9e3779b97f4a7c15ull; };
  std::sort(done_.begin() + static_cast<ptrdiff_t>(first), done_.end(),
            [&](uint32_t a, uint32_t b) { return shuffled(a) < shuffled(b); });
}

uint32_t FaultIo::hand_out(std::span<ReadDone> done) {
  uint32_t handed = 0;
  size_t gone = 0;
  while (handed < done.size() && gone < done_.size()) {
    Slot& slot = slots_[done_[gone]];
    done[handed++] = {.tag = slot.read.tag, .result = slot.result};
    if (std::exchange(slot.faults.duplicate, false)) continue;  // once more
    slot.place = Place::kFree;
    ++gone;
  }
  done_.erase(done_.begin(), done_.begin() + static_cast<ptrdiff_t>(gone));
  return handed;
}

uint32_t FaultIo::count(Place place) const {
  return static_cast<uint32_t>(std::count_if(slots_.begin(), slots_.end(),
                                             [place](const Slot& s) { return s.place == place; }));
}

}  // namespace hypura::nvme_io
