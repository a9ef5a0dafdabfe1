// What could break: the same model gives other logits on ARM than on x86, because a compiler fused a
// product with a sum, a conversion rounds otherwise, or a libm got in. The other tests compare sets on
// one processor and would not see it. How we notice: a hash over results of the scalar set, whose
// inputs need no libm, against the one value that x86-64 and aarch64 both gave (gcc 12).
// A new recipe (docs/adding/kernel.md) changes the values: the failing test prints them.
#include <bit>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <random>
#include <utility>
#include <vector>

#include "native/base/testing.h"
#include "native/kernels/activations.h"
#include "native/kernels/kernel_set.h"
#include "native/kernels/quant_types.h"
#include "native/kernels/reference_weights.h"

namespace hypura::kernels {
namespace {

using testing::Bytes;

const KernelSet& scalar_set() { return *runnable_kernel_sets()[0]; }

// FNV-1a, 64 bits, over bit patterns; NaN is one pattern, whose sign and payload differ between processors.
class Hash {
 public:
  void add(const std::vector<float>& values) {
    for (const float value : values) {
      const uint32_t bits = std::isnan(value) ? 0x7fc00000u : std::bit_cast<uint32_t>(value);
      for (int shift = 0; shift < 32; shift += 8)
        state_ = (state_ ^ (bits >> shift & 255)) * 0x100000001b3u;
    }
  }
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0xcbf29ce484222325u;
};

void expect_hash(const char* what, const Hash& found, uint64_t want) {
  if (found.value() == want) return;
  char text[120];
  std::snprintf(text, sizeof text, "%s: 0x%016llx instead of 0x%016llx", what,
                static_cast<unsigned long long>(found.value()),
                static_cast<unsigned long long>(want));
  ::hypura::testing::fail(__FILE__, __LINE__, text);
}

// -8 .. 8 in steps of 1/128, now and then a thousand times as large or as small.
std::vector<float> floats(uint64_t n, std::mt19937& rng) {
  std::vector<float> x(n);
  for (float& value : x) {
    value = static_cast<float>(static_cast<int>(rng() % 2049) - 1024) / 128.0f;
    if (const uint32_t kind = rng() % 16; kind < 2) value *= kind == 0 ? 1000.0f : 0.001f;
  }
  return x;
}

// In the order of quant_types().
constexpr uint64_t kProducts[] = {
    0xede550ad8d1f2c95, 0xe64d99f0530e2422, 0x75e0cf41d949d1c1, 0x68dbb98e48a0e6f9,
    0xbe4b5427deb20d8a, 0xe3e8a373c1696565, 0x9c06e5b1b7fb92d4, 0x3493e0ce8a84b920,
    0xbf70837b050810fe, 0xd2f689514dd03e24, 0xa483e24586f77f05, 0xdb8c347ebf44e31c,
    0x802927cc14e5923a, 0xd81a592c9d30dda9, 0xa58ede2e6b0229aa, 0xc753f14cf0485df2};
constexpr uint64_t kVectors = 0x671058d547ede5ff;
constexpr uint64_t kAttention = 0x7aaa88cce98ea201;

TEST(products_are_the_same_on_every_processor) {
  std::mt19937 rng(1);
  EXPECT_EQ(quant_types().size(), std::size(kProducts));
  for (size_t i = 0; i < quant_types().size(); ++i) {
    const QuantTypeInfo& type = quant_types()[i];
    const uint32_t n_rows = 5, n_cols = 512 + (type.block_weights == 256 ? 0 : 96);
    Hash hash;
    std::vector<float> out(n_rows), row(n_cols);
    for (const Bytes kind : {Bytes::kOrdinary, Bytes::kHostile}) {
      const std::vector<uint8_t> weights =
          testing::random_rows(type.type, n_rows, n_cols, kind, rng);
      std::vector<ActivationA256> a(activation_bytes(type.form, n_cols) / sizeof(ActivationA256) + 1);
      EXPECT(scalar_set().quantize(type.form)(floats(n_cols, rng).data(), n_cols, a.data()));
      scalar_set().matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.data(), 0, 1,
                                     out.data(), n_rows);
      scalar_set().dequantize(type.type)(weights.data(), n_cols, row.data());
      hash.add(out);
      hash.add(row);
    }
    expect_hash(type.name, hash, kProducts[i]);
  }
}

TEST(vector_operations_are_the_same_on_every_processor) {
  std::mt19937 rng(2);
  const uint32_t n = 333;
  const std::vector<float> x = floats(n, rng), y = floats(n, rng);
  Hash hash;
  std::vector<float> out(n);
  const KernelSet& set = scalar_set();
  set.rms_norm(x.data(), y.data(), n, 1e-5f, out.data());
  hash.add(out);
  set.silu_mul(x.data(), y.data(), n, out.data());
  hash.add(out);
  set.gelu_mul(x.data(), y.data(), n, out.data());
  hash.add(out);
  out = x;
  set.softmax(out.data(), n);
  hash.add(out);
  set.sigmoid(out.data(), n);
  set.add_scaled(y.data(), 0.3f, n, out.data());
  set.rope(out.data(), 1, n, 32, x.data(), y.data(), false);
  hash.add(out);
  std::vector<uint16_t> halves(n);
  set.to_f16(y.data(), n, halves.data());
  hash.add({halves.begin(), halves.end()});
  hash.add({set.dot(x.data(), y.data(), n)});
  expect_hash("vectors", hash, kVectors);
}

TEST(attention_is_the_same_on_every_processor) {
  std::mt19937 rng(3);
  const uint32_t n_keys = 200, dim = 48;
  const std::vector<float> q = floats(dim, rng), rows = floats(2 * n_keys * dim, rng);
  std::vector<uint16_t> cache(rows.size());
  scalar_set().to_f16(rows.data(), static_cast<uint32_t>(rows.size()), cache.data());
  const KeyRange seen{3, n_keys};
  std::vector<float> max(2), sum(2), out(2 * dim), scratch(4096);
  const AttentionPart first{max.data(), sum.data(), out.data()};
  const AttentionPart second{max.data() + 1, sum.data() + 1, out.data() + dim};
  AttentionChunk chunk{.q = q.data(), .q_position_stride = dim, .q_head_stride = dim,
                       .n_positions = 1, .n_group = 1, .seen = &seen, .keys = cache.data(),
                       .values = cache.data() + n_keys * dim, .k_type = KvType::kF16,
                       .v_type = KvType::kF16, .head_dim_k = dim, .head_dim_v = dim,
                       .scale = 0.125f};
  scalar_set().attention(chunk, first, scratch.data());
  std::swap(chunk.keys, chunk.values);
  scalar_set().attention(chunk, second, scratch.data());
  Hash hash;
  hash.add(max);
  hash.add(sum);
  hash.add(out);
  scalar_set().attention_merge(second, 1, dim, first);
  hash.add(out);
  expect_hash("attention", hash, kAttention);
}

}  // namespace
}  // namespace hypura::kernels
