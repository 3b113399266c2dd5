#pragma once

#include "cuda/detail/next_token.cuh"
#include "cuda/detail/sample_weight.cuh"

// sample_token: what the block of a row does, step by step.

namespace slice::kernels::detail {

constexpr int kSampleThreads = 1024;
constexpr int kSampleWarps = kSampleThreads / kWarp;
static_assert(kSampleWarps == kWarp);  // a warp adds what the warps have

/// Where the nucleus ends: all tokens of a smaller q, and the first `ties` of this one.
struct Boundary {
  unsigned q, ties;
};

/// Tokens of a run of ids that are in the nucleus: the sum of those below the boundary's q, and how
/// many have it.
struct SampleMass {
  uint64_t sum;
  unsigned ties;
};

struct SampleShared {
  TokenKey keys[kSampleWarps];
  unsigned low[kInBucket], high[kInBucket];  // of a sum; or counts, in `low`
  uint64_t sums[kSampleWarps];
  SampleMass masses[kSampleWarps];
  unsigned reached;  // number of the bucket
  uint64_t before;   // sum of the buckets before it
  int begin, end;    // packs of logits that hold the token
  uint64_t left;     // of the random number, from `begin` on
  unsigned passed;   // ties before `begin`
  int64_t token;
};

/// A row of logits as packs, with what makes numbers of them.
template <typename T, int kWidth>
struct SampleRow {
  const Pack<T, kWidth>* packs;
  float largest, steps;

