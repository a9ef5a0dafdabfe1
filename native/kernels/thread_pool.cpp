#include "native/kernels/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "native/base/limits.h"
#include "native/base/short_slices.h"
#include "native/base/thread.h"
#include "native/kernels/float_state.h"

namespace hypura::kernels {
namespace {

// The gate is one word: who may enter the current job and who is inside. 22 bits of job number,
// then an open bit, then the number of workers inside. A worker enters by compare-and-swap while
// the gate is open; the caller closes it when no piece is left and waits for those inside only. So
// a worker that the system did not schedule in time delays nobody.
constexpr uint32_t kInsideMask = 0x1ff;
constexpr uint32_t kOpen = 0x200;
constexpr uint32_t kJob = 0x400;
static_assert(kThreadsMax <= kInsideMask);

uint32_t job_of(uint32_t gate) { return gate / kJob; }

// At most about 2 us: longer spinning costs more on a busy machine than it saves on an idle one.
constexpr int kSpins = 60;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::State {
  // The job: written by run() while the gate is closed and nobody is inside, read by workers after
  // they entered.
  Body body = nullptr;
  void* context = nullptr;
  uint32_t n_items = 0;
  uint32_t grain = 1;

  alignas(64) std::atomic<uint32_t> gate{0};
  alignas(64) std::atomic<uint32_t> left{
      0};  // bumped by the last worker to leave a closed gate; run() sleeps on it
  std::atomic<bool> stopping{false};
  std::vector<Thread> threads;  // create() and destructor only

  // Items side by side, which one thread begins with and the others help to finish. Pieces that follow each other keep a
  // thread's addresses in sequence, so that what a kernel asks for ahead is what it needs next.
  struct alignas(64) Share {
    std::atomic<uint64_t> next{0};  // first item nobody took; 64 bits, so that overshoot cannot wrap
    uint64_t end = 0;
  };
  std::unique_ptr<Share[]> shares;  // one per thread, the caller's first

  uint32_t n_threads() const { return static_cast<uint32_t>(threads.size()) + 1; }

  void deal() {
    const uint64_t n_pieces = (uint64_t{n_items} + grain - 1) / grain;
    for (uint64_t i = 0; i < n_threads(); ++i) {
      shares[i].next.store(i * n_pieces / n_threads() * grain, std::memory_order_relaxed);
      shares[i].end = std::min<uint64_t>((i + 1) * n_pieces / n_threads() * grain, n_items);
    }
  }

  void work(uint32_t worker) {
    const FloatDefaults defaults;
    for (uint32_t i = 0; i < n_threads(); ++i) {
      Share& share = shares[(worker + i) % n_threads()];
      // Looked at before it is taken from: a share that is done must not be written to by all.
      while (share.next.load(std::memory_order_relaxed) < share.end) {
        const uint64_t begin = share.next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= share.end) break;
        const uint64_t end = std::min(begin + grain, share.end);
        body(context, static_cast<uint32_t>(begin), static_cast<uint32_t>(end), worker);
      }
    }
  }

  void worker_loop(uint32_t worker) {
    ask_for_short_slices();
    uint32_t last_job = 0;
    for (int spins = 0;;) {
      uint32_t seen = gate.load(std::memory_order_acquire);
      if (stopping.load(std::memory_order_acquire)) return;
      if ((seen & kOpen) != 0 && job_of(seen) != last_job) {
        // Acquire pairs with the release that opened the gate in run(): the job is visible.
        if (!gate.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire)) continue;
        last_job = job_of(seen);
        work(worker);
        // Release pairs with the acquire in run(): what this worker wrote is visible to the caller.
        const uint32_t before = gate.fetch_sub(1, std::memory_order_acq_rel);
        if ((before & (kOpen | kInsideMask)) == 1) {
          left.fetch_add(1, std::memory_order_release);
          left.notify_one();
        }
        spins = 0;
      } else if (spins < kSpins) {
        ++spins;
        relax();
      } else {
        gate.wait(seen, std::memory_order_relaxed);
        spins = 0;
      }
    }
  }

  void wait_until_empty() {
    for (int spins = 0; (gate.load(std::memory_order_acquire) & kInsideMask) != 0;) {
      if (++spins < kSpins) {
        relax();
        continue;
      }
      const uint32_t count = left.load(std::memory_order_acquire);
      if ((gate.load(std::memory_order_acquire) & kInsideMask) == 0) return;
      left.wait(count, std::memory_order_acquire);
    }
  }

  ~State() {
    stopping.store(true, std::memory_order_release);
    gate.fetch_add(
        kJob,
        std::memory_order_release);  // a changed word: no worker can go to sleep on the old one
    gate.notify_all();
    for (Thread& thread : threads) thread.join();
  }
};

Result<std::unique_ptr<ThreadPool>> ThreadPool::create(uint32_t n_threads) {
  if (n_threads < 1 || n_threads > kThreadsMax)
    return Status::error(Code::kInvalidArgument, "The number of threads is " +
                                                     std::to_string(n_threads) + "; give 1 to " +
                                                     std::to_string(kThreadsMax) + ".");
  try {
    auto state = std::make_unique<State>();
    state->shares = std::make_unique<State::Share[]>(n_threads);
    state->threads.reserve(n_threads - 1);
    for (uint32_t worker = 1; worker < n_threads; ++worker)
      state->threads.emplace_back([raw = state.get(), worker] { raw->worker_loop(worker); });
    return std::unique_ptr<ThreadPool>(new ThreadPool(std::move(state)));
  } catch (const std::system_error& error) {
    return Status::error(Code::kInsufficientMemory,
                         "A compute thread of " + std::to_string(n_threads) +
                             " could not be made (" + error.what() +
                             "). Give fewer threads, or raise the limit on processes.");
  } catch (const std::bad_alloc&) {
    return Status::error(Code::kInsufficientMemory,
                         "No memory for " + std::to_string(n_threads) + " compute threads.");
  }
}

ThreadPool::ThreadPool(std::unique_ptr<State> state) : state_(std::move(state)) {}
ThreadPool::~ThreadPool() = default;

uint32_t ThreadPool::n_threads() const { return state_->n_threads(); }

void ThreadPool::run(uint32_t n_items, uint32_t grain, Body body, void* context) {
  if (n_items == 0) return;
  State& state = *state_;
  state.body = body;
  state.context = context;
  state.n_items = n_items;
  state.grain = grain > 0 ? grain : 1;
  state.deal();
  const uint32_t others = (n_items - 1) / state.grain;  // pieces beyond the caller's first
  if (others == 0 || state.threads.empty()) {
    state.work(0);
    return;
  }
  // Opens the gate under a new job number. Nobody is inside and nobody enters a closed gate: the
  // word is ours.
  const uint32_t closed = state.gate.load(std::memory_order_relaxed);
  state.gate.store(closed + kJob + kOpen, std::memory_order_release);
  if (others < state.threads.size()) {
    for (uint32_t i = 0; i < others; ++i) state.gate.notify_one();
  } else {
    state.gate.notify_all();
  }
  state.work(0);
  state.gate.fetch_and(~kOpen, std::memory_order_acq_rel);
  state.wait_until_empty();
}

}  // namespace hypura::kernels
