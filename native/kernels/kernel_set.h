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

// How the KV cache stores a row of K or V. Crosses the border as a number: append only, never renumber.
enum class KvType : uint32_t {
  kF16 = 0,
  kQ8_0 = 1,  // per 32 elements a half d and 32 int8 q, each worth d * q; rows are multiples of 32
};

// Keys of a chunk that a query sees: begin .. end - 1, counted from the chunk's first position, begin < end.
struct KeyRange {
  uint32_t begin;
  uint32_t end;
};

// Rows of K, and of V, that a kernel keeps widened to floats while it uses them for all queries: 16 to 32 KiB in L1 for
// heads of 128.
inline constexpr uint32_t kWidenedKeys = 16;
inline constexpr uint32_t kWidenedValues = 32;
// Floats from the scores of one query to those of the next: a chunk's, and a cache line, without which the scores of many
// queries for one key would share a few sets of L1.
inline constexpr uint32_t kScoreStride = 256 + 16;

// Queries of consecutive positions that share a kv head, and one chunk of at most 256 keys. Row r of a chunk is head
// r % n_group of position r / n_group; there are n_positions * n_group rows.
struct AttentionChunk {
  const float* q;              // head g of position j is (head_dim_k) at j * q_position_stride + g * q_head_stride
  uint64_t q_position_stride;  // floats
  uint64_t q_head_stride;
  uint32_t n_positions;
  uint32_t n_group;
  const KeyRange* seen;  // [n_positions]; neither begins nor ends descend, and together they leave no gap
  const void* keys;      // [256][head_dim_k] of k_type, any alignment; those that nobody sees are not read
  const void* values;    // [256][head_dim_v] of v_type
  KvType k_type;
  KvType v_type;
  uint32_t head_dim_k;
  uint32_t head_dim_v;
  float scale;
};

// What some keys give to each row: the largest score, the sum of e^(score - max), and the values weighted by it.
struct AttentionPart {
  float* max;  // [rows]
  float* sum;  // [rows]
  float* out;  // [rows][head_dim_v rounded up to 16]; what is past head_dim_v has no meaning
};

// part = what the chunk gives (E6), all rows, each by its own query and keys alone.
//   scratch: attention_scratch_floats(rows, head_dim_k, head_dim_v) floats (native/kernels/attention.h)
// Cost: 2 * (head_dim_k + head_dim_v) operations per row and key; K and V are read and widened once for all rows.
using AttentionFunction = void (*)(const AttentionChunk& chunk, const AttentionPart& part,
                                   float* scratch);

// into = into merged with part, the later one; max and sum of part are overwritten.
using AttentionMergeFunction = void (*)(const AttentionPart& part, uint32_t n_rows,
                                        uint32_t head_dim_v, const AttentionPart& into);

struct KernelSet {
  const char* name;  // that of its folder: "scalar", "avx2", "neon_i8mm"

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
  AttentionMergeFunction attention_merge;
};

// The best set this CPU runs, or the one HYPURA_ISA names (that set's name). `reason` (may be null) receives a static
// sentence for `hypura doctor`. A name that is unknown or cannot run here is ignored and said in the reason.
const KernelSet& choose_kernels(const char** reason);
// All sets this CPU can run, scalar first. Ends with null.
const KernelSet* const* runnable_kernel_sets();

}  // namespace hypura::kernels
