// Products of every tensor type beside what the machine allows: GB/s of weights and GOPS, by positions and threads.
//
//   npm run bench:kernels -- [-o json|md] [--isa NAME] [--types Q4_K,Q6_K] [--positions 1,8,32,128,512]
//                            [--threads 1,2] [--bursts 25] [--columns 4096]
//
// Weights are taken from memory: each burst reads another part of a buffer much larger than the last-level cache. The ceiling
// of a cell is its roofline, min(int8 or float peak, bandwidth x operations per byte of weights), from bursts interleaved
// with the kernel's own, so that a busy neighbour slows both. Best and median of bursts of some milliseconds.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "bench/kernels/ceilings.h"
#include "native/base/bytes.h"
#include "native/kernels/kernel_set.h"
#include "native/kernels/quant_types.h"
#include "native/kernels/reference_weights.h"
#include "native/kernels/row_pieces.h"
#include "native/kernels/thread_pool.h"

namespace hypura::bench {
namespace {

using namespace kernels;

constexpr uint64_t kPoolBytes = uint64_t{512} << 20;
// Work of one burst and thread: some five milliseconds, in pieces of the size that a layer gives, and not long beside a time slice.
constexpr double kOperationsPerBurst = 4e9;
constexpr double kBurstSeconds = 0.006;
constexpr uint64_t kReadBytes = uint64_t{32} << 20;

struct Options {
  bool json = false;
  std::string isa;
  std::vector<std::string> types;
  std::vector<uint32_t> positions = {1, 8, 32, 128, 512};
  std::vector<uint32_t> threads = {1, 2};
  uint32_t bursts = 25;
  uint32_t columns = 4096;
};

// Seconds of each burst.
struct Bursts {
  std::vector<double> seconds;
  double best() const { return *std::min_element(seconds.begin(), seconds.end()); }
  double median() const {
    std::vector<double> sorted = seconds;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "bench_kernels: %s\n", what.c_str());
  std::exit(2);
}

// The whole pool holds rows of one type, repeated from a few megabytes of random ones.
class WeightPool {
 public:
  WeightPool() {
    void* mapped = mmap(nullptr, kPoolBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) give_up("512 MiB of memory for weights are not there");
    bytes_ = static_cast<uint8_t*>(mapped);
    madvise(mapped, kPoolBytes, MADV_HUGEPAGE);
  }
  ~WeightPool() { munmap(bytes_, kPoolBytes); }

  const uint8_t* bytes() const { return bytes_; }
  uint32_t n_rows() const { return n_rows_; }

  void fill(const QuantTypeInfo& type, uint32_t n_cols) {
    const uint64_t row = row_bytes(type, n_cols);
    std::mt19937 rng(1);
    const std::vector<uint8_t> some =
        kernels::testing::random_rows(type.type, 256, n_cols, kernels::testing::Bytes::kOrdinary, rng);
    n_rows_ = static_cast<uint32_t>(kPoolBytes / row / 256 * 256);
    for (uint32_t r = 0; r < n_rows_; r += 256) std::memcpy(bytes_ + r * row, some.data(), some.size());
  }

