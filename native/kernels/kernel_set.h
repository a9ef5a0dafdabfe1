// Everything one instruction set must provide: a table of free functions on plain pointers. Scalar is the specification.
//
// Exactness: every function of every set gives the same bits for the same arguments (rules E1-E11 in docs/adding/kernel.md): exact
// integers inside a block, one float expression per block in a fixed order, 16-lane float reductions, own exp, no
// dependence on n_positions or on how rows are split.
// Thread-safe: all functions are pure but for their output. They never allocate. Weights may have any alignment.
#pragma once

#include <cstdint>

namespace hypura::kernels {

enum class QuantType : uint32_t;
enum class ActivationForm : uint8_t;

struct RowRange {
  uint32_t begin;
  uint32_t end;
};

// out[p * out_stride + r] = sum over k of W[r, k] * x_p[k], for r in rows and p in 0 .. n_positions - 1.
//   weights (n_rows, n_cols), row-major, of the function's type; `weights` points at row 0 of this piece
//   activations: n_positions vectors in the type's form, activation_stride bytes apart, 64-byte aligned
//   out_stride in floats
using MatmulFunction = void (*)(const void* weights, uint32_t n_cols, RowRange rows,
                                const void* activations, uint64_t activation_stride,
                                uint32_t n_positions, float* out, uint64_t out_stride);

// row: n_cols weights of the function's type, to floats.
using DequantizeFunction = void (*)(const void* row, uint32_t n_cols, float* out);

// x (n_cols) to one activation vector. False when an element is NaN or infinite (the output is then all zero).
using QuantizeFunction = bool (*)(const float* x, uint32_t n_cols, void* out);

// The KV cache of one layer and one kv head, as attention reads it. Page i holds positions 256 i .. 256 i + 255.
struct KvView {
  const void* const* pages;   // page table of the sequence for this layer
  uint64_t k_offset_bytes;    // of this kv head's K inside a page: [256][head_dim_k] F16
  uint64_t v_offset_bytes;    // of this kv head's V inside a page: [256][head_dim_v] F16
  uint32_t head_dim_k;
  uint32_t head_dim_v;
};

// Grouped-query attention of one query position and one kv head, over key positions 0 .. n_keys - 1.
//   q (n_group, head_dim_k): the query heads that share this kv head, rope applied      out (n_group, head_dim_v)
//   scratch: at least attention_scratch_floats(n_group, head_dim_v) floats
// Keys are taken in chunks of 256 absolute positions, merged in ascending order (E6): a chunk's share depends on the query
// and on its own positions alone.
using AttentionFunction = void (*)(const float* q, uint32_t n_group, uint64_t q_stride,
                                   const KvView& kv, uint32_t n_keys, float scale, float* out,
                                   uint64_t out_stride, float* scratch);

struct KernelSet {
  const char* name;  // "scalar", "avx2", "avx512vnni"

  MatmulFunction (*matmul)(QuantType type);          // null for a type without a kernel
  DequantizeFunction (*dequantize)(QuantType type);  // likewise
  QuantizeFunction (*quantize)(ActivationForm form);

  // y = x / sqrt(mean(x^2) + epsilon) * weight; weight may be null (all ones). x and y may be the same.
  void (*rms_norm)(const float* x, const float* weight, uint32_t n, float epsilon, float* y);
  // y += x
  void (*add)(const float* x, uint32_t n, float* y);
  // y = fma(x, scale, y)
  void (*add_scaled)(const float* x, float scale, uint32_t n, float* y);
  void (*scale)(float factor, uint32_t n, float* y);
  // y = silu(gate) * up; y may be gate
  void (*silu_mul)(const float* gate, const float* up, uint32_t n, float* y);
  // y = gelu_tanh(gate) * up; y may be gate
  void (*gelu_mul)(const float* gate, const float* up, uint32_t n, float* y);
  // In place; the maximum is subtracted first.
  void (*softmax)(float* x, uint32_t n);
  // y = 1 / (1 + exp(-x)), in place
  void (*sigmoid)(float* x, uint32_t n);
  // Rotates the first 2 * n_pairs elements of each of n_heads heads (head_stride floats apart) by the angles whose cosines
  // and sines are given. neox: pairs are (i, i + n_pairs), else (2 i, 2 i + 1).
  void (*rope)(float* heads, uint32_t n_heads, uint32_t head_stride, uint32_t n_pairs,
               const float* cosines, const float* sines, bool neox);
  void (*to_f16)(const float* x, uint32_t n, uint16_t* y);
  float (*dot)(const float* x, const float* y, uint32_t n);  // 16 lanes, as E4
  AttentionFunction attention;
};

uint64_t attention_scratch_floats(uint32_t n_group, uint32_t head_dim_v);

// The best set this CPU runs, or the one HYPURA_ISA names (that set's name). `reason` (may be null) receives a static
// sentence for `hypura doctor`. A name that is unknown or cannot run here is ignored and said in the reason.
const KernelSet& choose_kernels(const char** reason);
// All sets this CPU can run, scalar first. Ends with null.
const KernelSet* const* runnable_kernel_sets();

}  // namespace hypura::kernels
