#include "native/scheduler/copy_router.h"

#include <algorithm>
#include <cerrno>

#include "native/base/check.h"

namespace hypura::scheduler {
namespace {

// Before the first byte of a read: keeps small reads on a busy drive from looking slow.
constexpr double kLatencyNs = 100'000;
// Reads that say something about bandwidth, the weight of one of them, and the bounds of what they can say.
constexpr uint32_t kTellingBytesMin = 256u << 10;
constexpr double kReadWeight = 1.0 / 32;
constexpr double kSlownessMin = 1.0 / 4, kSlownessMax = 16;
// However slow a drive was measured, it stays within this factor of the fastest: it is tried at times.
constexpr double kSlowestShare = 1.0 / 64;

bool means_gone(int errno_value) {
  return errno_value == ENXIO || errno_value == ENODEV || errno_value == ENOTCONN ||
         errno_value == ESTALE || errno_value == EBADF;
}

}  // namespace

CopyRouter::CopyRouter(const CopyLayout& layout, uint32_t files, uint32_t depth,
                       std::array<CopyCounters, kCopiesMax>& counters)
    : copies_(layout.copies),
      files_(files),
      depth_(depth),
      drive_of_(layout.drives),
      drives_(layout.drive_count()),
      counters_(counters) {
  if (drive_of_.empty()) drive_of_.assign(size_t{copies_} * files_, 0);
  CHECK(copies_ >= 1 && copies_ <= kCopiesMax && drives_.size() <= kDrivesMax);
  CHECK(drive_of_.size() == size_t{copies_} * files_);
  for (uint32_t drive : drive_of_) CHECK(drive < drives_.size());

  double sum = 0, most = 0;
  uint32_t known = 0;
  for (double speed : layout.bytes_per_second) {
    if (!(speed > 0)) continue;
    sum += speed;
    most = std::max(most, speed);
    ++known;
  }
  if (known == 0) return;
  for (size_t i = 0; i < drives_.size(); ++i) {
    const double speed = layout.bytes_per_second[i];
    drives_[i].bytes_per_ns = (speed > 0 ? std::max(speed, most * kSlowestShare) : sum / known) / 1e9;
  }
}

double CopyRouter::expected_ns(const Drive& drive, uint32_t bytes) const {
  return kLatencyNs +
         static_cast<double>(drive.outstanding_bytes + bytes) / drive.bytes_per_ns;
}

uint32_t CopyRouter::best(uint32_t file, uint32_t bytes, uint32_t asked, bool with_room) const {
  for (const CopyState wanted : {CopyState::kHealthy, CopyState::kFailing}) {
    uint32_t found = kNone;
    double least = 0;
    for (uint32_t copy = 0; copy < copies_; ++copy) {
      if ((asked >> copy & 1) != 0 || state(copy) != wanted) continue;
      if (with_room && !has_room(file, copy)) continue;
      const Drive& drive = drives_[drive_of(file, copy)];
      const double cost = expected_ns(drive, bytes) * drive.slowness;
      if (found != kNone && cost >= least) continue;
      found = copy;
      least = cost;
    }
    if (found != kNone) return found;
  }
  return kNone;
}

uint32_t CopyRouter::choose(uint32_t file, uint32_t bytes, uint32_t asked, Clock::time_point now) {
  if (copies_ == 1) return has_room(file, 0) ? 0 : kNone;
  forgive(now);
  const uint32_t first = best(file, bytes, asked, false);
  if (first == kNone || has_room(file, first)) return first;
  if (now - drives_[drive_of(file, first)].moved_at < kStuckTime) return kNone;
  return best(file, bytes, asked, true);
}

bool CopyRouter::can_ask(uint32_t asked) const {
  for (uint32_t copy = 0; copy < copies_; ++copy)
    if ((asked >> copy & 1) == 0 && state(copy) != CopyState::kDropped) return true;
  return false;
}

// Without this, a drive that was slow once would never be read from again, and never be seen to be fast.
void CopyRouter::forgive(Clock::time_point now) {
  for (Drive& drive : drives_) {
    if (drive.outstanding > 0 || drive.slowness <= 1 || now - drive.moved_at < kForgiveTime)
      continue;
    drive.slowness = (drive.slowness + 1) / 2;
    drive.moved_at = now;
  }
}

double CopyRouter::submitted(uint32_t file, uint32_t copy, uint32_t bytes, Clock::time_point now) {
  Drive& drive = drives_[drive_of(file, copy)];
  if (drive.outstanding == 0) drive.moved_at = now;
  const double expected = expected_ns(drive, bytes);
  drive.outstanding_bytes += bytes;
  if (++drive.outstanding == depth_) ++full_;
  return expected;
}

void CopyRouter::leave(uint32_t file, uint32_t copy, uint32_t bytes) {
  Drive& drive = drives_[drive_of(file, copy)];
  drive.outstanding_bytes -= bytes;
  if (drive.outstanding-- == depth_) --full_;
}

void CopyRouter::withdrawn(uint32_t file, uint32_t copy, uint32_t bytes) {
  leave(file, copy, bytes);
}

void CopyRouter::returned(uint32_t file, uint32_t copy, uint32_t bytes, uint32_t result,
                          double expected, double taken, Clock::time_point now) {
  leave(file, copy, bytes);
  counters_[copy].read_bytes.fetch_add(result, std::memory_order_relaxed);
  Drive& drive = drives_[drive_of(file, copy)];
  drive.moved_at = now;
  if (result < kTellingBytesMin) return;
  const double slowness = std::clamp(taken / expected, kSlownessMin, kSlownessMax);
  drive.slowness += (slowness - drive.slowness) * kReadWeight;
}

void CopyRouter::failed(uint32_t file, uint32_t copy, uint64_t offset_bytes, int errno_value) {
  if (copies_ == 1) return;
  CopyCounters& counters = counters_[copy];
  counters.errno_value.store(errno_value, std::memory_order_relaxed);
  counters.file.store(file, std::memory_order_relaxed);
  counters.offset_bytes.store(offset_bytes, std::memory_order_relaxed);
  const uint64_t failures = counters.failures.fetch_add(1, std::memory_order_relaxed) + 1;
  // What became shorter may hold other bytes too. The last copy is kept: its error is then the answer.
  if (errno_value == 0) {
    if (can_ask(1u << copy)) counters.state.store(CopyState::kDropped, std::memory_order_release);
  } else if (means_gone(errno_value) || failures >= kCopyFailuresMax) {
    CopyState healthy = CopyState::kHealthy;  // the loop's thread may have dropped it
    counters.state.compare_exchange_strong(healthy, CopyState::kFailing,
                                           std::memory_order_release);
  }
}

}  // namespace hypura::scheduler
