#include "native/base/hot_path_guard.h"

namespace hypura {
namespace {
thread_local int sweeps = 0;
thread_local int pauses = 0;
}  // namespace

HotPathGuard::HotPathGuard() { ++sweeps; }
HotPathGuard::~HotPathGuard() { --sweeps; }
HotPathPause::HotPathPause() { ++pauses; }
HotPathPause::~HotPathPause() { --pauses; }
bool hot_path_is_guarded() { return sweeps > 0 && pauses == 0; }

}  // namespace hypura
