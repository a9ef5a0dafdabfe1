// Errors as values: what a file, a disk, a caller or the machine can cause.
//
// A Status is one pointer: null means ok, so success costs nothing and never allocates. An error owns its sentence and
// the place it happened at. What only our own bug can cause is a CHECK (check.h), never a Status.
// Thread-safe as any value type: immutable after creation.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace hypura {

// Crosses the border as a number (ts/native/binding.d.ts): append only, never renumber.
enum class Code : uint8_t {
  kOk = 0,
  kInvalidArgument = 1,     // an option or argument of the caller
  kBadLoad = 2,             // the Load message is malformed or does not agree with the files
  kBadPlan = 3,             // a Plan message was refused; the old plan stays in force
  kInsufficientMemory = 4,  // an allocation failed, or a budget does not hold what it must
  kIo = 5,                  // a read failed, also after its retries
  kModelChanged = 6,        // a file is shorter, newer or another one than the Load message said
  kNonFinite = 7,           // NaN or infinity met in the activations
  kCancelled = 8,           // the caller asked for it
  kClosed = 9,              // the engine or sequence was closed
  kBusy = 10,               // the sequence is generating already
  kContextOverflow = 11,    // more positions than the KV cache holds
  kUnsupported = 12,        // legal, but not built
  kInternal = 13,           // an invariant failed where no memory is in doubt; the engine stops
  kMirrorMismatch = 14,     // a copy of the model holds other bytes than the first one
};

class Status {
 public:
  struct Detail {
    Code code = Code::kInternal;
    std::string message;
    int errno_value = 0;                   // 0 when the system had no part in it
    std::optional<uint32_t> file;          // index into the Load message's files
    std::optional<uint64_t> offset_bytes;  // place in that file, or in the refused message
  };

  Status() = default;  // ok
  explicit Status(Detail detail) : detail_(std::make_shared<const Detail>(std::move(detail))) {}
  static Status error(Code code, std::string message) {
    return Status(Detail{.code = code, .message = std::move(message), .file = {}, .offset_bytes = {}});
  }
  // A message that is wrong at a byte offset.
  static Status at(Code code, uint64_t offset_bytes, std::string message) {
    return Status(Detail{
        .code = code, .message = std::move(message), .file = {}, .offset_bytes = offset_bytes});
  }

  bool ok() const { return detail_ == nullptr; }
  Code code() const { return detail_ ? detail_->code : Code::kOk; }
  const std::string& message() const {
    static const std::string kNothing;
    return detail_ ? detail_->message : kNothing;
  }
  // Null when ok.
  const Detail* detail() const { return detail_.get(); }

 private:
  std::shared_ptr<const Detail> detail_;
};

// A value or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}           // NOLINT: implicit by design
  Result(Status status) : status_(std::move(status)) {}   // NOLINT: implicit by design

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return std::move(*value_); }
  T* operator->() { return &*value_; }
  T& operator*() & { return *value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace hypura

// Returns the error of `expression` from the enclosing function.
#define HYPURA_TRY(expression)                                 \
  do {                                                         \
    if (::hypura::Status hypura_status = (expression); !hypura_status.ok()) return hypura_status; \
  } while (false)

#define HYPURA_JOIN_(a, b) a##b
#define HYPURA_JOIN(a, b) HYPURA_JOIN_(a, b)
// Declares `target` from a Result, or returns its error: HYPURA_TRY_ASSIGN(auto ring, BlockRing::create(...));
#define HYPURA_TRY_ASSIGN(target, expression) \
  HYPURA_TRY_ASSIGN_(HYPURA_JOIN(hypura_result_, __LINE__), target, expression)
#define HYPURA_TRY_ASSIGN_(result, target, expression) \
  auto result = (expression);                          \
  if (!result.ok()) return result.status();            \
  target = std::move(result).value()
