// Copies of one model on several drives: where they lie, and what became of them.
//
// All copies hold the same bytes, which was proved when the model was opened; file and place mean the same in each.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace hypura::scheduler {

// Crosses the border: append only.
enum class CopyState : uint32_t {
  kHealthy = 0,
  kFailing = 1,  // reads failed: the last resort
  kDropped = 2,  // became shorter or was changed: never read again
};

// One copy's part in the reading, since load; read by any thread.
struct CopyCounters {
  std::atomic<uint64_t> read_bytes{0};
  std::atomic<uint64_t> failures{0};  // reads that were repeated from another copy, or failed everywhere
  std::atomic<CopyState> state{CopyState::kHealthy};
  // The latest failure: 0 means that the file ended early.
  std::atomic<int32_t> errno_value{0};
  std::atomic<uint32_t> file{0};
  std::atomic<uint64_t> offset_bytes{0};
};

// Where copies lie. The default: one copy, one drive.
struct CopyLayout {
  uint32_t copies = 1;
  std::vector<uint32_t> drives;          // by copy x files + file; empty: all on drive 0
  std::vector<double> bytes_per_second;  // by drive; empty or 0: not known, as fast as the others

  uint32_t drive_count() const {
    return bytes_per_second.empty() ? 1 : static_cast<uint32_t>(bytes_per_second.size());
  }
};

}  // namespace hypura::scheduler