 private:
  uint8_t* bytes_ = nullptr;
  uint32_t n_rows_ = 0;
};

struct Cell {
  const KernelSet& set;
  const QuantTypeInfo& type;
  uint32_t n_cols;
  uint32_t n_positions;
};

void print_row(const Options& options, const Cell& cell, uint32_t n_threads, double operations, double bytes,
               const Bursts& kernel, const Bursts& read, double read_bytes, const Bursts& multiply,
               double multiply_operations) {
  const double intensity = operations / bytes;
  const auto gops = [&](double seconds) { return operations / seconds / 1e9; };
  const auto ceiling = [&](double read_seconds, double multiply_seconds) {
    return std::min(multiply_operations / multiply_seconds, read_bytes / read_seconds * intensity) / 1e9;
  };
  const double best = ceiling(read.best(), multiply.best());
  const double middle = ceiling(read.median(), multiply.median());
  const double pct = 100 * gops(kernel.best()) / best, pct_median = 100 * gops(kernel.median()) / middle;
  if (options.json)
    std::printf("{\"kernel\":\"%s\",\"isa\":\"%s\",\"threads\":%u,\"m\":%u,\"gb_s\":%.2f,\"gops\":%.1f,\"ceiling\":%.1f,"
                "\"pct\":%.1f,\"gb_s_median\":%.2f,\"gops_median\":%.1f,\"pct_median\":%.1f,\"read_gb_s\":%.2f,"
                "\"peak_gops\":%.1f}\n",
                cell.type.name, cell.set.name, n_threads, cell.n_positions, bytes / kernel.best() / 1e9,
                gops(kernel.best()), best, pct, bytes / kernel.median() / 1e9, gops(kernel.median()), pct_median,
                read_bytes / read.best() / 1e9, multiply_operations / multiply.best() / 1e9);
  else
    std::printf("| %-5s| %-10s | %u | %3u | %6.1f (%6.1f) | %7.1f (%7.1f) | %5.1f | %7.1f | %5.1f %% (%5.1f %%) |\n",
                cell.type.name, cell.set.name, n_threads, cell.n_positions, bytes / kernel.best() / 1e9,
                bytes / kernel.median() / 1e9, gops(kernel.best()), gops(kernel.median()),
                read_bytes / read.best() / 1e9, multiply_operations / multiply.best() / 1e9, pct, pct_median);
  std::fflush(stdout);
}

// Buffers of the engine begin on 64 bytes.
template <typename T>
T* aligned_64(T* at) {
  return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(at) + 63) / 64 * 64);
}

