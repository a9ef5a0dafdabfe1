// Prints the layout of every record that crosses the border: scripts/gen-layout.ts turns it into TypeScript.
#include <cstdio>

#include "native/runtime/layout.h"

int main() {
  std::puts(hypura::runtime::layout_json().c_str());
  return 0;
}
