// Compute threads that sleep on a futex between jobs: two to eight cores shared with a host program are the normal case.
//
// run() deals n items out in shares that lie side by side, one per thread, the caller's included. A thread takes pieces of its
// own share, then of the others' (stealing, so a busy core does not hold the rest up). Items are independent, so who takes
// which cannot change a bit.
// Thread: run() by one thread at a time (the token loop). Allocates: in create(), never later.
#pragma once

#include <cstdint>
#include <memory>

#include "native/base/status.h"

namespace hypura::kernels {

class ThreadPool {
 public:
  // n_threads counts the caller: 1 means no threads of its own. Rounding mode and denormals are set to the defaults on
  // each worker (rule E10). Error: kInsufficientMemory when a thread cannot be made.
  static Result<std::unique_ptr<ThreadPool>> create(uint32_t n_threads);
  ~ThreadPool();  // joins

  uint32_t n_threads() const;

  // Calls body(context, begin, end, worker) until [0, n_items) is covered, in pieces of at most `grain` items, on all
  // threads; returns when all are done. worker: 0 .. n_threads - 1, for scratch of its own.
  using Body = void (*)(void* context, uint32_t begin, uint32_t end, uint32_t worker);
  void run(uint32_t n_items, uint32_t grain, Body body, void* context);

  template <typename F>
  void for_each(uint32_t n_items, uint32_t grain, F&& body) {
    run(n_items, grain,
        [](void* context, uint32_t begin, uint32_t end, uint32_t worker) {
          (*static_cast<std::remove_reference_t<F>*>(context))(begin, end, worker);
        },
        &body);
  }

 private:
  struct State;
  explicit ThreadPool(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hypura::kernels