void measure(const Options& options, const Cell& cell, WeightPool& weights, ThreadPool& pool) {
  const uint32_t n_threads = pool.n_threads(), m = cell.n_positions;
  const uint64_t row = row_bytes(cell.type, cell.n_cols);
  const uint64_t stride = activation_stride(cell.type.form, cell.n_cols);
  std::mt19937 rng(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(cell.n_cols);
  std::vector<uint8_t> activation_storage(stride * m + 64);
  uint8_t* activations = aligned_64(activation_storage.data());
  for (uint32_t p = 0; p < m; ++p) {
    for (float& value : x) value = normal(rng);
    cell.set.quantize(cell.type.form)(x.data(), cell.n_cols, activations + p * stride);
  }

  const double per_row = 2.0 * m * cell.n_cols;
  const double wanted = std::min(kOperationsPerBurst * n_threads / per_row, double(kReadBytes) * n_threads / double(row));
  const uint32_t n_rows = std::min(weights.n_rows(), std::max(32 * n_threads, static_cast<uint32_t>(wanted) / 64 * 64));
  std::vector<float> out_storage(uint64_t{n_rows} * m + 16);
  float* out = aligned_64(out_storage.data());
  const MatmulFunction matmul = cell.set.matmul(cell.type.type);
  uint32_t first = 0;  // row of the pool at which the next burst begins
  const auto burst = [&](uint32_t rows) {
    if (first + rows > weights.n_rows()) first = 0;
    const uint8_t* from = weights.bytes() + first * row;
    first += rows;
    const uint32_t grain = rows_per_piece(rows, cell.n_cols, m, n_threads);  // as the engine cuts it
    pool.for_each(rows, grain, [&](uint32_t begin, uint32_t end, uint32_t) {
      matmul(from, cell.n_cols, {begin, end}, activations, stride, m, out, n_rows);
    });
  };

  const uint64_t read_bytes = kReadBytes * n_threads;
  const auto read = [&] {
    // Half a pool away from the kernel's next burst, which must not find its weights in the cache.
    uint64_t at = (first * row + kPoolBytes / 2) % kPoolBytes / 64 * 64;
    if (at + read_bytes > kPoolBytes) at = 0;
    const auto* from = reinterpret_cast<const std::byte*>(weights.bytes()) + at;
    pool.for_each(static_cast<uint32_t>(read_bytes >> 20), 1, [&](uint32_t begin, uint32_t end, uint32_t) {
      for (uint32_t i = begin; i < end; ++i) {
        const uint64_t sum = read_all(from + (uint64_t{i} << 20), 1 << 20);
        if (sum == 1) std::fputs("", stderr);  // the sum is looked at
      }
    });
  };
  constexpr uint32_t kSteps = 800'000;  // of 2,048 or 512 operations
  const bool floats = cell.type.form == ActivationForm::kF32;
  const auto multiply = [&] {
    pool.for_each(n_threads * 8, 1, [&](uint32_t begin, uint32_t end, uint32_t) {
      for (uint32_t i = begin; i < end; ++i) floats ? multiply_floats(kSteps / 8) : multiply_bytes(kSteps / 8);
    });
  };
  const double multiply_operations =
      8.0 * n_threads * double(floats ? multiply_floats(kSteps / 8) : multiply_bytes(kSteps / 8));

  // A slow kernel gets fewer rows.
  uint32_t rows = std::min(n_rows, 32 * n_threads);
  burst(rows);
  const double trial = seconds_of([&] { burst(rows); });
  rows = std::min(n_rows, std::max(rows, static_cast<uint32_t>(rows * kBurstSeconds / trial) / 64 * 64));

  Bursts kernel_bursts, read_bursts, multiply_bursts;
  for (uint32_t i = 0; i < options.bursts; ++i) {
    read_bursts.seconds.push_back(seconds_of(read));
    kernel_bursts.seconds.push_back(seconds_of([&] { burst(rows); }));
    multiply_bursts.seconds.push_back(seconds_of(multiply));
  }
  print_row(options, cell, n_threads, per_row * rows, double(row) * rows, kernel_bursts, read_bursts, double(read_bytes),
            multiply_bursts, multiply_operations);
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    parts.push_back(list.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

uint32_t whole_number(const std::string& text, uint32_t max) {
  char* end = nullptr;
  const unsigned long value = std::strtoul(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value == 0 || value > max)
    give_up("\"" + text + "\" is not a whole number from 1 to " + std::to_string(max));
  return static_cast<uint32_t>(value);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    const auto numbers = [&](uint32_t max) {
      std::vector<uint32_t> list;
      for (const std::string& part : split(value)) list.push_back(whole_number(part, max));
      return list;
    };
    if (name == "-o" && (value == "json" || value == "md"))
      options.json = value == "json";
    else if (name == "--isa")
      options.isa = value;
    else if (name == "--types")
      options.types = split(value);
    else if (name == "--positions")
      options.positions = numbers(4096);
    else if (name == "--threads")
      options.threads = numbers(256);
    else if (name == "--bursts")
      options.bursts = whole_number(value, 10'000);
    else if (name == "--columns")
      options.columns = whole_number(value, 65'536) / 256 * 256;
    else
      give_up("\"" + name + " " + value + "\" is not an option; see the head of bench_kernels_main.cpp");
  }
  if (options.columns == 0) give_up("--columns wants a multiple of 256");
  return options;
}

int run(const Options& options) {
  std::vector<const KernelSet*> sets;
  for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set)
    if (options.isa.empty() ? set[1] == nullptr : options.isa == (*set)->name || options.isa == "all") sets.push_back(*set);
  if (sets.empty()) give_up("no kernel set \"" + options.isa + "\" runs here");
  WeightPool weights;
  std::vector<std::unique_ptr<ThreadPool>> pools;
  for (const uint32_t n : options.threads) {
    auto pool = ThreadPool::create(n);
    if (!pool.ok()) give_up("threads could not be started");
    pools.push_back(std::move(pool).value());
  }
  if (!options.json)
    std::puts("best (median)\n\n| type | isa | threads | m | GB/s of weights | GOPS | read GB/s | peak GOPS | of the roofline |\n"
              "|---|---|---|---|---|---|---|---|---|");
  for (const QuantTypeInfo& type : quant_types()) {
    if (!options.types.empty() && std::find(options.types.begin(), options.types.end(), type.name) == options.types.end())
      continue;
    weights.fill(type, options.columns);
    for (const KernelSet* set : sets)
      for (const auto& pool : pools)
        for (const uint32_t m : options.positions) measure(options, {*set, type, options.columns, m}, weights, *pool);
  }
  return 0;
}

}  // namespace
}  // namespace hypura::bench

int main(int argc, char** argv) { return hypura::bench::run(hypura::bench::parse(argc, argv)); }
