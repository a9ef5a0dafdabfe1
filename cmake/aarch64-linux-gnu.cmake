# Toolchain for 64-bit ARM on another processor: Debian's cross compiler, and qemu's user emulation to run the tests.
# `npm run test:arm64` uses it. By hand:
#
#   cmake -S . -B build/arm64 -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake -DHYPURA_ADDON=OFF
#   cmake --build build/arm64 && ctest --test-dir build/arm64
#
# Emulation shows that results are right. It says nothing about speed, and little about the order of memory accesses:
# qemu on x86 keeps them in an order that ARM does not promise.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

find_program(HYPURA_ARM_COMPILER aarch64-linux-gnu-g++)
find_program(HYPURA_QEMU qemu-aarch64)
if(NOT HYPURA_ARM_COMPILER OR NOT HYPURA_QEMU)
  message(FATAL_ERROR "The tests for arm64 need a cross compiler and an emulator, and one is missing "
    "(aarch64-linux-gnu-g++: ${HYPURA_ARM_COMPILER}, qemu-aarch64: ${HYPURA_QEMU}). "
    "On Debian and Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user")
endif()
set(CMAKE_CXX_COMPILER ${HYPURA_ARM_COMPILER})

set(HYPURA_ARM_ROOT /usr/aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR ${HYPURA_QEMU} -cpu max -L ${HYPURA_ARM_ROOT})
set(CMAKE_FIND_ROOT_PATH ${HYPURA_ARM_ROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
