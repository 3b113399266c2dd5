#pragma once

#include "cuda/detail/decode_softmax.cuh"
#include "cuda/detail/decode_step_operation.cuh"

// decode_step: attention of one query head over the positions of one split, by a block's multipliers.
// Heads have d ≤ kHead coordinates; those beyond are zeros in shared memory.

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
};

__device__ __forceinline__ void multipliers_barrier() {
  asm volatile("bar.sync 1, %0;" ::"n"(kAttentionThreads) : "memory");
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
    const int part = thread / kPairs, pair = thread % kPairs, pairs = a.head_size / 2;
    const int row = part == 0 ? head : a.heads + (part - 1) * a.kv_heads + key_head;
    uint32_t values = 0;
    if (pair < pairs) values = wait_for_word(operation.x.words + row * pairs + pair, stamp);
    memcpy(&shared.rows[part][2 * pair], &values, sizeof values);
  }
  multipliers_barrier();
  if (a.q_norm == nullptr) return;
  if (warp_of_thread() < 2) {
    const float factor = norm_factor(shared.rows[warp_of_thread()], a.head_size, a.norm_eps);
    if (lane_of_thread() == 0) shared.norm_factors[warp_of_thread()] = factor;
  }
  multipliers_barrier();
}

/// Turns query and key; the new row goes to the cache where it is the split's.
template <typename T, int kHead>
__device__ __forceinline__ void turn_rows(const AttentionArguments<T>& a, int key_head,
                                          const AttentionRange& range,
                                          StepAttentionShared<T, kHead>& shared) {
  const int thread = static_cast<int>(threadIdx.x), i = thread % kHead, d = a.head_size;
  if (thread < kHead) {
    const HeadRow<T> query{shared.rows[0], a.q_norm, shared.norm_factors[0]};
    shared.query[i] = i < d ? a.scale * turned(query, i, a.rotary_size, shared.angles) : 0.0f;
  } else if (thread < 2 * kHead) {
    const HeadRow<T> key{shared.rows[1], a.k_norm, shared.norm_factors[1]};
    shared.new_key[i] = narrow<T>(i < d ? turned(key, i, a.rotary_size, shared.angles) : 0.0f);
    shared.new_value[i] = shared.rows[2][i];
    if (i < d && range.end == range.position + 1) {
      const int64_t target = (int64_t{key_head} * a.capacity + range.position) * d + i;
      a.keys[target] = shared.new_key[i];
      a.values[target] = shared.new_value[i];
    }
  }
  multipliers_barrier();
}

/// A split's softmax of a head: of coordinate i of its values.
struct StepPartial {
  float maximum, total, value;
};

__device__ __forceinline__ void join(StepPartial& own, const StepPartial& other) {
  const float maximum = fmaxf(own.maximum, other.maximum);
  const float weight = weight_of(own.maximum, maximum);
  const float other_weight = weight_of(other.maximum, maximum);
  own = {maximum, weight * own.total + other_weight * other.total,
         weight * own.value + other_weight * other.value};
}

/// To the block of the head's first split. Of a split: maximum and total, then d values, a word each.
__device__ __forceinline__ void send_partial(uint2* words, int i, int d, const StepPartial& own,
                                             unsigned stamp) {
  if (i == 0) {
    store_word(words, __float_as_uint(own.maximum), stamp);
    store_word(words + 1, __float_as_uint(own.total), stamp);
  }
  if (i < d) store_word(words + kPartialHeader + i, __float_as_uint(own.value), stamp);
}

/// Adds the other splits' `count` partials, in their order, once they are there.
__device__ __forceinline__ void take_partials(const uint2* words, int count, int i, int d,
                                              StepPartial& own, unsigned stamp) {
  constexpr int kDeep = 4;  // whose words are under way at one time
  const int of_value = kPartialHeader + min(i, d - 1), stride = kPartialHeader + d;
  for (int first = 0; first < count; first += kDeep) {
    uint2 seen[kDeep][3];
#pragma unroll
    for (int s = 0; s < kDeep; ++s) {
      const uint2* partial = words + min(first + s, count - 1) * stride;
      seen[s][0] = load_word(partial);
      seen[s][1] = load_word(partial + 1);
      seen[s][2] = load_word(partial + of_value);
    }
#pragma unroll
    for (int s = 0; s < kDeep; ++s) {
      if (first + s >= count) break;
      const uint2* partial = words + (first + s) * stride;
      const int places[3] = {0, 1, of_value};
#pragma unroll
      for (int w = 0; w < 3; ++w) {
        while (seen[s][w].y != stamp) seen[s][w] = load_word(partial + places[w]);
      }
      join(own, {__uint_as_float(seen[s][0].x), __uint_as_float(seen[s][1].x),
                 __uint_as_float(seen[s][2].x)});
    }
  }
}

