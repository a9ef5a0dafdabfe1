// What could break: an instruction set that adds in another order, saturates, reads past a row,
// takes another path for more positions or for other row splits; or a scalar kernel (the
// specification) that misreads a format. How we notice: every type on every set against the scalar
// set, bit for bit, over hostile and all-extreme bytes, row counts and column counts that leave
// every kind of tail, 1 to 33 positions; every set against a float64 product of weights that
// reference_weights.h decodes a second time. Buffers end exactly where the data ends, so a
// sanitizer sees an overrun.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "native/base/testing.h"
#include "native/kernels/kernel_set.h"
#include "native/kernels/quant_types.h"
#include "native/kernels/reference_weights.h"

namespace hypura::kernels {
namespace {

using testing::Bytes;

const KernelSet& scalar_set() { return *runnable_kernel_sets()[0]; }

// n_positions activation vectors of a form, 64-byte aligned, stride as the form demands.
struct Activations {
  uint64_t stride;
  std::unique_ptr<uint8_t, void (*)(uint8_t*)> bytes;

  Activations(const KernelSet& set, ActivationForm form, const std::vector<float>& x,
              uint32_t n_cols, uint32_t n_positions)
      : stride(activation_stride(form, n_cols)),
        bytes(static_cast<uint8_t*>(operator new(stride * n_positions, std::align_val_t{64})),
              [](uint8_t* p) { operator delete(p, std::align_val_t{64}); }) {
    for (uint32_t p = 0; p < n_positions; ++p)
      EXPECT(set.quantize(form)(x.data() + uint64_t{p} * n_cols, n_cols, bytes.get() + p * stride));
  }
};

std::vector<float> normal_floats(uint64_t n, std::mt19937& rng) {
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& value : x) value = normal(rng);
  return x;
}

// One bit pattern per result; NaN is one pattern whatever its payload.
uint32_t bits(float value) {
  return std::isnan(value) ? 0x7fc00000u : std::bit_cast<uint32_t>(value);
}

uint64_t differing(const std::vector<float>& a, const std::vector<float>& b) {
  uint64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += bits(a[i]) != bits(b[i]);
  return count;
}

std::vector<uint32_t> column_counts(const QuantTypeInfo& type) {
  if (type.block_weights == 256) return {256, 512, 768, 1280};
  if (type.block_weights == 32) return {32, 64, 224, 256, 288, 480, 544, 1056};
  return {1, 7, 8, 15, 16, 17, 31, 40, 257};
}

void expect_equal(const std::string& what, uint64_t differences) {
  if (differences != 0)
    ::hypura::testing::fail(__FILE__, __LINE__,
                            what + ": " + std::to_string(differences) + " results differ");
}

TEST(every_set_gives_the_bits_of_the_scalar_set) {
  std::mt19937 rng(1);
  const uint32_t n_rows = 51;  // strips of 32, 16 and 8, a pair, a single row
  for (const QuantTypeInfo& type : quant_types()) {
    for (const uint32_t n_cols : column_counts(type)) {
      for (const Bytes kind :
           {Bytes::kOrdinary, Bytes::kHostile, Bytes::kAllZero, Bytes::kAllOnes}) {
        const std::vector<uint8_t> weights =
            testing::random_rows(type.type, n_rows, n_cols, kind, rng);
        for (const uint32_t n_positions : {1u, 2u, 3u, 4u, 5u, 8u, 17u, 33u, 35u, 64u}) {
          const std::vector<float> x = normal_floats(uint64_t{n_positions} * n_cols, rng);
          const Activations a(scalar_set(), type.form, x, n_cols, n_positions);
          std::vector<float> want(uint64_t{n_rows} * n_positions), got(want.size());
          scalar_set().matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(),
                                         a.stride, n_positions, want.data(), n_rows);
          for (const KernelSet* const* set = runnable_kernel_sets() + 1; *set != nullptr; ++set) {
            std::fill(got.begin(), got.end(), -12345.0f);
            (*set)->matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride,
                                      n_positions, got.data(), n_rows);
            expect_equal(std::string((*set)->name) + " " + type.name + " of " +
                             std::to_string(n_cols) + " columns, " + std::to_string(n_positions) +
                             " positions",
                         differing(want, got));
          }
        }
      }
    }
  }
}

// Zeros of both signs, subnormals, and magnitudes as far apart as a form takes them.
std::vector<float> hostile_floats(uint64_t n, std::mt19937& rng) {
  static constexpr float kValues[] = {0.0f, -0.0f, 1e-45f, -1e-45f, 1.1754942e-38f, 8e6f, -8e6f, 1.0f};
  std::vector<float> x(n);
  for (float& value : x) {
    value = kValues[rng() % std::size(kValues)];
    if (rng() % 2 == 0) value = std::ldexp(value, -static_cast<int>(rng() % 60));
  }
  return x;
}

