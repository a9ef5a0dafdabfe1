// Promises that wait for the same thing, and what must stay while they do: the listener itself and Node's event loop.
//
// Thread: JavaScript's own.
#pragma once

#include <napi.h>

#include <memory>
#include <utility>
#include <vector>

#include "native/addon/bell.h"

namespace hypura::addon {

class DeferredList {
 public:
  explicit DeferredList(Bell& bell) : bell_(bell) {}

  Napi::Promise add(Napi::Env env, std::shared_ptr<Listener> keep_alive) {
    bell_.hold();
    waiting_.push_back({Napi::Promise::Deferred::New(env), std::move(keep_alive)});
    return waiting_.back().deferred.Promise();
  }
  bool empty() const { return waiting_.empty(); }
  // settle(deferred) for each; settling runs no JavaScript before the current callback returned.
  template <typename Settle>
  void settle_all(Settle settle) {
    for (Entry& entry : std::exchange(waiting_, {})) {
      settle(entry.deferred);
      bell_.release();
    }
  }
  // The environment ends: nobody can be told any more.
  void abandon() { waiting_.clear(); }

 private:
  struct Entry {
    Napi::Promise::Deferred deferred;
    std::shared_ptr<Listener> keep_alive;
  };
  Bell& bell_;
  std::vector<Entry> waiting_;
};

}  // namespace hypura::addon
