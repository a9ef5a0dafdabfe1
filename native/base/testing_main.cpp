#include "native/base/testing.h"

int main(int argc, char** argv) { return hypura::testing::run_all(argc, argv); }
