// NativeSequence of ts/native/native-binding.ts: a sequence as an object of seven functions.
//
// While a request runs the object keeps itself and Node's event loop alive; its end is always rung.
// Thread: JavaScript's own; the token loop only rings.
#pragma once

#include <napi.h>

#include <memory>

#include "native/addon/bell.h"
#include "native/addon/deferred_list.h"
#include "native/addon/native_engine.h"
#include "native/runtime/sequence.h"

namespace hypura::addon {

class NativeSequence final : public Listener, public std::enable_shared_from_this<NativeSequence> {
 public:
  static Napi::Object create(Napi::Env env, std::shared_ptr<Bell> bell,
                             std::shared_ptr<NativeEngine> engine, uint32_t client);

  NativeSequence(std::shared_ptr<Bell> bell, std::shared_ptr<NativeEngine> engine);
  ~NativeSequence() override;

  void on_news(Napi::Env env) override;
  void on_teardown() override;

 private:
  Napi::Object functions(Napi::Env env);
  runtime::Sequence& open_sequence(Napi::Env env) const;  // throws 'closed'
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value drain_tokens(const Napi::CallbackInfo& info);
  Napi::Value drain_logits(const Napi::CallbackInfo& info);
  Napi::Value state(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value truncate(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  void settle_close(Napi::Env env);
  void request_ended();

  const std::shared_ptr<Bell> bell_;
  const uint64_t id_;
  const std::shared_ptr<NativeEngine> engine_;
  std::shared_ptr<runtime::Sequence> sequence_;
  bool close_asked_ = false;
  DeferredList waiting_for_close_;

  // While a request runs.
  std::shared_ptr<NativeSequence> keep_alive_;
  Napi::FunctionReference on_wake_;
};

}  // namespace hypura::addon
