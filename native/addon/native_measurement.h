// NativeMeasurement of ts/native/native-binding.ts: one measurement of reads as a promise that can be cancelled.
//
// Lives until its thread is done, also when JavaScript forgot it: nothing waits for a drive on JavaScript's thread but the
// end of the environment.
// Thread: JavaScript's own; the measurement's thread only rings.
#pragma once

#include <napi.h>

#include <memory>

#include "native/addon/bell.h"
#include "native/addon/deferred_list.h"
#include "native/runtime/read_measure.h"

namespace hypura::addon {

class NativeMeasurement final : public Listener,
                                public std::enable_shared_from_this<NativeMeasurement> {
 public:
  // Throws for a wrong path, offset or option.
  static Napi::Object start(Napi::Env env, std::shared_ptr<Bell> bell, Napi::Value path,
                            Napi::Value offsets, Napi::Value options);

  explicit NativeMeasurement(std::shared_ptr<Bell> bell);
  ~NativeMeasurement() override;

  void on_news(Napi::Env env) override;
  void on_teardown() override;

 private:
  void cancel(Napi::Env env);

  const std::shared_ptr<Bell> bell_;
  const uint64_t id_;
  DeferredList waiting_;
  std::unique_ptr<runtime::ReadMeasurement> measurement_;  // null when its thread has ended
  std::shared_ptr<NativeMeasurement> self_;                // while its thread runs
};

}  // namespace hypura::addon
