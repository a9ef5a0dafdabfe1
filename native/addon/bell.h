// How native threads get the attention of one JavaScript thread: they ring with a number, and whoever listens under that
// number is asked to look at what is new.
//
// Why numbers: a ring may arrive after its listener was collected; then nobody answers, and nothing dangles. The ring itself
// is one thread-safe function per environment, never one per object.
// Threads: ring() by any thread until the environment's cleanup joined it; everything else by JavaScript's thread.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

namespace hypura::addon {

class Listener {
 public:
  virtual ~Listener() = default;
  // Something happened; several rings may have become one. May throw Napi::Error.
  virtual void on_news(Napi::Env env) = 0;
  // The environment ends: stop every native thread of this listener, waiting for it.
  virtual void on_teardown() = 0;
};

class Bell {
 public:
  explicit Bell(Napi::Env env);

  uint64_t next_id() { return ++last_id_; }
  void listen(uint64_t id, std::weak_ptr<Listener> listener) {
    listeners_[id] = std::move(listener);
  }
  void forget(uint64_t id) { listeners_.erase(id); }

  // Any thread. At most a few rings are ever outstanding: callers coalesce.
  void ring(uint64_t id) const;

  // While held, Node does not exit for lack of work. Counted.
  void hold();
  void release();

  // Stops every listener's threads. The environment's cleanup hook.
  void tear_down();

 private:
  static void answer(napi_env env, napi_value, void* context, void* data);

  Napi::Env env_;
  napi_threadsafe_function function_ = nullptr;
  uint64_t last_id_ = 0;
  uint32_t holds_ = 0;
  bool torn_down_ = false;
  std::unordered_map<uint64_t, std::weak_ptr<Listener>> listeners_;
};

}  // namespace hypura::addon
