// The choice between kernel sets at run time: the best that runs, or the one HYPURA_ISA names.
#include "native/kernels/kernel_sets.h"

#include <cstdlib>
#include <cstring>

namespace hypura::kernels {
namespace {

bool always() { return true; }

constexpr RegisteredSet kScalar = {
    &kScalarSet, always, "HYPURA_ISA asks for scalar kernels.", "",
    "This processor has no instruction set hypura knows better than plain C++."};

// Made once, never destroyed: a thread may ask while the process ends.
struct Registry {
  RegisteredSet all[1 + kProcessorSetsMax] = {kScalar};
  uint32_t n_all = 1;
  const KernelSet* runnable[1 + kProcessorSetsMax + 1] = {};  // ends with null
  RegisteredSet best = kScalar;                               // the last one that runs

  Registry() {
    for (const RegisteredSet& entry : processor_family().sets) all[n_all++] = entry;
    uint32_t n_runnable = 0;
    for (const RegisteredSet& entry : registered()) {
      if (!entry.runs()) continue;
      runnable[n_runnable++] = entry.set;
      best = entry;
    }
  }
  std::span<const RegisteredSet> registered() const { return {all, n_all}; }
};

const Registry& registry() {
  static const Registry made;
  return made;
}

}  // namespace

const KernelSet* const* runnable_kernel_sets() { return registry().runnable; }

const KernelSet& choose_kernels(const char** reason) {
  RegisteredSet chosen = registry().best;
  const char* why = chosen.best;
  if (const char* wanted = std::getenv("HYPURA_ISA"); wanted != nullptr && *wanted != '\0') {
    why = processor_family().unknown;
    for (const RegisteredSet& entry : registry().registered()) {
      if (std::strcmp(entry.set->name, wanted) != 0) continue;
      const bool runs = entry.runs();
      if (runs) chosen = entry;
      why = runs ? entry.named : entry.refused;
    }
  }
  if (reason != nullptr) *reason = why;
  return *chosen.set;
}

}  // namespace hypura::kernels
