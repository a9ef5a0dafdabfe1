#include "native/nvme_io/compare_copies.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "native/base/bytes.h"
#include "native/nvme_io/arena.h"

namespace hypura::nvme_io {
namespace {

using Clock = std::chrono::steady_clock;

// Chunks of each copy that are read or wait to be compared.
constexpr uint32_t kWindow = 4;
constexpr uint64_t kChunkBytesMin = 64u << 10;
// Answers that mean "not now", and ends that do not move.
constexpr uint32_t kTriesMax = 64;
// Sets these reads apart from those that the same backend makes later.
constexpr uint64_t kTagMark = uint64_t{1} << 63;

// One part of the model: the first copy's file, then those that must equal it; indices into the request's files.
struct Part {
  std::vector<uint32_t> files;
};

std::vector<Part> parts_of(const CompareRequest& request) {
  std::vector<Part> parts;
  for (uint32_t i = 0; i < request.n_files; ++i) {
    Part part{.files = {i}};
    for (uint32_t file = i + request.n_files; file < request.files.size(); file += request.n_files)
      if (!request.verified[file]) part.files.push_back(file);
    if (part.files.size() > 1) parts.push_back(std::move(part));
  }
  return parts;
}

std::string hex(std::byte value) {
  constexpr char kDigits[] = "0123456789abcdef";
  const auto number = static_cast<unsigned>(value);
  return {'0', 'x', kDigits[number >> 4], kDigits[number & 15]};
}

// What a drive did, and for how long it had something to do.
struct DriveTime {
  uint64_t bytes = 0;
  uint32_t outstanding = 0;
  Clock::time_point busy_since;
  Clock::duration busy{0};
};

class Comparison {
 public:
  Comparison(const CompareRequest& request, IoBackend& backend, const std::atomic<bool>& cancelled,
             std::atomic<uint64_t>& compared_bytes)
      : request_(request),
        backend_(backend),
        cancelled_(cancelled),
        compared_bytes_(compared_bytes),
        parts_(parts_of(request)) {}

  Status run() {
    if (parts_.empty()) return {};
    HYPURA_TRY_ASSIGN(Arena arena, make_buffers());
    const Status status = work();
    while (outstanding_ > 0) (void)reap();  // the kernel may still write into the buffers
    return status;
  }

  std::array<double, kDrivesMax> bytes_per_second() const {
    std::array<double, kDrivesMax> out{};
    for (uint32_t i = 0; i < kDrivesMax; ++i) {
      const double seconds = std::chrono::duration<double>(drives_[i].busy).count();
      if (seconds > 0) out[i] = static_cast<double>(drives_[i].bytes) / seconds;
    }
    return out;
  }

 private:
  enum class State : uint8_t { kPending, kFlying, kHere };
  // A chunk of one copy.
  struct Member {
    State state = State::kHere;
    std::byte* into = nullptr;
    uint32_t done_bytes = 0;
    uint32_t begin_bytes = 0;
    uint32_t retries = 0;
    uint32_t tries = 0;
  };
  // The same chunk of all copies of a part.
  struct Slot {
    uint32_t generation = 0;
    uint32_t part = 0;
    uint64_t offset_bytes = 0;
    uint32_t need_bytes = 0;  // 0: nothing is in it
    std::array<Member, kCopiesMax> members;
  };

  Result<Arena> make_buffers() {
    size_t members = 0;
    for (const Part& part : parts_) members = std::max(members, part.files.size());
    chunk_bytes_ = static_cast<uint32_t>(align_down(
        std::clamp<uint64_t>(request_.memory_bytes / (members * kWindow), kChunkBytesMin,
                             kReadBytesMax),
        kDirectAlignmentBytes));
    HYPURA_TRY_ASSIGN(Arena arena, Arena::create(members * kWindow * chunk_bytes_));
    HYPURA_TRY(arena.touch(cancelled_));
    for (Slot& slot : slots_) {
      for (size_t m = 0; m < members; ++m) {
        HYPURA_TRY_ASSIGN(const auto memory, arena.carve(chunk_bytes_, kDirectAlignmentBytes));
        slot.members[m].into = memory.data();
      }
    }
    return arena;
  }

