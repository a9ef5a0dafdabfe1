#include "native/kernels/kv_rows.h"

#include <algorithm>
#include <cstring>

#include "native/kernels/activations.h"
#include "native/kernels/blocks.h"
#include "native/kernels/quant_types.h"

namespace hypura::kernels {
namespace {

constexpr uint32_t kBlock = 32;
constexpr uint32_t kVector = 256;  // elements of one ActivationA32
constexpr uint16_t kHalfNaN = 0x7e00;

static_assert(sizeof(BlockQ8_0) == 34, "the pages of the cache are laid out for exactly these bytes");

void write_q8_0(const KernelSet& kernels, const float* row, uint32_t n, BlockQ8_0* out) {
  const QuantizeFunction quantize = kernels.quantize(ActivationForm::kA32);
  for (uint32_t begin = 0; begin < n; begin += kVector) {
    const uint32_t length = std::min(kVector, n - begin);
    ActivationA32 a;
    const bool finite = quantize(row + begin, length, &a);
    for (uint32_t k = 0; k < length / kBlock; ++k, ++out) {
      uint16_t d = kHalfNaN;
      if (finite) kernels.to_f16(&a.d[k], 1, &d);  // exact: it was rounded to half already
      std::memcpy(out->d, &d, sizeof d);
      std::memcpy(out->q, a.q[k], kBlock);
    }
  }
}

}  // namespace

uint32_t kv_block(KvType type) { return type == KvType::kQ8_0 ? kBlock : 1; }

uint64_t kv_row_bytes(KvType type, uint32_t n) {
  return type == KvType::kQ8_0 ? uint64_t{n} / kBlock * sizeof(BlockQ8_0)
                               : uint64_t{n} * sizeof(uint16_t);
}

void write_kv_row(const KernelSet& kernels, KvType type, const float* row, uint32_t n,
                  std::byte* out) {
  if (type == KvType::kQ8_0) return write_q8_0(kernels, row, n, reinterpret_cast<BlockQ8_0*>(out));
  kernels.to_f16(row, n, reinterpret_cast<uint16_t*>(out));
}

}  // namespace hypura::kernels