TEST(hostile_activations_give_the_same_bits) {
  std::mt19937 rng(7);
  const uint32_t n_rows = 35, n_positions = 21;
  for (const QuantTypeInfo& type : quant_types()) {
    for (const uint32_t n_cols : column_counts(type)) {
      const std::vector<uint8_t> weights =
          testing::random_rows(type.type, n_rows, n_cols, Bytes::kHostile, rng);
      std::vector<float> x = hostile_floats(uint64_t{n_positions} * n_cols, rng);
      std::fill_n(x.begin(), n_cols, -0.0f);                // one vector of zeros,
      std::fill_n(x.begin() + n_cols, n_cols, 1e-42f);      // one of subnormals
      for (const uint32_t n : {1u, n_positions}) {
        std::vector<float> want(uint64_t{n_rows} * n), got(want.size());
        for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
          const Activations a(**set, type.form, x, n_cols, n);
          std::vector<float>& out = set == runnable_kernel_sets() ? want : got;
          (*set)->matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride, n,
                                    out.data(), n_rows);
          if (&out == &got)
            expect_equal(std::string((*set)->name) + " " + type.name + " of " +
                             std::to_string(n_cols) + " columns, " + std::to_string(n) + " positions",
                         differing(want, got));
        }
      }
    }
  }
}

TEST(results_do_not_depend_on_positions_or_row_splits) {
  std::mt19937 rng(2);
  const uint32_t n_rows = 37, n_positions = 33;
  for (const QuantTypeInfo& type : quant_types()) {
    const uint32_t n_cols = type.block_weights == 256 ? 512 : type.block_weights == 32 ? 352 : 77;
    const std::vector<uint8_t> weights =
        testing::random_rows(type.type, n_rows, n_cols, Bytes::kHostile, rng);
    const std::vector<float> x = normal_floats(uint64_t{n_positions} * n_cols, rng);
    const Activations a(scalar_set(), type.form, x, n_cols, n_positions);
    for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
      const MatmulFunction matmul = (*set)->matmul(type.type);
      std::vector<float> whole(uint64_t{n_rows} * n_positions), parts(whole.size());
      matmul(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride, n_positions,
             whole.data(), n_rows);
      for (int draw = 0; draw < 12; ++draw) {
        std::fill(parts.begin(), parts.end(), -12345.0f);
        for (uint32_t p = 0; p < n_positions;) {
          const uint32_t n = std::min<uint32_t>(n_positions - p, 1 + rng() % 17);
          for (uint32_t r = 0; r < n_rows;) {
            const uint32_t end = std::min<uint32_t>(n_rows, r + 1 + rng() % 20);
            matmul(weights.data(), n_cols, {r, end}, a.bytes.get() + p * a.stride, a.stride, n,
                   parts.data() + uint64_t{p} * n_rows, n_rows);
            r = end;
          }
          p += n;
        }
        expect_equal(std::string((*set)->name) + " " + type.name + " in parts",
                     differing(whole, parts));
      }
    }
  }
}

TEST(more_positions_than_one_pass_over_a_strip) {
  std::mt19937 rng(3);
  const uint32_t n_rows = 40, n_positions = 515;
  for (const QuantTypeInfo& type : quant_types()) {
    const uint32_t n_cols = std::max(type.block_weights, 32u);
    const std::vector<uint8_t> weights =
        testing::random_rows(type.type, n_rows, n_cols, Bytes::kOrdinary, rng);
    const std::vector<float> x = normal_floats(uint64_t{n_positions} * n_cols, rng);
    const Activations a(scalar_set(), type.form, x, n_cols, n_positions);
    std::vector<float> want(uint64_t{n_rows} * n_positions), got(want.size());
    scalar_set().matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride,
                                   n_positions, want.data(), n_rows);
    for (const KernelSet* const* set = runnable_kernel_sets() + 1; *set != nullptr; ++set) {
      (*set)->matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride,
                                n_positions, got.data(), n_rows);
      expect_equal(std::string((*set)->name) + " " + type.name, differing(want, got));
    }
  }
}

// Weight i of a row, dequantised, is what the format's description says, but for rounding.
void expect_weight(const QuantTypeInfo& type, const uint8_t* row, uint32_t i, float got) {
  const double want = testing::weight_value(type.type, row, i);
  // With a minimum, d * scale * q and dmin * min are each rounded: 65,504 * 63 * 31 at most. Else the
  // product is: relative to itself, or by a step of the subnormals.
  const double slack = testing::half_offsets(type.type).size() == 2 ? 32 : 0x1p-148;
  const bool same = std::isnan(want) ? std::isnan(got)
                                     : got == static_cast<float>(want) ||  // infinite too
                                           std::fabs(got - want) <= 1e-6 * std::fabs(want) + slack;
  if (same) return;
  char text[160];
  std::snprintf(text, sizeof text, "%s weight %u: %g instead of %g", type.name, i, double(got), want);
  ::hypura::testing::fail(__FILE__, __LINE__, text);
}

