// What could break: rows of a cache rounded in another way by another set, a scale that is not what the bytes mean, NaN that
// is stored as a number and never seen again. How we notice: sets compared by bytes, each element against half of its
// block's step, and rows with NaN, infinity and huge elements, whose stored form must not be finite.
#include "native/kernels/kv_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "native/base/testing.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels {
namespace {

std::vector<std::byte> stored(const KernelSet& set, KvType type, const std::vector<float>& row) {
  std::vector<std::byte> bytes(kv_row_bytes(type, static_cast<uint32_t>(row.size())));
  write_kv_row(set, type, row.data(), static_cast<uint32_t>(row.size()), bytes.data());
  return bytes;
}

float half(const void* bytes) {
  float value = 0;
  const KernelSet& scalar = **runnable_kernel_sets();
  scalar.dequantize(QuantType{1})(bytes, 1, &value);  // F16
  return value;
}

TEST(kv_rows_have_the_same_bytes_on_every_set) {
  std::mt19937 rng(5);
  std::normal_distribution<float> normal;
  for (const uint32_t n : {32u, 64u, 96u, 128u, 256u, 288u, 576u}) {
    std::vector<float> row(n);
    for (float& x : row) x = normal(rng) * std::exp(4 * normal(rng));
    std::fill(row.begin(), row.begin() + 32, 0.0f);
    for (const KvType type : {KvType::kF16, KvType::kQ8_0})
      for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set)
        EXPECT(stored(**set, type, row) == stored(**runnable_kernel_sets(), type, row));
  }
}

TEST(kv_rows_of_q8_0_are_within_half_a_step) {
  std::mt19937 rng(6);
  std::normal_distribution<float> normal;
  std::vector<float> row(288);
  for (float& x : row) x = 3 * normal(rng);
  const std::vector<std::byte> bytes = stored(choose_kernels(nullptr), KvType::kQ8_0, row);
  const auto* blocks = reinterpret_cast<const BlockQ8_0*>(bytes.data());
  for (uint32_t i = 0; i < row.size(); ++i) {
    const float* block = row.data() + i / 32 * 32;
    float most = 0;
    for (uint32_t k = 0; k < 32; ++k) most = std::max(most, std::fabs(block[k]));
    const float found = half(blocks[i / 32].d) * blocks[i / 32].q[i % 32];
    // Half a step, and what 127 steps of a scale rounded to half are off: 127 / 2048 of a step.
    EXPECT(std::fabs(found - row[i]) <= most / 127 * 0.57f);
  }
}

TEST(kv_rows_do_not_hide_what_is_not_finite) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), -1e30f})
    for (const uint32_t at : {0u, 40u, 300u})
      for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
        std::vector<float> row(320, 1.0f);
        row[at] = bad;
        const std::vector<std::byte> q8 = stored(**set, KvType::kQ8_0, row);
        EXPECT(!std::isfinite(half(reinterpret_cast<const BlockQ8_0*>(q8.data())[at / 32].d)));
        const std::vector<std::byte> f16 = stored(**set, KvType::kF16, row);
        EXPECT(!std::isfinite(half(f16.data() + 2 * at)));
      }
}

}  // namespace
}  // namespace hypura::kernels
