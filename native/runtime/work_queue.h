// Where the host's threads and the token loop meet: requests that run, jobs that wait, and the wish to close.
//
// One mutex guards it all and is never held across compute or a read. The loop sleeps on `changed`; whoever gives it
// something to do, makes room in a ring, cancels or closes notifies.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "native/base/status.h"
#include "native/runtime/read_job.h"
#include "native/runtime/resizer.h"

namespace hypura::runtime {

class Sequence;

struct WorkQueue {
  std::mutex mutex;
  std::condition_variable changed;

  // All guarded by `mutex`.
  std::vector<std::shared_ptr<Sequence>>
      running;  // sequences with a request, in turn order; capacity: all slots
  std::deque<std::shared_ptr<ReadJob>> jobs;
  std::deque<std::shared_ptr<ResizeJob>> resizes;
  std::vector<bool> slot_taken;  // by KV slot
  uint32_t sequences = 0;        // made so far
  bool closing = false;          // close() was called: nothing new begins
  bool buffers_alive =
      false;     // the sequences' rings are placed; false before loading and after closing
  Status fatal;  // not ok: loading failed, or an invariant broke; nothing can run any more
};

}  // namespace hypura::runtime
