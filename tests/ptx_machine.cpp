// A machine that runs PTX on the host, a thread of a block after the other, each to the next place where threads meet.
//
// It is as strict as a device with its sanitizer on: every address must lie in an array and be aligned, no two threads may touch one
// place without a barrier between them unless both read, all lanes of a warp must come to a shuffle or a matrix product, and all threads
// of a block to the same barrier. What ptx.py reads comes as numbered slots: registers, and after them constants. See PTX ISA 8.8.
#include "ptx_arithmetic.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#ifdef __SSE2__
#include <immintrin.h>
#endif
#include <optional>
#include <set>
#include <unordered_map>

enum Kind { COMPUTE, LOAD, STORE, BRANCH, RETURN, BARRIER, SHUFFLE, PRODUCT, MATRICES, ATOMIC_MAX };
enum Space { GLOBAL, SHARED, LOCAL, PARAM };

// o: slots, results first. LOAD and STORE: o[0] is the address, then `count` values of `bytes` each. SHUFFLE: `count` is 1 for bfly, 0 for
// idx. BARRIER: 1 where o[0] becomes whether o[1] is true of any thread. PRODUCT: `bytes` is 2 for bfloat16, 4 for TF32. MATRICES: 4 of 4 bytes, as a LOAD.
struct Instruction {
  int kind, compute, guard, negated, target, space, count, bytes, cost;
  int64_t offset;
  int o[16];
};

struct Range { uint64_t begin, end; };

// What the warps of launches ask for. Of global memory sectors of 32 bytes, each once in what one instruction of a warp asks for, and those
// that are read or written at all. Of shared memory the passes that the 32 banks take, and how few they could be.
struct Traffic {
  int64_t instructions, sectors, read, written, passes, least_passes;
};

struct Launch {
  const Instruction* code;
  const Slot* slots;
  const uint8_t* params;
  const Range* ranges;  // in order
  Traffic* traffic;     // null where nobody counts
  int length, slot_count, param_bytes, range_count, shared_bytes, local_bytes, blocks, threads;
};

// ------------------------------------------------------------------------------------------------------------------------------ blocks

static char message[600];

struct Wrong {};  // what is wrong is in `message`

[[noreturn]] static void wrong(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  throw Wrong();
}

// Who touched a value last; an epoch ends at each barrier of its block.
struct Touched {
  enum { NOBODY = -1, MANY = -2 };
  int write_block = NOBODY, write_thread = NOBODY, write_epoch = 0, read_block = NOBODY, read_thread = NOBODY, read_epoch = 0;

  bool may_read(int block, int thread, int epoch) {
    const bool races = write_block != NOBODY && (write_block != block || (write_epoch == epoch && write_thread != thread));
    if (read_block == NOBODY) read_block = block;
    if (read_block != block) read_block = MANY;
    read_thread = read_epoch == epoch && read_thread != NOBODY && read_thread != thread ? MANY : thread;
    read_epoch = epoch;
    return !races;
  }
  bool may_write(int block, int thread, int epoch) {
    const bool races = (write_block != NOBODY && (write_block != block || (write_epoch == epoch && write_thread != thread))) ||
                       (read_block != NOBODY && (read_block != block || (read_epoch == epoch && read_thread != thread)));
    write_block = block, write_thread = thread, write_epoch = epoch;
    return !races;
  }
};

// Of an array in global memory: one for each value, whose size is that of its first access.
struct Array {
  int size = 0;
  std::vector<Touched> values;
};

// What one lane of a warp asks for.
struct Access {
  int lane, size;
  uint64_t at;
};

// Counts what a warp asks for: the lanes' k-th time at one instruction is taken for one request, as if they ran side by side.
struct Counter {
  Traffic& traffic;
  std::unordered_map<uint64_t, std::vector<Access>> requests[2];  // of global and of shared memory
  std::vector<std::unordered_map<int, int>> times{32};
  std::set<uint64_t> read, written;

  explicit Counter(Traffic& traffic) : traffic(traffic) {}

  void ask(const Instruction& i, int pc, int lane, uint64_t at) {
    if (i.space > SHARED) return;
    const int size = i.count * i.bytes;
    requests[i.space][(uint64_t)pc << 32 | times[lane][pc]++].push_back({lane, size, at});
    if (i.space == GLOBAL)
      for (uint64_t sector = at / 32; sector <= (at + size - 1) / 32; ++sector) (i.kind == STORE ? written : read).insert(sector);
  }