  // Chunks are begun and compared in the order of the file, so the first difference found is the first there is.
  Status work() {
    while (true) {
      if (cancelled_.load(std::memory_order_relaxed))
        return Status::error(Code::kCancelled, "comparing the copies was cancelled");
      while (begun_ < compared_ + kWindow && begin(slots_[begun_ % kWindow])) ++begun_;
      if (begun_ == compared_) return {};
      submit();
      HYPURA_TRY(reap());
      while (compared_ < begun_ && is_here(slots_[compared_ % kWindow])) {
        HYPURA_TRY(compare(slots_[compared_ % kWindow]));
        ++compared_;
      }
    }
  }

  // The next chunk; false at the end of the last part.
  bool begin(Slot& slot) {
    if (part_ == parts_.size()) return false;
    const Part& part = parts_[part_];
    const uint64_t size_bytes = request_.files[part.files[0]].size_bytes();
    ++slot.generation;
    slot.part = part_;
    slot.offset_bytes = offset_bytes_;
    slot.need_bytes =
        static_cast<uint32_t>(std::min<uint64_t>(chunk_bytes_, size_bytes - offset_bytes_));
    for (size_t m = 0; m < part.files.size(); ++m)
      slot.members[m] = {.state = State::kPending, .into = slot.members[m].into};
    offset_bytes_ += slot.need_bytes;
    if (offset_bytes_ == size_bytes) {
      ++part_;
      offset_bytes_ = 0;
    }
    return true;
  }

  void submit() {
    for (uint64_t at = compared_; at < begun_; ++at) {
      Slot& slot = slots_[at % kWindow];
      const std::vector<uint32_t>& files = parts_[slot.part].files;
      for (uint32_t m = 0; m < files.size(); ++m) {
        Member& member = slot.members[m];
        if (member.state != State::kPending) continue;
        const Read read{
            .tag = kTagMark | uint64_t{slot.generation} << 16 | (at % kWindow) << 8 | m,
            .fd = request_.files[files[m]].fd(),
            .bytes = static_cast<uint32_t>(align_up(slot.need_bytes, kDirectAlignmentBytes)) -
                     member.begin_bytes,
            .offset_bytes = slot.offset_bytes + member.begin_bytes,
            .into = member.into + member.begin_bytes,
            .copy = files[m] / request_.n_files};
        if (backend_.submit({&read, 1}) == 0) return;  // full: again after the next reap
        member.state = State::kFlying;
        ++outstanding_;
        DriveTime& drive = drives_[request_.drives[files[m]]];
        if (drive.outstanding++ == 0) drive.busy_since = Clock::now();
      }
    }
  }

  Status reap() {
    std::array<ReadDone, kIoDepthMax> done;
    const uint32_t count = backend_.reap(done, std::chrono::milliseconds(50));
    Status status;
    for (uint32_t i = 0; i < count; ++i) {
      const Status one = returned(done[i]);
      if (status.ok()) status = one;
    }
    return status;
  }

  Status returned(const ReadDone& done) {
    const uint64_t number = done.tag >> 8 & 0xff, m = done.tag & 0xff;
    if ((done.tag & kTagMark) == 0 || number >= kWindow || m >= kCopiesMax) return {};
    Slot& slot = slots_[number];
    Member& member = slot.members[m];
    // Not the read that flies here, but e.g. the same completion twice.
    if (member.state != State::kFlying || (done.tag & ~kTagMark) >> 16 != slot.generation)
      return {};
    const uint32_t file = parts_[slot.part].files[m];
    member.state = State::kPending;
    --outstanding_;
    DriveTime& drive = drives_[request_.drives[file]];
    if (done.result > 0) drive.bytes += static_cast<uint32_t>(done.result);
    if (--drive.outstanding == 0) drive.busy += Clock::now() - drive.busy_since;
    return done.result >= 0 ? moved(slot, member, file, static_cast<uint32_t>(done.result))
                            : failed(slot, member, file, -done.result);
  }

