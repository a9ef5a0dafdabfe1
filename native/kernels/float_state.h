// Rule E10: rounding to nearest and no flush-to-zero while kernels run. Another addon of the
// process, built with fast-math, may have changed either on this thread.
//
// Sets the defaults for its scope and restores what was there, exception flags included. Any
// thread; costs some ten cycles.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace hypura::kernels {

class FloatDefaults {
 public:
  FloatDefaults() : saved_(read()) { write(kDefaults); }
  ~FloatDefaults() { write(saved_); }
  FloatDefaults(const FloatDefaults&) = delete;
  FloatDefaults& operator=(const FloatDefaults&) = delete;

 private:
#if defined(__x86_64__)
  using Control = uint32_t;
  static constexpr Control kDefaults =
      0x1f80;  // MXCSR: all exceptions masked, nearest, no FTZ, no DAZ
  static Control read() { return _mm_getcsr(); }
  static void write(Control control) { _mm_setcsr(control); }
#elif defined(__aarch64__)
  using Control = uint64_t;
  static constexpr Control kDefaults = 0;  // FPCR: nearest, no flushing
  static Control read() {
    Control control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return control;
  }
  static void write(Control control) { __asm__ volatile("msr fpcr, %0" : : "r"(control)); }
#else
#error "rule E10 needs the floating-point control register of this processor"
#endif

  const Control saved_;
};

}  // namespace hypura::kernels
