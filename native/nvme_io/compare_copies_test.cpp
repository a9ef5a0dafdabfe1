// What could break: a copy that differs in one byte passes, a good one is refused, the byte that is named is not the first,
// or a fault of the drive ends in a verdict. How we notice: single bytes are changed at every kind of place, under every
// kind of fault that passes; those that stay must name file and byte.
#include "native/nvme_io/compare_copies.h"

#include <chrono>
#include <memory>
#include <thread>

#include "native/base/testing.h"
#include "native/nvme_io/fault_io.h"
#include "native/nvme_io/io_testing.h"

namespace hypura::nvme_io {
namespace {

using namespace std::chrono_literals;
using namespace hypura::nvme_io::testing;

constexpr uint64_t kBytes = 3'000'001;

// Copies of a model of two parts, each in a file of its own.
class Copies {
 public:
  explicit Copies(uint32_t n_copies, uint64_t bytes = kBytes) {
    for (uint32_t copy = 0; copy < n_copies; ++copy)
      for (uint32_t part = 0; part < 2; ++part)
        paths.push_back(folder_.file(std::to_string(copy) + "-" + std::to_string(part),
                                     part == 0 ? bytes : bytes / 3));
    verified.assign(paths.size(), false);
    verified[0] = verified[1] = true;
  }
  void open() {
    files.clear();
    for (const std::string& path : paths) {
      Result<ModelFile> file = ModelFile::open(path, identity_of(path), true);
      CHECK(file.ok());
      files.push_back(std::move(file).value());
    }
  }
  void flip(uint32_t file, uint64_t offset) {
    const int fd = ::open(paths[file].c_str(), O_RDWR | O_CLOEXEC);
    std::byte byte{};
    CHECK(::pread(fd, &byte, 1, static_cast<off_t>(offset)) == 1);
    byte ^= std::byte{1};
    CHECK(::pwrite(fd, &byte, 1, static_cast<off_t>(offset)) == 1);
    CHECK(::fsync(fd) == 0);
    ::close(fd);
  }
  Result<std::array<double, kDrivesMax>> compare(const std::string& faults = "",
                                                 uint64_t memory = 64u << 20) {
    if (files.empty()) open();
    std::vector<uint32_t> drives;
    for (uint32_t i = 0; i < files.size(); ++i) drives.push_back(i / 2);
    Result<OpenedBackend> backend = open_backend(BackendChoice::kAuto, 8);
    Result<FaultSchedule> schedule = FaultSchedule::parse(faults);
    CHECK(backend.ok() && schedule.ok());
    FaultIo io(std::move(backend->backend), std::move(schedule).value());
    compared = 0;
    const CompareRequest request{.files = files,
                                 .n_files = 2,
                                 .drives = drives,
                                 .verified = verified,
                                 .memory_bytes = memory};
    total = bytes_to_compare(request);
    auto result = compare_copies(request, io, cancelled, compared);
    EXPECT_OK(io.violation());
    return result;
  }

  std::vector<std::string> paths;
  std::vector<bool> verified;
  std::vector<ModelFile> files;
  std::atomic<bool> cancelled{false};
  std::atomic<uint64_t> compared{0};
  uint64_t total = 0;

 private:
  TempFolder folder_;
};

bool names(const Status& status, Code code, uint32_t file, uint64_t offset) {
  return status.code() == code && status.detail()->file == file &&
         status.detail()->offset_bytes == offset;
}

TEST(compare_accepts_equal_copies_whatever_passes) {
  Copies copies(3);
  for (const char* faults : {"", "short:every=2:forever:3", "short=1:every=9:forever", "eio:every=5:once",
                             "reorder:every=2:forever", "duplicate:every=2:forever:4",
                             "delay=2:every=3:forever", "enomem:every=4:once:2",
                             "eio:at=3@2:once;short:every=3@1:forever"}) {
    for (const uint64_t memory : {uint64_t{1}, uint64_t{64} << 20}) {
      auto result = copies.compare(faults, memory);
      EXPECT_OK(result.status());
      EXPECT_EQ(copies.compared.load(), kBytes + kBytes / 3);
      EXPECT_EQ(copies.total, copies.compared.load());
      for (uint32_t drive = 0; result.ok() && drive < kDrivesMax; ++drive)
        EXPECT(drive < 3 ? (*result)[drive] > 1e5 : (*result)[drive] == 0);
    }
  }
}

TEST(compare_names_the_first_byte_that_differs) {
  struct Place {
    uint32_t file;
    uint64_t offset;
  };
  for (const Place place : {Place{2, 0}, {2, 4095}, {3, 4096}, {4, (64u << 10) - 1}, {2, 64u << 10},
                            {5, kBytes / 3 - 1}, {4, kBytes - 1}}) {
    Copies copies(3);
    copies.flip(place.file, place.offset);
    for (const uint64_t memory : {uint64_t{1}, uint64_t{64} << 20}) {
      const Status status = copies.compare("reorder:every=2:forever:7", memory).status();
      EXPECT(names(status, Code::kMirrorMismatch, place.file, place.offset));
      EXPECT(status.message().find(copies.paths[place.file]) != std::string::npos);
    }
  }
  Copies copies(2);
  for (uint64_t offset : {2'900'000u, 1'234'567u, 70'000u}) copies.flip(2, offset);
  EXPECT(names(copies.compare("", 1).status(), Code::kMirrorMismatch, 2, 70'000));
}

TEST(compare_reads_only_what_is_not_verified) {
  Copies copies(3);
  copies.flip(2, 5);  // of a file that was compared before
  copies.verified[2] = true;
  auto result = copies.compare();
  EXPECT_OK(result.status());
  copies.verified.assign(6, true);
  result = copies.compare("eio:all:forever");
  EXPECT_OK(result.status());
  EXPECT_EQ(copies.total, uint64_t{0});
  for (double speed : *result) EXPECT_EQ(speed, 0.0);
  copies.verified[5] = false;
  result = copies.compare();
  EXPECT_OK(result.status());
  EXPECT_EQ(copies.total, kBytes / 3);
  EXPECT((*result)[0] > 0 && (*result)[1] == 0 && (*result)[2] > 0);
}

TEST(compare_names_what_cannot_be_read) {
  Copies copies(2);
  Status status = copies.compare("eio:at=0@1:forever").status();
  EXPECT(names(status, Code::kIo, 2, 0));
  EXPECT_EQ(status.detail()->errno_value, EIO);
  EXPECT(copies.compare("eio:all@0:forever").status().detail()->file == 0u);
  EXPECT(copies.compare("eof:at=1@1:forever", 1).status().code() == Code::kModelChanged);
  copies.open();
  CHECK(::truncate(copies.paths[3].c_str(), 100'000) == 0);
  status = copies.compare("", 1).status();
  EXPECT(status.code() == Code::kModelChanged && status.detail()->file == 3u);
  EXPECT(status.detail()->offset_bytes.value_or(0) >= 100'000);
}

TEST(compare_ends_soon_when_it_is_cancelled) {
  Copies copies(2, 20'000'000);
  copies.open();
  std::thread other([&] {
    std::this_thread::sleep_for(50ms);
    copies.cancelled = true;
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT(copies.compare("delay=50:all:forever", 1).status().code() == Code::kCancelled);
  EXPECT(std::chrono::steady_clock::now() - begin < 2s);
  other.join();
}

}  // namespace
}  // namespace hypura::nvme_io
