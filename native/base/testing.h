// The whole test framework of the native side: TEST registers, EXPECT records and goes on, ASSERT records and returns.
//
//   TEST(ring_frees_in_order) { EXPECT_EQ(ring.used_bytes(), 0u); }
//   int main is in testing_main.cpp; arguments are name filters; the exit code is the number of failed tests, at most 100.
#pragma once

#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace hypura::testing {

struct Case {
  const char* name;
  std::function<void()> body;
};
inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
inline int& failures() {
  static int count = 0;
  return count;
}
inline bool add(const char* name, std::function<void()> body) {
  cases().push_back({name, std::move(body)});
  return true;
}
inline void fail(const char* file, int line, const std::string& what) {
  ++failures();
  std::cerr << "  " << file << ":" << line << ": " << what << "\n";
}
template <typename T>
std::string show(const T& value) {
  if constexpr (requires(std::ostream& out) { out << value; }) {
    std::ostringstream out;
    out << value;
    return out.str();
  } else {
    return "(value)";
  }
}

// Runs the cases whose names contain any of the filters; prints one line each and a closing summary.
inline int run_all(int argc, char** argv) {
  int passed = 0, failed = 0;
  for (const Case& test : cases()) {
    bool wanted = argc < 2;
    for (int i = 1; i < argc; ++i)
      wanted = wanted || std::string(test.name).find(argv[i]) != std::string::npos;
    if (!wanted) continue;
    const int before = failures();
    test.body();
    const bool ok = failures() == before;
    (ok ? passed : failed)++;
    std::cerr << (ok ? "ok   " : "FAIL ") << test.name << "\n";
  }
  std::cerr << passed << " passed, " << failed << " failed\n";
  if (passed + failed == 0) return 100;  // a filter that matches nothing must not look green
  return failed > 100 ? 100 : failed;
}

}  // namespace hypura::testing

#define TEST(name)                                                                   \
  static void hypura_test_##name();                                                  \
  static const bool hypura_added_##name =                                            \
      ::hypura::testing::add(#name, [] { hypura_test_##name(); });                   \
  static void hypura_test_##name()

#define EXPECT(condition)                                                            \
  do {                                                                               \
    if (!(condition)) ::hypura::testing::fail(__FILE__, __LINE__, #condition);       \
  } while (false)
#define EXPECT_EQ(left, right)                                                       \
  do {                                                                               \
    const auto hypura_left = (left);                                                 \
    const auto hypura_right = (right);                                               \
    if (!(hypura_left == hypura_right))                                              \
      ::hypura::testing::fail(__FILE__, __LINE__,                                    \
                              std::string(#left " == " #right ": ") +                \
                                  ::hypura::testing::show(hypura_left) + " and " +   \
                                  ::hypura::testing::show(hypura_right));            \
  } while (false)
#define ASSERT(condition)                                                            \
  do {                                                                               \
    if (!(condition)) {                                                              \
      ::hypura::testing::fail(__FILE__, __LINE__, #condition);                       \
      return;                                                                        \
    }                                                                                \
  } while (false)
#define EXPECT_OK(expression)                                                        \
  do {                                                                               \
    const auto hypura_status = (expression);                                         \
    if (!hypura_status.ok())                                                         \
      ::hypura::testing::fail(__FILE__, __LINE__, #expression ": " + hypura_status.message()); \
  } while (false)
