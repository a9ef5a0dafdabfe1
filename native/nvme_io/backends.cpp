// The registry of backends: a constant array, best first. A new one is an Entry here; io_conformance_test.cpp then runs it.
#include <array>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "native/nvme_io/io_backend.h"
#include "native/nvme_io/pread_pool.h"
#if defined(__linux__)
#include "native/nvme_io/uring.h"
#endif

namespace hypura::nvme_io {
namespace {

// For tests of the fallbacks and for users in trouble: names that must not be used, separated by commas.
constexpr const char* kDisableVariable = "HYPURA_IO_DISABLE";

struct Entry {
  BackendChoice choice;
  std::string_view name;
  Status (*probe)();
  Result<std::unique_ptr<IoBackend>> (*open)(uint32_t depth, uint32_t drives);
};

Status probe_pool() { return Status(); }
Result<std::unique_ptr<IoBackend>> open_direct_pool(uint32_t depth, uint32_t drives) {
  return open_pread_pool(depth, PageCache::kBypass, drives);
}
Result<std::unique_ptr<IoBackend>> open_buffered_pool(uint32_t depth, uint32_t drives) {
  return open_pread_pool(depth, PageCache::kDropped, drives);
}
#if defined(__linux__)
Result<std::unique_ptr<IoBackend>> open_default_uring(uint32_t depth, uint32_t) {
  return open_uring(depth);
}
#else
Status probe_uring() { return Status::error(Code::kUnsupported, "io_uring exists on Linux only"); }
Result<std::unique_ptr<IoBackend>> open_default_uring(uint32_t, uint32_t) {
  return probe_uring();
}
#endif

constexpr std::array kBackends = {
    Entry{BackendChoice::kUring, "uring", probe_uring, open_default_uring},
    Entry{BackendChoice::kPread, "pread", probe_pool, open_direct_pool},
    Entry{BackendChoice::kBuffered, "buffered", probe_pool, open_buffered_pool},
};

// Calls visit(name) for each name in the variable, without the spaces around it.
template <typename Visit>
void for_each_disabled(Visit visit) {
  const char* const value = std::getenv(kDisableVariable);
  std::string_view rest = value == nullptr ? "" : value;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    std::string_view name = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
    while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
    while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
    if (!name.empty()) visit(name);
  }
}

// A misspelt name would leave in use what its writer wanted to be rid of.
Status check_disabled_names() {
  Status status;
  for_each_disabled([&status](std::string_view name) {
    for (const Entry& entry : kBackends)
      if (entry.name == name) return;
    status = Status::error(Code::kInvalidArgument,
                           std::string(kDisableVariable) + " names \"" + std::string(name) +
                               "\", which is no backend: use uring, pread or buffered.");
  });
  return status;
}

Status disabled(const Entry& entry) {
  Status status;
  for_each_disabled([&](std::string_view name) {
    if (entry.name != name) return;
    status = Status::error(Code::kUnsupported,
                           std::string("disabled by the environment variable ") + kDisableVariable);
  });
  return status;
}

Status probe(const Entry& entry) {
  HYPURA_TRY(disabled(entry));
  return entry.probe();
}

Result<std::unique_ptr<IoBackend>> open(const Entry& entry, uint32_t depth, uint32_t drives) {
  HYPURA_TRY(disabled(entry));
  return entry.open(depth, drives);
}

}  // namespace

Result<OpenedBackend> open_backend(BackendChoice choice, uint32_t depth, uint32_t drives) {
  if (depth == 0 || depth > kIoDepthMax) {
    return Status::error(Code::kInvalidArgument, "An I/O depth of " + std::to_string(depth) +
                                                     " is not within 1 .. " +
                                                     std::to_string(kIoDepthMax) + ".");
  }
  HYPURA_TRY(check_disabled_names());
  std::string refusals;
  for (const Entry& entry : kBackends) {
    if (choice != BackendChoice::kAuto && choice != entry.choice) continue;
    Result<std::unique_ptr<IoBackend>> opened = open(entry, depth, drives);
    if (opened.ok()) {
      std::string reason = std::move(refusals);
      if (choice != BackendChoice::kAuto) reason = "asked for";
      if (reason.empty()) reason = "first choice";
      return OpenedBackend{.backend = std::move(opened).value(), .reason = std::move(reason)};
    }
    if (!refusals.empty()) refusals += "; ";
    refusals += std::string(entry.name) + ": " + opened.status().message();
  }
  return Status::error(Code::kUnsupported, "No I/O backend can run here (" + refusals +
                                               "). `hypura doctor` lists all of them.");
}

std::vector<BackendReport> probe_backends() {
  std::vector<BackendReport> reports;
  for (const Entry& entry : kBackends) {
    const Status status = probe(entry);
    reports.push_back({.name = std::string(entry.name),
                       .available = status.ok(),
                       .reason = status.ok() ? "" : status.message()});
  }
  return reports;
}

}  // namespace hypura::nvme_io