  // The warp has come to a barrier or to its end.
  void end_of_warp() {
    for (const auto& [_, request] : requests[GLOBAL]) {
      std::set<uint64_t> sectors;
      for (const Access& access : request)
        for (uint64_t sector = access.at / 32; sector <= (access.at + access.size - 1) / 32; ++sector) sectors.insert(sector);
      traffic.sectors += sectors.size();
    }
    for (const auto& [_, request] : requests[SHARED]) {
      const int words = std::max(1, request[0].size / 4), together = 32 / words;  // wider values are served in parts of a warp
      for (int first = 0; first < 32; first += together) {
        std::map<int, std::set<uint64_t>> banks;
        size_t passes = 0;
        for (const Access& access : request)
          for (int w = 0; w < words && access.lane / together == first / together; ++w) {
            auto& bank = banks[(access.at / 4 + w) % 32];
            bank.insert(access.at / 4 + w);
            passes = std::max(passes, bank.size());
          }
        traffic.passes += passes, traffic.least_passes += passes > 0;
      }
    }
    for (auto& all : requests) all.clear();
    for (auto& lane : times) lane.clear();
  }

  void end_of_launch() { traffic.read += read.size(), traffic.written += written.size(); }
};

enum State { RUNS, AT_BARRIER, IN_WARP, DONE };

struct Thread {
  std::vector<Slot> r;
  std::vector<uint8_t> local;
  int pc = 0;
  State state = RUNS;
};

struct Block {
  const Launch& launch;
  std::vector<Array>& arrays;  // in the order of the launch's ranges
  Counter* counter;
  const int number;
  int epoch = 0;
  std::vector<uint8_t> shared;
  std::vector<Touched> touched_shared;
  std::vector<Thread> threads;

  Block(const Launch& launch, std::vector<Array>& arrays, Counter* counter, int number)
      : launch(launch), arrays(arrays), counter(counter), number(number), shared(launch.shared_bytes, 0xcd), touched_shared(launch.shared_bytes / 4 + 1),
        threads(launch.threads) {
    for (int t = 0; t < launch.threads; ++t) {
      threads[t].r.assign(launch.slots, launch.slots + launch.slot_count);
      const int special[] = {t, launch.threads, number, launch.blocks};  // %tid.x %ntid.x %ctaid.x %nctaid.x
      for (int i = 0; i < 4; ++i) threads[t].r[i].ul = special[i];
      threads[t].local.assign(launch.local_bytes, 0xcd);
    }
  }

  void touch(Touched& place, bool writes, int thread, const char* space) {
    if (!(writes ? place.may_write(number, thread, epoch) : place.may_read(number, thread, epoch)))
      wrong("race: thread %d of block %d %s %s memory that another thread touched since the last barrier", thread, number,
            writes ? "writes" : "reads", space);
  }

  uint8_t* place(const Instruction& i, int thread, bool writes) {
    Thread& own = threads[thread];
    const uint64_t at = own.r[i.o[0]].ul + i.offset, size = (uint64_t)i.count * i.bytes;
    if (counter) counter->ask(i, own.pc, thread % 32, at);
    const char* spaces[] = {"global", "shared", "local", "param"};
    if (at % size) wrong("thread %d of block %d: %s address %#llx is not aligned to %d bytes", thread, number, spaces[i.space], (long long)at, (int)size);
    if (i.space == GLOBAL) {
      const Range* end = launch.ranges + launch.range_count;
      const Range* found = std::upper_bound(launch.ranges, end, at, [](uint64_t a, const Range& range) { return a < range.begin; }) - 1;
      if (found < launch.ranges || at + size > found->end)
        wrong("thread %d of block %d: %d bytes of global memory at %#llx lie in no array", thread, number, (int)size, (long long)at);
      Array& array = arrays[found - launch.ranges];
      if (!array.size) array.size = i.bytes, array.values.resize((found->end - found->begin) / i.bytes + 1);
      const uint64_t last = (at + size - 1 - found->begin) / array.size;
      for (uint64_t v = (at - found->begin) / array.size; v <= last; ++v) touch(array.values[v], writes, thread, "global");
      return (uint8_t*)at;
    }
    const uint64_t bytes = i.space == SHARED ? launch.shared_bytes : i.space == LOCAL ? launch.local_bytes : launch.param_bytes;
    if (at + size > bytes) wrong("thread %d of block %d: %s address %lld beyond its %lld bytes", thread, number, spaces[i.space], (long long)at, (long long)bytes);
    if (i.space == SHARED)
      for (uint64_t b = at; b < at + size; b += 4) touch(touched_shared[b / 4], writes, thread, "shared");
    return i.space == SHARED ? &shared[at] : i.space == LOCAL ? &own.local[at] : (uint8_t*)launch.params + at;
  }

