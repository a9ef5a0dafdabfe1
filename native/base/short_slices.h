// Asks the scheduler to run this thread soon after it wakes, in exchange for shorter turns; its share of a core stays the same.
//
// Compute threads wait for each other some hundred times per token, and the I/O thread for completions. On a busy core a thread that
// wakes waits for the turn of whoever runs there, 3 ms by default, although it has hardly used its share. From Linux 6.12 on a
// thread with a shorter slice is let in at once (EEVDF; sched_setattr(2), sched_runtime of SCHED_OTHER). Older kernels ignore it.
// Thread: the caller's.   Allocates: nothing.
#pragma once

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdint>

namespace hypura {

// Never fails: what the system refuses is left as it was. A policy other than the default one is left alone.
inline void ask_for_short_slices() {
#if defined(__linux__) && defined(SYS_sched_setattr) && defined(SYS_sched_getattr)
  struct Attributes {  // struct sched_attr, first version
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns;
    uint64_t deadline_ns;
    uint64_t period_ns;
  };
  constexpr uint32_t kSchedOther = 0;
  constexpr uint64_t kShortestSliceNs = 100'000;
  Attributes attributes{};
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != kSchedOther) return;
  attributes.size = sizeof attributes;
  attributes.runtime_ns = kShortestSliceNs;
  attributes.deadline_ns = attributes.period_ns = 0;
  (void)syscall(SYS_sched_setattr, 0, &attributes, 0);
#endif
}

}  // namespace hypura
