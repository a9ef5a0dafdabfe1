// The tensor types of GGUF: one row per type. Ids and sizes are ggml's, as stored on disk: never renumber.
#pragma once

#include <cstdint>
#include <span>

namespace hypura::kernels {

enum class QuantType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kBF16 = 30,
  kMXFP4 = 39,
};

// How an activation vector must be prepared for weights of a type (kernels.md of the design, section 3).
enum class ActivationForm : uint8_t {
  kF32 = 0,   // the vector itself, for F32, F16, BF16
  kA32 = 1,   // blocks of 32 int8 with one scale, for the 32-weight types
  kA256 = 2,  // blocks of 256 int8 with one scale, for the 256-weight types
};
inline constexpr uint32_t kActivationForms = 3;

struct QuantTypeInfo {
  QuantType type;
  const char* name;        // "Q4_K"
  uint32_t block_weights;  // weights per block; a row's length is a multiple of it
  uint32_t block_bytes;
  ActivationForm form;
};

// All supported types, by ascending id.
std::span<const QuantTypeInfo> quant_types();
// Null for an unknown or unsupported id.
const QuantTypeInfo* find_quant_type(uint32_t id);

// Bytes of a row of n_cols weights. n_cols must be a multiple of the type's block.
inline uint64_t row_bytes(const QuantTypeInfo& type, uint64_t n_cols) {
  return n_cols / type.block_weights * type.block_bytes;
}
// Bytes of one activation vector of n_cols elements in a form; a multiple of 64, for 64-byte aligned storage. n_cols that
// are not a multiple of the form's block are padded with zeros.
uint64_t activation_bytes(ActivationForm form, uint32_t n_cols);
// Bytes from one such vector to the next where many lie together: an odd number of cache lines, so that the same block of
// neighbouring vectors does not fall into the same few sets of a cache (docs/decisions/0019).
uint64_t activation_stride(ActivationForm form, uint32_t n_cols);

}  // namespace hypura::kernels