/// The head's output from the warps' sums; of several splits, the first one's block adds all of them.
template <typename T, int kHead>
__device__ __forceinline__ void write_head(const StepOperation<T>& operation, int head, int split,
                                           const AttentionRange& range, unsigned stamp,
                                           StepAttentionShared<T, kHead>& shared) {
  const AttentionArguments<T>& a = operation.attention;
  const int i = static_cast<int>(threadIdx.x), d = a.head_size, column = head * d + i;
  StepPartial own = {-INFINITY, 0, 0};
#pragma unroll
  for (const float maximum : shared.maxima) own.maximum = fmaxf(own.maximum, maximum);
#pragma unroll
  for (int w = 0; w < kStepMultipliers; ++w) {
    const float weight = weight_of(shared.maxima[w], own.maximum);
    own.total += weight * shared.totals[w];
    own.value += weight * shared.values[w][i];
  }
  if (range.active > 1) {
    uint2* words = operation.partials + (head * a.splits + split) * (kPartialHeader + d);
    if (split > 0) {
      send_partial(words, i, d, own, stamp);
      return;
    }
    take_partials(words + kPartialHeader + d, range.active - 1, i, d, own, stamp);
  }
  const T out = narrow<T>(own.value / own.total);
  if (i < d) a.out[column] = out;
  store_pair(operation.words, column, out, i < d, stamp);
}

/// @param with_stage  called with what reads a stage of keys and values, once it is there
template <typename T, int kHead, typename WithStage>
__device__ __forceinline__ void attend_item(const StepOperation<T>& operation, int item,
                                            int position, unsigned qkv_stamp, unsigned stamp,
                                            StepAttentionShared<T, kHead>& shared,
                                            WithStage&& with_stage) {
  constexpr int kWidth = 8, kTeam = kHead / kWidth, kTeams = kAttentionThreads / kTeam;
  constexpr int kStageRows = kStepCacheRows<T, kHead>;
  constexpr int kRows = kStageRows / kTeams;  // of a stage, a team
  static_assert(kRows * kTeams == kStageRows);
  const AttentionArguments<T>& a = operation.attention;
  const int split = item % a.splits, head = item / a.splits, key_head = key_head_of(a, item);
  const AttentionRange range = step_range_of<kStageRows>(a, position, split);
  if (range.begin >= range.end) return;
  take_rows(operation, head, key_head, position, qkv_stamp, shared);
  turn_rows(a, key_head, range, shared);

  const int thread = static_cast<int>(threadIdx.x), team = thread / kTeam, lane = thread % kTeam;
  const int packs = a.head_size / kWidth;
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
        const auto* keys = reinterpret_cast<const uint4*>(stage) + row * packs + lane;
        const auto* values =
            reinterpret_cast<const uint4*>(stage + kStepCacheBytes) + row * packs + lane;
        // Else what an earlier stage left. Whole registers are chosen, not numbers: the compiler
        // would keep the latter in local memory, whose reads wait behind the weights.
        uint4 key{}, value{};
        if (first + row < range.end && lane < packs) {
          key = *keys;
          value = *values;
        }
        if (first + row == range.position) {
          key = reinterpret_cast<const uint4*>(shared.new_key)[lane];
          value = reinterpret_cast<const uint4*>(shared.new_value)[lane];
        }
        static_assert(sizeof key == sizeof rows.k[r][0]);
        memcpy(&rows.k[r][0], &key, sizeof key);
        memcpy(&rows.v[r][0], &value, sizeof value);
      }
    });
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
