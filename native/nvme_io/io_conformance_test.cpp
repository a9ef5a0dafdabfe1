// One suite for every way to the drive. What could break: a backend that delivers the wrong bytes, loses or doubles a
// completion, sleeps through wake(), or lets the kernel write after it was destroyed.
// How we notice: the file's bytes follow from their position, every tag is counted, and every backend (also io_uring as an
// older kernel would run it, and FaultIo with nothing to do) must give the same answers.
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <functional>
#include <map>
#include <thread>

#include "native/base/bytes.h"
#include "native/base/testing.h"
#include "native/nvme_io/fault_io.h"
#include "native/nvme_io/io_backend.h"
#include "native/nvme_io/io_testing.h"
#include "native/nvme_io/pread_pool.h"
#if defined(__linux__)
#include <linux/io_uring.h>
#include <sys/syscall.h>

#include "native/nvme_io/uring.h"
#endif

namespace hypura::nvme_io {
namespace {

using namespace std::chrono_literals;
using namespace hypura::nvme_io::testing;
using Opened = Result<std::unique_ptr<IoBackend>>;

constexpr uint32_t kPage = 4096;
constexpr auto kForever = 30s;  // a test that waits this long has failed

Opened behind_fault_io(BackendChoice choice, uint32_t depth) {
  HYPURA_TRY_ASSIGN(OpenedBackend inner, open_backend(choice, depth));
  HYPURA_TRY_ASSIGN(FaultSchedule nothing, FaultSchedule::parse(""));
  return std::unique_ptr<IoBackend>(
      std::make_unique<FaultIo>(std::move(inner.backend), std::move(nothing)));
}

struct Subject {
  const char* name;
  bool direct;
  std::function<Opened(uint32_t depth)> open;
};
const std::vector<Subject>& subjects() {
  static const std::vector<Subject> all = {
#if defined(__linux__)
      {"uring", true, [](uint32_t depth) { return open_uring(depth); }},
      {"uring as before Linux 5.19", true,
       [](uint32_t depth) { return open_uring(depth, {.coop_taskrun = false}); }},
      {"uring as before Linux 5.11", true,
       [](uint32_t depth) {
         return open_uring(depth, {.coop_taskrun = false, .timed_enter = false});
       }},
      {"uring, buffered file", false, [](uint32_t depth) { return open_uring(depth); }},
      {"fault(uring)", true,
       [](uint32_t depth) { return behind_fault_io(BackendChoice::kUring, depth); }},
#endif
      {"pread", true, [](uint32_t depth) { return open_pread_pool(depth, PageCache::kBypass); }},
      {"buffered", false,
       [](uint32_t depth) { return open_pread_pool(depth, PageCache::kDropped); }},
      {"fault(pread)", true,
       [](uint32_t depth) { return behind_fault_io(BackendChoice::kPread, depth); }},
  };
  return all;
}

// Runs `body` once per backend that can run here, and names the one that failed.
void for_each_backend(uint32_t depth,
                      const std::function<void(const Subject&, std::unique_ptr<IoBackend>)>& body) {
  for (const Subject& subject : subjects()) {
    Opened opened = subject.open(depth);
    if (!opened.ok()) {
      skip(std::string(subject.name) + ": " + opened.status().message());
      continue;
    }
    const int before = hypura::testing::failures();
    body(subject, std::move(opened).value());
    if (hypura::testing::failures() != before)
      std::cerr << "  with backend " << subject.name << "\n";
  }
}

// 9 MiB and a tail that is no multiple of anything.
class TestFile {
 public:
  static constexpr uint64_t kBytes = (9u << 20) + 1234;
  TestFile() : path_(folder_.file("weights", kBytes)) {}
  ModelFile open(bool direct) {
    Result<ModelFile> file = ModelFile::open(path_, identity_of(path_), direct);
    CHECK(file.ok());
    return std::move(file).value();
  }

