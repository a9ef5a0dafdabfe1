// Signals stay with the host's threads: its handlers must not run on stacks it does not know, in the middle of our work.
//
// Threads inherit the mask of whoever starts them, so this lives around the start of a thread, and what that thread starts
// needs it no more. Any thread; costs two system calls.
#pragma once

#include <pthread.h>
#include <signal.h>

namespace hypura {

class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace hypura
