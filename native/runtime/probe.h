// What this machine offers, for `hypura doctor` and for defaults: every part that is absent comes with its reason.
//
// Reads /proc and /sys; any thread; nothing is cached. Texts of files are taken as arguments where they are parsed, so
// that containers can be tested without one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "native/nvme_io/io_backend.h"

namespace hypura::runtime {

struct DirectReport {
  bool available = false;
  uint32_t alignment_bytes = 0;
  std::string reason;  // "" when available
};

struct HardwareReport {
  std::string cpu_model;
  uint32_t logical_cores = 1;
  uint32_t usable_cores = 1;
  std::vector<std::string>
      cpu_features;  // those that matter to kernels, as /proc/cpuinfo spells them
  std::string isa;
  std::string isa_reason;
  std::vector<std::string> isa_runnable;
  std::vector<nvme_io::BackendReport> io;
  std::optional<DirectReport> direct;
  std::string transparent_huge_pages;  // "always", "madvise", "never" or "unknown"
  uint64_t memlock_limit_bytes = 0;
};

// path: empty, or an existing file or folder whose file system is asked for direct reads.
HardwareReport probe(const std::string& path);

// Compute threads when the caller does not say: cores this process may use at the same time, at least 1.
uint32_t default_threads();

// Parts of the above, as functions of texts.
uint32_t cores_by_quota(
    std::string_view cgroup2_cpu_max);  // "200000 100000", "max 100000"; 0: no limit
uint32_t cores_by_quota(std::string_view quota_us,
                        std::string_view period_us);    // cgroup v1; quota -1: no limit
std::string chosen_of_brackets(std::string_view text);  // "always [madvise] never" -> "madvise"

}  // namespace hypura::runtime