 private:
  TempFolder folder_;
  std::string path_;
};
TestFile& test_file() {
  static TestFile file;
  return file;
}

// Reaps until `count` came back; by tag. Fails on a tag that comes twice.
std::map<uint64_t, int32_t> reap_all(IoBackend& backend, size_t count) {
  std::map<uint64_t, int32_t> results;
  const auto end = std::chrono::steady_clock::now() + kForever;
  while (results.size() < count && std::chrono::steady_clock::now() < end) {
    std::array<ReadDone, 5> done;
    const uint32_t n = backend.reap(done, 1s);
    for (uint32_t i = 0; i < n; ++i) EXPECT(results.emplace(done[i].tag, done[i].result).second);
  }
  EXPECT_EQ(results.size(), count);
  return results;
}

TEST(every_read_comes_back_once_with_the_bytes_of_its_place) {
  constexpr uint64_t kSeed = 20250811;
  std::cerr << "  seed " << kSeed << "\n";
  for (const uint32_t depth : {1u, 3u, 8u, 64u}) {
    for_each_backend(depth, [&](const Subject& subject, std::unique_ptr<IoBackend> backend) {
      const ModelFile file = test_file().open(subject.direct);
      EXPECT_EQ(backend->capabilities().depth_max, depth);
      Random random(kSeed + depth);
      struct Pending {
        Read read;
        std::unique_ptr<Buffer> buffer;
      };
      std::map<uint64_t, Pending> pending;
      const auto make = [&](uint64_t number) {
        // Extreme tags first: they are the caller's and mean nothing to a backend.
        const uint64_t tag = number == 0 ? 0 : number == 1 ? ~uint64_t{0} : random.next();
        const uint32_t longest = random.below(8) == 0 ? kReadBytesMax : 1u << 17;
        const uint32_t bytes = (1 + static_cast<uint32_t>(random.below(longest / kPage))) * kPage;
        const uint64_t offset = random.below(align_up(TestFile::kBytes, kPage) / kPage) * kPage;
        // A page on either side that must stay as it is.
        auto buffer = std::make_unique<Buffer>(bytes + 2 * kPage);
        const Read read{.tag = tag, .fd = file.fd(), .bytes = bytes, .offset_bytes = offset,
                        .into = buffer->data() + kPage};
        pending.emplace(tag, Pending{read, std::move(buffer)});
        return read;
      };
      constexpr uint32_t kReads = 60;
      std::vector<Read> waiting;
      for (uint64_t i = 0; i < kReads; ++i) waiting.push_back(make(i));
      uint32_t submitted = 0, finished = 0;
      while (finished < kReads) {
        submitted += backend->submit(std::span(waiting).subspan(submitted));
        EXPECT(submitted - finished <= depth);
        std::array<ReadDone, 4> done;
        const uint32_t n = backend->reap(done, kForever);
        ASSERT(n > 0);
        for (uint32_t i = 0; i < n; ++i, ++finished) {
          const auto at = pending.find(done[i].tag);
          ASSERT(at != pending.end());
          const auto& [read, buffer] = at->second;
          const uint64_t expected =
              std::min<uint64_t>(read.bytes, TestFile::kBytes - read.offset_bytes);
          EXPECT_EQ(done[i].result, static_cast<int32_t>(expected));
          EXPECT(holds_file_bytes({read.into, expected}, read.offset_bytes));
          EXPECT(buffer->is_all(std::byte{0x5c}, 0, kPage));
          EXPECT(buffer->is_all(std::byte{0x5c}, kPage + read.bytes, buffer->size()));
          pending.erase(at);
        }
      }
      EXPECT(pending.empty());
    });
  }
}

TEST(the_last_read_is_short_and_behind_the_end_there_is_nothing) {
  for_each_backend(8, [](const Subject& subject, std::unique_ptr<IoBackend> backend) {
    const ModelFile file = test_file().open(subject.direct);
    const Buffer buffer(4 * 2 * kPage);
    const uint64_t last_page = align_down(TestFile::kBytes, kPage);
    std::array<Read, 4> reads;
    const std::array<uint64_t, 4> offsets = {last_page - kPage, last_page, last_page + kPage,
                                             1ull << 40};
    for (uint32_t i = 0; i < reads.size(); ++i) {
      reads[i] = {.tag = i, .fd = file.fd(), .bytes = 2 * kPage, .offset_bytes = offsets[i],
                  .into = buffer.data() + i * 2 * kPage};
    }
    ASSERT(backend->submit(reads) == reads.size());
    auto results = reap_all(*backend, reads.size());
    const auto tail = static_cast<int32_t>(TestFile::kBytes - last_page);
    EXPECT_EQ(results[0], static_cast<int32_t>(kPage) + tail);
    EXPECT_EQ(results[1], tail);
    EXPECT_EQ(results[2], 0);
    EXPECT_EQ(results[3], 0);
    EXPECT(holds_file_bytes({reads[0].into, kPage + static_cast<size_t>(tail)}, offsets[0]));
  });
}

TEST(a_bad_descriptor_fails_alone) {
  for_each_backend(8, [](const Subject& subject, std::unique_ptr<IoBackend> backend) {
    const ModelFile file = test_file().open(subject.direct);
    const TempFolder folder;
    const int folder_fd = ::open(folder.path().c_str(), O_RDONLY | O_CLOEXEC);
    const Buffer buffer(5 * kPage);
    const std::array<int, 5> fds = {file.fd(), -1, file.fd(), folder_fd, file.fd()};
    std::array<Read, 5> reads;
    for (uint32_t i = 0; i < reads.size(); ++i) {
      reads[i] = {.tag = i, .fd = fds[i], .bytes = kPage, .offset_bytes = i * kPage,
                  .into = buffer.data() + i * kPage};
    }
    ASSERT(backend->submit(reads) == reads.size());
    auto results = reap_all(*backend, reads.size());
    EXPECT_EQ(results[1], -EBADF);
    EXPECT_EQ(results[3], -EISDIR);
    for (const uint32_t i : {0u, 2u, 4u}) {
      EXPECT_EQ(results[i], static_cast<int32_t>(kPage));
      EXPECT(holds_file_bytes({reads[i].into, kPage}, reads[i].offset_bytes));
    }
    ::close(folder_fd);
  });
}

TEST(submit_takes_no_more_than_the_depth) {
  for_each_backend(3, [](const Subject& subject, std::unique_ptr<IoBackend> backend) {
    const ModelFile file = test_file().open(subject.direct);
    const Buffer buffer(5 * kPage);
    std::array<Read, 5> reads;
    for (uint32_t i = 0; i < reads.size(); ++i) {
      reads[i] = {.tag = i, .fd = file.fd(), .bytes = kPage, .offset_bytes = 0,
                  .into = buffer.data() + i * kPage};
    }
    EXPECT_EQ(backend->submit({}), 0u);
    ASSERT(backend->submit(reads) == 3);
    // Finished ones count until they were reaped: the completion must have a place.
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(backend->submit(std::span(reads).subspan(3)), 0u);
    std::array<ReadDone, 1> done;
    ASSERT(backend->reap(done, kForever) == 1);
    ASSERT(backend->submit(std::span(reads).subspan(3)) == 1);
    reap_all(*backend, 3);
  });
}

TEST(reap_keeps_to_its_time) {
  for_each_backend(2, [](const Subject&, std::unique_ptr<IoBackend> backend) {
    std::array<ReadDone, 1> done;
    const auto timed = [&](std::chrono::nanoseconds wait) {
      const auto begin = std::chrono::steady_clock::now();
      EXPECT_EQ(backend->reap(done, wait), 0u);
      return std::chrono::steady_clock::now() - begin;
    };
    EXPECT(timed(30ms) >= 30ms);
    EXPECT(timed(0ns) < 10s);
    EXPECT(timed(-5ns) < 10s);
    EXPECT_EQ(backend->reap({}, kForever), 0u);
  });
}

TEST(a_zero_wait_finds_what_has_finished) {
  for_each_backend(2, [](const Subject& subject, std::unique_ptr<IoBackend> backend) {
    const ModelFile file = test_file().open(subject.direct);
    const Buffer buffer(kPage);
    const Read read{
        .tag = 9, .fd = file.fd(), .bytes = kPage, .offset_bytes = 0, .into = buffer.data()};
    ASSERT(backend->submit({&read, 1}) == 1);
    std::array<ReadDone, 1> done;
    const auto end = std::chrono::steady_clock::now() + kForever;
    uint32_t n = 0;
    while (n == 0 && std::chrono::steady_clock::now() < end) {
      n = backend->reap(done, 0ns);
      std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(n, 1u);
  });
}

TEST(wake_ends_a_waiting_reap_from_another_thread) {
  for_each_backend(2, [](const Subject&, std::unique_ptr<IoBackend> backend) {
    // In turn, so that each wake() meets a reap() that waits, is about to wait, or has just returned.
    constexpr uint32_t kTurns = 200;
    std::atomic<uint32_t> asked{0}, answered{0};
    std::thread caller([&] {
      for (uint32_t turn = 1; turn <= kTurns; ++turn) {
        if (turn % 4 == 0) std::this_thread::sleep_for(100us);
        asked.store(turn);
        backend->wake();
        while (answered.load() < turn) std::this_thread::yield();
      }
    });
    const auto end = std::chrono::steady_clock::now() + kForever;
    std::array<ReadDone, 1> done;
    while (answered.load() < kTurns) {
      EXPECT_EQ(backend->reap(done, kForever), 0u);
      if (asked.load() > answered.load()) answered.store(asked.load());
    }
    caller.join();
    EXPECT(std::chrono::steady_clock::now() < end);
  });
}

TEST(a_wake_before_the_reap_is_kept_and_loses_no_completion) {
  for_each_backend(8, [](const Subject& subject, std::unique_ptr<IoBackend> backend) {
    const ModelFile file = test_file().open(subject.direct);
    std::array<ReadDone, 1> none;
    const auto begin = std::chrono::steady_clock::now();
    backend->wake();
    EXPECT_EQ(backend->reap(none, kForever), 0u);
    EXPECT(std::chrono::steady_clock::now() - begin < kForever / 2);
    // It ends one reap() and not two: else the I/O thread would never sleep again.
    const auto again = std::chrono::steady_clock::now();
    EXPECT_EQ(backend->reap(none, 30ms), 0u);
    EXPECT(std::chrono::steady_clock::now() - again >= 30ms);

    const Buffer buffer(8 * kPage);
    std::array<Read, 8> reads;
    for (uint32_t i = 0; i < reads.size(); ++i) {
      reads[i] = {.tag = i, .fd = file.fd(), .bytes = kPage, .offset_bytes = i * kPage,
                  .into = buffer.data() + i * kPage};
    }
    for (int round = 0; round < 20; ++round) {
      ASSERT(backend->submit(reads) == reads.size());
      backend->wake();
      for (const auto& [tag, result] : reap_all(*backend, reads.size()))
        EXPECT_EQ(result, static_cast<int32_t>(kPage));
    }
  });
}

TEST(signals_do_not_disturb) {
  struct sigaction action {}, before {};
  action.sa_handler = [](int) {};  // without SA_RESTART: system calls end with EINTR
  sigaction(SIGUSR1, &action, &before);
  for_each_backend(4, [](const Subject& subject, std::unique_ptr<IoBackend> backend) {
    const ModelFile file = test_file().open(subject.direct);
    const Buffer buffer(4u << 20);
    std::atomic<bool> stop{false};
    const pthread_t reader = pthread_self();
    std::thread shooter([&] {
      while (!stop.load()) {
        pthread_kill(reader, SIGUSR1);
        std::this_thread::sleep_for(50us);
      }
    });
    for (uint32_t round = 0; round < 20; ++round) {
      std::array<Read, 4> reads;
      for (uint32_t i = 0; i < reads.size(); ++i) {
        reads[i] = {.tag = i, .fd = file.fd(), .bytes = 1u << 20, .offset_bytes = i << 20,
                    .into = buffer.data() + (i << 20)};
      }
      uint32_t taken = 0;
      while (taken < reads.size()) taken += backend->submit(std::span(reads).subspan(taken));
      for (const auto& [tag, result] : reap_all(*backend, reads.size())) EXPECT_EQ(result, 1 << 20);
    }
    EXPECT(holds_file_bytes(buffer.first(4u << 20), 0));
    std::array<ReadDone, 1> done;
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(backend->reap(done, 30ms), 0u);
    EXPECT(std::chrono::steady_clock::now() - begin >= 30ms);
    stop.store(true);
    shooter.join();
  });
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(nothing_is_written_after_the_destructor) {
  for (const bool other_thread : {false, true}) {
    for_each_backend(8, [&](const Subject& subject, std::unique_ptr<IoBackend> backend) {
      const ModelFile file = test_file().open(subject.direct);
      const Buffer buffer(8u << 20);
      const auto submit = [&] {
        std::array<Read, 8> reads;
        for (uint32_t i = 0; i < reads.size(); ++i) {
          reads[i] = {.tag = i, .fd = file.fd(), .bytes = 1u << 20, .offset_bytes = i << 20,
                      .into = buffer.data() + (i << 20)};
        }
        EXPECT_EQ(backend->submit(reads), 8u);
        std::array<ReadDone, 1> done;
        backend->reap(done, 0ns);
      };
      // As in the engine: the I/O thread has ended before its backend goes.
      if (other_thread) {
        std::thread(submit).join();
      } else {
        submit();
      }
      backend.reset();
      const std::vector<std::byte> then(buffer.data(), buffer.data() + buffer.size());
      std::this_thread::sleep_for(30ms);
      EXPECT(std::memcmp(then.data(), buffer.data(), then.size()) == 0);
    });
  }
}

#if defined(__linux__)
// How many pages of the file the page cache holds.
size_t cached_pages(int fd, size_t bytes) {
  void* const map = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED);
  std::vector<unsigned char> present(bytes / kPage);
  CHECK(::mincore(map, bytes, present.data()) == 0);
  ::munmap(map, bytes);
  return static_cast<size_t>(std::count_if(present.begin(), present.end(),
                                           [](unsigned char page) { return page & 1; }));
}

TEST(the_page_cache_does_not_keep_what_was_read) {
  for (const PageCache page_cache : {PageCache::kBypass, PageCache::kDropped}) {
    Opened backend = open_pread_pool(1, page_cache);
    ASSERT(backend.ok());
    const ModelFile file = test_file().open(page_cache == PageCache::kBypass);
    if (page_cache == PageCache::kBypass && !file.direct()) {
      skip(file.direct_reason());
      continue;
    }
    constexpr uint32_t kBytes = 1u << 20;
    const Buffer buffer(kBytes);
    (void)::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED);
    const Read read{
        .tag = 0, .fd = file.fd(), .bytes = kBytes, .offset_bytes = 0, .into = buffer.data()};
    ASSERT((*backend)->submit({&read, 1}) == 1);
    EXPECT_EQ(reap_all(**backend, 1)[0], static_cast<int32_t>(kBytes));
    EXPECT_EQ(cached_pages(file.fd(), kBytes), 0u);
  }
}

// Every test above skips a backend that cannot be opened, so a bug that closes it would look like a forbidding kernel.
TEST(uring_opens_wherever_the_kernel_allows_it) {
  io_uring_params params{};
  const long fd = ::syscall(__NR_io_uring_setup, 1, &params);
  if (fd < 0) return skip(std::string("io_uring_setup: ") + std::strerror(errno));
  ::close(static_cast<int>(fd));
  for (const uint32_t depth : {1u, 5u, kIoDepthMax}) EXPECT_OK(open_uring(depth).status());
}

TEST(uring_reports_a_read_that_the_kernel_does_not_take) {
  Opened opened = open_uring(4);
  if (!opened.ok()) return skip(opened.status().message());
  std::thread([&] {
    if (!forbid(__NR_io_uring_enter, EAGAIN)) return skip("no seccomp");
    const Buffer buffer(3 * kPage);
    std::array<Read, 3> reads;
    for (uint32_t i = 0; i < reads.size(); ++i) {
      reads[i] = {.tag = 50 + i, .fd = 0, .bytes = kPage, .offset_bytes = 0,
                  .into = buffer.data() + i * kPage};
    }
    // Nothing is on its way whose end could make room, so one of them must fail: else the caller would wait for ever.
    for (int again = 0; again < 10; ++again) {
      EXPECT_EQ((*opened)->submit(reads), 1u);
      // Not a second one before the first was heard of: its failure would take the place of the first one's.
      EXPECT_EQ((*opened)->submit(std::span(reads).last(1)), 0u);
      const auto results = reap_all(**opened, 1);
      EXPECT(results == (std::map<uint64_t, int32_t>{{50, -EAGAIN}}));
    }
  }).join();
}

// A pipe is a drive that answers when the test wants; pread(2) refuses pipes, so this one is for io_uring.
TEST(uring_destructor_waits_for_a_read_that_hangs) {
  for (const bool other_thread : {false, true}) {
    Opened opened = open_uring(2);
    if (!opened.ok()) return skip(opened.status().message());
    std::unique_ptr<IoBackend> backend = std::move(opened).value();
    int ends[2];
    ASSERT(::pipe(ends) == 0);
    Buffer buffer(kPage);
    const Read read{.tag = 1, .fd = ends[0], .bytes = 4, .offset_bytes = 0, .into = buffer.data()};
    const auto submit = [&] {
      EXPECT_EQ(backend->submit({&read, 1}), 1u);
      std::array<ReadDone, 1> done;
      EXPECT_EQ(backend->reap(done, 1ms), 0u);
    };
    if (other_thread) {
      std::thread(submit).join();
    } else {
      submit();
    }
    std::atomic<bool> destroyed{false};
    std::thread destroyer([&] {
      backend.reset();
      destroyed.store(true);
    });
    std::this_thread::sleep_for(50ms);
    // A read of a pipe may be cancelled when its thread ends, a read of a drive may not: then it is over already.
    if (!other_thread) EXPECT(!destroyed.load());
    EXPECT_EQ(::write(ends[1], "late", 4), 4);
    destroyer.join();
    if (!other_thread) EXPECT(std::memcmp(buffer.data(), "late", 4) == 0);
    ::close(ends[0]);
    ::close(ends[1]);
  }
}
#endif

}  // namespace
}  // namespace hypura::nvme_io
