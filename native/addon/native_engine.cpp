#include "native/addon/native_engine.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "native/addon/convert.h"
#include "native/addon/native_sequence.h"
#include "native/base/limits.h"

namespace hypura::addon {
namespace {

uint64_t need_byte_count(const Napi::Value& value, const char* name) {
  return static_cast<uint64_t>(need_integer(value, name, 0, (int64_t{1} << 53) - 1));
}

runtime::EngineOptions need_options(const Napi::Value& value) {
  const Napi::Object object = need_object(value, "options");
  runtime::EngineOptions options;
  options.threads = need_u32(object.Get("threads"), "threads", kThreadsMax);
  options.io = need_io_choice(object.Get("io"), "io");
  options.io_depth = need_u32(object.Get("ioDepth"), "ioDepth", kIoDepthMax);
  const Napi::Value faults = object.Get("faults");
  if (!faults.IsUndefined()) options.faults = need_string(faults, "faults");
  const Napi::Value plan = object.Get("plan");
  if (!plan.IsUndefined()) {
    const std::span<const std::byte> bytes = need_bytes(plan, "plan");
    options.plan.assign(bytes.begin(), bytes.end());
  }
  return options;
}

void set_direct(Napi::Env env, Napi::Object& object, const runtime::EngineFacts::Direct& direct) {
  object.Set("direct", Napi::Boolean::New(env, direct.direct));
  object.Set("directReason", direct.direct_reason);
}

Napi::Object facts_object(Napi::Env env, const runtime::EngineFacts& facts) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("ioBackend", facts.io_backend);
  object.Set("ioReason", facts.io_reason);
  set_direct(env, object, facts.own);
  Napi::Array mirrors = Napi::Array::New(env);
  for (uint32_t i = 0; i < facts.mirrors.size(); ++i) {
    Napi::Object mirror = Napi::Object::New(env);
    set_direct(env, mirror, facts.mirrors[i]);
    mirrors.Set(i, mirror);
  }
  object.Set("mirrors", mirrors);
  Napi::Array drives = Napi::Array::New(env);
  for (uint32_t i = 0; i < facts.drive_bytes_per_second.size(); ++i)
    drives.Set(i, facts.drive_bytes_per_second[i]);
  object.Set("driveBytesPerSecond", drives);
  object.Set("isa", facts.isa);
  object.Set("threads", facts.threads);
  object.Set("arenaBytes", static_cast<double>(facts.arena_bytes));
  object.Set("hugePageBytes", static_cast<double>(facts.huge_page_bytes));
  return object;
}

}  // namespace

Napi::Object NativeEngine::create(Napi::Env env, std::shared_ptr<Bell> bell, Napi::Value load,
                                  Napi::Value options) {
  const runtime::EngineOptions engine_options = need_options(options);
  const auto self = std::make_shared<NativeEngine>(std::move(bell));
  self->engine_ = value_or_throw(
      env, runtime::Engine::create(need_bytes(load, "load"), engine_options,
                                   [bell = self->bell_, id = self->id_] { bell->ring(id); }));
  self->bell_->listen(self->id_, self);
  return self->functions(env);
}

NativeEngine::NativeEngine(std::shared_ptr<Bell> bell)
    : bell_(std::move(bell)),
      id_(bell_->next_id()),
      waiting_for_open_(*bell_),
      waiting_for_close_(*bell_) {}

NativeEngine::~NativeEngine() { bell_->forget(id_); }

Napi::Object NativeEngine::functions(Napi::Env env) {
  Napi::Object object = Napi::Object::New(env);
  const auto add = [&](const char* name,
                       Napi::Value (NativeEngine::*function)(const Napi::CallbackInfo&)) {
    object.Set(name, method(env, name,
                            [self = shared_from_this(), function](const Napi::CallbackInfo& info) {
                              return ((*self).*function)(info);
                            }));
  };
  add("opened", &NativeEngine::opened);
  add("submitPlan", &NativeEngine::submit_plan);
  add("drainEvents", &NativeEngine::drain_events);
  add("counters", &NativeEngine::counters);
  add("copies", &NativeEngine::copies);
  add("readBlocks", &NativeEngine::read_blocks);
  add("resize", &NativeEngine::resize);
  add("createSequence", &NativeEngine::create_sequence);
  add("close", &NativeEngine::close);
  object.Freeze();
  return object;
}

runtime::Engine& NativeEngine::open_engine(Napi::Env env) const {
  if (engine_ == nullptr)
    throw error_of(env, Status::error(Code::kClosed, "the engine was closed"));
  return *engine_;
}

void NativeEngine::on_news(Napi::Env env) {
  if (engine_ == nullptr) return;
  settle_opened(env);
  settle_reads(env);
  settle_resizes(env);
  if (!engine_->closed()) return;
  engine_.reset();
  waiting_for_close_.settle_all(
      [&](Napi::Promise::Deferred& deferred) { deferred.Resolve(env.Undefined()); });
}

void NativeEngine::on_teardown() {
  engine_.reset();
  waiting_for_open_.abandon();
  waiting_for_close_.abandon();
  reads_.clear();
  resizes_.clear();
}

Napi::Value NativeEngine::opened(const Napi::CallbackInfo& info) {
  open_engine(info.Env());
  const Napi::Promise promise = waiting_for_open_.add(info.Env(), shared_from_this());
  settle_opened(info.Env());
  return promise;
}

void NativeEngine::settle_opened(Napi::Env env) {
  if (waiting_for_open_.empty()) return;
  const auto opened = engine_->opened();
  if (!opened) return;
  waiting_for_open_.settle_all([&](Napi::Promise::Deferred& deferred) {
    if (opened->ok())
      deferred.Resolve(facts_object(env, opened->value()));
    else
      deferred.Reject(error_of(env, opened->status()).Value());
  });
}

