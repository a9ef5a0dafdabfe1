#include "native/addon/bell.h"

#include <vector>

namespace hypura::addon {

Bell::Bell(Napi::Env env) : env_(env) {
  const napi_status status =
      napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "hypura"), 0, 1,
                                      nullptr, nullptr, this, &Bell::answer, &function_);
  NAPI_THROW_IF_FAILED_VOID(env, status);
  napi_unref_threadsafe_function(env, function_);
}

void Bell::ring(uint64_t id) const {
  // Fails only while the environment closes; then nobody is left to be told.
  napi_call_threadsafe_function(function_, reinterpret_cast<void*>(static_cast<uintptr_t>(id)),
                                napi_tsfn_nonblocking);
}

void Bell::hold() {
  if (holds_++ == 0 && !torn_down_) napi_ref_threadsafe_function(env_, function_);
}

void Bell::release() {
  if (--holds_ == 0 && !torn_down_) napi_unref_threadsafe_function(env_, function_);
}

void Bell::tear_down() {
  torn_down_ = true;
  std::vector<std::shared_ptr<Listener>> alive;
  for (const auto& [id, listener] : listeners_)
    if (auto strong = listener.lock()) alive.push_back(std::move(strong));
  for (const auto& listener : alive) listener->on_teardown();
}

void Bell::answer(napi_env raw_env, napi_value, void* context, void* data) {
  if (raw_env == nullptr) return;  // the environment closes
  Bell& bell = *static_cast<Bell*>(context);
  const auto found = bell.listeners_.find(reinterpret_cast<uintptr_t>(data));
  if (found == bell.listeners_.end()) return;
  const std::shared_ptr<Listener> listener = found->second.lock();
  if (listener == nullptr) return;
  const Napi::Env env(raw_env);
  try {
    listener->on_news(env);
  } catch (const Napi::Error& error) {
    napi_fatal_exception(
        env, error.Value());  // what the host's own callback threw: its 'uncaughtException'
  }
}

}  // namespace hypura::addon
