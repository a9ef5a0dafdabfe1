// The sets of x86-64, and whether this processor runs them.
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstring>
#include <iterator>

#include "native/kernels/amx_int8/amx_int8.h"
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx512vnni/avx512vnni.h"
#include "native/kernels/avxvnni/avxvnni.h"
#include "native/kernels/kernel_sets.h"
#include "native/kernels/quant_types.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels {
namespace {

// The products of a set with quantised weights, by type.
struct QuantizedMatmuls {
  MatmulFunction q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs, mxfp4;
};

template <const QuantizedMatmuls& kOf, MatmulFunction (*kOthers)(QuantType)>
MatmulFunction matmul_of(QuantType type) {
  switch (type) {
    case QuantType::kQ4_0:
      return kOf.q4_0;
    case QuantType::kQ4_1:
      return kOf.q4_1;
    case QuantType::kQ5_0:
      return kOf.q5_0;
    case QuantType::kQ5_1:
      return kOf.q5_1;
    case QuantType::kQ8_0:
      return kOf.q8_0;
    case QuantType::kQ2_K:
      return kOf.q2_k;
    case QuantType::kQ3_K:
      return kOf.q3_k;
    case QuantType::kQ4_K:
      return kOf.q4_k;
    case QuantType::kQ5_K:
      return kOf.q5_k;
    case QuantType::kQ6_K:
      return kOf.q6_k;
    case QuantType::kIQ4_NL:
      return kOf.iq4_nl;
    case QuantType::kIQ4_XS:
      return kOf.iq4_xs;
    case QuantType::kMXFP4:
      return kOf.mxfp4;
    default:
      return kOthers(type);
  }
}

// Products with floats. Types without a kernel of their own use the scalar one.
MatmulFunction avx2_float_matmul(QuantType type) {
  switch (type) {
    case QuantType::kF32:
      return avx2::matmul_f32;
    case QuantType::kF16:
      return avx2::matmul_f16;
    case QuantType::kBF16:
      return avx2::matmul_bf16;
    default:
      return scalar_matmul(type);
  }
}

MatmulFunction avx512_float_matmul(QuantType type) {
  switch (type) {
    case QuantType::kF32:
      return avx512vnni::matmul_f32;
    case QuantType::kF16:
      return avx512vnni::matmul_f16;
    case QuantType::kBF16:
      return avx512vnni::matmul_bf16;
    default:
      return scalar_matmul(type);
  }
}

constexpr QuantizedMatmuls kAvx2Matmuls = {
    avx2::matmul_q4_0, avx2::matmul_q4_1, avx2::matmul_q5_0, avx2::matmul_q5_1, avx2::matmul_q8_0, avx2::matmul_q2_k,
    avx2::matmul_q3_k, avx2::matmul_q4_k, avx2::matmul_q5_k, avx2::matmul_q6_k, avx2::matmul_iq4_nl,
    avx2::matmul_iq4_xs, avx2::matmul_mxfp4};
constexpr QuantizedMatmuls kAvxVnniMatmuls = {
    avxvnni::matmul_q4_0, avxvnni::matmul_q4_1, avxvnni::matmul_q5_0, avxvnni::matmul_q5_1, avxvnni::matmul_q8_0,
    avxvnni::matmul_q2_k, avxvnni::matmul_q3_k, avxvnni::matmul_q4_k, avxvnni::matmul_q5_k, avxvnni::matmul_q6_k,
    avxvnni::matmul_iq4_nl, avxvnni::matmul_iq4_xs, avxvnni::matmul_mxfp4};
constexpr QuantizedMatmuls kAvx512VnniMatmuls = {
    avx512vnni::matmul_q4_0, avx512vnni::matmul_q4_1, avx512vnni::matmul_q5_0, avx512vnni::matmul_q5_1,
    avx512vnni::matmul_q8_0, avx512vnni::matmul_q2_k, avx512vnni::matmul_q3_k, avx512vnni::matmul_q4_k,
    avx512vnni::matmul_q5_k, avx512vnni::matmul_q6_k, avx512vnni::matmul_iq4_nl, avx512vnni::matmul_iq4_xs,
    avx512vnni::matmul_mxfp4};
constexpr QuantizedMatmuls kAvx512VnniQuartersMatmuls = {
    avx512vnni::quarters::matmul_q4_0, avx512vnni::quarters::matmul_q4_1, avx512vnni::quarters::matmul_q5_0,
    avx512vnni::quarters::matmul_q5_1, avx512vnni::quarters::matmul_q8_0, avx512vnni::quarters::matmul_q2_k,
    avx512vnni::quarters::matmul_q3_k, avx512vnni::quarters::matmul_q4_k, avx512vnni::quarters::matmul_q5_k,
    avx512vnni::quarters::matmul_q6_k, avx512vnni::quarters::matmul_iq4_nl, avx512vnni::quarters::matmul_iq4_xs,
    avx512vnni::quarters::matmul_mxfp4};
constexpr QuantizedMatmuls kAmxInt8Matmuls = {
    amx_int8::matmul_q4_0, amx_int8::matmul_q4_1, amx_int8::matmul_q5_0, amx_int8::matmul_q5_1, amx_int8::matmul_q8_0,
    amx_int8::matmul_q2_k, amx_int8::matmul_q3_k, amx_int8::matmul_q4_k, amx_int8::matmul_q5_k, amx_int8::matmul_q6_k,
    amx_int8::matmul_iq4_nl, amx_int8::matmul_iq4_xs, amx_int8::matmul_mxfp4};

QuantizeFunction avx2_quantize(ActivationForm form) {
  switch (form) {
    case ActivationForm::kF32:
      return scalar::quantize_f32;
    case ActivationForm::kA32:
      return avx2::quantize_a32;
    case ActivationForm::kA256:
      return avx2::quantize_a256;
  }
  return nullptr;
}

constexpr KernelSet kAvx2 = {
    .name = "avx2",
    .matmul = matmul_of<kAvx2Matmuls, avx2_float_matmul>,
    .dequantize = scalar_dequantize,
    .quantize = avx2_quantize,
    .rms_norm = avx2::rms_norm,
    .add = avx2::add,
    .add_scaled = avx2::add_scaled,
    .scale = avx2::scale,
    .silu_mul = avx2::silu_mul,
    .gelu_mul = avx2::gelu_mul,
    .softmax = avx2::softmax,
    .sigmoid = avx2::sigmoid,
    .rope = avx2::rope,
    .to_f16 = avx2::to_f16,
    .dot = avx2::dot,
    .attention = avx2::attention,
    .attention_merge = avx2::attention_merge,
};

// What is no bottleneck is the AVX2 set's: the same bits by the same rules.
constexpr KernelSet kAvxVnni = [] {
  KernelSet set = kAvx2;
  set.name = "avxvnni";
  set.matmul = matmul_of<kAvxVnniMatmuls, avx2_float_matmul>;
  return set;
}();

constexpr KernelSet kAvx512Vnni = [] {
  KernelSet set = kAvx2;
  set.name = "avx512vnni";
  set.matmul = matmul_of<kAvx512VnniMatmuls, avx512_float_matmul>;
  set.attention = avx512vnni::attention;
  return set;
}();

// As it is faster on Intel's cores.
constexpr KernelSet kAvx512VnniQuarters = [] {
  KernelSet set = kAvx512Vnni;
  set.name = "avx512vnni_quarters";
  set.matmul = matmul_of<kAvx512VnniQuartersMatmuls, avx512_float_matmul>;
  return set;
}();

constexpr KernelSet kAmxInt8 = [] {
  KernelSet set = kAvx512Vnni;
  set.name = "amx_int8";
  set.matmul = matmul_of<kAmxInt8Matmuls, avx512_float_matmul>;
  return set;
}();

// Registers that the operating system saves, as bits of XCR0.
constexpr unsigned kSavesAvx = 0x06;     // xmm, ymm
constexpr unsigned kSavesAmx = 0x600e6;  // also the configuration and the data of tiles
constexpr unsigned kSavesAvx512 = 0xe6;  // also masks, the upper halves of zmm0-15, zmm16-31

// Whether the processor has all these features and the operating system saves these registers.
bool runs_with(unsigned leaf1_c, unsigned leaf7_b, unsigned leaf7_c, unsigned saved) {
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return false;
  leaf1_c |= bit_OSXSAVE;
  if ((c & leaf1_c) != leaf1_c) return false;
  unsigned saved_low, saved_high;
  __asm__("xgetbv" : "=a"(saved_low), "=d"(saved_high) : "c"(0));
  if ((saved_low & saved) != saved) return false;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  return (b & leaf7_b) == leaf7_b && (c & leaf7_c) == leaf7_c;
}

constexpr unsigned kAvx2Leaf1 = bit_FMA | bit_F16C | bit_AVX;

bool avx2_runs() { return runs_with(kAvx2Leaf1, bit_AVX2, 0, kSavesAvx); }

bool avxvnni_runs() {
  constexpr unsigned kAvxVnni1 = 1u << 4;  // of eax, leaf 7, subleaf 1
  unsigned a, b, c, d;
  return avx2_runs() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvxVnni1) != 0;
}

