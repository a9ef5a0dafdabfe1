#include "native/runtime/probe.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <sched.h>
#include <sstream>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

#include "native/base/limits.h"
#include "native/kernels/kernel_set.h"
#include "native/nvme_io/model_file.h"

namespace hypura::runtime {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::optional<int64_t> number_in(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data() + begin, text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

uint32_t cores_of(std::optional<int64_t> quota, std::optional<int64_t> period) {
  if (!quota || !period || *quota <= 0 || *period <= 0) return 0;
  return static_cast<uint32_t>(
      std::clamp<int64_t>(*quota / *period + (*quota % *period != 0), 1, kThreadsMax));
}

uint32_t cores_by_affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    return static_cast<uint32_t>(std::max(CPU_COUNT(&set), 1));
  return std::max(1u, std::thread::hardware_concurrency());
}

// The path of a cgroup controller in /proc/self/cgroup: "2:cpu,cpuacct:/docker/x", or "0::/user.slice" for version 2.
std::string cgroup_path(std::string_view cgroups, std::string_view controller) {
  std::istringstream lines{std::string(cgroups)};
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool wanted = controller.empty()
                            ? names == ",,"
                            : names.find("," + std::string(controller) + ",") != std::string::npos;
    if (wanted) return line.substr(second + 1);
  }
  return "/";
}

// The tightest quota from the process's own group up to the root.
template <typename QuotaAt>
uint32_t tightest(std::string path, QuotaAt quota_at) {
  uint32_t least = 0;
  for (;;) {
    if (const uint32_t cores = quota_at(path); cores > 0)
      least = least == 0 ? cores : std::min(least, cores);
    if (path.empty() || path == "/") return least;
    const size_t slash = path.find_last_of('/');
    path = slash == std::string::npos ? "" : path.substr(0, slash);
  }
}

uint32_t cores_by_cgroups() {
  const std::string groups = read_text("/proc/self/cgroup");
  const uint32_t v2 = tightest(cgroup_path(groups, ""), [](const std::string& path) {
    return cores_by_quota(read_text("/sys/fs/cgroup" + path + "/cpu.max"));
  });
  const uint32_t v1 = tightest(cgroup_path(groups, "cpu"), [](const std::string& path) {
    const std::string folder = "/sys/fs/cgroup/cpu" + path;
    return cores_by_quota(read_text(folder + "/cpu.cfs_quota_us"),
                          read_text(folder + "/cpu.cfs_period_us"));
  });
  return v1 == 0 ? v2 : v2 == 0 ? v1 : std::min(v1, v2);
}

// The value of the first line "key : value".
std::string cpuinfo_value(const std::string& cpuinfo, std::string_view key) {
  std::istringstream lines(cpuinfo);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || line.compare(0, key.size(), key) != 0) continue;
    const size_t value = line.find_first_not_of(" \t", colon + 1);
    return value == std::string::npos ? "" : line.substr(value);
  }
  return "";
}

std::vector<std::string> relevant_features(const std::string& cpuinfo) {
  static constexpr std::string_view kRelevant[] = {
      "sse4_2",  "avx",      "f16c",     "fma",         "avx2",        "avx_vnni",
      "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_int8",
      "asimd",   "asimddp",  "i8mm",     "sve"};
  std::string flags = cpuinfo_value(cpuinfo, "flags");
  if (flags.empty()) flags = cpuinfo_value(cpuinfo, "Features");
  std::istringstream words(flags);
  std::vector<std::string> found;
  for (std::string word; words >> word;)
    if (std::find(std::begin(kRelevant), std::end(kRelevant), word) != std::end(kRelevant))
      found.push_back(word);
  return found;
}

DirectReport probe_direct(const std::string& path) {
  const Result<nvme_io::FileIdentity> identity = nvme_io::identity_of_file(path);
  if (!identity.ok()) return {.reason = identity.status().message()};
  const Result<nvme_io::ModelFile> file = nvme_io::ModelFile::open(path, identity.value(), true);
  if (!file.ok()) return {.reason = file.status().message()};
  return {.available = file.value().direct(),
          .alignment_bytes = file.value().alignment_bytes(),
          .reason = file.value().direct_reason()};
}

uint64_t memlock_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 0;
  return limit.rlim_cur == RLIM_INFINITY ? std::numeric_limits<uint64_t>::max() : limit.rlim_cur;
}

}  // namespace

uint32_t cores_by_quota(std::string_view cgroup2_cpu_max) {
  const size_t space = cgroup2_cpu_max.find(' ');
  if (space == std::string_view::npos) return 0;
  return cores_of(number_in(cgroup2_cpu_max.substr(0, space)),
                  number_in(cgroup2_cpu_max.substr(space)));
}

uint32_t cores_by_quota(std::string_view quota_us, std::string_view period_us) {
  return cores_of(number_in(quota_us), number_in(period_us));
}

std::string chosen_of_brackets(std::string_view text) {
  const size_t open = text.find('['), close = text.find(']');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    return "unknown";
  return std::string(text.substr(open + 1, close - open - 1));
}

uint32_t default_threads() {
  const uint32_t affinity = cores_by_affinity();
  const uint32_t quota = cores_by_cgroups();
  return std::min(quota == 0 ? affinity : std::min(affinity, quota), kThreadsMax);
}

HardwareReport probe(const std::string& path) {
  const std::string cpuinfo = read_text("/proc/cpuinfo");
  HardwareReport report;
  report.cpu_model = cpuinfo_value(cpuinfo, "model name");
  if (report.cpu_model.empty()) report.cpu_model = "unknown";
  report.logical_cores = static_cast<uint32_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  report.usable_cores = default_threads();
  report.cpu_features = relevant_features(cpuinfo);
  const char* reason = "";
  report.isa = kernels::choose_kernels(&reason).name;
  report.isa_reason = reason;
  for (const kernels::KernelSet* const* set = kernels::runnable_kernel_sets(); *set != nullptr;
       ++set)
    report.isa_runnable.push_back((*set)->name);
  report.io = nvme_io::probe_backends();
  if (!path.empty()) report.direct = probe_direct(path);
  report.transparent_huge_pages =
      chosen_of_brackets(read_text("/sys/kernel/mm/transparent_hugepage/enabled"));
  report.memlock_limit_bytes = memlock_limit();
  return report;
}

}  // namespace hypura::runtime
