// What could break: bytes counted that never came, a block given back while the drive still writes, a read that is retried
// for ever or not at all, demand reads behind read-ahead, a thread that spins or hangs. The drive is one in memory that
// misbehaves on request; what arrived is compared with the file.
#include "native/scheduler/io_thread.h"

#include <cstring>
#include <map>

#include "native/base/testing.h"
#include "native/scheduler/test_io.h"
#include "native/scheduler/test_model.h"

namespace hypura::scheduler {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kDepth = 4;

struct Bench {
  // Each copy has a drive of its own.
  explicit Bench(const TestShape& shape, uint64_t seed = 1, uint32_t alignment = 4096,
                 uint32_t n_copies = 1)
      : model(make_test_model(shape, seed)),
        table(model.table()),
        hulls(table, std::vector<uint32_t>(model.files.size(), alignment)),
        drive(seed) {
    drive.faults.alignment_bytes = alignment;
    std::vector<IoFile> files;
    for (size_t i = 0; i < model.files.size(); ++i) {
      files.push_back({{}, "model.gguf"});
      for (uint32_t copy = 0; copy < n_copies; ++copy) {
        files.back().fds.push_back(static_cast<int>(100 * (copy + 1) + i));
        drive.files.emplace_back(files.back().fds.back(), &model.files[i]);
      }
    }
    for (uint32_t i = 0; i < table.size(); ++i) {
      buffer_at.push_back(buffer_bytes);
      buffer_bytes += hulls.slot_bytes(BlockId{i});
    }
    buffer = static_cast<std::byte*>(std::aligned_alloc(4096, buffer_bytes));
    io = std::make_unique<IoThread>(hulls, std::move(files),
                                    std::make_unique<FakeIo>(drive, kDepth * n_copies), kDepth,
                                    table.size(), IoCounters{read_bytes, reads, retries, copies},
                                    layout(n_copies, model.files.size()));
  }
  ~Bench() {
    io.reset();
    std::free(buffer);
  }

  static CopyLayout layout(uint32_t n_copies, size_t n_files) {
    CopyLayout layout{.copies = n_copies,
                      .drives = {},
                      .bytes_per_second = std::vector<double>(n_copies, 1e9)};
    for (uint32_t copy = 0; copy < n_copies; ++copy)
      for (size_t file = 0; file < n_files; ++file) layout.drives.push_back(copy);
    return layout;
  }
  // Orders every block and waits for all.
  bool read_all() {
    for (uint32_t i = 0; i < table.size(); ++i) order(BlockId{i});
    io->kick();
    return collect(table.size());
  }
  bool all_right() const {
    for (uint32_t i = 0; i < table.size(); ++i)
      if (!done(BlockId{i}) || !same_bytes(BlockId{i})) return false;
    return true;
  }

  // One fetch per block, with the block's own number.
  void order(BlockId block, ReadClass read_class = ReadClass::kDemand) {
    EXPECT(io->queue(index_of(block), block, buffer + buffer_at[index_of(block)], read_class));
  }
  // Completions until `last` fetches have ended; false after ten seconds.
  bool collect(size_t last) {
    const auto until = Clock::now() + 10s;
    while (Clock::now() < until) {
      const uint64_t heard = io->bell().rings();
      Completion completion;
      while (io->poll(completion)) {
        ended[completion.fetch].push_back(completion.what);
        if (completion.what == Completed::kFailed)
          errors.emplace(completion.fetch, io->status_of(io->outcome(completion.fetch)));
        if (completion.what != Completed::kFailed) ++last_count;
      }
      if (last_count >= last) return true;
      io->bell().wait(heard, 50ms);
    }
    EXPECT(!"completions came in time");
    return false;
  }
  bool same_bytes(BlockId block) const {
    uint64_t at = buffer_at[index_of(block)];
    for (uint32_t i = 0; i < hulls.extent_count(block); ++i) {
      const Hull hull = hulls.hull(block, i);
      if (std::memcmp(buffer + at + hull.lead_bytes, model.extent_bytes(block, i),
                      hull.need_bytes - hull.lead_bytes) != 0)
        return false;
      at += placed_bytes(hull);
    }
    return true;
  }
  bool done(BlockId block) const {
    const auto it = ended.find(index_of(block));
    return it != ended.end() && it->second == std::vector{Completed::kDone};
  }

