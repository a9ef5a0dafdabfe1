#include "native/kernels/quant_types.h"

#include "native/base/bytes.h"
#include "native/kernels/activations.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels {
namespace {

constexpr uint64_t kCacheLineBytes = 64;

constexpr ActivationForm kF32 = ActivationForm::kF32;
constexpr ActivationForm kA32 = ActivationForm::kA32;
constexpr ActivationForm kA256 = ActivationForm::kA256;

// By ascending id. Ids 4, 5, 31-33 and 36-38 were removed from the format and are unknown here like
// any other.
constexpr QuantTypeInfo kTypes[] = {
    {QuantType::kF32, "F32", 1, 4, kF32},
    {QuantType::kF16, "F16", 1, 2, kF32},
    {QuantType::kQ4_0, "Q4_0", 32, sizeof(BlockQ4_0), kA32},
    {QuantType::kQ4_1, "Q4_1", 32, sizeof(BlockQ4_1), kA32},
    {QuantType::kQ5_0, "Q5_0", 32, sizeof(BlockQ5_0), kA32},
    {QuantType::kQ5_1, "Q5_1", 32, sizeof(BlockQ5_1), kA32},
    {QuantType::kQ8_0, "Q8_0", 32, sizeof(BlockQ8_0), kA32},
    {QuantType::kQ2_K, "Q2_K", 256, sizeof(BlockQ2K), kA256},
    {QuantType::kQ3_K, "Q3_K", 256, sizeof(BlockQ3K), kA256},
    {QuantType::kQ4_K, "Q4_K", 256, sizeof(BlockQ4K), kA256},
    {QuantType::kQ5_K, "Q5_K", 256, sizeof(BlockQ5K), kA256},
    {QuantType::kQ6_K, "Q6_K", 256, sizeof(BlockQ6K), kA256},
    {QuantType::kIQ4_NL, "IQ4_NL", 32, sizeof(BlockIQ4NL), kA32},
    {QuantType::kIQ4_XS, "IQ4_XS", 256, sizeof(BlockIQ4XS), kA256},
    {QuantType::kBF16, "BF16", 1, 2, kF32},
    {QuantType::kMXFP4, "MXFP4", 32, sizeof(BlockMXFP4), kA32},
};

}  // namespace

std::span<const QuantTypeInfo> quant_types() { return kTypes; }

const QuantTypeInfo* find_quant_type(uint32_t id) {
  for (const QuantTypeInfo& info : kTypes)
    if (static_cast<uint32_t>(info.type) == id) return &info;
  return nullptr;
}

uint64_t activation_bytes(ActivationForm form, uint32_t n_cols) {
  const uint64_t columns = n_cols;
  switch (form) {
    case ActivationForm::kF32:
      return align_up(columns * sizeof(float), kCacheLineBytes);
    case ActivationForm::kA32:
      return align_up(columns, 256) / 256 * sizeof(ActivationA32);
    case ActivationForm::kA256:
      return align_up(columns, 256) / 256 * sizeof(ActivationA256);
  }
  return 0;
}

uint64_t activation_stride(ActivationForm form, uint32_t n_cols) { return activation_bytes(form, n_cols) | kCacheLineBytes; }

}  // namespace hypura::kernels
