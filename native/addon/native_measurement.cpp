#include "native/addon/native_measurement.h"

#include <utility>

#include "native/addon/convert.h"
#include "native/base/limits.h"

namespace hypura::addon {
namespace {

// Whole numbers of a double are exact up to here.
constexpr int64_t kIntegerMax = int64_t{1} << 53;
// Nobody wants to wait longer for one figure.
constexpr int64_t kMeasureMsMax = 600'000;

runtime::ReadMeasureOptions need_measure_options(const Napi::Value& value) {
  const Napi::Object object = need_object(value, "options");
  runtime::ReadMeasureOptions options;
  options.backend = need_io_choice(object.Get("backend"), "backend");
  const Napi::Value direct = object.Get("direct");
  if (!direct.IsBoolean()) refuse(value.Env(), "direct must be true or false");
  options.direct = direct.As<Napi::Boolean>();
  options.block_bytes =
      need_u32(object.Get("blockBytes"), "blockBytes", kMeasureBlockBytesMax);
  options.depth = need_u32(object.Get("depth"), "depth", kIoDepthMax);
  options.time_max =
      std::chrono::milliseconds(need_integer(object.Get("timeMs"), "timeMs", 1, kMeasureMsMax));
  options.bytes_max =
      static_cast<uint64_t>(need_integer(object.Get("bytesMax"), "bytesMax", 1, kIntegerMax));
  return options;
}

std::vector<uint64_t> need_offsets(const Napi::Value& value) {
  const std::span<double> numbers =
      need_elements<double>(value, "offsets", napi_float64_array, "Float64Array");
  if (numbers.empty() || numbers.size() > kMeasureOffsetsMax)
    refuse(value.Env(), text("there are ", numbers.size(), " offsets, allowed are 1 to ",
                             kMeasureOffsetsMax));
  std::vector<uint64_t> offsets;
  offsets.reserve(numbers.size());
  for (const double number : numbers) {
    if (!(number >= 0 && number <= static_cast<double>(kIntegerMax)) ||
        number != std::floor(number))
      refuse(value.Env(), text("the offset ", number, " is no whole number of bytes"));
    offsets.push_back(static_cast<uint64_t>(number));
  }
  return offsets;
}

Napi::Object measure_object(Napi::Env env, const runtime::ReadMeasure& measure) {
  Napi::Object object = Napi::Object::New(env);
  const auto number = [&](const char* name, uint64_t value) {
    object.Set(name, static_cast<double>(value));
  };
  object.Set("backend", measure.backend);
  object.Set("backendReason", measure.backend_reason);
  object.Set("direct", Napi::Boolean::New(env, measure.direct));
  object.Set("directReason", measure.direct_reason);
  number("blocks", measure.bench.blocks);
  number("bytes", measure.bench.bytes);
  number("durationNs", measure.bench.duration_ns);
  number("cpuNs", measure.bench.cpu_ns);
  number("latencyP50Ns", measure.bench.latency_p50_ns);
  number("latencyP99Ns", measure.bench.latency_p99_ns);
  number("latencyMaxNs", measure.bench.latency_max_ns);
  number("arenaBytes", measure.arena_bytes);
  number("hugePageBytes", measure.huge_page_bytes);
  return object;
}

}  // namespace

Napi::Object NativeMeasurement::start(Napi::Env env, std::shared_ptr<Bell> bell, Napi::Value path,
                                      Napi::Value offsets, Napi::Value options) {
  const std::string file = need_string(path, "path");
  runtime::ReadMeasureOptions measure_options = need_measure_options(options);
  measure_options.offsets = need_offsets(offsets);  // last: getters of options may have detached it
  const auto self = std::make_shared<NativeMeasurement>(std::move(bell));
  self->measurement_ = value_or_throw(
      env, runtime::ReadMeasurement::start(file, std::move(measure_options),
                                           [bell = self->bell_, id = self->id_] { bell->ring(id); }));
  self->self_ = self;
  self->bell_->listen(self->id_, self);

  Napi::Object object = Napi::Object::New(env);
  object.Set("done", self->waiting_.add(env, self));
  object.Set("cancel", method(env, "cancel", [self](const Napi::CallbackInfo& info) {
               self->cancel(info.Env());
               return info.Env().Undefined();
             }));
  object.Freeze();
  return object;
}

NativeMeasurement::NativeMeasurement(std::shared_ptr<Bell> bell)
    : bell_(std::move(bell)), id_(bell_->next_id()), waiting_(*bell_) {}

NativeMeasurement::~NativeMeasurement() { bell_->forget(id_); }

void NativeMeasurement::on_news(Napi::Env env) {
  if (measurement_ == nullptr) return;
  const auto result = measurement_->result();
  if (!result) return;
  measurement_.reset();  // its thread is at its end
  const auto keep_alive = std::exchange(self_, nullptr);
  waiting_.settle_all([&](Napi::Promise::Deferred& deferred) {
    if (result->ok())
      deferred.Resolve(measure_object(env, result->value()));
    else
      deferred.Reject(error_of(env, result->status()).Value());
  });
}

void NativeMeasurement::on_teardown() {
  measurement_.reset();
  waiting_.abandon();
  self_.reset();
}

void NativeMeasurement::cancel(Napi::Env env) {
  if (measurement_ == nullptr) return;
  measurement_->cancel();
  waiting_.settle_all([&](Napi::Promise::Deferred& deferred) {
    deferred.Reject(
        error_of(env, Status::error(Code::kCancelled, "the measurement was cancelled")).Value());
  });
}

}  // namespace hypura::addon