  TestModel model;
  BlockTable table;
  BlockHulls hulls;
  Drive drive;
  std::atomic<uint64_t> read_bytes{0}, reads{0}, retries{0};
  std::array<CopyCounters, kCopiesMax> copies;
  std::vector<uint64_t> buffer_at;
  uint64_t buffer_bytes = 0;
  std::byte* buffer = nullptr;
  std::map<uint32_t, std::vector<Completed>> ended;
  std::map<uint32_t, Status> errors;
  size_t last_count = 0;
  std::unique_ptr<IoThread> io;
};

TEST(io_thread_reads_every_block_at_full_depth) {
  for (uint32_t alignment : {512u, 4096u}) {
    Bench bench({.bands = 30, .experts = 10, .files = 2, .band_bytes_max = 6'000'000}, 7, alignment);
    for (uint32_t i = 0; i < bench.table.size(); ++i) bench.order(BlockId{i});
    bench.io->kick();
    ASSERT(bench.collect(bench.table.size()));
    uint64_t hull_bytes = 0;
    for (uint32_t i = 0; i < bench.table.size(); ++i) {
      EXPECT(bench.done(BlockId{i}) && bench.same_bytes(BlockId{i}));
      hull_bytes += bench.hulls.hull_bytes(BlockId{i});
    }
    // The last read of each file comes back short of its hull's end.
    EXPECT(bench.read_bytes <= hull_bytes && bench.read_bytes + 2 * 4096 > hull_bytes);
    EXPECT(bench.drive.depths.count(kDepth) > 0);
    EXPECT(bench.retries == 0);
  }
}

TEST(io_thread_survives_random_faults_with_right_bytes) {
  uint32_t done = 0;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    Bench bench({.bands = 20, .experts = 8}, seed, seed % 2 ? 4096 : 512);
    bench.drive.change([](DriveFaults& f) {
      f.error_percent = 5, f.short_percent = 30, f.busy_percent = 10, f.double_percent = 10;
      f.refuse_percent = 10, f.reorder = true;
    });
    for (uint32_t i = 0; i < bench.table.size(); ++i)
      bench.order(BlockId{i}, static_cast<ReadClass>(i % 3));
    bench.io->kick();
    ASSERT(bench.collect(bench.table.size()));
    for (uint32_t i = 0; i < bench.table.size(); ++i) {
      if (!bench.done(BlockId{i})) {
        EXPECT((bench.ended[i] == std::vector{Completed::kFailed, Completed::kReturned}));
        continue;
      }
      ++done;
      if (!bench.same_bytes(BlockId{i})) {
        std::cerr << "seed " << seed << " block " << i << "\n";
        EXPECT(!"bytes differ");
      }
    }
    EXPECT(bench.io->strays() > 0);
  }
  EXPECT(done > 150);
}

