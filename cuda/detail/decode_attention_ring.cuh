#pragma once

#include "cuda/detail/bulk_copy.cuh"
#include "cuda/detail/decode_attention.cuh"
#include "cuda/detail/dependent_launch.cuh"

// decode_attention for many sequences, float16 and bfloat16, compute capability 9.0: a warp works by
// itself, on one key head of one sequence after the other, and keeps a ring of bulk copies full of
// their rows, across the end of one and the beginning of the next.

namespace slice::kernels::detail {

/// Heads of up to 8 · kTeam coordinates, a team of kTeam lanes a row.
template <int kTeam_, int kHeads_>
struct AttentionRingShape {
  static constexpr int kTeam = kTeam_;
  static constexpr int kHeads = kHeads_;  // query heads at a time
  static constexpr int kWarps = 16;
  static constexpr int kStages = 2;
  static constexpr int kTeams = kWarp / kTeam;
  static constexpr int kStageBytes = 2048;                // of K; as many of V
  static constexpr int kRows = kStageBytes / 16 / kTeam;  // of a stage
  static constexpr int kRowsAtOnce = 4;                   // of a team
  static constexpr int kSharedBytes = kWarps * kStages * 2 * kStageBytes;
  static_assert(kRows % (kTeams * kRowsAtOnce) == 0);
};

/// A key head of a sequence, for some of its query heads.
struct AttentionItem {
  AttentionRange range;
  int batch, kv_head, chunk;
};

template <typename T, typename Shape>
class AttentionRing {
  using A = AttentionArguments<T>;
  static constexpr int kWidth = 8, kTeam = Shape::kTeam, kHeads = Shape::kHeads;
  using Sums = AttentionSums<kHeads, kWidth>;

 public:
  /// @param stages   the warp's, 16-byte aligned   @param barriers  one a stage
  __device__ __forceinline__ AttentionRing(const A& arguments, uint8_t* stages, uint64_t* barriers)
      : a(arguments),
        stages_(stages),
        barriers_(barriers),
        lane_(lane_of_thread()),
        chunks_((a.heads / a.kv_heads + kHeads - 1) / kHeads),
        step_(static_cast<int>(gridDim.x) * Shape::kWarps) {}

  /// All items of the warp; they end before `items`, and lie as far apart as all warps together.
  __device__ __forceinline__ void run(int items) {
    if (lane_ == 0) {
      for (int s = 0; s < Shape::kStages; ++s) barrier_init(barriers_ + s, 1);
      barriers_are_ready();
    }
    __syncwarp();
    const int first = warp_of_thread() * static_cast<int>(gridDim.x) + static_cast<int>(blockIdx.x);
    items_ = items;
    start_copying(first);
    for (int s = 0; s < Shape::kStages; ++s) copy_next(s);
    start_next_kernel();
    wait_for_previous_kernel();
    for (int index = first; index < items; index += step_) attend_item(item_of(index));
  }

 private:
  __device__ __forceinline__ AttentionItem item_of(int index) const {
    const int chunk = index % chunks_, sequence_head = index / chunks_;
    const int batch = sequence_head / a.kv_heads;
    return {range_of(a, a.positions[batch], 0), batch, sequence_head % a.kv_heads, chunk};
  }
  __device__ __forceinline__ int64_t cache_offset(const AttentionItem& item) const {
    return (int64_t{item.batch} * a.kv_heads + item.kv_head) * a.capacity * a.head_size;
  }

  // What is copied next is from row copied_ of copying_, item number copying_index_.
  __device__ __forceinline__ void start_copying(int index) {
    copying_index_ = index;
    if (index >= items_) return;
    copying_ = item_of(index);
    copied_ = copying_.range.begin;
  }

  // The next rows to a stage that is free; none after the last item.
  __device__ __forceinline__ void copy_next(int stage) {
    while (copying_index_ < items_ && copied_ >= copying_.range.position) {
      start_copying(copying_index_ + step_);
    }
    if (copying_index_ >= items_) return;
    const int rows = min(Shape::kRows, copying_.range.position - copied_);
    if (lane_ == 0) {
      const unsigned bytes = rows * a.head_size * static_cast<int>(sizeof(T));
      const int64_t offset = cache_offset(copying_) + int64_t{copied_} * a.head_size;
      const uint32_t target = shared_address(stages_) + stage * 2 * Shape::kStageBytes;
      barrier_expect(barriers_ + stage, 2 * bytes);
      copy_bytes(target, a.keys + offset, bytes, barriers_ + stage);
      copy_bytes(target + Shape::kStageBytes, a.values + offset, bytes, barriers_ + stage);
    }
    copied_ += rows;
  }

