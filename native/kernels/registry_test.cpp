// What could break: a type without a kernel, sizes that do not agree with the format, an unknown id
// accepted, a set offered to a processor that would die of it, HYPURA_ISA ignored in silence. How we
// notice: the table against the sizes of the format by hand, every type on every set, the sets that
// run against what the compiler's run-time library or the emulator's caller knows of the processor,
// and the environment variable set to each kind of value; tiles that the system refuses, in a child that gives it the reason.
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <cstring>
#include <iostream>
#include <string>

#if defined(__linux__)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "native/base/testing.h"
#include "native/kernels/kernel_set.h"
#include "native/kernels/quant_types.h"

namespace hypura::kernels {
namespace {

[[maybe_unused]] constexpr const char* kSignalStackBytes = "HYPURA_TEST_SIGNAL_STACK_BYTES";

TEST(quant_types_have_the_sizes_of_the_format) {
  const struct {
    uint32_t id, weights, bytes;
    const char* name;
  } kFormat[] = {{0, 1, 4, "F32"},       {1, 1, 2, "F16"},       {2, 32, 18, "Q4_0"},
                 {3, 32, 20, "Q4_1"},    {6, 32, 22, "Q5_0"},    {7, 32, 24, "Q5_1"},
                 {8, 32, 34, "Q8_0"},    {10, 256, 84, "Q2_K"},  {11, 256, 110, "Q3_K"},
                 {12, 256, 144, "Q4_K"}, {13, 256, 176, "Q5_K"}, {14, 256, 210, "Q6_K"},
                 {20, 32, 18, "IQ4_NL"}, {23, 256, 136, "IQ4_XS"}, {30, 1, 2, "BF16"},
                 {39, 32, 17, "MXFP4"}};
  EXPECT_EQ(quant_types().size(), std::size(kFormat));
  for (size_t i = 0; i < std::size(kFormat) && i < quant_types().size(); ++i) {
    const QuantTypeInfo& info = quant_types()[i];
    EXPECT_EQ(static_cast<uint32_t>(info.type), kFormat[i].id);
    EXPECT_EQ(info.block_weights, kFormat[i].weights);
    EXPECT_EQ(info.block_bytes, kFormat[i].bytes);
    EXPECT_EQ(std::string(info.name), kFormat[i].name);
    EXPECT(find_quant_type(kFormat[i].id) == &info);
  }
}

TEST(unknown_and_removed_ids_are_refused) {
  for (const uint32_t id : {4u, 5u, 9u, 15u, 31u, 32u, 33u, 36u, 37u, 38u, 40u, 1000u, 0xffffffffu})
    EXPECT(find_quant_type(id) == nullptr);
}

TEST(activations_are_multiples_of_64_bytes_and_hold_their_elements) {
  for (const ActivationForm form :
       {ActivationForm::kF32, ActivationForm::kA32, ActivationForm::kA256})
    for (const uint32_t n : {1u, 32u, 255u, 256u, 257u, 4096u, 0xfffffff0u}) {
      EXPECT_EQ(activation_bytes(form, n) % 64, 0u);
      EXPECT_EQ(activation_stride(form, n) / 64 % 2, 1u);
      EXPECT_EQ(activation_stride(form, n) % 64, 0u);
      EXPECT(activation_stride(form, n) - activation_bytes(form, n) <= 64);
      EXPECT(activation_bytes(form, n) >= (form == ActivationForm::kF32 ? 4ull * n : 1ull * n));
    }
}

TEST(every_type_and_form_has_kernels_on_every_set) {
  EXPECT_EQ(std::string(runnable_kernel_sets()[0]->name), "scalar");
  for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
    for (const QuantTypeInfo& info : quant_types()) {
      EXPECT((*set)->matmul(info.type) != nullptr);
      EXPECT((*set)->dequantize(info.type) != nullptr);
      EXPECT((*set)->quantize(info.form) != nullptr);
    }
    EXPECT((*set)->matmul(static_cast<QuantType>(40)) == nullptr);
    EXPECT((*set)->dequantize(static_cast<QuantType>(40)) == nullptr);
  }
}

// Names of the sets that this processor runs, from another source than the registry's. Empty: none.
std::string expected_sets() {
#if defined(__x86_64__)
  std::string names = "scalar";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) names += " avx2";
  std::ifstream info("/proc/cpuinfo");
  const std::string flags((std::istreambuf_iterator<char>(info)), std::istreambuf_iterator<char>());
  if (flags.find(" avx_vnni") != std::string::npos) names += " avxvnni";
  if (__builtin_cpu_supports("avx512vnni")) names += " avx512vnni";
  if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_is("intel")) names += " avx512vnni_quarters";
  if (flags.find(" amx_int8") != std::string::npos) names += " amx_int8";
  return names;