bool avx512vnni_runs() {
  constexpr unsigned kLeaf7 =
      bit_AVX2 | bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
  return runs_with(kAvx2Leaf1, kLeaf7, bit_AVX512VNNI, kSavesAvx512);
}

bool is_intel() {
  unsigned largest_leaf, name[3];
  return __get_cpuid(0, &largest_leaf, &name[0], &name[2], &name[1]) != 0 && std::memcmp(name, "GenuineIntel", 12) == 0;
}

bool avx512vnni_runs_on_intel() { return avx512vnni_runs() && is_intel(); }

// Tile registers are large, and Linux gives them only to a process that asks, once for all of its threads. It refuses where a thread
// has an alternate signal stack too small for them.
bool tiles_permitted() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool amx_int8_runs() {
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;  // of edx
  unsigned a, b, c, d;
  if (!avx512vnni_runs() || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & kTile) == 0 || (d & kInt8) == 0 || !runs_with(0, 0, 0, kSavesAmx)) return false;
  static const bool permitted = tiles_permitted();
  return permitted;
}

constexpr RegisteredSet kSets[] = {
    {&kAvx2, avx2_runs, "HYPURA_ISA asks for AVX2 kernels.",
     "HYPURA_ISA asks for AVX2, which this processor or operating system lacks; it is ignored.",
     "The processor has AVX2, FMA and F16C."},
    {&kAvxVnni, avxvnni_runs, "HYPURA_ISA asks for AVX-VNNI kernels.",
     "HYPURA_ISA asks for AVX-VNNI, which this processor or operating system lacks; it is ignored.",
     "The processor has AVX-VNNI beside AVX2."},
    {&kAvx512Vnni, avx512vnni_runs, "HYPURA_ISA asks for AVX-512 VNNI kernels.",
     "HYPURA_ISA asks for AVX-512 VNNI, which this processor or operating system lacks; it is ignored.",
     "The processor has AVX-512 F, BW, VL, DQ and VNNI."},
    {&kAvx512VnniQuarters, avx512vnni_runs_on_intel, "HYPURA_ISA asks for AVX-512 VNNI kernels in the order for Intel's cores.",
     "HYPURA_ISA asks for AVX-512 VNNI in the order for Intel's cores, which needs an Intel processor that has it; it is ignored.",
     "The processor has AVX-512 F, BW, VL, DQ and VNNI and is Intel's."},
    {&kAmxInt8, amx_int8_runs, "HYPURA_ISA asks for AMX kernels.",
     "HYPURA_ISA asks for AMX int8, which this processor or operating system lacks or does not permit; it is ignored.",
     "The processor has AMX int8 beside AVX-512 VNNI."},
};
static_assert(std::size(kSets) <= kProcessorSetsMax);

}  // namespace

ProcessorFamily processor_family() {
  return {kSets, "HYPURA_ISA names no kernel set (scalar, avx2, avx512vnni, amx_int8) and is ignored."};
}

}  // namespace hypura::kernels

#endif  // __x86_64__