// Each byte value at each place of a block, scales included: the 256 blocks of sixteen rows hold all
// of them, in an order that differs from place to place.
TEST(every_byte_at_every_place_of_a_block) {
  std::mt19937 rng(8);
  const uint32_t n_rows = 16, n_positions = 3;
  for (const QuantTypeInfo& type : quant_types()) {
    if (type.form == ActivationForm::kF32) continue;
    const uint32_t n_cols = 16 * type.block_weights;
    std::vector<uint8_t> weights(row_bytes(type, n_cols) * n_rows);
    for (uint32_t place = 0; place < type.block_bytes; ++place) {
      const uint32_t step = 2 * (rng() % 128) + 1, start = rng() % 256;
      for (uint32_t block = 0; block < 256; ++block)
        weights[uint64_t{block} * type.block_bytes + place] = uint8_t(start + step * block);
    }
    std::vector<float> row(n_cols);
    for (uint32_t r = 0; r < n_rows; ++r) {
      const uint8_t* bytes = weights.data() + r * row_bytes(type, n_cols);
      scalar_set().dequantize(type.type)(bytes, n_cols, row.data());
      for (uint32_t i = 0; i < n_cols; ++i) expect_weight(type, bytes, i, row[i]);
    }
    for (uint64_t b = 0; b < weights.size(); b += type.block_bytes)
      testing::set_unit_scales(type.type, weights.data() + b);
    const std::vector<float> x = normal_floats(uint64_t{n_positions} * n_cols, rng);
    const Activations a(scalar_set(), type.form, x, n_cols, n_positions);
    for (const uint32_t n : {1u, n_positions}) {
      std::vector<float> want(uint64_t{n_rows} * n), got(want.size());
      scalar_set().matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride,
                                     n, want.data(), n_rows);
      for (const KernelSet* const* set = runnable_kernel_sets() + 1; *set != nullptr; ++set) {
        (*set)->matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride, n,
                                  got.data(), n_rows);
        expect_equal(std::string((*set)->name) + " " + type.name, differing(want, got));
      }
    }
  }
}

// Each power of two that MXFP4 scales a block by, alone in its row: beside others the smallest, which
// are subnormal, would be lost in the sum.
TEST(every_exponent_of_mxfp4_alone_in_a_row) {
  std::mt19937 rng(9);
  const QuantTypeInfo& type = *find_quant_type(static_cast<uint32_t>(QuantType::kMXFP4));
  const uint32_t n_rows = 256, n_cols = 32, n_positions = 5;
  std::vector<uint8_t> weights =
      testing::random_rows(type.type, n_rows, n_cols, Bytes::kOrdinary, rng);
  for (uint32_t r = 0; r < n_rows; ++r) weights[r * type.block_bytes] = uint8_t(r);
  std::vector<float> x = normal_floats(uint64_t{n_positions} * n_cols, rng);
  for (float& value : x) value *= 1000.0f;
  const Activations a(scalar_set(), type.form, x, n_cols, n_positions);
  for (const uint32_t n : {1u, n_positions}) {
    std::vector<float> want(uint64_t{n_rows} * n), got(want.size());
    scalar_set().matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride, n,
                                   want.data(), n_rows);
    EXPECT(want[0] != 0 && want[1] != 0);
    for (const KernelSet* const* set = runnable_kernel_sets() + 1; *set != nullptr; ++set) {
      (*set)->matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride, n,
                                got.data(), n_rows);
      expect_equal((*set)->name, differing(want, got));
    }
  }
}

// The extremes of rule E1: every nibble alike and every product at its largest, where an int16 that is widened too late
// would saturate.
TEST(largest_products_do_not_saturate) {
  const uint32_t n_rows = 9;
  for (const QuantTypeInfo& type : quant_types()) {
    if (type.form == ActivationForm::kF32) continue;
    const uint32_t n_cols = 512, n_positions = 5;
    for (const uint8_t fill : {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb,
                               0xcc, 0xdd, 0xee, 0xff, 0x80, 0x7f}) {
      std::vector<uint8_t> weights(row_bytes(type, n_cols) * n_rows, fill);
      for (uint64_t b = 0; b < weights.size(); b += type.block_bytes)
        testing::set_unit_scales(type.type, weights.data() + b);
      for (const float sign : {1.0f, -1.0f}) {
        const std::vector<float> x(uint64_t{n_positions} * n_cols, sign * 127.0f);
        const Activations a(scalar_set(), type.form, x, n_cols, n_positions);
        double want = 0;
        for (uint32_t i = 0; i < n_cols; ++i)
          want += testing::weight_value(type.type, weights.data(), i) * sign * 127.0;
        for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
          std::vector<float> got(uint64_t{n_rows} * n_positions);
          (*set)->matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride,
                                    n_positions, got.data(), n_rows);
          for (const float value : got)
            if (!(std::fabs(value - want) <= 1e-5 * std::fabs(want) + 1e-3))
              ::hypura::testing::fail(__FILE__, __LINE__,
                                      std::string((*set)->name) + " " + type.name + ": " +
                                          std::to_string(value) + " instead of " +
                                          std::to_string(want));
        }
      }
    }
  }
}