  // A thread goes on to its end or to where it must wait for others.
  void go_on(int thread) {
    Thread& own = threads[thread];
    Slot* r = own.r.data();
    for (own.state = RUNS; own.state == RUNS;) {
      if (own.pc >= launch.length) wrong("the program runs over its end");
      const Instruction& i = launch.code[own.pc];
      if (counter) counter->traffic.instructions += i.cost;
      if (i.guard >= 0 && r[i.guard].p == (bool)i.negated) {
        ++own.pc;
        continue;
      }
      switch (i.kind) {
        case COMPUTE: computes[i.compute](r, i.o); break;
        case LOAD: {
          const uint8_t* from = place(i, thread, false);
          for (int v = 0; v < i.count; ++v) r[i.o[1 + v]].ul = 0, memcpy(&r[i.o[1 + v]], from + v * i.bytes, i.bytes);
          break;
        }
        case STORE: {
          uint8_t* to = place(i, thread, true);
          for (int v = 0; v < i.count; ++v) memcpy(to + v * i.bytes, &r[i.o[1 + v]], i.bytes);
          break;
        }
        case ATOMIC_MAX: {  // o[1] the result, o[2] the value; atomics do not race
          const uint64_t at = r[i.o[0]].ul + i.offset;
          const Range* end = launch.ranges + launch.range_count;
          if (std::none_of(launch.ranges, end, [&](const Range& range) { return range.begin <= at && at + 4 <= range.end; }))
            wrong("thread %d of block %d: an atomic at %#llx lies in no array", thread, number, (long long)at);
          int32_t* to = (int32_t*)at;
          const int32_t before = *to;
          *to = std::max(before, r[i.o[2]].s);
          r[i.o[1]].s = before;
          break;
        }
        case BRANCH: own.pc = i.target; continue;
        case RETURN: own.state = DONE; continue;
        case BARRIER: own.state = AT_BARRIER; continue;
        default: own.state = IN_WARP; continue;
      }
      ++own.pc;
    }
  }

  // What the lanes of a warp do together, all of them at one instruction.
  void do_in_warp(int warp) {
    Thread* lanes = &threads[32 * warp];
    const Instruction& i = launch.code[lanes[0].pc];
    const auto slot = [&](int lane, int n) -> Slot& { return lanes[lane].r[i.o[n]]; };
    if (i.kind == SHUFFLE) {  // o: result, predicate, value, which lane, clamp, members
      uint32_t values[32];
      for (int l = 0; l < 32; ++l) {
        values[l] = slot(l, 2).u;
        if (slot(l, 5).u != ~0u || slot(l, 4).u != 31) wrong("a shuffle of other than whole warps");
      }
      for (int l = 0; l < 32; ++l) {
        const int from = i.count ? l ^ slot(l, 3).s : slot(l, 3).s & 31;
        slot(l, 0).u = values[from & 31];
        slot(l, 1).p = from < 32;
      }
    } else if (i.kind == MATRICES) {  // o: the address, 4 results. Lane l names row l % 8 of matrix l / 8, and gets two of sixteen bits of row l / 4 of each
      const uint8_t* rows[32];
      for (int l = 0; l < 32; ++l) rows[l] = place(i, 32 * warp + l, false);
      for (int l = 0; l < 32; ++l)
        for (int m = 0; m < 4; ++m) memcpy(&slot(l, 1 + m).u, rows[8 * m + l / 4] + l % 4 * 4, 4);
    } else {
      multiply(i.bytes == 2, slot);
    }
    for (int l = 0; l < 32; ++l) ++lanes[l].pc, lanes[l].state = RUNS;
  }

