#pragma once

#include "cuda/detail/decode_softmax.cuh"
#include "cuda/detail/decode_step_operation.cuh"

// decode_step: attention of one query head over the positions of one split, by a block's multipliers.

namespace slice::kernels::detail {

static_assert(kStepMultipliers * kWarp == kAttentionThreads);

template <typename T, int kHead>
struct StepAttentionShared {
  alignas(16) T rows[3][kHead];  // of q, k and v, as projected
  alignas(16) T new_key[kHead];
  alignas(16) T new_value[kHead];
  float query[kHead];  // turned, scaled
  AttentionAngles angles;
  float norm_factors[2];  // of the query, of the key
  float maxima[kStepMultipliers], totals[kStepMultipliers];
  float values[kStepMultipliers][kHead];
  bool is_last;
};

__device__ __forceinline__ void multipliers_barrier() {
  asm volatile("bar.sync 1, %0;" ::"n"(kAttentionThreads) : "memory");
}

/// Of the threads that write a head.
template <int kHead>
__device__ __forceinline__ void writers_barrier() {
  asm volatile("bar.sync 2, %0;" ::"n"(kHead) : "memory");
}

/// Projected rows, once they are there, and the position's angles.
template <typename T, int kHead>
__device__ __forceinline__ void take_rows(const StepOperation<T>& operation, int head, int key_head,
                                          int position, unsigned stamp,
                                          StepAttentionShared<T, kHead>& shared) {
  const AttentionArguments<T>& a = operation.attention;
  const int thread = static_cast<int>(threadIdx.x), half = a.rotary_size / 2;
  if (thread < half) {
    shared.angles.cosine[thread] = a.cosine[int64_t{position} * half + thread];
    shared.angles.sine[thread] = a.sine[int64_t{position} * half + thread];
  }
  constexpr int kPairs = kHead / 2;
  static_assert(3 * kPairs <= kAttentionThreads);
  if (thread < 3 * kPairs) {
    const int part = thread / kPairs, pair = thread % kPairs;
    const int row = part == 0 ? head : a.heads + (part - 1) * a.kv_heads + key_head;
    const uint32_t values = wait_for_word(operation.x.words + row * kPairs + pair, stamp);
    memcpy(&shared.rows[part][2 * pair], &values, sizeof values);
  }
  multipliers_barrier();
  if (a.q_norm == nullptr) return;
  if (warp_of_thread() < 2) {
    const float factor = norm_factor(shared.rows[warp_of_thread()], kHead, a.norm_eps);
    if (lane_of_thread() == 0) shared.norm_factors[warp_of_thread()] = factor;
  }
  multipliers_barrier();
}

/// Turns query and key; the new row goes to the cache where it is the split's.
template <typename T, int kHead>
__device__ __forceinline__ void turn_rows(const AttentionArguments<T>& a, int key_head,
                                          const AttentionRange& range,
                                          StepAttentionShared<T, kHead>& shared) {
  const int thread = static_cast<int>(threadIdx.x), i = thread % kHead;
  if (thread < kHead) {
    const HeadRow<T> query{shared.rows[0], a.q_norm, shared.norm_factors[0]};
    shared.query[i] = a.scale * turned(query, i, a.rotary_size, shared.angles);
  } else if (thread < 2 * kHead) {
    const HeadRow<T> key{shared.rows[1], a.k_norm, shared.norm_factors[1]};
    shared.new_key[i] = narrow<T>(turned(key, i, a.rotary_size, shared.angles));
    shared.new_value[i] = shared.rows[2][i];
    if (range.end == range.position + 1) {
      const int64_t target = (int64_t{key_head} * a.capacity + range.position) * kHead + i;
      a.keys[target] = shared.new_key[i];
      a.values[target] = shared.new_value[i];
    }
  }
  multipliers_barrier();
}

/// The head's output from the warps' sums; of several splits, the last one to come adds them.
template <typename T, int kHead>
__device__ __forceinline__ void write_head(const StepOperation<T>& operation, int head, int split,
                                           const AttentionRange& range, unsigned stamp,
                                           StepAttentionShared<T, kHead>& shared) {
  const AttentionArguments<T>& a = operation.attention;
  const int i = static_cast<int>(threadIdx.x), column = head * kHead + i;
  float maximum = -INFINITY, total = 0, value = 0;
#pragma unroll
  for (const float own : shared.maxima) maximum = fmaxf(maximum, own);
#pragma unroll
  for (int w = 0; w < kStepMultipliers; ++w) {
    const float weight = weight_of(shared.maxima[w], maximum);
    total += weight * shared.totals[w];
    value += weight * shared.values[w][i];
  }
  T out = narrow<T>(value / total);
  if (range.active > 1) {
    constexpr int kPartial = kPartialHeader + kHead;
    float* partials = a.partials + int64_t{head} * a.splits * kPartial;
    float* own = partials + split * kPartial;
    if (i == 0) {
      own[0] = maximum;
      own[1] = total;
    }
    own[kPartialHeader + i] = value;
    __threadfence();
    writers_barrier<kHead>();
    if (i == 0) {
      unsigned* ticket = a.tickets + head;
      shared.is_last = atomicAdd(ticket, 1u) + 1 == static_cast<unsigned>(range.active);
      if (shared.is_last) *ticket = 0;
    }
    writers_barrier<kHead>();
    if (!shared.is_last) return;
    __threadfence();
    out = narrow<T>(combined(partials, kPartial, range.active, i));
  }
  a.out[column] = out;
  store_pair(operation.words, column, out, true, stamp);
}

/// @param with_stage  called with what reads a stage of keys and values, once it is there
template <typename T, int kHead, typename WithStage>
__device__ __forceinline__ void attend_item(const StepOperation<T>& operation, int item,
                                            int position, unsigned qkv_stamp, unsigned stamp,
                                            StepAttentionShared<T, kHead>& shared,
                                            WithStage&& with_stage) {
  constexpr int kWidth = 8, kTeam = kHead / kWidth, kTeams = kAttentionThreads / kTeam;
  constexpr int kStageRows = kStepCacheBytes / (kHead * static_cast<int>(sizeof(T)));
  constexpr int kRows = kStageRows / kTeams;  // of a stage, a team
  static_assert(kRows * kTeams == kStageRows);
  const AttentionArguments<T>& a = operation.attention;
  const int split = item % a.splits, head = item / a.splits, key_head = key_head_of(a, item);
  const AttentionRange range = range_of(a, position, split);
  if (range.begin >= range.end) return;
  take_rows(operation, head, key_head, position, qkv_stamp, shared);
  turn_rows(a, key_head, range, shared);

  const int thread = static_cast<int>(threadIdx.x), team = thread / kTeam, lane = thread % kTeam;
  float query[1][kWidth];
  AttentionSums<1, kWidth> sums;
  sums.maximum[0] = -INFINITY;
  sums.total[0] = 0;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    query[0][i] = shared.query[lane * kWidth + i];
    sums.values[0][i] = 0;
  }
  for (int first = range.begin; first < range.end; first += kStageRows) {
    AttentionRows<T, kWidth, 1, kTeam, kRows> rows;
    with_stage([&](const uint8_t* stage) {
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int row = team + r * kTeams;
        using P = Pack<T, kWidth>;
        const auto* keys = reinterpret_cast<const P*>(stage) + row * kTeam + lane;
        const auto* values =
            reinterpret_cast<const P*>(stage + kStepCacheBytes) + row * kTeam + lane;
        const bool valid = first + row < range.end;  // else what an earlier stage left
        rows.k[r][0] = valid ? *keys : P{};
        rows.v[r][0] = valid ? *values : P{};
      }
    });
    rows.insert(shared.new_key, shared.new_value, range, first + team, lane);
    rows.add_to(sums, query, range, first + team, a.cap);
  }
  join_teams<kTeam>(sums);
  if (lane_of_thread() < kTeam) {
    const int warp = warp_of_thread();
    shared.maxima[warp] = sums.maximum[0];
    shared.totals[warp] = sums.total[0];
#pragma unroll
    for (int i = 0; i < kWidth; ++i) shared.values[warp][lane * kWidth + i] = sums.values[0][i];
  }
  multipliers_barrier();
  if (thread < kHead) write_head(operation, head, split, range, stamp, shared);
  multipliers_barrier();  // what was shared is free for the next item
}

}  // namespace slice::kernels::detail
