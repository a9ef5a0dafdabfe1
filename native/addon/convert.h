// Values of JavaScript, re-checked: whatever a caller passes is a typed error or a C++ value, never a crash.
//
// Why again, after TypeScript: the addon is reachable without it, and a detached or shared buffer passes every type check
// there. Getters of an options object may run any code, so bytes are looked at last and copied at once.
// Thread: JavaScript's own.
#pragma once

#include <napi.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "native/base/status.h"
#include "native/runtime/code_names.h"
#include "native/runtime/probe.h"
#include "native/runtime/text.h"

namespace hypura::addon {

using runtime::text;

// Sets the properties of NativeErrorInfo (ts/native/native-binding.ts) but the message.
inline void set_error_info(Napi::Object object, const Status& status) {
  const Status::Detail& detail = *status.detail();
  const Napi::Env env = object.Env();
  object.Set("nativeCode", Napi::String::New(env, runtime::code_name(detail.code)));
  object.Set("errno", Napi::Number::New(env, detail.errno_value));
  object.Set("file", Napi::Number::New(env, detail.file ? static_cast<double>(*detail.file) : -1));
  object.Set(
      "offset",
      Napi::Number::New(env, detail.offset_bytes ? static_cast<double>(*detail.offset_bytes) : -1));
}

inline Napi::Error error_of(Napi::Env env, const Status& status) {
  Napi::Error error = Napi::Error::New(env, status.message());
  set_error_info(error.Value(), status);
  return error;
}

inline void throw_if(Napi::Env env, const Status& status) {
  if (!status.ok()) throw error_of(env, status);
}

[[noreturn]] inline void refuse(Napi::Env env, std::string sentence) {
  throw error_of(env, Status::error(Code::kInvalidArgument, std::move(sentence)));
}

template <typename T>
T value_or_throw(Napi::Env env, Result<T> result) {
  throw_if(env, result.status());
  return std::move(result).value();
}

inline Napi::Object need_object(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) refuse(value.Env(), text(name, " must be an object"));
  return value.As<Napi::Object>();
}

inline double need_number(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) refuse(value.Env(), text(name, " must be a number"));
  return value.As<Napi::Number>().DoubleValue();
}

inline int64_t need_integer(const Napi::Value& value, const char* name, int64_t least,
                            int64_t most) {
  const double number = need_number(value, name);
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) ||
      number != std::floor(number))
    refuse(value.Env(),
           text(name, " is ", number, ", it must be an integer from ", least, " to ", most));
  return static_cast<int64_t>(number);
}

inline uint32_t need_u32(const Napi::Value& value, const char* name, uint32_t most = UINT32_MAX) {
  return static_cast<uint32_t>(need_integer(value, name, 0, most));
}

inline float need_float(const Napi::Value& value, const char* name) {
  return static_cast<float>(need_number(value, name));
}

inline std::string need_string(const Napi::Value& value, const char* name) {
  if (!value.IsString()) refuse(value.Env(), text(name, " must be a string"));
  return value.As<Napi::String>().Utf8Value();
}

inline nvme_io::BackendChoice need_io_choice(const Napi::Value& value, const char* name) {
  const std::string choice = need_string(value, name);
  if (choice == "auto") return nvme_io::BackendChoice::kAuto;
  if (choice == "uring") return nvme_io::BackendChoice::kUring;
  if (choice == "pread") return nvme_io::BackendChoice::kPread;
  if (choice == "buffered") return nvme_io::BackendChoice::kBuffered;
  refuse(value.Env(),
         text(name, " is '", choice, "', it must be auto, uring, pread or buffered"));
}

// The bytes of an ArrayBuffer; valid until JavaScript runs again.
inline std::span<std::byte> need_bytes(const Napi::Value& value, const char* name) {
  if (!value.IsArrayBuffer()) refuse(value.Env(), text(name, " must be an ArrayBuffer"));
  Napi::ArrayBuffer buffer = value.As<Napi::ArrayBuffer>();
  if (buffer.IsDetached())
    refuse(value.Env(), text(name, " is detached: its bytes were transferred elsewhere"));
  return {static_cast<std::byte*>(buffer.Data()), buffer.ByteLength()};
}

// The elements of a typed array of exactly this kind over an ordinary ArrayBuffer; valid until JavaScript runs again.
template <typename T>
std::span<T> need_elements(const Napi::Value& value, const char* name, napi_typedarray_type type,
                           const char* kind) {
  napi_typedarray_type found{};
  size_t length = 0;
  void* data = nullptr;
  napi_value buffer = nullptr;
  if (!value.IsTypedArray() ||
      napi_get_typedarray_info(value.Env(), value, &found, &length, &data, &buffer, nullptr) !=
          napi_ok ||
      found != type)
    refuse(value.Env(), text(name, " must be a ", kind));
  if (!Napi::Value(value.Env(), buffer).IsArrayBuffer())
    refuse(value.Env(),
           text(name, " is shared memory, which other threads may change: pass a copy"));
  if (Napi::ArrayBuffer(value.Env(), buffer).IsDetached())
    refuse(value.Env(), text(name, " is detached: its bytes were transferred elsewhere"));
  return {static_cast<T*>(data), data == nullptr ? 0 : length};
}

inline std::span<uint32_t> need_u32s(const Napi::Value& value, const char* name) {
  return need_elements<uint32_t>(value, name, napi_uint32_array, "Uint32Array");
}

// A function object without `this`: it keeps what it works on alive, so no receiver can be the wrong one.
template <typename Body>
Napi::Function method(Napi::Env env, const char* name, Body body) {
  return Napi::Function::New(
      env,
      [body = std::move(body)](const Napi::CallbackInfo& info) -> Napi::Value {
        try {
          return body(info);
        } catch (const std::bad_alloc&) {
          throw error_of(info.Env(),
                         Status::error(Code::kInsufficientMemory, "the system has no memory left"));
        } catch (const Napi::Error&) {
          throw;
        } catch (const std::exception& error) {  // past this line it would end the host
          throw error_of(info.Env(),
                         Status::error(Code::kInternal, text("unexpected: ", error.what())));
        }
      },
      name);
}

}  // namespace hypura::addon