TEST(close_to_a_float64_product) {
  std::mt19937 rng(4);
  const uint32_t n_rows = 64, n_positions = 5;
  for (const QuantTypeInfo& type : quant_types()) {
    const uint32_t n_cols = 1024;
    const std::vector<uint8_t> weights =
        testing::random_rows(type.type, n_rows, n_cols, Bytes::kOrdinary, rng);
    const std::vector<float> x = normal_floats(uint64_t{n_positions} * n_cols, rng);
    std::vector<double> want(uint64_t{n_rows} * n_positions);
    for (uint32_t r = 0; r < n_rows; ++r)
      for (uint32_t i = 0; i < n_cols; ++i) {
        const double w =
            testing::weight_value(type.type, weights.data() + r * row_bytes(type, n_cols), i);
        for (uint32_t p = 0; p < n_positions; ++p) want[p * n_rows + r] += w * x[p * n_cols + i];
      }
    for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
      const Activations a(**set, type.form, x, n_cols, n_positions);
      std::vector<float> got(want.size());
      (*set)->matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride,
                                n_positions, got.data(), n_rows);
      double error = 0, size = 0;
      for (size_t i = 0; i < want.size(); ++i) {
        error += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
      }
      const double bound = type.form == ActivationForm::kF32 ? 1e-12 : 5e-4;
      if (!(error <= bound * size) || !(size > 0))
        ::hypura::testing::fail(
            __FILE__, __LINE__,
            std::string((*set)->name) + " " + type.name + ": NMSE " + std::to_string(error / size));
    }
  }
}

TEST(dequantize_agrees_with_the_formats_description) {
  std::mt19937 rng(5);
  for (const QuantTypeInfo& type : quant_types()) {
    const uint32_t n_cols = 512;
    for (const Bytes kind : {Bytes::kOrdinary, Bytes::kHostile, Bytes::kAllZero, Bytes::kAllOnes}) {
      const std::vector<uint8_t> row = testing::random_rows(type.type, 1, n_cols, kind, rng);
      std::vector<float> first(n_cols), out(n_cols);
      for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
        (*set)->dequantize(type.type)(row.data(), n_cols, out.data());
        if (set == runnable_kernel_sets()) first = out;
        expect_equal(std::string((*set)->name) + " " + type.name, differing(first, out));
        for (uint32_t i = 0; i < n_cols; ++i) {
          expect_weight(type, row.data(), i, out[i]);
          const double want = testing::weight_value(type.type, row.data(), i);
          if (kind != Bytes::kHostile && !std::isnan(want) && !(std::fabs(out[i] - want) <= 1e-5))
            ::hypura::testing::fail(__FILE__, __LINE__,
                                    std::string(type.name) + " weight " + std::to_string(i) + ": " +
                                        std::to_string(out[i]) + " instead of " +
                                        std::to_string(want));
        }
      }
    }
  }
}

TEST(infinite_and_nan_scales_agree_in_being_nan) {
  std::mt19937 rng(6);
  const uint32_t n_rows = 11, n_cols = 512, n_positions = 6;
  for (const QuantTypeInfo& type : quant_types()) {
    std::vector<uint8_t> weights(row_bytes(type, n_cols) * n_rows);
    for (uint8_t& byte : weights) byte = uint8_t(rng() % 8 == 0 ? 0xff : rng());
    const std::vector<float> x = normal_floats(uint64_t{n_positions} * n_cols, rng);
    const Activations a(scalar_set(), type.form, x, n_cols, n_positions);
    std::vector<float> want(uint64_t{n_rows} * n_positions), got(want.size());
    scalar_set().matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride,
                                   n_positions, want.data(), n_rows);
    for (const KernelSet* const* set = runnable_kernel_sets() + 1; *set != nullptr; ++set) {
      (*set)->matmul(type.type)(weights.data(), n_cols, {0, n_rows}, a.bytes.get(), a.stride,
                                n_positions, got.data(), n_rows);
      expect_equal(std::string((*set)->name) + " " + type.name, differing(want, got));
    }
  }
}

}  // namespace
}  // namespace hypura::kernels