Napi::Value NativeEngine::submit_plan(const Napi::CallbackInfo& info) {
  runtime::Engine& engine = open_engine(info.Env());
  throw_if(info.Env(), engine.submit_plan(need_bytes(info[0], "plan")));
  return info.Env().Undefined();
}

// In pieces, because records ask for an alignment that a view of a Uint32Array need not have.
Napi::Value NativeEngine::drain_events(const Napi::CallbackInfo& info) {
  runtime::Engine& engine = open_engine(info.Env());
  const std::span<uint32_t> into = need_u32s(info[0], "into");
  constexpr size_t kWords = sizeof(scheduler::Event) / sizeof(uint32_t);
  std::array<scheduler::Event, 128> piece;
  size_t count = 0;
  for (size_t room = into.size() / kWords; room > 0;) {
    const uint32_t got = engine.drain_events(std::span(piece).first(std::min(room, piece.size())));
    if (got == 0) break;
    std::memcpy(into.data() + count * kWords, piece.data(), got * sizeof(scheduler::Event));
    count += got;
    room -= got;
  }
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

Napi::Value NativeEngine::counters(const Napi::CallbackInfo& info) {
  runtime::Engine& engine = open_engine(info.Env());
  const std::span<double> into =
      need_elements<double>(info[0], "into", napi_float64_array, "Float64Array");
  if (into.size() < runtime::kCounterCount)
    refuse(info.Env(), text("into has ", into.size(), " places, there are ", runtime::kCounterCount,
                            " counters"));
  const runtime::CounterRow row = engine.counters();
  std::copy(row.begin(), row.end(), into.begin());
  return info.Env().Undefined();
}

Napi::Value NativeEngine::copies(const Napi::CallbackInfo& info) {
  runtime::Engine& engine = open_engine(info.Env());
  const std::span<double> into =
      need_elements<double>(info[0], "into", napi_float64_array, "Float64Array");
  const size_t need = size_t{engine.copy_count()} * runtime::kCopyIndexCount;
  if (into.size() < need)
    refuse(info.Env(), text("into has ", into.size(), " places, the copies need ", need));
  engine.copies(into.first(need));
  return Napi::Number::New(info.Env(), engine.copy_count());
}

Napi::Value NativeEngine::read_blocks(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  runtime::Engine& engine = open_engine(env);
  const std::span<uint32_t> blocks = need_u32s(info[0], "blocks");
  const size_t room = need_bytes(info[1], "into").size();
  auto job = value_or_throw(env, engine.read_blocks(blocks, room));
  bell_->hold();
  reads_.push_back({.job = std::move(job),
                    .deferred = Napi::Promise::Deferred::New(env),
                    .into = Napi::Persistent(info[1].As<Napi::Object>()),
                    .keep_alive = shared_from_this()});
  return reads_.back().deferred.Promise();
}

// A job's `done` is looked at once: between two looks it may become true.
void NativeEngine::settle_reads(Napi::Env env) {
  std::erase_if(reads_, [&](PendingRead& read) {
    if (!read.job->done.load(std::memory_order_acquire)) return false;
    bell_->release();
    try {
      throw_if(env, read.job->status);
      const std::span<std::byte> into =
          need_bytes(read.into.Value(), "into");  // it may have been detached meanwhile
      if (into.size() < read.job->bytes.size())
        refuse(env, "into became smaller while its blocks were read");
      std::memcpy(into.data(), read.job->bytes.data(), read.job->bytes.size());
      read.deferred.Resolve(env.Undefined());
    } catch (const Napi::Error& error) {
      read.deferred.Reject(error.Value());
    }
    return true;
  });
}

Napi::Value NativeEngine::resize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  open_engine(env);
  const Napi::Object object = need_object(info[0], "division");
  const uint64_t budget_bytes = need_byte_count(object.Get("budgetBytes"), "budgetBytes");
  const scheduler::CacheDivision division{
      .pin_count = need_u32(object.Get("pinCount"), "pinCount"),
      .pool_slots = need_u32(object.Get("poolSlots"), "poolSlots"),
      .ring_bytes = need_byte_count(object.Get("ringBytes"), "ringBytes")};
  // Only now: a getter may have closed it.
  auto job = value_or_throw(env, open_engine(env).resize(budget_bytes, division));
  bell_->hold();
  resizes_.push_back({.job = std::move(job),
                      .deferred = Napi::Promise::Deferred::New(env),
                      .keep_alive = shared_from_this()});
  return resizes_.back().deferred.Promise();
}

void NativeEngine::settle_resizes(Napi::Env env) {
  std::erase_if(resizes_, [&](PendingResize& resize) {
    const runtime::ResizeJob& job = *resize.job;
    if (!job.done.load(std::memory_order_acquire)) return false;
    bell_->release();
    if (job.status.ok())
      resize.deferred.Resolve(Napi::Number::New(env, static_cast<double>(job.in_force_bytes)));
    else
      resize.deferred.Reject(error_of(env, job.status).Value());
    return true;
  });
}

Napi::Value NativeEngine::create_sequence(const Napi::CallbackInfo& info) {
  const uint32_t client = info[0].IsUndefined() ? 0 : need_u32(info[0], "client");
  open_engine(info.Env());
  return NativeSequence::create(info.Env(), bell_, shared_from_this(), client);
}

Napi::Value NativeEngine::close(const Napi::CallbackInfo& info) {
  const Napi::Promise promise = waiting_for_close_.add(info.Env(), shared_from_this());
  if (engine_ != nullptr)
    engine_->close();
  else
    waiting_for_close_.settle_all(
        [&](Napi::Promise::Deferred& deferred) { deferred.Resolve(info.Env().Undefined()); });
  return promise;
}

}  // namespace hypura::addon
