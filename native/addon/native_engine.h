// NativeEngine of ts/native/native-binding.ts: an engine as an object of eight functions.
//
// Thread: JavaScript's own; the engine's thread only rings.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "native/addon/bell.h"
#include "native/addon/deferred_list.h"
#include "native/runtime/engine.h"

namespace hypura::addon {

class NativeEngine final : public Listener, public std::enable_shared_from_this<NativeEngine> {
 public:
  // Throws the load's error.
  static Napi::Object create(Napi::Env env, std::shared_ptr<Bell> bell, Napi::Value load,
                             Napi::Value options);

  explicit NativeEngine(std::shared_ptr<Bell> bell);
  ~NativeEngine() override;

  void on_news(Napi::Env env) override;
  void on_teardown() override;

  // Null when it was closed.
  runtime::Engine* engine() const { return engine_.get(); }

 private:
  struct PendingRead {
    std::shared_ptr<runtime::ReadJob> job;
    Napi::Promise::Deferred deferred;
    Napi::ObjectReference into;
    std::shared_ptr<NativeEngine> keep_alive;
  };

  struct PendingResize {
    std::shared_ptr<runtime::ResizeJob> job;
    Napi::Promise::Deferred deferred;
    std::shared_ptr<NativeEngine> keep_alive;
  };

  Napi::Object functions(Napi::Env env);
  runtime::Engine& open_engine(Napi::Env env) const;  // throws 'closed'
  Napi::Value opened(const Napi::CallbackInfo& info);
  Napi::Value submit_plan(const Napi::CallbackInfo& info);
  Napi::Value drain_events(const Napi::CallbackInfo& info);
  Napi::Value counters(const Napi::CallbackInfo& info);
  Napi::Value copies(const Napi::CallbackInfo& info);
  Napi::Value read_blocks(const Napi::CallbackInfo& info);
  Napi::Value resize(const Napi::CallbackInfo& info);
  Napi::Value create_sequence(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  void settle_opened(Napi::Env env);
  void settle_reads(Napi::Env env);
  void settle_resizes(Napi::Env env);

  const std::shared_ptr<Bell> bell_;
  const uint64_t id_;
  std::unique_ptr<runtime::Engine> engine_;
  DeferredList waiting_for_open_;
  DeferredList waiting_for_close_;
  std::vector<PendingRead> reads_;
  std::vector<PendingResize> resizes_;
};

}  // namespace hypura::addon
