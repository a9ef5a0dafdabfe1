// The sets of 64-bit ARM: none beside the scalar one.
#if defined(__aarch64__)
#include "native/kernels/kernel_sets.h"

namespace hypura::kernels {

ProcessorFamily processor_family() {
  return {{}, "HYPURA_ISA names no kernel set (scalar) and is ignored."};
}

}  // namespace hypura::kernels

#endif  // __aarch64__
