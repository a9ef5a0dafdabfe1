#include "native/addon/native_sequence.h"

#include <array>

#include "native/addon/convert.h"
#include "native/base/limits.h"

namespace hypura::addon {
namespace {

using runtime::FinishReason, runtime::LogitsWanted, runtime::Phase;

runtime::Sampling need_sampling(const Napi::Value& value) {
  const Napi::Object object = need_object(value, "sampling");
  return {.temperature = need_float(object.Get("temperature"), "temperature"),
          .top_k = need_u32(object.Get("topK"), "topK"),
          .top_p = need_float(object.Get("topP"), "topP"),
          .min_p = need_float(object.Get("minP"), "minP"),
          .repeat_penalty = need_float(object.Get("repeatPenalty"), "repeatPenalty"),
          .repeat_last_n = static_cast<int32_t>(
              need_integer(object.Get("repeatLastN"), "repeatLastN", -1, INT32_MAX)),
          .frequency_penalty = need_float(object.Get("frequencyPenalty"), "frequencyPenalty"),
          .presence_penalty = need_float(object.Get("presencePenalty"), "presencePenalty"),
          .seed = need_u32(object.Get("seed"), "seed")};
}

LogitsWanted need_logits_wanted(const Napi::Value& value) {
  const std::string name = need_string(value, "logits");
  if (name == "none") return LogitsWanted::kNone;
  if (name == "all") return LogitsWanted::kAll;
  refuse(value.Env(), text("logits is '", name, "', it must be none or all"));
}

std::vector<uint32_t> copy_u32s(const Napi::Value& value, const char* name) {
  const std::span<uint32_t> elements = need_u32s(value, name);
  return {elements.begin(), elements.end()};
}

runtime::Request need_request(const Napi::Value& value) {
  const Napi::Object object = need_object(value, "request");
  runtime::Request request;
  request.max_tokens = need_u32(object.Get("maxTokens"), "maxTokens");
  request.sampling = need_sampling(object.Get("sampling"));
  request.logits = need_logits_wanted(object.Get("logits"));
  request.pending_tokens_max =
      need_u32(object.Get("pendingTokensMax"), "pendingTokensMax", kPendingTokensMax);
  request.tokens = copy_u32s(object.Get("tokens"), "tokens");
  request.stop_tokens = copy_u32s(object.Get("stopTokens"), "stopTokens");
  return request;
}

constexpr std::array kPhaseNames = {"idle", "queued", "prefill", "decode", "paused", "done"};
static_assert(kPhaseNames.size() == static_cast<size_t>(Phase::kDone) + 1);
constexpr std::array<const char*, 6> kFinishNames = {nullptr,        "stop-token", "length",
                                                     "context-full", "cancelled",  "error"};
static_assert(kFinishNames.size() == static_cast<size_t>(FinishReason::kError) + 1);

Napi::Value error_info(Napi::Env env, const Status& status) {
  if (status.ok()) return env.Null();
  Napi::Object object = Napi::Object::New(env);
  object.Set("message", status.message());
  set_error_info(object, status);
  return object;
}

}  // namespace

Napi::Object NativeSequence::create(Napi::Env env, std::shared_ptr<Bell> bell,
                                    std::shared_ptr<NativeEngine> engine, uint32_t client) {
  const auto self = std::make_shared<NativeSequence>(std::move(bell), std::move(engine));
  self->sequence_ =
      value_or_throw(env, self->engine_->engine()->create_sequence(
                              [bell = self->bell_, id = self->id_] { bell->ring(id); }, client));
  self->bell_->listen(self->id_, self);
  return self->functions(env);
}

NativeSequence::NativeSequence(std::shared_ptr<Bell> bell, std::shared_ptr<NativeEngine> engine)
    : bell_(std::move(bell)),
      id_(bell_->next_id()),
      engine_(std::move(engine)),
      waiting_for_close_(*bell_) {}

NativeSequence::~NativeSequence() {
  bell_->forget(id_);
  if (sequence_ != nullptr) sequence_->close();
}

Napi::Object NativeSequence::functions(Napi::Env env) {
  Napi::Object object = Napi::Object::New(env);
  const auto add = [&](const char* name,
                       Napi::Value (NativeSequence::*function)(const Napi::CallbackInfo&)) {
    object.Set(name, method(env, name,
                            [self = shared_from_this(), function](const Napi::CallbackInfo& info) {
                              return ((*self).*function)(info);
                            }));
  };
  add("start", &NativeSequence::start);
  add("drainTokens", &NativeSequence::drain_tokens);
  add("drainLogits", &NativeSequence::drain_logits);
  add("state", &NativeSequence::state);
  add("cancel", &NativeSequence::cancel);
  add("truncate", &NativeSequence::truncate);
  add("close", &NativeSequence::close);
  object.Freeze();
  return object;
}

runtime::Sequence& NativeSequence::open_sequence(Napi::Env env) const {
  if (close_asked_) throw error_of(env, Status::error(Code::kClosed, "the sequence was closed"));
  if (engine_->engine() == nullptr)
    throw error_of(env, Status::error(Code::kClosed, "the engine was closed"));
  return *sequence_;
}

void NativeSequence::on_news(Napi::Env env) {
  sequence_->acknowledge_wake();
  settle_close(env);
  if (keep_alive_ == nullptr) return;
  const auto self = keep_alive_;
  const Napi::Function on_wake = on_wake_.Value();
  if (sequence_->state().phase == Phase::kDone) request_ended();
  on_wake.Call({});
}

// The engine's thread is the only one, and the engine's part.
void NativeSequence::on_teardown() {
  waiting_for_close_.abandon();
  on_wake_.Reset();
  keep_alive_.reset();
}

void NativeSequence::request_ended() {
  keep_alive_.reset();
  on_wake_.Reset();
  bell_->release();
}

Napi::Value NativeSequence::start(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  open_sequence(env);
  runtime::Request request = need_request(info[0]);
  if (!info[1].IsFunction()) refuse(env, "onWake must be a function");
  Napi::FunctionReference on_wake = Napi::Persistent(info[1].As<Napi::Function>());
  throw_if(env, open_sequence(env).start(std::move(request)));
  // An earlier request may have ended with its last wake still on its way: this one takes over.
  if (keep_alive_ == nullptr) bell_->hold();
  keep_alive_ = shared_from_this();
  on_wake_ = std::move(on_wake);
  return env.Undefined();
}

// Draining never fails for being late: after closing there is nothing any more, and state() says why.
Napi::Value NativeSequence::drain_tokens(const Napi::CallbackInfo& info) {
  const std::span<uint32_t> into = need_u32s(info[0], "into");
  constexpr size_t kWords = sizeof(runtime::TokenRecord) / sizeof(uint32_t);
  std::array<runtime::TokenRecord, 64> piece;
  size_t count = 0;
  for (size_t room = into.size() / kWords; room > 0;) {
    const uint32_t got =
        sequence_->drain_tokens(std::span(piece).first(std::min(room, piece.size())));
    if (got == 0) break;
    std::memcpy(into.data() + count * kWords, piece.data(), got * sizeof(runtime::TokenRecord));
    count += got;
    room -= got;
  }
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

Napi::Value NativeSequence::drain_logits(const Napi::CallbackInfo& info) {
  const std::span<float> into =
      need_elements<float>(info[0], "into", napi_float32_array, "Float32Array");
  if (into.size() < sequence_->n_vocab())
    refuse(info.Env(),
           text("into has ", into.size(), " places, a row of logits has ", sequence_->n_vocab()));
  return Napi::Number::New(info.Env(), sequence_->drain_logits(into));
}

Napi::Value NativeSequence::state(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const runtime::SequenceState state = sequence_->state();
  Napi::Object object = Napi::Object::New(env);
  object.Set("phase", kPhaseNames[static_cast<size_t>(state.phase)]);
  object.Set("promptProcessed", state.prompt_processed);
  object.Set("promptTotal", state.prompt_total);
  object.Set("length", state.length);
  const char* reason = kFinishNames[static_cast<size_t>(state.finish_reason)];
  object.Set("finishReason",
             reason == nullptr ? env.Null() : Napi::Value(Napi::String::New(env, reason)));
  object.Set("error", error_info(env, state.error));
  object.Set("prefillNs", static_cast<double>(state.prefill_ns));
  object.Set("decodeNs", static_cast<double>(state.decode_ns));
  return object;
}

Napi::Value NativeSequence::cancel(const Napi::CallbackInfo& info) {
  sequence_->cancel();
  return info.Env().Undefined();
}

Napi::Value NativeSequence::truncate(const Napi::CallbackInfo& info) {
  open_sequence(info.Env());
  const uint32_t length = need_u32(info[0], "length");
  throw_if(info.Env(), sequence_->truncate(length));
  return info.Env().Undefined();
}

Napi::Value NativeSequence::close(const Napi::CallbackInfo& info) {
  close_asked_ = true;
  sequence_->close();
  const Napi::Promise promise = waiting_for_close_.add(info.Env(), shared_from_this());
  settle_close(info.Env());
  return promise;
}

void NativeSequence::settle_close(Napi::Env env) {
  if (waiting_for_close_.empty() || !sequence_->closed()) return;
  waiting_for_close_.settle_all(
      [&](Napi::Promise::Deferred& deferred) { deferred.Resolve(env.Undefined()); });
}

}  // namespace hypura::addon