  Status moved(Slot& slot, Member& member, uint32_t file, uint32_t bytes) {
    const uint32_t end = member.begin_bytes + bytes;
    if (end <= member.done_bytes) ++member.tries;
    member.done_bytes = std::max(member.done_bytes, end);
    if (member.done_bytes >= slot.need_bytes) {
      member.state = State::kHere;
      return {};
    }
    member.begin_bytes =
        static_cast<uint32_t>(align_down(member.done_bytes, kDirectAlignmentBytes));
    if (bytes > 0 && member.tries < kTriesMax) return {};
    return error(Code::kModelChanged, file, slot.offset_bytes + member.done_bytes, 0,
                 " has nothing at byte " + std::to_string(slot.offset_bytes + member.done_bytes) +
                     " of " + std::to_string(request_.files[file].size_bytes()) +
                     ": it was cut while it was read. Load it again.");
  }

  Status failed(Slot& slot, Member& member, uint32_t file, int errno_value) {
    const bool not_now = errno_value == EINTR || errno_value == EAGAIN || errno_value == ENOMEM;
    if (not_now && ++member.tries < kTriesMax) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return {};
    }
    if (!not_now && ++member.retries <= kReadRetriesMax) return {};
    const uint64_t at = slot.offset_bytes + member.begin_bytes;
    return error(Code::kIo, file, at, errno_value,
                 " could not be read at byte " + std::to_string(at) + ": " +
                     std::strerror(errno_value) + ". Check the drive: hypura doctor.");
  }

  bool is_here(const Slot& slot) const {
    const size_t count = parts_[slot.part].files.size();
    return std::all_of(slot.members.begin(), slot.members.begin() + static_cast<ptrdiff_t>(count),
                       [](const Member& member) { return member.state == State::kHere; });
  }

  Status compare(const Slot& slot) {
    const std::vector<uint32_t>& files = parts_[slot.part].files;
    const std::byte* first = slot.members[0].into;
    for (size_t m = 1; m < files.size(); ++m) {
      const std::byte* other = slot.members[m].into;
      if (std::memcmp(first, other, slot.need_bytes) == 0) continue;
      const auto [a, b] = std::mismatch(first, first + slot.need_bytes, other);
      const uint64_t at = slot.offset_bytes + static_cast<uint64_t>(a - first);
      return error(Code::kMirrorMismatch, files[m], at, 0,
                   " is no copy of " + request_.files[files[0]].path() + ": byte " +
                       std::to_string(at) + " is " + hex(*b) + ", not " + hex(*a) +
                       ". Copy the model again, or leave this mirror out.");
    }
    compared_bytes_.fetch_add(slot.need_bytes, std::memory_order_relaxed);
    return {};
  }

  Status error(Code code, uint32_t file, uint64_t at, int errno_value, const std::string& what) {
    return Status(Status::Detail{.code = code,
                                 .message = request_.files[file].path() + what,
                                 .errno_value = errno_value,
                                 .file = file,
                                 .offset_bytes = at});
  }

  const CompareRequest& request_;
  IoBackend& backend_;
  const std::atomic<bool>& cancelled_;
  std::atomic<uint64_t>& compared_bytes_;
  const std::vector<Part> parts_;
  uint32_t chunk_bytes_ = 0;
  std::array<Slot, kWindow> slots_;
  std::array<DriveTime, kDrivesMax> drives_;
  uint32_t outstanding_ = 0;
  uint64_t begun_ = 0;     // chunks, in order
  uint64_t compared_ = 0;  // of those
  uint32_t part_ = 0;      // the next chunk
  uint64_t offset_bytes_ = 0;
};

}  // namespace

uint64_t bytes_to_compare(const CompareRequest& request) {
  uint64_t sum = 0;
  for (const Part& part : parts_of(request)) sum += request.files[part.files[0]].size_bytes();
  return sum;
}

Result<std::array<double, kDrivesMax>> compare_copies(const CompareRequest& request,
                                                      IoBackend& backend,
                                                      const std::atomic<bool>& cancelled,
                                                      std::atomic<uint64_t>& compared_bytes) {
  Comparison comparison(request, backend, cancelled, compared_bytes);
  HYPURA_TRY(comparison.run());
  return comparison.bytes_per_second();
}

}  // namespace hypura::nvme_io
