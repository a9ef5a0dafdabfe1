#include "native/runtime/pressure_events.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#if defined(__linux__)
#include <sys/eventfd.h>
#endif

#include "native/runtime/text.h"

namespace hypura::runtime {
namespace {

Status unsupported(const std::string& path, int errno_value) {
  return Status::error(Code::kUnsupported, text(path, ": ", std::strerror(errno_value)));
}

}  // namespace

#if defined(__linux__)
Result<PressureEvents> PressureEvents::open(const std::string& folder) {
  const std::string level_path = folder + "/memory.pressure_level";
  const std::string control_path = folder + "/cgroup.event_control";
  const int level = ::open(level_path.c_str(), O_RDONLY | O_CLOEXEC);
  if (level < 0) return unsupported(level_path, errno);
  const int control = ::open(control_path.c_str(), O_WRONLY | O_CLOEXEC);
  if (control < 0) {
    const int error = errno;
    (void)::close(level);
    return unsupported(control_path, error);
  }
  PressureEvents events(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  const std::string order = text(events.fd_, " ", level, " critical");
  const bool told = events.fd_ >= 0 &&
                    ::write(control, order.data(), order.size()) == static_cast<ssize_t>(order.size());
  const int error = errno;
  (void)::close(control);
  (void)::close(level);
  if (!told) return unsupported(control_path, error);
  return events;
}
#else
Result<PressureEvents> PressureEvents::open(const std::string& folder) {
  return unsupported(folder, ENOSYS);
}
#endif

PressureEvents::PressureEvents(PressureEvents&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}
PressureEvents& PressureEvents::operator=(PressureEvents&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}
PressureEvents::~PressureEvents() {
  if (fd_ >= 0) (void)::close(fd_);
}

uint64_t PressureEvents::take() {
  uint64_t count = 0;
  return ::read(fd_, &count, sizeof(count)) == static_cast<ssize_t>(sizeof(count)) ? count : 0;
}

}  // namespace hypura::runtime
