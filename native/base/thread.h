// A thread with a stack that every kernel fits in, whatever the system's default: musl gives a thread 128 KiB, `ulimit -s` less
// than that if asked, and a strip of AMX tiles alone has 256 KiB of sums (native/kernels/amx_int8/matmul.h).
//
// As std::thread: starts when it is made, must be joined before it ends. The stack is address space until it is used.
#pragma once

#include <pthread.h>

#include <exception>
#include <memory>
#include <system_error>
#include <utility>

namespace hypura {

class Thread {
 public:
  static constexpr size_t kStackBytes = size_t{2} << 20;

  Thread() = default;

  // body: called once, without arguments, on the new thread. Throws std::system_error when the system gives no thread.
  template <typename Body>
  explicit Thread(Body body) {
    auto owned = std::make_unique<Body>(std::move(body));
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error == 0) {
      error = pthread_attr_setstacksize(&attributes, kStackBytes);
      if (error == 0) error = pthread_create(&handle_, &attributes, &run<Body>, owned.get());
      pthread_attr_destroy(&attributes);
    }
    if (error != 0) throw std::system_error(error, std::generic_category());
    owned.release();  // the thread's
    joinable_ = true;
  }

  Thread(Thread&& other) noexcept : handle_(other.handle_), joinable_(std::exchange(other.joinable_, false)) {}
  Thread& operator=(Thread&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(joinable_, other.joinable_);
    return *this;
  }
  ~Thread() {
    if (joinable_) std::terminate();
  }

  bool joinable() const { return joinable_; }
  void join() {
    pthread_join(handle_, nullptr);
    joinable_ = false;
  }

 private:
  template <typename Body>
  static void* run(void* body) {
    const std::unique_ptr<Body> owned(static_cast<Body*>(body));
    (*owned)();
    return nullptr;
  }

  pthread_t handle_ = {};
  bool joinable_ = false;
};

}  // namespace hypura
