// As little of a test framework as these tests need: a list of cases, and a check that says what it found.
#pragma once

#include <stdio.h>
#include <string.h>

#include <functional>
#include <sstream>
#include <string>
#include <vector>

struct Case {
  const char* name;
  void (*run)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
inline int& failures() {
  static int count = 0;
  return count;
}
struct Register {
  Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

template <typename A, typename B>
void expect_equal(const A& found, const B& wanted, const char* what, int line) {
  if (found == wanted) return;
  std::ostringstream said;
  said << "line " << line << ": " << what << " is " << found << ", not " << wanted;
  printf("    %s\n", said.str().c_str());
  failures()++;
}

#define TEST(name)                                \
  static void name();                             \
  static const Register name##_case(#name, name); \
  static void name()
#define CHECK(what)                                           \
  do {                                                        \
    if (!(what)) {                                            \
      printf("    line %d: %s is not so\n", __LINE__, #what); \
      failures()++;                                           \
    }                                                         \
  } while (0)
#define EQUAL(found, wanted) expect_equal((found), (wanted), #found, __LINE__)

inline std::string str(relevo::Slice text) { return std::string(text.data, text.size); }

// Each case on a line: `ok NAME` or `failed NAME`.
inline int run_all() {
  for (const Case& one : cases()) {
    const int before = failures();
    one.run();
    printf("%s %s\n", failures() == before ? "ok" : "failed", one.name);
  }
  return failures() ? 1 : 0;
}