TEST(io_thread_continues_a_short_read_realigned) {
  Bench bench({.trunks = 0, .bands = 1, .head_bands = 0, .row_bands = 0, .band_bytes_max = 400'000}, 3);
  const Hull hull = bench.hulls.hull(BlockId{0}, 0);
  ASSERT(hull.bytes > 50'000);
  bench.drive.change([](DriveFaults& f) { f.short_bytes_next = 10'000; });
  bench.order(BlockId{0});
  bench.io->kick();
  ASSERT(bench.collect(1));
  EXPECT(bench.same_bytes(BlockId{0}));
  const auto log = bench.drive.submitted();
  ASSERT(log.size() == 2);
  EXPECT_EQ(log[1].offset_bytes, hull.offset_bytes + 8192);
  EXPECT_EQ(log[1].bytes, hull.bytes - 8192);
  EXPECT(bench.retries == 0);
}

TEST(io_thread_retries_an_error_and_reports_one_that_stays) {
  Bench bench({.trunks = 0, .bands = 3, .row_bands = 0}, 5);
  bench.drive.change([](DriveFaults& f) { f.errors_next = 3; });
  bench.order(BlockId{0});
  bench.io->kick();
  ASSERT(bench.collect(1));
  EXPECT(bench.done(BlockId{0}) && bench.same_bytes(BlockId{0}));
  EXPECT_EQ(bench.retries.load(), 3u);
  EXPECT_EQ(bench.io->outcome(0).retries, 3u);

  bench.drive.change([](DriveFaults& f) { f.error_always = true; });
  bench.order(BlockId{1});
  bench.io->kick();
  const auto begin = Clock::now();
  ASSERT(bench.collect(2));
  EXPECT(Clock::now() - begin >= 111ms);
  EXPECT((bench.ended[1] == std::vector{Completed::kFailed, Completed::kReturned}));
  const Status status = bench.errors[1];
  EXPECT(status.code() == Code::kIo);
  EXPECT_EQ(status.detail()->errno_value, EIO);
  EXPECT_EQ(status.detail()->file.value(), 0u);
  EXPECT_EQ(status.detail()->offset_bytes.value(), bench.hulls.hull(BlockId{1}, 0).offset_bytes);
  EXPECT(status.message().find("three retries (EIO)") != std::string::npos);

  bench.drive.change([](DriveFaults& f) { f.error_always = false; });
  bench.order(BlockId{1});
  bench.io->kick();
  ASSERT(bench.collect(3));
  EXPECT(bench.ended[1].back() == Completed::kDone && bench.same_bytes(BlockId{1}));
}

TEST(io_thread_keeps_reading_while_a_retry_waits) {
  Bench bench({.trunks = 0, .bands = 40, .row_bands = 0}, 5);
  bench.drive.change([](DriveFaults& f) { f.errors_next = 1; });
  for (BlockId band : bench.model.bands) bench.order(band);
  bench.io->kick();
  ASSERT(bench.collect(40));
  for (BlockId band : bench.model.bands) EXPECT(bench.done(band) && bench.same_bytes(band));
}

TEST(io_thread_tells_a_cut_file_from_a_bad_drive) {
  Bench bench({.trunks = 0, .bands = 6, .row_bands = 0}, 9);
  const BlockId last = bench.model.bands.back();
  const Extent extent = bench.table.extents(last)[0];
  bench.drive.change(
      [&](DriveFaults& f) { f.file_end_bytes = extent.offset_bytes + extent.size_bytes - 1; });
  for (BlockId band : bench.model.bands) bench.order(band);
  bench.io->kick();
  ASSERT(bench.collect(6));
  EXPECT(bench.errors[index_of(last)].code() == Code::kModelChanged);
  EXPECT_EQ(bench.errors.size(), 1u);
}

TEST(io_thread_gives_up_a_drive_that_is_gone) {
  Bench bench({.trunks = 0, .bands = 60, .row_bands = 0}, 5);
  bench.drive.change([](DriveFaults& f) { f.error_always = true; });
  for (BlockId band : bench.model.bands) bench.order(band);
  bench.io->kick();
  ASSERT(bench.collect(60));
  EXPECT_EQ(bench.errors.size(), 60u);
  // Only the first ones were retried: as many as fit beside each other, instead of three times sixty.
  EXPECT(bench.retries < 100);
}

TEST(io_thread_drops_what_has_not_begun_and_returns_what_has) {
  Bench bench({.trunks = 0, .bands = 10, .row_bands = 0}, 11);
  bench.drive.change([](DriveFaults& f) { f.stalled = true; });
  for (BlockId band : bench.model.bands) bench.order(band, ReadClass::kRing);
  bench.io->kick();
  while (bench.drive.outstanding() < kDepth) std::this_thread::sleep_for(1ms);
  size_t dropped = 0;
  for (BlockId band : bench.model.bands) {
    if (bench.io->drop(index_of(band)))
      ++dropped;
    else
      bench.io->abandon(index_of(band));
  }
  EXPECT_EQ(dropped, 10u - kDepth);
  // A dropped one can be ordered again at once; its old queue entry must not count.
  bench.order(bench.model.bands[9], ReadClass::kRing);
  bench.io->kick();
  Completion completion;
  std::this_thread::sleep_for(20ms);
  EXPECT(!bench.io->poll(completion));  // the drive still writes
  bench.drive.change([](DriveFaults& f) { f.stalled = false; });
  ASSERT(bench.collect(kDepth + 1));
  EXPECT(bench.done(bench.model.bands[9]) && bench.same_bytes(bench.model.bands[9]));
  EXPECT_EQ(bench.drive.submitted().size(), kDepth + 1);
}

TEST(io_thread_serves_demand_before_ring_before_warm) {
  Bench bench({.trunks = 0, .bands = 24, .row_bands = 0}, 13);
  bench.drive.change([](DriveFaults& f) { f.stalled = true; });
  // Fill the drive, so that everything that follows queues up.
  for (uint32_t i = 0; i < kDepth; ++i) bench.order(bench.model.bands[i]);
  bench.io->kick();
  while (bench.drive.outstanding() < kDepth) std::this_thread::sleep_for(1ms);
  for (uint32_t i = 4; i < 10; ++i) bench.order(bench.model.bands[i], ReadClass::kWarm);
  for (uint32_t i = 10; i < 16; ++i) bench.order(bench.model.bands[i], ReadClass::kRing);
  for (uint32_t i = 16; i < 22; ++i) bench.order(bench.model.bands[i], ReadClass::kDemand);
  bench.io->urge(index_of(bench.model.bands[4]));  // still queued as warm: urging changes nothing yet
  bench.io->kick();
  bench.drive.change([](DriveFaults& f) { f.stalled = false; });
  ASSERT(bench.collect(22));
  const auto log = bench.drive.submitted();
  ASSERT(log.size() == 22);
  const auto class_at = [&](size_t i) {
    for (uint32_t b = 0; b < 22; ++b)
      if (bench.buffer + bench.buffer_at[index_of(bench.model.bands[b])] == log[i].into)
        return b < 4 ? 0 : b < 10 ? 2 : b < 16 ? 1 : 0;
    return 3;
  };
  for (size_t i = 1; i < log.size(); ++i) EXPECT(class_at(i - 1) <= class_at(i));
}

TEST(io_thread_urged_warm_fetch_overtakes_read_ahead) {
  // One warm block of many reads is under way; from the moment it is urged its reads go before the ring's.
  Bench bench({.trunks = 0, .bands = 12, .head_bands = 0, .row_bands = 0, .experts = 1,
               .expert_bytes_max = 60'000'000}, 4);
  const BlockId expert = bench.model.experts[0];
  bench.drive.change([](DriveFaults& f) { f.stalled = true; });
  bench.order(expert, ReadClass::kWarm);
  bench.io->kick();
  while (bench.drive.outstanding() < kWarmReadsMax) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(5ms);
  EXPECT_EQ(bench.drive.outstanding(), kWarmReadsMax);
  bench.io->urge(index_of(expert));
  for (BlockId band : bench.model.bands) bench.order(band, ReadClass::kRing);
  bench.io->kick();
  while (bench.drive.outstanding() < kDepth) std::this_thread::sleep_for(1ms);
  bench.drive.change([](DriveFaults& f) { f.stalled = false; });
  ASSERT(bench.collect(13));
  EXPECT(bench.same_bytes(expert));
  const auto log = bench.drive.submitted();
  bool ring_seen = false;
  for (const auto& read : log) {
    const bool ring = read.into < bench.buffer + bench.buffer_at[index_of(expert)];
    if (ring_seen) EXPECT(ring);
    ring_seen = ring;
  }
}

TEST(io_thread_begins_a_guess_when_no_demand_read_flies) {
  Bench bench({.trunks = 0, .bands = 3, .head_bands = 0, .row_bands = 0, .band_bytes_max = 60'000}, 4);
  const auto [demand, guess, other_guess] = std::tie(bench.model.bands[0], bench.model.bands[1], bench.model.bands[2]);
  bench.drive.change([](DriveFaults& f) { f.stalled = true; });
  bench.order(demand);
  bench.order(guess, ReadClass::kGuess);
  bench.order(other_guess, ReadClass::kGuess);
  bench.io->kick();
  while (bench.drive.outstanding() == 0) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(5ms);
  EXPECT_EQ(bench.drive.outstanding(), 1u);
  bench.drive.change([](DriveFaults& f) { f.stalled = false; });
  ASSERT(bench.collect(3));
  EXPECT(bench.all_right());
}

TEST(io_thread_sleeps_when_there_is_nothing_to_do) {
  Bench bench({.bands = 4}, 1);
  bench.order(bench.model.bands[0]);
  bench.io->kick();
  ASSERT(bench.collect(1));
  const uint64_t before = bench.drive.reaps;
  std::this_thread::sleep_for(100ms);
  EXPECT(bench.drive.reaps - before <= 2);
  // Nor while a read hangs and a retry waits behind a full drive.
  bench.drive.change([](DriveFaults& f) { f.stalled = true; });
  for (BlockId band : bench.model.bands) bench.order(band);
  bench.io->kick();
  std::this_thread::sleep_for(20ms);
  const uint64_t stalled = bench.drive.reaps;
  std::this_thread::sleep_for(100ms);
  EXPECT(bench.drive.reaps - stalled <= 2);
}

// --- copies ---

TEST(io_thread_reads_one_block_from_several_drives) {
  Bench bench({.bands = 30, .experts = 10, .files = 2, .band_bytes_max = 6'000'000}, 7, 4096, 3);
  ASSERT(bench.read_all());
  EXPECT(bench.all_right());
  uint64_t sum = 0;
  for (uint32_t copy = 0; copy < 3; ++copy) {
    sum += bench.copies[copy].read_bytes;
    EXPECT(bench.copies[copy].read_bytes * 6 > bench.read_bytes);  // about a third each
  }
  EXPECT_EQ(sum, bench.read_bytes.load());
  EXPECT(bench.drive.depths.count(3 * kDepth) > 0);
  for (const auto& read : bench.drive.submitted()) EXPECT(read.bytes <= kStripeBytesMax);
}

TEST(io_thread_survives_random_faults_of_copies_with_right_bytes) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    Bench bench({.bands = 20, .experts = 8, .band_bytes_max = 3'000'000}, seed, 4096, 2);
    bench.drive.change([](DriveFaults& f) {
      f.error_percent = 5, f.short_percent = 30, f.busy_percent = 10, f.double_percent = 10;
      f.refuse_percent = 10, f.reorder = true;
    });
    ASSERT(bench.read_all());
    EXPECT(bench.all_right());  // eight tries, four of each copy: never all of them fail here
  }
}

TEST(io_thread_goes_on_without_a_copy_that_fails) {
  for (uint32_t bad = 0; bad < 2; ++bad) {
    Bench bench({.bands = 30}, 5, 4096, 2);
    bench.drive.change([&](DriveFaults& f) { f.bad_copies = 1u << bad; });
    const auto begin = Clock::now();
    ASSERT(bench.read_all());
    EXPECT(bench.all_right());
    EXPECT(Clock::now() - begin < 1s);  // no delays: the other copy is asked at once
    EXPECT(bench.copies[bad].state == CopyState::kFailing);
    EXPECT_EQ(bench.copies[bad].errno_value.load(), EIO);
    EXPECT(bench.copies[bad].failures >= kCopyFailuresMax);
    EXPECT(bench.copies[bad].failures < kCopyFailuresMax + 2 * kDepth);  // those that flew already
    EXPECT(bench.copies[1 - bad].state == CopyState::kHealthy);
    EXPECT_EQ(bench.copies[bad].read_bytes.load(), 0u);
  }
}

TEST(io_thread_leaves_a_drive_that_is_gone_at_once) {
  Bench bench({.bands = 1, .head_bands = 0}, 5, 4096, 2);
  bench.drive.change([](DriveFaults& f) { f.bad_copies = 1, f.bad_result = -ENXIO; });
  ASSERT(bench.read_all());
  EXPECT(bench.all_right());
  EXPECT(bench.copies[0].state == CopyState::kFailing);
}

TEST(io_thread_never_reads_a_copy_again_that_was_cut) {
  Bench bench({.bands = 30}, 5, 4096, 2);
  bench.drive.change([](DriveFaults& f) { f.bad_copies = 2, f.bad_result = 0; });
  ASSERT(bench.read_all());
  EXPECT(bench.all_right());
  EXPECT(bench.copies[1].state == CopyState::kDropped);
  EXPECT_EQ(bench.copies[1].errno_value.load(), 0);
  // Also when the other one fails for good, and with it the read.
  const size_t before = bench.drive.submitted().size();
  bench.drive.change([](DriveFaults& f) { f.bad_copies = 1, f.bad_result = -EIO; });
  bench.order(bench.model.bands[0]);
  bench.io->kick();
  ASSERT(bench.collect(bench.table.size() + 1));
  EXPECT(bench.errors[index_of(bench.model.bands[0])].code() == Code::kIo);
  const auto log = bench.drive.submitted();
  for (size_t i = before; i < log.size(); ++i) EXPECT_EQ(log[i].copy, 0u);
}

TEST(io_thread_asks_a_failing_copy_when_no_other_is_left) {
  Bench bench({.bands = 20}, 5, 4096, 2);
  bench.drive.change([](DriveFaults& f) { f.bad_copies = 1; });
  ASSERT(bench.read_all());
  EXPECT(bench.copies[0].state == CopyState::kFailing);
  bench.drive.change([](DriveFaults& f) { f.bad_copies = 2; });
  for (BlockId band : bench.model.bands) bench.order(band);
  bench.io->kick();
  ASSERT(bench.collect(bench.table.size() + 20));
  EXPECT(bench.errors.empty());
  for (BlockId band : bench.model.bands) EXPECT(bench.same_bytes(band));
}

TEST(io_thread_fails_a_read_when_every_copy_fails_it) {
  Bench bench({.trunks = 0, .bands = 3, .row_bands = 0}, 5, 4096, 3);
  bench.drive.change([](DriveFaults& f) { f.error_always = true; });
  bench.order(BlockId{0});
  bench.io->kick();
  ASSERT(bench.collect(1));
  const Status status = bench.errors[0];
  EXPECT(status.code() == Code::kIo);
  EXPECT(status.message().find("any of 3 copies") != std::string::npos);
  uint32_t asked[3] = {};
  for (const auto& read : bench.drive.submitted()) ++asked[read.copy];
  for (uint32_t copy = 0; copy < 3; ++copy) EXPECT_EQ(asked[copy], kReadRetriesMax + 1);

  bench.drive.change([](DriveFaults& f) { f.error_always = false, f.bad_copies = 7, f.bad_result = 0; });
  bench.order(BlockId{1});
  bench.io->kick();
  ASSERT(bench.collect(2));
  EXPECT(bench.errors[1].code() == Code::kModelChanged);
}

TEST(io_thread_throws_away_what_a_dropped_copy_still_gives) {
  Bench bench({.trunks = 0, .bands = 10, .row_bands = 0, .band_bytes_max = 3'000'000}, 5, 4096, 2);
  bench.drive.change([](DriveFaults& f) { f.stalled = true; });
  for (BlockId band : bench.model.bands) bench.order(band);
  bench.io->kick();
  while (bench.drive.outstanding() < 2 * kDepth) std::this_thread::sleep_for(1ms);
  bench.copies[1].state = CopyState::kDropped;
  std::vector<std::byte> garbage(bench.model.files[0].size(), std::byte{0x66});
  bench.drive.change([&](DriveFaults& f) {
    for (auto& [fd, bytes] : bench.drive.files)
      if (fd >= 200) bytes = &garbage;
    f.stalled = false;
  });
  ASSERT(bench.collect(10));
  EXPECT(bench.all_right());
}

TEST(io_thread_reads_some_fetches_from_the_first_copy_alone) {
  Bench bench({.trunks = 0, .bands = 12, .row_bands = 0, .band_bytes_max = 3'000'000}, 5, 4096, 2);
  bench.io->read_own_copy(6);
  bench.drive.change([](DriveFaults& f) { f.errors_next = 2; });
  for (uint32_t i = 6; i < 12; ++i) bench.order(BlockId{i});
  bench.io->kick();
  ASSERT(bench.collect(6));
  for (uint32_t i = 6; i < 12; ++i) EXPECT(bench.done(BlockId{i}) && bench.same_bytes(BlockId{i}));
  for (const auto& read : bench.drive.submitted()) EXPECT_EQ(read.copy, 0u);
}

}  // namespace
}  // namespace hypura::scheduler
