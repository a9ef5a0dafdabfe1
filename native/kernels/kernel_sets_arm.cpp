// The sets of 64-bit ARM, and whether this processor runs them. Linux.
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

#include <iterator>

#include "native/kernels/kernel_sets.h"
#include "native/kernels/neon_dotprod/neon_dotprod.h"
#include "native/kernels/neon_i8mm/neon_i8mm.h"
#include "native/kernels/quant_types.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels {
namespace {

MatmulFunction neon_dotprod_matmul(QuantType type) {
  switch (type) {
    case QuantType::kF32:
      return neon_dotprod::matmul_f32;
    case QuantType::kF16:
      return neon_dotprod::matmul_f16;
    case QuantType::kBF16:
      return neon_dotprod::matmul_bf16;
    case QuantType::kQ4_0:
      return neon_dotprod::matmul_q4_0;
    case QuantType::kQ4_1:
      return neon_dotprod::matmul_q4_1;
    case QuantType::kQ5_0:
      return neon_dotprod::matmul_q5_0;
    case QuantType::kQ5_1:
      return neon_dotprod::matmul_q5_1;
    case QuantType::kQ8_0:
      return neon_dotprod::matmul_q8_0;
    case QuantType::kQ2_K:
      return neon_dotprod::matmul_q2_k;
    case QuantType::kQ3_K:
      return neon_dotprod::matmul_q3_k;
    case QuantType::kQ4_K:
      return neon_dotprod::matmul_q4_k;
    case QuantType::kQ5_K:
      return neon_dotprod::matmul_q5_k;
    case QuantType::kQ6_K:
      return neon_dotprod::matmul_q6_k;
    case QuantType::kIQ4_NL:
      return neon_dotprod::matmul_iq4_nl;
    case QuantType::kIQ4_XS:
      return neon_dotprod::matmul_iq4_xs;
    case QuantType::kMXFP4:
      return neon_dotprod::matmul_mxfp4;
    default:
      return scalar_matmul(type);
  }
}

QuantizeFunction neon_dotprod_quantize(ActivationForm form) {
  switch (form) {
    case ActivationForm::kF32:
      return scalar::quantize_f32;
    case ActivationForm::kA32:
      return neon_dotprod::quantize_a32;
    case ActivationForm::kA256:
      return neon_dotprod::quantize_a256;
  }
  return nullptr;
}

constexpr KernelSet kNeonDotprod = {
    .name = "neon_dotprod",
    .matmul = neon_dotprod_matmul,
    .dequantize = scalar_dequantize,
    .quantize = neon_dotprod_quantize,
    .rms_norm = neon_dotprod::rms_norm,
    .add = neon_dotprod::add,
    .add_scaled = neon_dotprod::add_scaled,
    .scale = neon_dotprod::scale,
    .silu_mul = neon_dotprod::silu_mul,
    .gelu_mul = neon_dotprod::gelu_mul,
    .softmax = neon_dotprod::softmax,
    .sigmoid = neon_dotprod::sigmoid,
    .rope = neon_dotprod::rope,
    .to_f16 = neon_dotprod::to_f16,
    .dot = neon_dotprod::dot,
    .attention = neon_dotprod::attention,
    .attention_merge = neon_dotprod::attention_merge,
};

// smmla multiplies bytes by bytes; all else is the dot product set's.
MatmulFunction neon_i8mm_matmul(QuantType type) {
  switch (type) {
    case QuantType::kQ4_0:
      return neon_i8mm::matmul_q4_0;
    case QuantType::kQ4_1:
      return neon_i8mm::matmul_q4_1;
    case QuantType::kQ5_0:
      return neon_i8mm::matmul_q5_0;
    case QuantType::kQ5_1:
      return neon_i8mm::matmul_q5_1;
    case QuantType::kQ8_0:
      return neon_i8mm::matmul_q8_0;
    case QuantType::kQ2_K:
      return neon_i8mm::matmul_q2_k;
    case QuantType::kQ3_K:
      return neon_i8mm::matmul_q3_k;
    case QuantType::kQ4_K:
      return neon_i8mm::matmul_q4_k;
    case QuantType::kQ5_K:
      return neon_i8mm::matmul_q5_k;
    case QuantType::kQ6_K:
      return neon_i8mm::matmul_q6_k;
    case QuantType::kIQ4_NL:
      return neon_i8mm::matmul_iq4_nl;
    case QuantType::kIQ4_XS:
      return neon_i8mm::matmul_iq4_xs;
    case QuantType::kMXFP4:
      return neon_i8mm::matmul_mxfp4;
    default:
      return neon_dotprod_matmul(type);
  }
}

constexpr KernelSet kNeonI8mm = [] {
  KernelSet set = kNeonDotprod;
  set.name = "neon_i8mm";
  set.matmul = neon_i8mm_matmul;
  return set;
}();

// The kernel sets these bits for what the processor has and it saves; NEON itself is always there.
bool neon_dotprod_runs() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }

bool neon_i8mm_runs() {
  return neon_dotprod_runs() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
}

constexpr RegisteredSet kSets[] = {
    {&kNeonDotprod, neon_dotprod_runs, "HYPURA_ISA asks for NEON dot product kernels.",
     "HYPURA_ISA asks for NEON dot products, which this processor or operating system lacks; it is ignored.",
     "The processor has NEON dot products."},
    {&kNeonI8mm, neon_i8mm_runs, "HYPURA_ISA asks for NEON int8 matrix kernels.",
     "HYPURA_ISA asks for NEON int8 matrix products, which this processor or operating system lacks; it is ignored.",
     "The processor has NEON dot products and int8 matrix products."},
};
static_assert(std::size(kSets) <= kProcessorSetsMax);

}  // namespace

ProcessorFamily processor_family() {
  return {kSets, "HYPURA_ISA names no kernel set (scalar, neon_dotprod, neon_i8mm) and is ignored."};
}

}  // namespace hypura::kernels

#endif  // __aarch64__
