// What could break: a fault test that injects nothing, or another fault than it says, would make every test above it green
// for no reason; and a watcher that misses a violation guards nothing.
// How we notice: each mode is checked by its effect on result, bytes and order; each violation is made on purpose; a careful
// reader must get the file's bytes through every fault that can be noticed, and must not through the silent one.
#include "native/nvme_io/fault_io.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "native/base/testing.h"
#include "native/nvme_io/io_testing.h"

namespace hypura::nvme_io {
namespace {

using namespace std::chrono_literals;
using namespace hypura::nvme_io::testing;

constexpr uint32_t kPage = 4096;
constexpr uint32_t kReadBytes = 4 * kPage;
constexpr uint32_t kSlots = 8;
constexpr std::byte kFill{0x5c};
constexpr std::byte kGarbage{0xa5};

bool mentions(const Status& status, const std::string& what) {
  return status.message().find(what) != std::string::npos;
}

// A file, a FaultIo over the pread pool, and eight buffers; reads are numbered by their place in the file.
class Bench {
 public:
  explicit Bench(const std::string& schedule)
      : path_(folder_.file("weights", kSlots * kReadBytes)), buffer_(kSlots * kReadBytes, kFill) {
    Result<ModelFile> file = ModelFile::open(path_, identity_of(path_), true);
    Result<OpenedBackend> inner = open_backend(BackendChoice::kPread, kSlots);
    Result<FaultSchedule> parsed = FaultSchedule::parse(schedule);
    EXPECT_OK(parsed.status());
    CHECK(file.ok() && inner.ok() && parsed.ok());
    file_.emplace(std::move(file).value());
    io_ = std::make_unique<FaultIo>(std::move(inner->backend), std::move(parsed).value());
  }

  FaultIo& io() { return *io_; }
  std::byte* at(uint32_t i) { return buffer_.data() + i * kReadBytes; }
  Read read(uint32_t i) {
    return {.tag = 100 + i, .fd = file_->fd(), .bytes = kReadBytes, .offset_bytes = i * kReadBytes,
            .into = at(i)};
  }
  void submit(uint32_t i) {
    const Read one = read(i);
    EXPECT_EQ(io_->submit({&one, 1}), 1u);
  }
  // Submits reads 0 .. n - 1 one by one and gives their results.
  std::vector<int32_t> results(uint32_t n) {
    std::vector<int32_t> all;
    for (uint32_t i = 0; i < n; ++i) {
      submit(i % kSlots);
      all.push_back(reap(1).at(0).result);
    }
    return all;
  }
  // Completions until there are n, or none came for `patience`.
  std::vector<ReadDone> reap(uint32_t n, std::chrono::nanoseconds patience = 30s) {
    std::vector<ReadDone> all;
    while (all.size() < n) {
      std::array<ReadDone, 3> done;
      const size_t room = std::min(done.size(), n - all.size());
      const uint32_t got = io_->reap(std::span(done).first(room), patience);
      if (got == 0) break;
      all.insert(all.end(), done.begin(), done.begin() + got);
    }
    return all;
  }
  bool holds_file(uint32_t i) { return holds_file_bytes({at(i), kReadBytes}, i * kReadBytes); }
  bool is_all(std::byte value, uint32_t i, uint32_t begin = 0) {
    return buffer_.is_all(value, i * kReadBytes + begin, (i + 1) * kReadBytes);
  }
  uint64_t acted(FaultMode mode) { return io_->counters().faults[static_cast<size_t>(mode)]; }

