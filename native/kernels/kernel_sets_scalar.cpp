// The scalar set: all types and forms, on any processor.
#include "native/kernels/kernel_sets.h"
#include "native/kernels/quant_types.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels {
namespace {

struct TypeKernels {
  QuantType type;
  MatmulFunction matmul;
  DequantizeFunction dequantize;
};

constexpr TypeKernels kScalarTypes[] = {
    {QuantType::kF32, scalar::matmul_f32, scalar::dequantize_f32},
    {QuantType::kF16, scalar::matmul_f16, scalar::dequantize_f16},
    {QuantType::kQ4_0, scalar::matmul_q4_0, scalar::dequantize_q4_0},
    {QuantType::kQ4_1, scalar::matmul_q4_1, scalar::dequantize_q4_1},
    {QuantType::kQ5_0, scalar::matmul_q5_0, scalar::dequantize_q5_0},
    {QuantType::kQ5_1, scalar::matmul_q5_1, scalar::dequantize_q5_1},
    {QuantType::kQ8_0, scalar::matmul_q8_0, scalar::dequantize_q8_0},
    {QuantType::kQ2_K, scalar::matmul_q2_k, scalar::dequantize_q2_k},
    {QuantType::kQ3_K, scalar::matmul_q3_k, scalar::dequantize_q3_k},
    {QuantType::kQ4_K, scalar::matmul_q4_k, scalar::dequantize_q4_k},
    {QuantType::kQ5_K, scalar::matmul_q5_k, scalar::dequantize_q5_k},
    {QuantType::kQ6_K, scalar::matmul_q6_k, scalar::dequantize_q6_k},
    {QuantType::kIQ4_NL, scalar::matmul_iq4_nl, scalar::dequantize_iq4_nl},
    {QuantType::kIQ4_XS, scalar::matmul_iq4_xs, scalar::dequantize_iq4_xs},
    {QuantType::kBF16, scalar::matmul_bf16, scalar::dequantize_bf16},
    {QuantType::kMXFP4, scalar::matmul_mxfp4, scalar::dequantize_mxfp4},
};

QuantizeFunction scalar_quantize(ActivationForm form) {
  switch (form) {
    case ActivationForm::kF32:
      return scalar::quantize_f32;
    case ActivationForm::kA32:
      return scalar::quantize_a32;
    case ActivationForm::kA256:
      return scalar::quantize_a256;
  }
  return nullptr;
}

}  // namespace

MatmulFunction scalar_matmul(QuantType type) {
  for (const TypeKernels& kernels : kScalarTypes)
    if (kernels.type == type) return kernels.matmul;
  return nullptr;
}

DequantizeFunction scalar_dequantize(QuantType type) {
  for (const TypeKernels& kernels : kScalarTypes)
    if (kernels.type == type) return kernels.dequantize;
  return nullptr;
}

const KernelSet kScalarSet = {
    .name = "scalar",
    .matmul = scalar_matmul,
    .dequantize = scalar_dequantize,
    .quantize = scalar_quantize,
    .rms_norm = scalar::rms_norm,
    .add = scalar::add,
    .add_scaled = scalar::add_scaled,
    .scale = scalar::scale,
    .silu_mul = scalar::silu_mul,
    .gelu_mul = scalar::gelu_mul,
    .softmax = scalar::softmax,
    .sigmoid = scalar::sigmoid,
    .rope = scalar::rope,
    .to_f16 = scalar::to_f16,
    .dot = scalar::dot,
    .attention = scalar::attention,
    .attention_merge = scalar::attention_merge,
};

}  // namespace hypura::kernels
