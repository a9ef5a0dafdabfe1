#include "native/scheduler/io_thread.h"

#include <algorithm>
#include <cerrno>

#include "native/base/check.h"
#include "native/base/limits.h"
#include "native/base/short_slices.h"

namespace hypura::scheduler {
namespace {

using namespace std::chrono_literals;

// Sleep when there is nothing to wait for; every order ends it by wake().
constexpr auto kIdleTime = 10s;
constexpr std::array<std::chrono::nanoseconds, kReadRetriesMax> kRetryDelays{1ms, 10ms, 100ms};

bool means_not_now(int errno_value) {
  return errno_value == EINTR || errno_value == EAGAIN || errno_value == ENOMEM;
}

double nanoseconds_between(std::chrono::steady_clock::time_point begin,
                           std::chrono::steady_clock::time_point end) {
  return std::chrono::duration<double, std::nano>(end - begin).count();
}

std::string errno_name(int errno_value) {
  switch (errno_value) {
    case EIO: return "EIO";
    case EINVAL: return "EINVAL";
    case EBADF: return "EBADF";
    case ENXIO: return "ENXIO";
    case ENODEV: return "ENODEV";
    case ENOTCONN: return "ENOTCONN";
    case ETIMEDOUT: return "ETIMEDOUT";
    case ENOMEM: return "ENOMEM";
    case EAGAIN: return "EAGAIN";
    case EINTR: return "EINTR";
    case EFAULT: return "EFAULT";
    case ECANCELED: return "ECANCELED";
    case EOPNOTSUPP: return "EOPNOTSUPP";
    default: return "errno " + std::to_string(errno_value);
  }
}

std::string after_retries(uint32_t retries) {
  if (retries == 0) return "";
  if (retries == 1) return ", also after a retry";
  return ", also after " + (retries == 3 ? "three" : std::to_string(retries)) + " retries";
}

std::string from_copies(uint32_t copies) {
  return copies == 1 ? "" : " from any of " + std::to_string(copies) + " copies";
}

}  // namespace

IoThread::IoThread(const BlockHulls& hulls, std::vector<IoFile> files,
                   std::unique_ptr<nvme_io::IoBackend> backend, uint32_t depth, uint32_t fetches,
                   IoCounters counters, const CopyLayout& copies)
    : hulls_(hulls),
      files_(std::move(files)),
      drives_(copies.drive_count()),
      depth_(std::clamp(depth * drives_, 1u,
                        std::clamp(backend->capabilities().depth_max, 1u, kIoDepthMax))),
      piece_bytes_(drives_ > 1 ? kStripeBytesMax : kReadBytesMax),
      counters_(counters),
      queue_(fetches),
      completions_(2 * fetches),
      backend_(std::move(backend)),
      router_(copies, static_cast<uint32_t>(files_.size()), std::max(1u, depth_ / drives_),
              counters.copies),
      // Reads that wait for a retry keep their entry, and must not keep the others from flying.
      flights_(4 * depth_),
      done_(depth_) {
  batch_.reserve(depth_);
  for (uint32_t i = static_cast<uint32_t>(flights_.size()); i-- > 0;) free_flights_.push_back(i);
  thread_ = std::thread([this] { run(); });
}

IoThread::~IoThread() {
  stopping_.store(true, std::memory_order_release);  // pairs with the loads in run()
  backend_->wake();
  thread_.join();
}

bool IoThread::queue(uint32_t fetch, BlockId block, std::byte* into, ReadClass read_class) {
  queued_since_kick_ = true;
  return queue_.queue(fetch, block, into, read_class);
}

void IoThread::abandon(uint32_t fetch) {
  queue_[fetch].abandoned.store(true, std::memory_order_relaxed);
  queued_since_kick_ = true;
}

void IoThread::urge(uint32_t fetch) {
  queue_[fetch].urgent.store(true, std::memory_order_relaxed);
  queued_since_kick_ = true;
}

void IoThread::kick() {
  if (!queued_since_kick_) return;
  queued_since_kick_ = false;
  backend_->wake();
}

bool IoThread::poll(Completion& completion) {
  uint64_t word = 0;
  if (!completions_.pop(word)) return false;
  completion.fetch = static_cast<uint32_t>(word >> 2);
  completion.what = static_cast<Completed>(word & 3);
  if (completion.what != Completed::kFailed) queue_.retire(completion.fetch);
  return true;
}

Status IoThread::status_of(const FetchOutcome& outcome) const {
  const std::string& name = files_[outcome.file].name;
  std::string message = std::to_string(outcome.bytes) + " bytes at " +
                        std::to_string(outcome.offset_bytes) + " of " + name;
  if (outcome.code == Code::kModelChanged)
    message += " are missing: the file ends before them. It was changed or cut while it was open; "
               "load it again.";
  else if (outcome.code == Code::kIo)
    message += " could not be read" + from_copies(router_.copies()) +
               after_retries(outcome.retries) + " (" +
               errno_name(outcome.errno_value) + "). Check the drive: hypura doctor.";
  else
    message += " were counted wrongly, which is a bug in hypura.";
  return Status(Status::Detail{.code = outcome.code,
                               .message = std::move(message),
                               .errno_value = outcome.errno_value,
                               .file = outcome.file,
                               .offset_bytes = outcome.offset_bytes});
}

// --- I/O thread ---

void IoThread::run() {
  ask_for_short_slices();
  while (true) {
    if (stopping_.load(std::memory_order_acquire)) return;
    Clock::time_point now = Clock::now();
    fill(now);
    if (std::exchange(pushed_, false)) bell_.ring();  // before sleeping: fill() ends abandoned fetches
    const uint32_t count = backend_->reap(done_, idle_time(now));
    now = Clock::now();
    for (uint32_t i = 0; i < count; ++i) arrived(done_[i], now);
    if (std::exchange(pushed_, false)) bell_.ring();
  }
}

// Takes as many reads as the depth allows, most urgent first, and submits them in one batch.
void IoThread::fill(Clock::time_point now) {
  land_unwanted(now);
  batch_.clear();
  blocked_ = false;
  while (flying_ < depth_ && !router_.all_full()) {
    const uint32_t i = next_flight(now);
    if (i == kNone) break;
    Flight& flight = flights_[i];
    const Routed routed = route(flight, now);
    if (routed == Routed::kOver) continue;
    if (routed == Routed::kWait) {  // what comes behind it waits too: its order is kept
      if (flight.state == FlightState::kIdle) park(flight, now);
      blocked_ = true;
      break;
    }
    if (flight.state == FlightState::kWaiting) --waiting_;
    flight.state = FlightState::kFlying;
    flight.counted_as = class_of(queue_[flight.fetch]);
    ++flight.generation;
    ++flying_;
    ++flying_by_class_[static_cast<uint32_t>(flight.counted_as)];
    const uint32_t bytes = flight.bytes - flight.begin_bytes;
    flight.submitted_at = now;
    flight.expected_ns = router_.submitted(flight.file, flight.copy, bytes, now);
    batch_.push_back({.tag = uint64_t{flight.generation} << 32 | i,
                      .fd = files_[flight.file].fds[flight.copy],
                      .bytes = bytes,
                      .offset_bytes = flight.offset_bytes + flight.begin_bytes,
                      .into = flight.into + flight.begin_bytes,
                      .copy = flight.copy});
  }
  if (!batch_.empty()) submit(now);
}

// Copies that a read must not ask now, as bits.
uint32_t IoThread::barred(const Flight& flight) const {
  const bool own = flight.fetch >= own_copy_from_.load(std::memory_order_relaxed);
  return own ? flight.asked | ~1u : flight.asked;
}

// Names the copy that serves a read. A read that goes on where it ended stays with its copy: nothing is mixed.
IoThread::Routed IoThread::route(Flight& flight, Clock::time_point now) {
  if (flight.begin_bytes > 0) {
    if (router_.copies() == 1 || !router_.dropped(flight.copy))
      return router_.has_room(flight.file, flight.copy) ? Routed::kGo : Routed::kWait;
    flight.begin_bytes = flight.done_bytes = flight.same_ends = 0;
  }
  // The loop's thread may have dropped what was left to ask.
  if (!router_.can_ask(barred(flight))) flight.asked = 0;
  if (!router_.can_ask(barred(flight))) {
    fail(flight, Code::kModelChanged, 0, now);
    return Routed::kOver;
  }
  const uint32_t copy = router_.choose(flight.file, flight.bytes, barred(flight), now);
  if (copy == CopyRouter::kNone) return Routed::kWait;
  flight.copy = copy;
  return Routed::kGo;
}

void IoThread::submit(Clock::time_point now) {
  const uint32_t taken = backend_->submit(batch_);
  for (size_t i = taken; i < batch_.size(); ++i) {
    Flight& flight = flights_[static_cast<uint32_t>(batch_[i].tag)];
    --flying_;
    --flying_by_class_[static_cast<uint32_t>(flight.counted_as)];
    router_.withdrawn(flight.file, flight.copy, batch_[i].bytes);
    busy(flight, EAGAIN, now);
  }
}

// The read to submit next, or kNone: per class first what waited for a retry, then the rest of a fetch that was begun,
// then a new fetch.
uint32_t IoThread::next_flight(Clock::time_point now) {
  for (uint32_t c = 0; c < kReadClasses; ++c) {
    const auto read_class = static_cast<ReadClass>(c);
    // A guess that flies beside demand reads takes its share of the drive from them.
    if (read_class == ReadClass::kGuess &&
        (flying_by_class_[c] >= kGuessReadsMax * drives_ ||
         flying_by_class_[static_cast<uint32_t>(ReadClass::kDemand)] > 0))
      continue;
    if (read_class == ReadClass::kWarm && flying_by_class_[c] >= kWarmReadsMax * drives_)
      return kNone;
    if (const uint32_t flight = due_flight(read_class, now); flight != kNone) return flight;
    if (free_flights_.empty()) continue;
    for (uint32_t& fetch : begun_) {
      if (fetch == kNone || class_of(queue_[fetch]) != read_class) continue;
      if (queue_[fetch].abandoned.load(std::memory_order_relaxed)) {
        const uint32_t over = fetch;
        cut(over);
        finish(over, now);
        continue;
      }
      return issue(fetch);
    }
    for (uint32_t fetch = kNone; begun_[c] == kNone && queue_.claim(read_class, fetch);) {
      begin(fetch, now);
      return issue(fetch);
    }
  }
  return kNone;
}

// Reads that wait for a retry, of fetches that are over: their entries are needed, and their memory is waited for.
void IoThread::land_unwanted(Clock::time_point now) {
  for (uint32_t i = 0; waiting_ > 0 && i < flights_.size(); ++i) {
    Flight& flight = flights_[i];
    if (flight.state != FlightState::kWaiting) continue;
    const Fetch& fetch = queue_[flight.fetch];
    if (!fetch.cut && !fetch.abandoned.load(std::memory_order_relaxed)) continue;
    cut(flight.fetch);
    land(flight, now);
  }
}

// A read of this class whose retry is due.
uint32_t IoThread::due_flight(ReadClass read_class, Clock::time_point now) const {
  for (uint32_t i = 0; waiting_ > 0 && i < flights_.size(); ++i) {
    const Flight& flight = flights_[i];
    if (flight.state == FlightState::kWaiting && flight.due <= now &&
        class_of(queue_[flight.fetch]) == read_class)
      return i;
  }
  return kNone;
}

void IoThread::begin(uint32_t index, Clock::time_point now) {
  Fetch& fetch = queue_[index];
  fetch.extent = 0;
  fetch.placed_bytes = fetch.hull_begin_bytes = fetch.counted_bytes = 0;
  fetch.outstanding = fetch.retries = 0;
  fetch.issued_all = fetch.cut = false;
  fetch.claimed_at = now;
  begun_[static_cast<uint32_t>(fetch.read_class)] = index;
}

// The next read of a begun fetch, in a fresh flight.
uint32_t IoThread::issue(uint32_t index) {
  Fetch& fetch = queue_[index];
  const Hull hull = hulls_.hull(fetch.block, fetch.extent);
  const Piece piece = piece_at(hull, fetch.hull_begin_bytes, piece_bytes_);
  const uint32_t i = free_flights_.back();
  free_flights_.pop_back();
  Flight& flight = flights_[i];
  flight = {.state = FlightState::kIdle,
            .generation = flight.generation,
            .fetch = index,
            .file = hull.file,
            .offset_bytes = hull.offset_bytes + fetch.hull_begin_bytes,
            .into = fetch.into + fetch.placed_bytes + fetch.hull_begin_bytes,
            .bytes = piece.bytes,
            .need_bytes = piece.need_bytes,
            .submitted_at = {},
            .due = {}};
  ++fetch.outstanding;
  fetch.hull_begin_bytes += piece.bytes;
  if (fetch.hull_begin_bytes == hull.bytes) {
    fetch.placed_bytes += placed_bytes(hull);
    fetch.hull_begin_bytes = 0;
    fetch.issued_all = ++fetch.extent == hulls_.extent_count(fetch.block);
    if (fetch.issued_all) begun_[static_cast<uint32_t>(fetch.read_class)] = kNone;
  }
  return i;
}

ReadClass IoThread::class_of(const Fetch& fetch) const {
  return fetch.urgent.load(std::memory_order_relaxed) ? ReadClass::kDemand : fetch.read_class;
}

// Until the next retry is due, or a drive that is waited for counts as stuck. A retry that is due already waits for a read
// to come back, not for time.
std::chrono::nanoseconds IoThread::idle_time(Clock::time_point now) const {
  std::chrono::nanoseconds least = kIdleTime;
  if (blocked_) least = CopyRouter::kStuckTime;
  if (waiting_ == 0 || flying_ >= depth_) return least;
  for (const Flight& flight : flights_)
    if (flight.state == FlightState::kWaiting && flight.due > now)
      least = std::min<std::chrono::nanoseconds>(least, flight.due - now);
  return least;
}

void IoThread::arrived(const nvme_io::ReadDone& done, Clock::time_point now) {
  const auto i = static_cast<uint32_t>(done.tag);
  if (i >= flights_.size() || flights_[i].state != FlightState::kFlying ||
      flights_[i].generation != done.tag >> 32) {
    strays_.fetch_add(1, std::memory_order_relaxed);  // e.g. the same completion twice
    return;
  }
  Flight& flight = flights_[i];
  --flying_;
  --flying_by_class_[static_cast<uint32_t>(flight.counted_as)];
  counters_.reads.fetch_add(1, std::memory_order_relaxed);
  const uint32_t bytes = done.result <= 0 ? 0
                                          : std::min(static_cast<uint32_t>(done.result),
                                                     flight.bytes - flight.begin_bytes);
  counters_.read_bytes.fetch_add(bytes, std::memory_order_relaxed);
  router_.returned(flight.file, flight.copy, flight.bytes - flight.begin_bytes, bytes,
                   flight.expected_ns, nanoseconds_between(flight.submitted_at, now), now);
  if (router_.copies() > 1 && router_.dropped(flight.copy)) {
    begin_again(flight, now);
  } else if (done.result >= 0) {
    moved(flight, bytes, now);
  } else if (means_not_now(-done.result)) {
    busy(flight, -done.result, now);
  } else {
    failed_here(flight, Code::kIo, -done.result, now);
  }
}

// Counts what came back. Worked example, alignment 4096: 10,000 of 16,384 bytes came back, so the first 10,000 are here;
// the read goes on at 8,192, of which 1,808 bytes arrive a second time.
void IoThread::moved(Flight& flight, uint32_t bytes, Clock::time_point now) {
  const uint32_t end_bytes = flight.begin_bytes + bytes;
  flight.same_ends = end_bytes > flight.done_bytes ? 0 : flight.same_ends + 1;
  flight.done_bytes = std::max(flight.done_bytes, end_bytes);
  flight.begin_bytes = static_cast<uint32_t>(
      align_down(flight.done_bytes, hulls_.alignment_bytes(flight.file)));
  if (flight.done_bytes >= flight.need_bytes) {
    queue_[flight.fetch].counted_bytes += flight.need_bytes;
    land(flight, now);
  } else if (bytes == 0 || flight.same_ends == kSameEndMax) {
    failed_here(flight, Code::kModelChanged, 0, now);
  } else {
    park(flight, now);
  }
}

// The system had no room for the read: later, without counting it as a failure of the drive.
void IoThread::busy(Flight& flight, int errno_value, Clock::time_point now) {
  if (flight.busy_retries == kBusyRetriesMax)
    return failed_here(flight, Code::kIo, errno_value, now);
  park(flight, now + 1ms * (1u << std::min(flight.busy_retries / 4, 4u)));
  ++flight.busy_retries;
}

// One copy failed a read. The next one is asked at once, for all of it: what the failing one gave is not believed.
void IoThread::failed_here(Flight& flight, Code code, int errno_value, Clock::time_point now) {
  router_.failed(flight.file, flight.copy, flight.offset_bytes + flight.done_bytes, errno_value);
  flight.asked |= 1u << flight.copy;
  if (router_.can_ask(barred(flight))) {
    ++queue_[flight.fetch].retries;
    counters_.retries.fetch_add(1, std::memory_order_relaxed);
    return begin_again(flight, now);
  }
  flight.asked = 0;
  if (router_.copies() > 1) flight.begin_bytes = flight.done_bytes = flight.same_ends = 0;
  if (code == Code::kModelChanged || means_not_now(errno_value))
    return fail(flight, code, errno_value, now);
  retry(flight, errno_value, now);
}

void IoThread::begin_again(Flight& flight, Clock::time_point due) {
  flight.begin_bytes = flight.done_bytes = flight.same_ends = flight.busy_retries = 0;
  park(flight, due);
}

void IoThread::retry(Flight& flight, int errno_value, Clock::time_point now) {
  if (flight.retries == kReadRetriesMax || drive_gone(now))
    return fail(flight, Code::kIo, errno_value, now);
  park(flight, now + kRetryDelays[flight.retries]);
  ++flight.retries;
  ++queue_[flight.fetch].retries;
  counters_.retries.fetch_add(1, std::memory_order_relaxed);
}

bool IoThread::drive_gone(Clock::time_point now) const {
  const Clock::time_point oldest = failures_[failures_at_];
  return oldest != Clock::time_point{} && now - oldest < kGoneWindow;
}

// When the drive is gone, reads that wait for a retry try their last time now.
void IoThread::count_failure(Clock::time_point now) {
  failures_[failures_at_] = now;
  failures_at_ = (failures_at_ + 1) % kGoneFailures;
  if (!drive_gone(now)) return;
  for (Flight& flight : flights_)
    if (flight.state == FlightState::kWaiting && flight.retries > 0) flight.due = now;
}

// The waiters learn of the first failure at once; the memory is theirs when the last read came back.
void IoThread::fail(Flight& flight, Code code, int errno_value, Clock::time_point now) {
  Fetch& fetch = queue_[flight.fetch];
  if (code == Code::kIo) count_failure(now);
  if (!fetch.cut && !fetch.abandoned.load(std::memory_order_relaxed)) {
    fetch.outcome = {.code = code,
                     .errno_value = errno_value,
                     .file = flight.file,
                     .offset_bytes = flight.offset_bytes + flight.done_bytes,
                     .bytes = flight.need_bytes - flight.done_bytes,
                     .retries = std::max(flight.retries, flight.busy_retries),
                     .nanoseconds = static_cast<uint64_t>((now - fetch.claimed_at).count())};
    push(flight.fetch, Completed::kFailed);
  }
  cut(flight.fetch);
  land(flight, now);
}

void IoThread::park(Flight& flight, Clock::time_point due) {
  flight.state = FlightState::kWaiting;
  flight.due = due;
  ++waiting_;
}

// The read is over, one way or the other.
void IoThread::land(Flight& flight, Clock::time_point now) {
  if (flight.state == FlightState::kWaiting) --waiting_;
  flight.state = FlightState::kIdle;
  free_flights_.push_back(static_cast<uint32_t>(&flight - flights_.data()));
  --queue_[flight.fetch].outstanding;
  finish(flight.fetch, now);
}

// No further reads for this fetch.
void IoThread::cut(uint32_t index) {
  Fetch& fetch = queue_[index];
  fetch.cut = fetch.issued_all = true;
  uint32_t& begun = begun_[static_cast<uint32_t>(fetch.read_class)];
  if (begun == index) begun = kNone;
}

void IoThread::finish(uint32_t index, Clock::time_point now) {
  Fetch& fetch = queue_[index];
  if (!fetch.issued_all || fetch.outstanding > 0) return;
  if (fetch.cut) return push(index, Completed::kReturned);
  uint64_t need_bytes = 0;
  for (uint32_t i = 0; i < hulls_.extent_count(fetch.block); ++i)
    need_bytes += hulls_.hull(fetch.block, i).need_bytes;
  fetch.outcome = {.retries = fetch.retries,
                   .nanoseconds = static_cast<uint64_t>((now - fetch.claimed_at).count())};
  if (fetch.counted_bytes == need_bytes) return push(index, Completed::kDone);
  fetch.outcome.code = Code::kInternal;
  push(index, Completed::kFailed);
  push(index, Completed::kReturned);
}

void IoThread::push(uint32_t fetch, Completed what) {
  CHECK(completions_.push(uint64_t{fetch} << 2 | static_cast<uint64_t>(what)));
  pushed_ = true;
}

}  // namespace hypura::scheduler