  __device__ __forceinline__ void attend_item(const AttentionItem& item) {
    const int d = a.head_size, group = a.heads / a.kv_heads;
    const int first_head = item.kv_head * group + item.chunk * kHeads;
    const int heads = min(kHeads, group - item.chunk * kHeads);
    const int half = a.rotary_size / 2;
    const TableAngles angles{a.cosine + int64_t{item.range.position} * half,
                             a.sine + int64_t{item.range.position} * half};
    const T* projected = a.qkv + int64_t{item.batch} * (a.heads + 2 * a.kv_heads) * d;
    const int column = lane_ % kTeam * kWidth;

    float q[kHeads][kWidth];
    Sums sums;
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      const bool valid = h < heads;
      const HeadRow<T> row =
          head_row(projected + int64_t{first_head + (valid ? h : 0)} * d, a.q_norm);
      sums.maximum[h] = -INFINITY;
      sums.total[h] = 0;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        q[h][i] =
            valid && column < d ? a.scale * turned(row, column + i, a.rotary_size, angles) : 0;
        sums.values[h][i] = 0;
      }
    }
    for (int row = item.range.begin; row < item.range.position; row += Shape::kRows) {
      const int stage = used_ % Shape::kStages;
      barrier_wait(barriers_ + stage, used_ / Shape::kStages % 2);
      ++used_;
      add_stage(sums, q, stage, min(Shape::kRows, item.range.position - row));
      __syncwarp();
      copy_next(stage);
    }
    add_new_row(sums, q, item, projected, angles);
    join_teams<kTeam>(sums);
    if (lane_ >= kTeam || column >= d) return;
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      if (h >= heads) break;
      Pack<T, kWidth> pack;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        pack.values[i] = narrow<T>(sums.values[h][i] / sums.total[h]);
      }
      store_pack(a.out + (int64_t{item.batch} * a.heads + first_head + h) * d + column, pack);
    }
  }

  __device__ __forceinline__ HeadRow<T> head_row(const T* row, const T* weight) const {
    return {row, weight, weight == nullptr ? 1.0f : norm_factor(row, a.head_size, a.norm_eps)};
  }

  __device__ __forceinline__ void add_stage(Sums& sums, const float (&q)[kHeads][kWidth], int stage,
                                            int count) const {
    constexpr int kAtOnce = Shape::kRowsAtOnce;
    const uint8_t* keys = stages_ + stage * 2 * Shape::kStageBytes;
    const AttentionRange range{0, count, 1, -1};
    const int team = lane_ / kTeam;
#pragma unroll
    for (int first = 0; first < Shape::kRows; first += kAtOnce * Shape::kTeams) {
      AttentionRows<T, kWidth, 1, kTeam, kAtOnce, Shape::kTeams> rows;
      rows.load(reinterpret_cast<const T*>(keys),
                reinterpret_cast<const T*>(keys + Shape::kStageBytes), range, first + team,
                a.head_size, lane_ % kTeam);
      rows.add_to(sums, q, range, first + team, a.cap);
    }
  }

  // The row of the new token, as the first team has it; it goes to the cache, too.
  __device__ __forceinline__ void add_new_row(Sums& sums, const float (&q)[kHeads][kWidth],
                                              const AttentionItem& item, const T* projected,
                                              const TableAngles& angles) const {
    const int d = a.head_size, column = lane_ % kTeam * kWidth;
    const T* key = projected + int64_t{a.heads + item.kv_head} * d;
    const T* value = key + int64_t{a.kv_heads} * d;
    const HeadRow<T> row = head_row(key, a.k_norm);
    AttentionRows<T, kWidth, 1, kTeam, 1, 1> rows = {};
    if (column < d) {
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        rows.k[0][0].values[i] = narrow<T>(turned(row, column + i, a.rotary_size, angles));
        rows.v[0][0].values[i] = value[column + i];
      }
      if (item.chunk == 0 && lane_ < kTeam) {
        const int64_t target = cache_offset(item) + int64_t{item.range.position} * d + column;
        store_pack(a.keys + target, rows.k[0][0]);
        store_pack(a.values + target, rows.v[0][0]);
      }
    }
    const AttentionRange only{0, 1, 1, -1};
    rows.add_to(sums, q, only, lane_ / kTeam, a.cap);  // other teams have none
  }

  const A& a;
  uint8_t* stages_;
  uint64_t* barriers_;
  int lane_, chunks_, step_;
  int items_ = 0;
  int used_ = 0;  // stages
  int copying_index_ = 0, copied_ = 0;
  AttentionItem copying_ = {};
};

template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kWarps* kWarp)
    decode_attention_ring_kernel(const __grid_constant__ AttentionArguments<T> a, int items) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(16) uint8_t stages[];
  __shared__ uint64_t barriers[Shape::kWarps][Shape::kStages];
  const int warp = warp_of_thread();
  AttentionRing<T, Shape> ring(a, stages + warp * Shape::kStages * 2 * Shape::kStageBytes,
                               barriers[warp]);
  ring.run(items);
#endif
}

}  // namespace slice::kernels::detail