#else
  const char* names = std::getenv("HYPURA_EXPECTED_SETS");
  return names != nullptr ? names : "";
#endif
}

std::string names_of_sets() {
  std::string names;
  for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set)
    names += (names.empty() ? "" : " ") + std::string((*set)->name);
  return names;
}

TEST(the_sets_that_run_are_those_of_the_processor) {
  const std::string names = names_of_sets();
  if (expected_sets().empty())
    std::cerr << "  skipped: HYPURA_EXPECTED_SETS does not say what to find; found " << names << "\n";
  else
    EXPECT_EQ(names, expected_sets());
}

#if defined(__linux__) && defined(__x86_64__)
// Names of the sets as a process finds them whose first thread has an alternate signal stack of so many bytes: of this program,
// run again. Permission for tiles is asked for once per process.
std::string sets_beside_signal_stack(uint64_t bytes) {
  int out[2];
  EXPECT_EQ(pipe(out), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(out[1], STDOUT_FILENO);
    setenv(kSignalStackBytes, std::to_string(bytes).c_str(), 1);
    execl("/proc/self/exe", "kernels_tests", "prints_its_sets", nullptr);
    _exit(101);
  }
  close(out[1]);
  std::string names;
  char byte;
  while (read(out[0], &byte, 1) == 1) names += byte;
  close(out[0]);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  return names;
}

TEST(the_child_of_the_next_test_prints_its_sets) {
  const char* bytes = std::getenv(kSignalStackBytes);
  if (bytes == nullptr) return;  // not the child
  static char stack[1 << 16];
  stack_t alternate = {};
  alternate.ss_sp = stack;
  alternate.ss_size = std::strtoul(bytes, nullptr, 10);
  EXPECT_EQ(sigaltstack(&alternate, nullptr), 0);
  std::cout << names_of_sets() << std::flush;
}

TEST(tiles_are_left_alone_where_the_system_refuses_them) {
  if (std::getenv(kSignalStackBytes) != nullptr) return;  // the child of another test
  const std::string all = expected_sets(), tiles = " amx_int8";
  const bool has_tiles = all.find(tiles) != std::string::npos;
  EXPECT_EQ(sets_beside_signal_stack(1 << 16), all);
  // A frame with tiles is some 11 KB: too much for this stack.
  EXPECT_EQ(sets_beside_signal_stack(8192), has_tiles ? all.substr(0, all.find(tiles)) : all);
}
#endif

TEST(hypura_isa_chooses_and_says_so) {
  const char* before = std::getenv("HYPURA_ISA");
  const std::string saved = before != nullptr ? before : "";
  const char* reason = nullptr;

  unsetenv("HYPURA_ISA");
  const KernelSet& best = choose_kernels(&reason);
  EXPECT(reason != nullptr && std::strlen(reason) > 0);
  const KernelSet* last = nullptr;
  for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
    last = *set;
    setenv("HYPURA_ISA", (*set)->name, 1);
    EXPECT(&choose_kernels(&reason) == *set);
    EXPECT(std::string(reason).find("HYPURA_ISA") != std::string::npos);
  }
  EXPECT(last == &best);
  for (const char* name : {"avx2", "avxvnni", "avx512vnni", "avx512vnni_quarters", "amx_int8", "neon_dotprod", "neon_i8mm"}) {
    setenv("HYPURA_ISA", name, 1);
    if (choose_kernels(&reason).name == std::string(name)) continue;
    EXPECT(&choose_kernels(&reason) == &best);
    EXPECT(std::string(reason).find("ignored") != std::string::npos);
  }
  setenv("HYPURA_ISA", "quantum", 1);
  EXPECT(&choose_kernels(&reason) == &best);
  EXPECT(std::string(reason).find("HYPURA_ISA") != std::string::npos);
  EXPECT(&choose_kernels(nullptr) == &best);

  if (before != nullptr)
    setenv("HYPURA_ISA", saved.c_str(), 1);
  else
    unsetenv("HYPURA_ISA");
}

}  // namespace
}  // namespace hypura::kernels