  // mma.m16n8k8 of TF32 and m16n8k16 of bfloat16; o: 4 results, 4 registers of A, 2 of B, 4 of C. A register of B or A has DEPTH neighbours in k.
  template <class S> void multiply(bool pairs, S slot) {
    const int depth = pairs ? 2 : 1;
    float a[16][16], b[16][8], sums[16][8];
    const auto unpacked = [&](uint32_t word, int n) { return pairs ? float_of(n ? word & 0xffff0000u : word << 16) : float_of(word & 0xffffe000u); };
    for (int l = 0; l < 32; ++l) {
      const int group = l / 4, in_group = l % 4;
      for (int n = 0; n < depth; ++n) {
        for (int q = 0; q < 4; ++q) a[group + (q & 1) * 8][(in_group + (q >> 1) * 4) * depth + n] = unpacked(slot(l, 4 + q).u, n);
        for (int q = 0; q < 2; ++q) b[(in_group + q * 4) * depth + n][group] = unpacked(slot(l, 8 + q).u, n);
      }
    }
    for (int l = 0; l < 32; ++l)
      for (int q = 0; q < 4; ++q) sums[l / 4 + (q >> 1) * 8][l % 4 * 2 + (q & 1)] = slot(l, 10 + q).f;
    for (int y = 0; y < 16; ++y)
      for (int x = 0; x < 8; ++x) {
        double sum = sums[y][x];
        for (int k = 0; k < 8 * depth; ++k) sum += (double)a[y][k] * b[k][x];
        sums[y][x] = sum;
      }
    for (int l = 0; l < 32; ++l)
      for (int q = 0; q < 4; ++q) slot(l, q).f = sums[l / 4 + (q >> 1) * 8][l % 4 * 2 + (q & 1)];
  }

  void run_warp(int warp) {
    const int first = 32 * warp;
    for (;;) {
      int waiting = 0;
      for (int t = first; t < first + 32; ++t) {
        if (threads[t].state == RUNS) go_on(t);
        waiting += threads[t].state == IN_WARP;
      }
      if (!waiting) return;
      for (int t = first; t < first + 32; ++t)
        if (threads[t].state != IN_WARP || threads[t].pc != threads[first].pc)
          wrong("block %d: lanes of warp %d wait in a shuffle or product that lane %d does not come to", number, warp, t - first);
      do_in_warp(warp);
    }
  }

  void run() {
    for (;; ++epoch) {
      for (int warp = 0; warp < launch.threads / 32; ++warp) {
        run_warp(warp);
        if (counter) counter->end_of_warp();
      }
      int at = -1;
      for (int t = 0; t < launch.threads; ++t) {
        const bool waits = threads[t].state == AT_BARRIER;
        if (t == 0 && waits) at = threads[t].pc;
        if (waits ? threads[t].pc != at : at >= 0) wrong("block %d: thread %d does not come to the barrier that thread 0 waits at", number, t);
      }
      if (at < 0) return;
      if (const Instruction& i = launch.code[at]; i.count) {  // and whether a value is true of any
        const bool any = std::any_of(threads.begin(), threads.end(), [&](Thread& thread) { return thread.r[i.o[1]].p; });
        for (Thread& thread : threads) thread.r[i.o[0]].p = any;
      }
      for (Thread& thread : threads) ++thread.pc, thread.state = RUNS;
    }
  }
};

// Run a grid; what went wrong, or null.
// Numbers below the smallest normal one count as zero, as in float32 with the options that CuPy compiles by. (In double a GPU keeps them.)
struct Flushed {
#ifdef __SSE2__
  unsigned before = _mm_getcsr();
  Flushed() { _mm_setcsr(before | 0x8040); }
  ~Flushed() { _mm_setcsr(before); }
#endif
};

extern "C" const char* run(const Launch* launch) {
  const Flushed flushed;
  if (launch->threads % 32) return "blocks have whole warps";
  std::vector<Array> arrays(launch->range_count);
  std::optional<Counter> counter;
  if (launch->traffic) counter.emplace(*launch->traffic);
  try {
    for (int block = 0; block < launch->blocks; ++block) Block(*launch, arrays, counter ? &*counter : nullptr, block).run();
    if (counter) counter->end_of_launch();
  } catch (const Wrong&) {
    return message;
  }
  return nullptr;
}
