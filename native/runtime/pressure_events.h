// Hears that the kernel reclaims from a cgroup v1 memory group and finds nothing: the only sign of somebody who lowers the
// group's limit below what is in use.
//
// Such a write fails with EBUSY; neither memory.failcnt nor /proc/pressure/memory show it (decision 0006). The group's
// memory.pressure_level tells an eventfd. Groups of cgroup v2 need none of this: there a lowered memory.high can be read.
// Thread: one at a time.   Allocates: in open().
#pragma once

#include <cstdint>
#include <string>

#include "native/base/status.h"

namespace hypura::runtime {

class PressureEvents {
 public:
  // folder: of the group, below /sys/fs/cgroup/memory. Error: kUnsupported with what is missing.
  static Result<PressureEvents> open(const std::string& folder);
  PressureEvents(PressureEvents&& other) noexcept;
  PressureEvents& operator=(PressureEvents&& other) noexcept;
  ~PressureEvents();  // the kernel forgets the eventfd by itself

  // Critical events since the last call. Never waits.
  uint64_t take();

 private:
  explicit PressureEvents(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace hypura::runtime
