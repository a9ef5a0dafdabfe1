// Proof that a sweep does not allocate (invariant I5): while a HotPathGuard lives on a thread, operator new aborts.
//
// The guard itself is a thread-local counter and costs nothing; the operator new that looks at it is linked into native
// test programs only (testing_new.cpp).
#pragma once

namespace hypura {

class HotPathGuard {
 public:
  HotPathGuard();
  ~HotPathGuard();
  HotPathGuard(const HotPathGuard&) = delete;
  HotPathGuard& operator=(const HotPathGuard&) = delete;
};

// Lifts the guard for a scope: the error path of a sweep may allocate its Status.
class HotPathPause {
 public:
  HotPathPause();
  ~HotPathPause();
  HotPathPause(const HotPathPause&) = delete;
  HotPathPause& operator=(const HotPathPause&) = delete;
};

// True when this thread is inside a sweep and not paused.
bool hot_path_is_guarded();

}  // namespace hypura
