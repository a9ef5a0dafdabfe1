// The module itself: six properties, and per environment one bell and one cleanup hook. Nothing here is global, so that
// several workers may load it at the same time.
#include <napi.h>

#include <cstring>
#include <limits>
#include <memory>

#include "native/addon/bell.h"
#include "native/addon/convert.h"
#include "native/addon/native_engine.h"
#include "native/addon/native_measurement.h"
#include "native/base/limits.h"
#include "native/runtime/load_message.h"
#include "native/runtime/measure.h"
#include "native/runtime/pressure_events.h"
#include "native/runtime/probe.h"

namespace hypura::addon {
namespace {

Napi::Array strings(Napi::Env env, const std::vector<std::string>& items) {
  Napi::Array array = Napi::Array::New(env, items.size());
  for (uint32_t i = 0; i < items.size(); ++i) array.Set(i, items[i]);
  return array;
}

Napi::Object report_object(Napi::Env env, const runtime::HardwareReport& report) {
  Napi::Object cpu = Napi::Object::New(env);
  cpu.Set("model", report.cpu_model);
  cpu.Set("logicalCores", report.logical_cores);
  cpu.Set("usableCores", report.usable_cores);
  cpu.Set("features", strings(env, report.cpu_features));

  Napi::Object isa = Napi::Object::New(env);
  isa.Set("name", report.isa);
  isa.Set("reason", report.isa_reason);
  isa.Set("runnable", strings(env, report.isa_runnable));

  Napi::Array io = Napi::Array::New(env, report.io.size());
  for (uint32_t i = 0; i < report.io.size(); ++i) {
    Napi::Object backend = Napi::Object::New(env);
    backend.Set("name", report.io[i].name);
    backend.Set("available", Napi::Boolean::New(env, report.io[i].available));
    backend.Set("reason", report.io[i].reason);
    io.Set(i, backend);
  }

  Napi::Object object = Napi::Object::New(env);
  object.Set("cpu", cpu);
  object.Set("isa", isa);
  object.Set("io", io);
  if (report.direct) {
    Napi::Object direct = Napi::Object::New(env);
    direct.Set("available", Napi::Boolean::New(env, report.direct->available));
    direct.Set("alignmentBytes", report.direct->alignment_bytes);
    direct.Set("reason", report.direct->reason);
    object.Set("direct", direct);
  }
  object.Set("transparentHugePages", report.transparent_huge_pages);
  // "Unlimited" is Infinity in JavaScript, not the largest integer.
  const bool unlimited = report.memlock_limit_bytes == std::numeric_limits<uint64_t>::max();
  object.Set("memlockLimitBytes", unlimited ? std::numeric_limits<double>::infinity()
                                            : static_cast<double>(report.memlock_limit_bytes));
  return object;
}

Napi::Value probe(const Napi::CallbackInfo& info) {
  const std::string path = info[0].IsUndefined() ? "" : need_string(info[0], "path");
  return report_object(info.Env(), runtime::probe(path));
}

Napi::Value measure(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object object = need_object(info[1], "options");
  runtime::MeasureOptions options;
  options.batch_positions = need_u32(object.Get("batchPositions"), "batchPositions");
  options.logits_rows = need_u32(object.Get("logitsRows"), "logitsRows");
  options.threads = need_u32(object.Get("threads"), "threads");
  options.n_ctx = need_u32(object.Get("contextLength"), "contextLength");
  options.n_sequences = need_u32(object.Get("sequences"), "sequences");
  options.kv_types = {.k = kernels::KvType{need_u32(object.Get("keyType"), "keyType")},
                      .v = kernels::KvType{need_u32(object.Get("valueType"), "valueType")}};
  if (options.threads == 0) options.threads = runtime::default_threads();

  const std::span<std::byte> bytes = need_bytes(info[0], "spec");
  model::ModelSpec spec;
  if (bytes.size() != sizeof(spec))
    refuse(env, text("spec has ", bytes.size(), " bytes, a ModelSpec record has ", sizeof(spec)));
  std::memcpy(&spec, bytes.data(), sizeof(spec));
  const auto measured = value_or_throw(env, runtime::measure(spec, options));
  Napi::Object result = Napi::Object::New(env);
  result.Set("kvBytes", static_cast<double>(measured.kv_bytes));
  result.Set("scratchBytes", static_cast<double>(measured.scratch_bytes));
  return result;
}

// A function that returns the events since its last call; the watch ends when it is collected.
Napi::Value watch_pressure(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto events = std::make_shared<runtime::PressureEvents>(
      value_or_throw(env, runtime::PressureEvents::open(need_string(info[0], "folder"))));
  return method(env, "take", [events](const Napi::CallbackInfo& call) -> Napi::Value {
    return Napi::Number::New(call.Env(), static_cast<double>(events->take()));
  });
}

}  // namespace

class Addon final : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports) : bell_(std::make_shared<Bell>(env)) {
    // After the bell's own hook, hence run before it: threads end while they can still ring.
    env.AddCleanupHook(
        [](std::shared_ptr<Bell>* bell) {
          (*bell)->tear_down();
          delete bell;
        },
        new std::shared_ptr<Bell>(bell_));
    exports.Set("abiVersion", Napi::Number::New(env, runtime::kAbiVersion));
    exports.Set("probe", method(env, "probe", probe));
    exports.Set("watchPressure", method(env, "watchPressure", watch_pressure));
    exports.Set("measure", method(env, "measure", measure));
    exports.Set(
        "createEngine",
        method(env, "createEngine", [bell = bell_](const Napi::CallbackInfo& info) -> Napi::Value {
          return NativeEngine::create(info.Env(), bell, info[0], info[1]);
        }));
    exports.Set(
        "measureReads",
        method(env, "measureReads", [bell = bell_](const Napi::CallbackInfo& info) -> Napi::Value {
          return NativeMeasurement::start(info.Env(), bell, info[0], info[1], info[2]);
        }));
  }

 private:
  const std::shared_ptr<Bell> bell_;
};

NODE_API_NAMED_ADDON(hypura, Addon)

}  // namespace hypura::addon
