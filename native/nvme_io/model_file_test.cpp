// What could break: opening something that is no file (a pipe would hang), reading another model than the one that was
// indexed, a direct descriptor that the file system does not serve.
// How we notice: each kind of non-file, each changed fact and each refusing file system has a case, all of which return.
#include "native/nvme_io/model_file.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>

#include "native/base/limits.h"
#include "native/base/testing.h"
#include "native/nvme_io/io_testing.h"

namespace hypura::nvme_io {
namespace {

using namespace hypura::nvme_io::testing;

bool mentions(const Status& status, const std::string& what) {
  return status.message().find(what) != std::string::npos;
}
void set_mtime_ns(const std::string& path, long nanoseconds) {
  const timespec times[2] = {{1'700'000'000, nanoseconds}, {1'700'000'000, nanoseconds}};
  CHECK(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

TEST(a_direct_file_reads_the_same_bytes_as_a_buffered_one) {
  TempFolder folder;
  const std::string path = folder.file("weights", 100'000);
  for (const bool direct : {true, false}) {
    Result<ModelFile> file = ModelFile::open(path, identity_of(path), direct);
    ASSERT(file.ok());
    EXPECT_EQ(file->size_bytes(), 100'000u);
    EXPECT_EQ(file->path(), path);
    EXPECT(std::has_single_bit(file->alignment_bytes()));
    EXPECT(file->alignment_bytes() <= kDirectAlignmentBytes);
    EXPECT_EQ(file->direct(), file->direct_reason().empty());
    if (!direct) EXPECT(!file->direct());
    if (direct && !file->direct()) skip("direct: " + file->direct_reason());
    const Buffer buffer(8192);
    EXPECT_EQ(::pread(file->fd(), buffer.data(), 8192, 16384), 8192);
    EXPECT(holds_file_bytes(buffer.first(8192), 16384));
    EXPECT_OK(file->check_unchanged());
#if defined(__linux__)
    const int flags = ::fcntl(file->fd(), F_GETFL);
    EXPECT_EQ((flags & O_DIRECT) != 0, file->direct());
    EXPECT_EQ(flags & O_NONBLOCK, 0);
#endif
    EXPECT_EQ(::fcntl(file->fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  }
}

TEST(an_empty_file_opens_and_has_nothing) {
  TempFolder folder;
  const std::string path = folder.file("empty", 0);
  Result<ModelFile> file = ModelFile::open(path, identity_of(path), true);
  ASSERT(file.ok());
  EXPECT_EQ(file->size_bytes(), 0u);
  const Buffer buffer(4096);
  EXPECT_EQ(::pread(file->fd(), buffer.data(), 4096, 0), 0);
}

TEST(what_is_no_regular_file_is_refused_at_once) {
  TempFolder folder;
  const std::string pipe = folder.path("pipe");
  ASSERT(::mkfifo(pipe.c_str(), 0600) == 0);
  const auto refused = [](const std::string& path, const std::string& kind) {
    const Status status = ModelFile::open(path, FileIdentity{}, true).status();
    EXPECT(status.code() == Code::kInvalidArgument);
    EXPECT(mentions(status, path) && mentions(status, kind));
  };
  refused(pipe, "named pipe");  // without O_NONBLOCK this would wait for a writer for ever
  refused(folder.path(), "directory");
  refused("/dev/null", "device");
  EXPECT(ModelFile::open("", {}, true).status().code() == Code::kInvalidArgument);
  EXPECT(ModelFile::open(std::string("/etc/passwd\0.gguf", 17), {}, true).status().code() ==
         Code::kInvalidArgument);

  // A socket cannot be opened at all.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string socket_path = folder.path("socket");
  ASSERT(socket_path.size() < sizeof(address.sun_path));
  std::copy(socket_path.begin(), socket_path.end(), address.sun_path);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  EXPECT(ModelFile::open(socket_path, {}, true).status().code() == Code::kIo);
  ::close(listener);
}

TEST(a_missing_file_is_an_io_error_with_its_errno) {
  const Status status = ModelFile::open("/nonexistent/model.gguf", {}, true).status();
  EXPECT(status.code() == Code::kIo);
  EXPECT_EQ(status.detail()->errno_value, ENOENT);
  EXPECT(mentions(status, "/nonexistent/model.gguf"));
}

TEST(another_file_than_the_indexed_one_is_named_by_what_differs) {
  TempFolder folder;
  const std::string path = folder.file("weights", 8192);
  set_mtime_ns(path, 5);
  const FileIdentity right = identity_of(path);
  ASSERT(ModelFile::open(path, right, true).ok());

  struct Case {
    const char* fact;
    FileIdentity seen;
  };
  Case cases[] = {{"size", right}, {"modification time", right}, {"inode", right}};
  cases[0].seen.size_bytes += 1;
  cases[1].seen.mtime_ns += 1;  // one nanosecond: no rounding on the way
  cases[2].seen.inode += 1;
  for (const Case& each : cases) {
    const Status status = ModelFile::open(path, each.seen, true).status();
    EXPECT(status.code() == Code::kModelChanged);
    for (const Case& other : cases) EXPECT_EQ(mentions(status, other.fact), &other == &each);
  }
}

TEST(changes_of_an_open_file_are_seen) {
  TempFolder folder;
  const std::string path = folder.file("weights", 8192);
  set_mtime_ns(path, 5);
  const auto open = [&] {
    return std::move(ModelFile::open(path, identity_of(path), true)).value();
  };

  const ModelFile touched = open();
  set_mtime_ns(path, 6);
  EXPECT(mentions(touched.check_unchanged(), "modification time"));
  EXPECT(!mentions(touched.check_unchanged(), "size"));

  const ModelFile shorter = open();
  ASSERT(::truncate(path.c_str(), 4096) == 0);
  EXPECT(shorter.check_unchanged().code() == Code::kModelChanged);
  EXPECT(mentions(shorter.check_unchanged(), "8192 -> 4096"));

  // Replaced by rename: the old file serves on.
  const ModelFile replaced = open();
  const std::string other = folder.file("other", 100);
  ASSERT(::rename(other.c_str(), path.c_str()) == 0);
  EXPECT_OK(replaced.check_unchanged());
  EXPECT(ModelFile::open(path, FileIdentity{.size_bytes = 4096}, true).status().code() ==
         Code::kModelChanged);
}

TEST(a_file_system_without_direct_reads_is_read_buffered_and_says_so) {
  // sysfs: regular files, and O_DIRECT is refused.
  const std::string path = "/sys/kernel/mm/transparent_hugepage/enabled";
  if (::access(path.c_str(), R_OK) != 0) return skip("no " + path);
  Result<ModelFile> file = ModelFile::open(path, identity_of(path), true);
  ASSERT(file.ok());
  EXPECT(!file->direct());
  EXPECT(!file->direct_reason().empty());
  char text[64];
  EXPECT(::pread(file->fd(), text, sizeof(text), 0) > 0);
#if defined(__linux__)
  EXPECT_EQ(::fcntl(file->fd(), F_GETFL) & (O_DIRECT | O_NONBLOCK), 0);
#endif
}

TEST(a_file_in_memory_works_direct_or_with_a_reason) {
  if (::access("/dev/shm", W_OK) != 0) return skip("no /dev/shm");
  TempFolder folder("/dev/shm");
  const std::string path = folder.file("weights", 10'000);
  Result<ModelFile> file = ModelFile::open(path, identity_of(path), true);
  ASSERT(file.ok());
  EXPECT_EQ(file->direct(), file->direct_reason().empty());
  const Buffer buffer(8192);
  EXPECT_EQ(::pread(file->fd(), buffer.data(), 8192, 4096), 10'000 - 4096);
  EXPECT(holds_file_bytes(buffer.first(10'000 - 4096), 4096));
}

#if defined(__linux__)
TEST(no_descriptor_is_left_behind) {
  TempFolder folder;
  const std::string path = folder.file("weights", 8192);
  const std::string pipe = folder.path("pipe");
  ASSERT(::mkfifo(pipe.c_str(), 0600) == 0);
  const auto next_descriptor = [] {
    const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(fd);
    return fd;
  };
  const int before = next_descriptor();
  {
    Result<ModelFile> opened = ModelFile::open(path, identity_of(path), true);
    ASSERT(opened.ok());
    ModelFile first = std::move(opened).value();
    ModelFile second = std::move(first);
    second = std::move(ModelFile::open(path, identity_of(path), false)).value();
    EXPECT(!second.direct());
  }
  (void)ModelFile::open(pipe, {}, true);
  (void)ModelFile::open(path, {}, true);
  (void)ModelFile::open("/sys/kernel/mm/transparent_hugepage/enabled", {}, true);
  EXPECT_EQ(next_descriptor(), before);
}
#endif

}  // namespace
}  // namespace hypura::nvme_io