  /// Calls visit(q) for the packs first, first + stride, … before `end`.
  template <typename Visit>
  __device__ __forceinline__ void for_each(int first, int end, int stride, Visit&& visit) const {
#pragma unroll 4
    for (int i = first; i < end; i += stride) {
      const Pack<T, kWidth> pack = packs[i];
#pragma unroll
      for (int j = 0; j < kWidth; ++j)
        visit(sample_distance(largest, widen(pack.values[j]), steps));
    }
  }
};

/// Adds to a sum of two words; the word that overflows says so to one thread alone.
__device__ __forceinline__ void add_shared(unsigned* low, unsigned* high, uint64_t value) {
  const unsigned part = static_cast<unsigned>(value);
  const unsigned old = atomicAdd(low, part);
  const unsigned carried = static_cast<unsigned>(value >> 32) + (old + part < old ? 1u : 0u);
  if (carried != 0) atomicAdd(high, carried);
}

/// The bucket at which the sum of value(bucket) reaches target(total): shared.reached, and the sum
/// before it in shared.before.
template <typename Value, typename Target>
__device__ __forceinline__ void reach(SampleShared& shared, Value&& value, Target&& target) {
  constexpr unsigned kOwn = kInBucket / kSampleThreads;
  const int warp = warp_of_thread();
  const unsigned first = threadIdx.x * kOwn;
  uint64_t own = 0;
#pragma unroll
  for (unsigned i = 0; i < kOwn; ++i) own += value(first + i);
  const uint64_t inclusive = warp_prefix_sum(own);
  if (threadIdx.x % kWarp == kWarp - 1) shared.sums[warp] = inclusive;
  __syncthreads();
  const uint64_t warps = warp_prefix_sum(shared.sums[threadIdx.x % kWarp]);
  const uint64_t total = __shfl_sync(kAllLanes, warps, kWarp - 1);
  const uint64_t through = __shfl_sync(kAllLanes, warps, warp);
  const uint64_t end = through - shared.sums[warp] + inclusive;
  uint64_t before = end - own;
  const uint64_t wanted = target(total);
  if (before < wanted && wanted <= end) {  // of one thread
    unsigned bucket = first;
    for (uint64_t more; before + (more = value(bucket)) < wanted; ++bucket) before += more;
    shared.reached = bucket;
    shared.before = before;
  }
  __syncthreads();
}

/// Finds where the nucleus ends: a pass for the weights of buckets, another one for the numbers in
/// one bucket.
template <typename T, int kWidth>
__device__ __forceinline__ Boundary nucleus_end(const SampleRow<T, kWidth>& row, int packs,
                                                uint64_t top_p, SampleShared& shared) {
  const int thread = static_cast<int>(threadIdx.x);
  for (unsigned i = threadIdx.x; i < kInBucket; i += kSampleThreads) {
    shared.low[i] = shared.high[i] = 0;
  }
  __syncthreads();
  row.for_each(thread, packs, kSampleThreads, [&](unsigned q) {
    const unsigned bucket = q >> kBucketBits;
    if (q < kEnd) add_shared(&shared.low[bucket], &shared.high[bucket], sample_weight(q));
  });
  __syncthreads();
  uint64_t wanted = 0;
  reach(
      shared,
      [&](unsigned i) { return static_cast<uint64_t>(shared.high[i]) << 32 | shared.low[i]; },
      [&](uint64_t total) {
        const uint64_t part = (total & 0xffffffffu) * top_p + 0xffffffffu;
        return wanted = (total >> 32) * top_p + (part >> 32);
      });
  const unsigned bucket = shared.reached;
  const uint64_t before = shared.before;
  for (unsigned i = threadIdx.x; i < kInBucket; i += kSampleThreads) shared.low[i] = 0;
  __syncthreads();
  row.for_each(thread, packs, kSampleThreads, [&](unsigned q) {
    if (q >> kBucketBits == bucket) atomicAdd(&shared.low[q % kInBucket], 1u);
  });
  __syncthreads();
  const unsigned first = bucket << kBucketBits;
  reach(
      shared, [&](unsigned i) { return shared.low[i] * sample_weight(first + i); },
      [&](uint64_t) { return wanted - before; });
  const unsigned q = first + shared.reached;
  const uint64_t weight = sample_weight(q), missing = wanted - before - shared.before;
  return {q, static_cast<unsigned>((missing + weight - 1) / weight)};
}

/// The nucleus' share in a run of ids, after `passed` ties.
__device__ __forceinline__ uint64_t mass_of(const SampleMass& run, unsigned passed,
                                            const Boundary& end) {
  const unsigned open = end.ties > passed ? end.ties - passed : 0;
  return run.sum + min(run.ties, open) * sample_weight(end.q);
}

/// Narrows [shared.begin, shared.end) down to the part of one warp, of kSampleWarps, that holds the
/// token. In the first round the random number is made a share of the whole mass.
template <typename T, int kWidth>
__device__ __forceinline__ void narrow_down(const SampleRow<T, kWidth>& row, const Boundary& end,
                                            bool is_first, uint64_t random, SampleShared& shared) {
  const int lane = lane_of_thread();
  const int warp = warp_of_thread();
  const int first = shared.begin, packs = shared.end - shared.begin;
  const auto part = [&](int w) {
    return first + static_cast<int>(int64_t{packs} * w / kSampleWarps);
  };
  SampleMass own = {0, 0};
  row.for_each(part(warp) + lane, part(warp + 1), kWarp, [&](unsigned q) {
    if (q < end.q) own.sum += sample_weight(q);
    if (q == end.q) ++own.ties;
  });
  own = {warp_sum(own.sum), warp_sum(own.ties)};
  if (lane == 0) shared.masses[warp] = own;
  __syncthreads();
  if (threadIdx.x == 0) {
    if (is_first) {
      SampleMass all = {0, 0};
      for (const SampleMass& run : shared.masses) all = {all.sum + run.sum, all.ties + run.ties};
      shared.left = __umul64hi(random, mass_of(all, 0, end));
      shared.passed = 0;
    }
    uint64_t left = shared.left, mass = 0;
    unsigned passed = shared.passed;
    int w = 0;
    for (; left >= (mass = mass_of(shared.masses[w], passed, end)); ++w) {
      left -= mass;
      passed += shared.masses[w].ties;
    }
    shared.left = left;
    shared.passed = passed;
    shared.begin = part(w);
    shared.end = part(w + 1);
  }
  __syncthreads();
}

/// The token, by one warp, in [shared.begin, shared.end).
template <typename T, int kWidth>
__device__ __forceinline__ int64_t token_in(const SampleRow<T, kWidth>& row, const Boundary& end,
                                            const SampleShared& shared) {
  const T* logits = reinterpret_cast<const T*>(row.packs);
  const int lane = lane_of_thread();
  const int last = shared.end * kWidth;
  uint64_t left = shared.left;
  unsigned passed = shared.passed;
  for (int base = shared.begin * kWidth; base < last; base += kWarp) {
    const int id = base + lane;
    const unsigned q =
        id < last ? sample_distance(row.largest, widen(logits[id]), row.steps) : kEnd + 1;
    const unsigned ties = __ballot_sync(kAllLanes, q == end.q);
    const bool is_in =
        q < end.q || (q == end.q && passed + __popc(ties & ((1u << lane) - 1)) < end.ties);
    const uint64_t sum = warp_prefix_sum(is_in ? sample_weight(q) : uint64_t{0});
    const unsigned above = __ballot_sync(kAllLanes, left < sum);
    if (above != 0) return base + __ffs(static_cast<int>(above)) - 1;
    left -= __shfl_sync(kAllLanes, sum, kWarp - 1);
    passed += __popc(ties);
  }
  return -1;  // not reached: the mass of the run is above `left`
}

}  // namespace slice::kernels::detail