 private:
  TempFolder folder_;
  std::string path_;
  Buffer buffer_;
  std::optional<ModelFile> file_;
  std::unique_ptr<FaultIo> io_;
};

constexpr int32_t kWhole = kReadBytes;

TEST(a_failed_read_leaves_garbage_and_the_next_one_is_fine) {
  Bench bench("eio:at=1:once");
  EXPECT(bench.results(3) == (std::vector<int32_t>{kWhole, -EIO, kWhole}));
  EXPECT(bench.holds_file(0) && bench.is_all(kGarbage, 1) && bench.holds_file(2));
  EXPECT_EQ(bench.acted(FaultMode::kEio), 1u);
  EXPECT_EQ(bench.io().counters().reads, 3u);
  EXPECT_OK(bench.io().violation());
}

TEST(a_bad_sector_stays_bad_and_its_neighbours_good) {
  Bench bench("eio:at=1:forever");
  EXPECT(bench.results(4) == (std::vector<int32_t>{kWhole, -EIO, kWhole, kWhole}));
  for (int retry = 0; retry < 3; ++retry) {
    bench.submit(1);
    EXPECT_EQ(bench.reap(1).at(0).result, -EIO);
  }
}

TEST(scopes_choose_the_reads_they_say) {
  const auto failing = [](const std::string& scope, const std::string& repeat) {
    Bench bench("enomem:" + scope + ":" + repeat);
    std::set<uint32_t> failed;
    const std::vector<int32_t> all = bench.results(kSlots);
    for (uint32_t i = 0; i < all.size(); ++i)
      if (all[i] != kWhole) failed.insert(i);
    return failed;
  };
  using Set = std::set<uint32_t>;
  EXPECT(failing("all", "once") == Set{0});
  EXPECT_EQ(failing("all", "forever").size(), size_t{kSlots});
  EXPECT(failing("after=6", "forever") == (Set{6, 7}));
  EXPECT(failing("after=6", "once") == Set{6});
  EXPECT(failing("every=1", "once") == Set{0});
  // Bytes 16383 .. 32768 touch the last byte of read 0, all of read 1 and the first byte of read 2.
  EXPECT(failing("range=16383-32769", "forever") == (Set{0, 1, 2}));
  EXPECT(failing("range=16384-32768", "forever") == Set{1});
  EXPECT(failing("range=16384-32768", "once") == Set{1});
}

TEST(a_refused_submission_leaves_the_buffer_alone) {
  Bench bench("enomem:at=0:once");
  EXPECT_EQ(bench.results(1).at(0), -ENOMEM);
  EXPECT(bench.is_all(kFill, 0));
}

TEST(a_short_read_has_its_bytes_and_garbage_behind_them) {
  Bench bench("short=5000:at=0:once;short:at=1:once:7");
  const std::vector<int32_t> results = bench.results(3);
  EXPECT_EQ(results[0], 5000);
  EXPECT(holds_file_bytes({bench.at(0), 5000}, 0) && bench.is_all(kGarbage, 0, 5000));
  ASSERT(results[1] > 0 && results[1] < kWhole);
  EXPECT(holds_file_bytes({bench.at(1), static_cast<size_t>(results[1])}, kReadBytes));
  EXPECT(bench.is_all(kGarbage, 1, static_cast<uint32_t>(results[1])));
  EXPECT_EQ(results[2], kWhole);
}

TEST(an_early_end_reads_nothing) {
  Bench bench("eof:after=1:forever");
  EXPECT(bench.results(3) == (std::vector<int32_t>{kWhole, 0, 0}));
  EXPECT(bench.is_all(kGarbage, 1));
}

TEST(a_flipped_bit_is_one_bit_and_the_result_hides_it) {
  Bench bench("flip=77:at=0:once;flip:at=1:once:3");
  EXPECT(bench.results(2) == (std::vector<int32_t>{kWhole, kWhole}));
  for (uint32_t i = 0; i < 2; ++i) {
    int bits = 0;
    for (uint32_t b = 0; b < kReadBytes; ++b) {
      const std::byte wrong = bench.at(i)[b] ^ byte_at(i * kReadBytes + b);
      bits += std::popcount(std::to_integer<unsigned>(wrong));
    }
    EXPECT_EQ(bits, 1);
  }
  EXPECT((bench.at(0)[9] ^ byte_at(9)) == std::byte{1 << 5});
}

TEST(a_delayed_read_begins_and_ends_late) {
  Bench bench("delay=60:at=0:once");
  const auto begin = std::chrono::steady_clock::now();
  bench.submit(0);
  bench.submit(1);
  const std::vector<ReadDone> first = bench.reap(1);
  ASSERT(first.size() == 1);
  EXPECT_EQ(first[0].tag, 101u);
  if (std::chrono::steady_clock::now() - begin < 50ms) EXPECT(bench.is_all(kFill, 0));
  EXPECT_EQ(bench.reap(1).size(), 1u);
  EXPECT(std::chrono::steady_clock::now() - begin >= 60ms);
  EXPECT(bench.holds_file(0));
}

TEST(a_stalled_read_waits_for_its_release_and_writes_only_then) {
  Bench bench("stall:at=0:once");
  bench.submit(0);
  bench.submit(1);
  EXPECT_EQ(bench.reap(2, 30ms).size(), 1u);
  EXPECT(bench.is_all(kFill, 0));
  std::thread([&] { bench.io().release_stalled(); }).join();
  const std::vector<ReadDone> late = bench.reap(1);
  ASSERT(late.size() == 1);
  EXPECT_EQ(late[0].tag, 100u);
  EXPECT(bench.holds_file(0));
}

TEST(a_release_ends_a_reap_that_waits_and_a_wake_does_not_release) {
  Bench bench("stall:all:forever");
  bench.submit(0);
  bench.io().wake();
  EXPECT_EQ(bench.reap(1).size(), 0u);
  std::thread releaser([&] {
    std::this_thread::sleep_for(20ms);
    bench.io().release_stalled();
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(bench.reap(1).size(), 1u);
  EXPECT(std::chrono::steady_clock::now() - begin < 20s);
  releaser.join();
}

TEST(a_stalled_read_does_not_keep_the_destructor) {
  Bench bench("stall:all:forever");
  bench.submit(0);
}

TEST(reordered_reads_all_come_but_not_in_turn) {
  Bench bench("reorder:all:forever");
  for (uint32_t i = 0; i < kSlots; ++i) bench.submit(i);
  const std::vector<ReadDone> done = bench.reap(kSlots);
  ASSERT(done.size() == kSlots);
  std::set<uint64_t> tags;
  bool in_turn = true;
  for (uint32_t i = 0; i < kSlots; ++i) {
    tags.insert(done[i].tag);
    in_turn = in_turn && done[i].tag == 100 + i;
    EXPECT(bench.holds_file(i));
  }
  EXPECT_EQ(tags.size(), size_t{kSlots});
  EXPECT(!in_turn);
}

TEST(a_reordered_read_comes_after_the_others) {
  Bench bench("reorder:at=0:once");
  for (uint32_t i = 0; i < 4; ++i) bench.submit(i);
  const std::vector<ReadDone> done = bench.reap(4);
  ASSERT(done.size() == 4);
  EXPECT_EQ(done.back().tag, 100u);
}

TEST(a_duplicate_comes_twice_also_through_a_narrow_reap) {
  Bench bench("duplicate:at=1:once");
  bench.submit(0);
  bench.submit(1);
  std::map<uint64_t, int> times;
  for (int i = 0; i < 3; ++i)
    for (const ReadDone& done : bench.reap(1)) times[done.tag]++;
  EXPECT_EQ(times[100], 1);
  EXPECT_EQ(times[101], 2);
  EXPECT_EQ(bench.reap(1, 10ms).size(), 0u);
}

TEST(rules_act_together) {
  Bench bench("delay=20:at=0:once;eio:at=0:once;duplicate:at=0:once;enomem:at=0:once");
  const auto begin = std::chrono::steady_clock::now();
  bench.submit(0);
  const std::vector<ReadDone> done = bench.reap(2);
  ASSERT(done.size() == 2);
  EXPECT(std::chrono::steady_clock::now() - begin >= 20ms);
  EXPECT(done[0].result == -EIO && done[1].result == -EIO);
}

TEST(the_same_seed_gives_the_same_faults) {
  const auto run = [](uint64_t seed) {
    const std::string tail = ":every=4:forever:" + std::to_string(seed);
    return Bench("short" + tail + ";eio:every=7:forever:" + std::to_string(seed)).results(64);
  };
  const std::vector<int32_t> first = run(1);
  EXPECT(first == run(1));
  EXPECT(first != run(2));
  const auto whole = std::count(first.begin(), first.end(), kWhole);
  EXPECT(whole > 16 && whole < 60);  // one in four and one in seven
}

TEST(violations_of_the_caller_are_seen) {
  const auto violation = [](const std::function<void(Bench&)>& misuse) {
    Bench bench("");
    bench.submit(0);
    EXPECT_OK(bench.io().violation());
    misuse(bench);
    const Status status = bench.io().violation();
    bench.reap(2, 1s);
    return status;
  };
  const auto submit = [](Bench& bench, Read read) { EXPECT_EQ(bench.io().submit({&read, 1}), 1u); };
  EXPECT(mentions(violation([&](Bench& bench) {
    Read read = bench.read(1);
    read.into = bench.at(0) + kPage;  // read 0 is outstanding
    submit(bench, read);
  }), "shares memory with tag 100"));
  EXPECT(mentions(violation([&](Bench& bench) {
    Read read = bench.read(1);
    read.offset_bytes += 100;
    submit(bench, read);
  }), "no multiple of 512"));
  EXPECT(mentions(violation([&](Bench& bench) {
    Read read = bench.read(1);
    read.into += 8;
    submit(bench, read);
  }), "no multiple"));
  EXPECT(mentions(violation([&](Bench& bench) {
    Read read = bench.read(1);
    read.bytes = 1000;
    submit(bench, read);
  }), "no multiple"));
  EXPECT(mentions(violation([&](Bench& bench) {
    Read read = bench.read(1);
    read.into = nullptr;
    submit(bench, read);
  }), "into nothing"));
  EXPECT(mentions(violation([&](Bench& bench) {
    Read read = bench.read(1);
    read.bytes = kReadBytesMax + kPage;
    submit(bench, read);
  }), "into nothing"));
  EXPECT(mentions(violation([&](Bench& bench) {
    Read read = bench.read(1);
    read.offset_bytes = 1ull << 63;
    submit(bench, read);
  }), "behind every file"));
  EXPECT(mentions(violation([&](Bench& bench) {
    bench.io().close();
    submit(bench, bench.read(1));
  }), "after close"));
}

TEST(a_buffer_may_be_used_again_after_its_completion) {
  Bench bench("");
  for (int i = 0; i < 3; ++i) {
    bench.submit(0);
    EXPECT_EQ(bench.reap(1).size(), 1u);
  }
  EXPECT_OK(bench.io().violation());
}

TEST(a_read_after_close_is_not_made) {
  Bench bench("");
  bench.io().close();
  bench.submit(0);
  EXPECT_EQ(bench.reap(1).at(0).result, -ECANCELED);
  EXPECT(bench.is_all(kFill, 0));
}

// Reads block i until it is whole: continues after a short read at the last whole page, retries three times an error.
bool read_carefully(Bench& bench, uint32_t i) {
  uint32_t have = 0;
  for (int errors = 0; have < kReadBytes;) {
    Read read = bench.read(i);
    read.offset_bytes += have;
    read.into += have;
    read.bytes -= have;
    if (bench.io().submit({&read, 1}) != 1) return false;
    std::vector<ReadDone> done = bench.reap(1, 50ms);
    if (done.empty()) {
      bench.io().release_stalled();
      done = bench.reap(1);
    }
    if (done.at(0).tag != read.tag) return false;
    const int32_t result = done[0].result;
    const uint32_t whole_pages = result > 0 ? static_cast<uint32_t>(result) / kPage * kPage : 0;
    if (whole_pages == 0 && ++errors > 3) return false;
    have += whole_pages;
  }
  return true;
}

TEST(a_careful_reader_gets_the_bytes_through_every_fault_but_the_silent_one) {
  for (uint32_t mode = 0; mode < kFaultModes; ++mode) {
    const auto fault = static_cast<FaultMode>(mode);
    for (uint32_t k = 0; k < kSlots; ++k) {
      const std::string number = std::to_string(k);
      Bench bench(std::string(name_of(fault)) + ":at=" + number + ":once:" + number);
      for (uint32_t i = 0; i < kSlots; ++i) {
        EXPECT(read_carefully(bench, i));
        if (fault == FaultMode::kDuplicate) bench.reap(1, 0ns);  // the second one, if it is due
        EXPECT_EQ(bench.holds_file(i), fault != FaultMode::kFlip || i != k);
      }
      EXPECT_EQ(bench.acted(fault), 1u);
      EXPECT_OK(bench.io().violation());
    }
  }
}

TEST(a_lasting_fault_ends_in_an_error_and_not_in_garbage) {
  for (const char* mode : {"eio", "enomem", "eof", "short=1"}) {
    Bench bench(std::string(mode) + ":at=2:forever");
    for (uint32_t i = 0; i < kSlots; ++i) EXPECT_EQ(read_carefully(bench, i), i != 2);
  }
}

TEST(a_schedule_that_is_wrong_says_where_and_why) {
  const auto error = [](const char* text, const char* why) {
    const Status status = FaultSchedule::parse(text).status();
    EXPECT(status.code() == Code::kInvalidArgument);
    EXPECT(mentions(status, why));
    if (!mentions(status, why)) std::cerr << "  " << text << " gave: " << status.message() << "\n";
  };
  error("eio", "expected mode:scope:repeat");
  error("eio:all", "expected mode:scope:repeat");
  error("eio:all:once;", "fault rule \"\"");
  error(";", "fault rule \"\"");
  error("eoi:all:once", "no mode \"eoi\", use one of eio, enomem, short");
  error("EIO:all:once", "no mode");
  error("eio=3:all:once", "eio takes no number");
  error("short=0:all:once", "short read");
  error("short=4194304:all:once", "short read");
  error("delay=-1:all:once", "\"-1\" is no number");
  error("delay=:all:once", "is no number");
  error("delay=60001:all:once", "use stall");
  error("eio:some:once", "no scope \"some\"");
  error("eio:all=1:once", "no scope \"all=1\"");
  error("eio:at:once", "is no number");
  error("eio:at=1x:once", "\"1x\" is no number");
  error("eio:at=18446744073709551616:once", "is no number");
  error("eio:every=0:once", "p >= 1");
  error("eio:range=5-5:once", "a < b");
  error("eio:range=5:once", "range=a-b");
  error("eio:all:twice", "no repeat \"twice\"");
  error("eio:all:once:", "seed \"\"");
  error("eio:all:once:1:2", "seed \"1:2\"");
  for (const char* legal :
       {"", "flip:every=9:forever:18446744073709551615", "short=4194303:all:once",
        "eio:range=0-18446744073709551615:once", "delay=0:at=0:once;stall:after=3:forever"})
    EXPECT_OK(FaultSchedule::parse(legal).status());
}

TEST(random_text_is_refused_or_understood_but_never_harmful) {
  constexpr uint64_t kSeed = 4711;
  std::cerr << "  seed " << kSeed << "\n";
  Random random(kSeed);
  const std::string valid = "short=12:every=3:forever:9;eio:range=4-90:once;delay=2:at=1:once:5";
  uint32_t understood = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = valid.substr(0, random.below(valid.size() + 1));
    for (uint64_t edits = random.below(3); edits > 0 && !text.empty(); --edits) {
      const char likely = valid[random.below(valid.size())];
      const char any = static_cast<char>(random.below(256));
      text[random.below(text.size())] = random.below(4) > 0 ? likely : any;
    }
    Result<FaultSchedule> schedule = FaultSchedule::parse(text);
    if (!schedule.ok()) {
      EXPECT(schedule.status().code() == Code::kInvalidArgument);
      continue;
    }
    ++understood;
    for (uint32_t r = 0; r < 4; ++r) {
      (void)schedule->next(
          {.tag = r, .fd = 0, .bytes = 512, .offset_bytes = r * 512, .into = nullptr});
    }
  }
  EXPECT(understood > 100);
}

}  // namespace
}  // namespace hypura::nvme_io
