// The parts of the registry: the scalar set, and what the processor family this is compiled for adds to it.
#pragma once

#include <span>

#include "native/kernels/kernel_set.h"

namespace hypura::kernels {

// kernel_sets_scalar.cpp: all types, on any processor.
extern const KernelSet kScalarSet;
MatmulFunction scalar_matmul(QuantType type);
DequantizeFunction scalar_dequantize(QuantType type);

struct RegisteredSet {
  const KernelSet* set;
  bool (*runs)();       // asks the processor and the operating system
  const char* named;    // reason when HYPURA_ISA named it
  const char* refused;  // reason when HYPURA_ISA named it and it cannot run
  const char* best;     // reason when it is the best that runs
};

// Sets of a processor family beside the scalar one.
inline constexpr uint32_t kProcessorSetsMax = 5;

// kernel_sets_x86.cpp or kernel_sets_arm.cpp.
struct ProcessorFamily {
  std::span<const RegisteredSet> sets;  // by ascending speed, at most kProcessorSetsMax
  const char* unknown;                  // reason when HYPURA_ISA names none of them, nor scalar
};
ProcessorFamily processor_family();

}  // namespace hypura::kernels
