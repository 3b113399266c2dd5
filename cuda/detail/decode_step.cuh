#pragma once

#include "cuda/detail/bulk_copy.cuh"
#include "cuda/detail/decode_step_attention.cuh"
#include "cuda/detail/decode_step_operation.cuh"
#include "cuda/detail/mma.cuh"
#include "cuda/detail/warp.cuh"

// decode_step for float16 and bfloat16 on compute capability 9.0: what the warps of a block do. All
// of them go through the operations one after the other, each at its own time: the copiers are ahead
// by as much as the ring holds, so that weights keep coming while blocks wait for each other.

namespace slice::kernels::detail {

template <typename T, int kHead>
struct StepShared {
  StepOperation<T> slots[kStepSlots];
  uint64_t slot_full[kStepSlots], slot_empty[kStepSlots];
  uint64_t full[kStepMostStages], empty[kStepMostStages];
  uint64_t ready;  // an operation may look for its words
  uint64_t taken;  // the multipliers have seen that
  uint64_t summed[2], free[2];
  float sums[2][kStepMultipliers][kStepRows];
  float squares[2][kStepMultipliers];
  StepAttentionShared<T, kHead> attention;
};

/// A place in the ring that goes round.
struct StepPlace {
  int stage = 0;
  unsigned phase = 0;
  __device__ __forceinline__ void advance(int stages) {
    if (++stage < stages) return;
    stage = 0;
    phase ^= 1;
  }
};

template <typename T, int kHead>
class StepBlock {
 public:
  __device__ __forceinline__ StepBlock(const StepArguments<T>& step, StepShared<T, kHead>& own,
                                       uint8_t* ring)
      : step_(step),
        shared_(own),
        ring_(ring),
        signals_(ring + step.stages * kStepStageBytes),
        warp_(warp_of_thread()),
        lane_(lane_of_thread()),
        steps_(*reinterpret_cast<volatile unsigned*>(step.steps)),
        position_(step.positions == nullptr ? 0 : *step.positions) {}

  // By one thread, before any other comes here.
  __device__ __forceinline__ void prepare() const {
    for (int i = 0; i < step_.stages; ++i) {
      barrier_init(shared_.full + i, 1);
      barrier_init(shared_.empty + i, kStepMultipliers);
    }
    for (int i = 0; i < kStepSlots; ++i) {
      barrier_init(shared_.slot_full + i, 1);
      barrier_init(shared_.slot_empty + i, kStepScout);  // one a warp before it
    }
    for (int i = 0; i < 2; ++i) {
      barrier_init(shared_.summed + i, kStepMultipliers);
      barrier_init(shared_.free + i, 1);
    }
    barrier_init(&shared_.ready, 1);
    barrier_init(&shared_.taken, kStepMultipliers);
    barriers_are_ready();
  }

  // By one thread: operations to shared memory before they are needed, norms' weights to the L2.
  __device__ __forceinline__ void look_ahead() const {
    for (int o = 0; o < step_.count; ++o) {
      const int slot = o % kStepSlots;
      if (o >= kStepSlots) barrier_wait(shared_.slot_empty + slot, (o / kStepSlots - 1) % 2);
      barrier_expect(shared_.slot_full + slot, sizeof(StepOperation<T>));
      copy_bytes(shared_address(shared_.slots + slot), step_.operations + o,
                 sizeof(StepOperation<T>), shared_.slot_full + slot);
      const StepOperation<T>& operation = begin(o);
      if (operation.items == 0 && operation.linear.norm_weight != nullptr) {
        prefetch_bytes(operation.linear.norm_weight,
                       static_cast<unsigned>(operation.linear.K * sizeof(T)));
      }
    }
  }

  // By two warps, in turn a stage each: weights, keys and values into the ring.
  __device__ __forceinline__ void copy() const {
    StepPlace place, landed;
    int i = 0;
    // Whether the stage is this warp's, and then waits until it may be filled.
    const auto mine = [&] {
      if (i % 2 != warp_ - kStepCopiers) return false;
      if (i >= kStepWindow) barrier_wait(shared_.full + landed.stage, landed.phase);
      if (i >= step_.stages) barrier_wait(shared_.empty + place.stage, place.phase ^ 1);
      return true;
    };
    const auto next = [&] {
      if (i++ >= kStepWindow) landed.advance(step_.stages);
      place.advance(step_.stages);
    };
    for (int o = 0; o < step_.count; ++o) {
      const StepOperation<T>& operation = begin(o);
      const int items = operation.items;
      for (int item = static_cast<int>(blockIdx.x); item < items; item += gridDim.x) {
        const AttentionArguments<T>& a = operation.attention;
        const AttentionRange range = range_of(a, position_, item % a.splits);
        const int64_t first_row = int64_t{key_head_of(a, item)} * a.capacity;
        constexpr int kCacheRows = kStepCacheBytes / (kHead * static_cast<int>(sizeof(T)));
        for (int first = range.begin; first < range.end; first += kCacheRows, next()) {
          if (!mine() || lane_ != 0) continue;
          const unsigned bytes = min(kCacheRows, range.end - first) * kHead * sizeof(T);
          const int64_t offset = (first_row + first) * kHead;
          uint64_t* full = shared_.full + place.stage;
          barrier_expect(full, 2 * bytes);
          copy_bytes(shared_address(stage(place)), a.keys + offset, bytes, full);
          copy_bytes(shared_address(stage(place) + kStepCacheBytes), a.values + offset, bytes,
                     full);
        }
      }
      if (items == 0) {
        const DecodeLinearOperands<T>& p = operation.linear;
        const StepRowRange rows = rows_of_block(p);
        const int chunks = chunks_of(p), first_chunks = chunks_of_first(p);
        for (int r = 0; r < rows.count; r += kStepRows) {
          const int count = min(kStepRows, rows.count - r);
          const int64_t row = rows.begin + r + lane_;
          for (int chunk = 0; chunk < chunks; ++chunk, next()) {
            if (!mine()) continue;
            const T* source = chunk < first_chunks
                                  ? p.W + row * p.K + chunk * kStepChunk
                                  : p.V + row * p.K2 + (chunk - first_chunks) * kStepChunk;
            const int bytes = columns_of_chunk(p, chunk) * static_cast<int>(sizeof(T));
            if (lane_ == 0) barrier_expect(shared_.full + place.stage, bytes * count);
            __syncwarp();
            if (lane_ < count) {
              copy_once(shared_address(stage(place) + lane_ * kStepPitch), source, bytes,
                        shared_.full + place.stage);
            }
          }
        }
      }
      end(o);
    }
  }

  // By one warp: sums of the multipliers, in their order, what the epilogue makes of them, and word
  // to the other blocks.
  __device__ __forceinline__ void add_up() const {
    int tile = 0;
    unsigned before = 0;  // blocks or items of the operation before
    for (int o = 0; o < step_.count; ++o) {
      const StepOperation<T>& operation = begin(o);
      if (lane_ == 0) {
        // Never two operations ahead: a barrier tells apart the phase that ended last, no more.
        if (o > 0) barrier_wait(&shared_.taken, (o - 1) % 2);
        const bool many = operation.items == 0 && operation.linear.K > kStepFewColumns;
        if (o > 0 && many) wait_for_count(step_.finished + o - 1, (steps_ + 1) * before);
        barrier_arrive(&shared_.ready);
      }
      __syncwarp();
      before = operation.items > 0 ? operation.items : gridDim.x;
      if (operation.items == 0) {
        DecodeLinearOperands<T> p = operation.linear;
        const StepSource r_source = operation.r;
        uint2* words = operation.words;
        const StepRowRange rows = rows_of_block(p);
        const int unit = p.rows_per_column();
        float scale = 1;
        for (int r = 0; r < rows.count; r += kStepRows, ++tile) {
          const int column = (rows.begin + r) / unit + lane_, buffer = tile % 2;
          const bool valid = lane_ < min(kStepRows, rows.count - r) / unit;
          T residual = narrow<T>(0.0f);
          if (r_source.words != nullptr && valid && column < p.residual_columns) {
            const uint32_t pair =
                wait_for_word(r_source.words + column / 2, stamp(r_source.operation));
            const auto bits = static_cast<uint16_t>(column % 2 == 0 ? pair : pair >> 16);
            memcpy(&residual, &bits, sizeof bits);
            p.R = &residual - column;
          }
          barrier_wait(shared_.summed + buffer, tile / 2 % 2);
          if (r == 0 && p.norm_hidden > 0) {
            float square = 0;
#pragma unroll
            for (const float own : shared_.squares[buffer]) square += own;
            scale = norm_scale(p, square);
          }
          T y = narrow<T>(0.0f);
          if (valid) {
            float sum = 0, gated_sum = 0;
#pragma unroll
            for (int w = 0; w < kStepMultipliers; ++w) {
              sum += shared_.sums[buffer][w][lane_ * unit];
              if (unit == 2) gated_sum += shared_.sums[buffer][w][lane_ * unit + 1];
            }
            y = finished(p, 0, column, sum * scale, gated_sum * scale);
            p.Y[column] = y;
          }
          store_pair(words, column, y, valid, stamp(o));
          __syncwarp();
          if (lane_ == 0) barrier_arrive(shared_.free + buffer);
        }
        if (lane_ == 0) count_finished(step_.finished + o);
      }
      end(o);
    }
    if (lane_ == 0 && atomicAdd(step_.exits, 1u) == gridDim.x - 1) {  // the last block
      *step_.exits = 0;
      *step_.steps = steps_ + 1;
    }
  }

  // By the other warps: attention, and products of the columns that a warp owns, 128 of every chunk.
  __device__ __forceinline__ void multiply() const {
    StepPlace place;
    int tile = 0;
    for (int o = 0; o < step_.count; ++o) {
      const StepOperation<T>& operation = begin(o);
      barrier_wait(&shared_.ready, o % 2);
      __syncwarp();
      if (lane_ == 0) barrier_arrive(&shared_.taken);
      for (int item = static_cast<int>(blockIdx.x); item < operation.items; item += gridDim.x) {
        attend_item<T, kHead>(operation, item, position_, stamp(operation.x.operation), stamp(o),
                              shared_.attention, [&](auto&& read) {
                                barrier_wait(shared_.full + place.stage, place.phase);
                                read(stage(place));
                                release(place);
                              });
        if (threadIdx.x == 0) count_finished(step_.finished + o);
      }
      if (operation.items == 0) multiply_rows(operation, place, tile);
      end(o);
    }
  }

 private:
  __device__ __forceinline__ uint8_t* stage(const StepPlace& place) const {
    return ring_ + place.stage * kStepStageBytes;
  }
  __device__ __forceinline__ unsigned stamp(int operation) const {
    return steps_ * static_cast<unsigned>(step_.count) + static_cast<unsigned>(operation) + 1;
  }

  // Every warp but the scout calls both for every operation.
  __device__ __forceinline__ const StepOperation<T>& begin(int o) const {
    barrier_wait(shared_.slot_full + o % kStepSlots, o / kStepSlots % 2);
    return shared_.slots[o % kStepSlots];
  }
  __device__ __forceinline__ void end(int o) const {
    __syncwarp();
    if (lane_ == 0) barrier_arrive(shared_.slot_empty + o % kStepSlots);
  }

  // By a multiplier that has read a stage.
  __device__ __forceinline__ void release(StepPlace& place) const {
    __syncwarp();
    if (lane_ == 0) barrier_arrive(shared_.empty + place.stage);
    place.advance(step_.stages);
  }

  // The warp's columns of a signal to shared memory, from `offset` on, normed where α is given; adds
  // their squares. All accesses of kDeep chunks are under way at one time.
  __device__ __forceinline__ float take_signal(const StepSource& source, const T* plain,
                                               int64_t columns, const T* alpha,
                                               uint8_t* target) const {
    constexpr int kDeep = 14;
    float squares = 0;
    for (int64_t first = warp_ * 128 + lane_ * 4; first < columns; first += kDeep * kStepChunk) {
      uint4 words[kDeep];
      uint2 weights[kDeep];
#pragma unroll
      for (int i = 0; i < kDeep; ++i) {
        const int64_t column = first + i * kStepChunk;
        if (column >= columns) break;
        if (alpha != nullptr) weights[i] = __ldg(reinterpret_cast<const uint2*>(alpha + column));
        if (source.words != nullptr) {
          words[i] = load_words(source.words + column / 2);
        } else {
          const uint2 pairs = __ldcg(reinterpret_cast<const uint2*>(plain + column));
          words[i] = {pairs.x, 0, pairs.y, 0};
        }
      }
#pragma unroll
      for (int i = 0; i < kDeep; ++i) {
        const int64_t column = first + i * kStepChunk;
        if (column >= columns) break;
        if (source.words != nullptr) {
          const unsigned wanted = stamp(source.operation);
          while (words[i].y != wanted || words[i].w != wanted) {
            words[i] = load_words(source.words + column / 2);
          }
        }
        uint2 pairs{words[i].x, words[i].z};
        Pack<T, 4> x, factors;
        memcpy(&x, &pairs, sizeof x);
        memcpy(&factors, &weights[i], sizeof factors);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const float value = widen(x.values[e]);
          squares += value * value;
          if (alpha != nullptr) x.values[e] = narrow<T>(value * widen(factors.values[e]));
        }
        *reinterpret_cast<Pack<T, 4>*>(target + column * sizeof(T)) = x;
      }
    }
    return squares;
  }

  __device__ __forceinline__ void multiply_rows(const StepOperation<T>& operation, StepPlace& place,
                                                int& tile) const {
    const DecodeLinearOperands<T>& p = operation.linear;
    const StepRowRange rows = rows_of_block(p);
    const int chunks = chunks_of(p);
    __syncwarp();  // the warp's columns of the product before are read no more
    const float square = warp_sum(take_signal(operation.x, p.X, p.K, p.norm_weight, signals_));
    if (p.K2 > 0) {
      take_signal(operation.z, p.Z, p.K2, nullptr,
                  signals_ + chunks_of_first(p) * kStepChunk * sizeof(T));
    }
    __syncwarp();
    const int row = lane_ / 4, piece = warp_ * 16 + lane_ % 4;  // of 8 elements
    for (int r = 0; r < rows.count; r += kStepRows, ++tile) {
      float sums[4] = {};
      for (int chunk = 0; chunk < chunks; ++chunk) {
        const int pieces = columns_of_chunk(p, chunk) / 8;
        uint4 x[4] = {};
        const auto* signal =
            reinterpret_cast<const uint4*>(signals_ + chunk * kStepChunk * sizeof(T));
#pragma unroll
        for (int h = 0; h < 4; ++h) {
          if (row == 0 && piece + 4 * h < pieces) x[h] = signal[piece + 4 * h];
        }
        barrier_wait(shared_.full + place.stage, place.phase);
        if (warp_ * 16 < pieces) {
          const auto* weights = reinterpret_cast<const uint4*>(stage(place) + row * kStepPitch);
          uint4 w[4];
#pragma unroll
          for (int h = 0; h < 4; ++h) {
            w[h] = weights[piece + 4 * h];
            if (piece + 4 * h >= pieces) w[h] = uint4{};  // of an earlier stage
          }
#pragma unroll
          for (int h = 0; h < 4; ++h) {
            const uint32_t low[4] = {x[h].x, 0, x[h].y, 0}, high[4] = {x[h].z, 0, x[h].w, 0};
            multiply_add<T>(sums, low, w[h].x, w[h].y);
            multiply_add<T>(sums, high, w[h].z, w[h].w);
          }
        }
        release(place);
      }
      const int buffer = tile % 2;
      if (tile >= 2) barrier_wait(shared_.free + buffer, (tile / 2 - 1) % 2);
      if (row == 0) {  // the one signal's
        shared_.sums[buffer][warp_][2 * lane_] = sums[0];
        shared_.sums[buffer][warp_][2 * lane_ + 1] = sums[1];
      }
      if (r == 0 && lane_ == 0) shared_.squares[buffer][warp_] = square;
      __syncwarp();
      if (lane_ == 0) barrier_arrive(shared_.summed + buffer);
    }
  }

  const StepArguments<T>& step_;
  StepShared<T, kHead>& shared_;
  uint8_t* ring_;
  uint8_t* signals_;  // X, then Z, each from a whole chunk on
  int warp_;
  int lane_;
  unsigned steps_;
  int position_;
};

template <typename T, int kHead>
__global__ void __launch_bounds__(kStepThreads, 1)
    decode_step_kernel(const __grid_constant__ StepArguments<T> step) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(128) uint8_t ring[];
  __shared__ StepShared<T, kHead> shared;
  const StepBlock<T, kHead> block(step, shared, ring);
  if (threadIdx.x == 0) block.prepare();
  __syncthreads();
  const int warp = warp_of_thread();
  if (warp < kStepMultipliers) {
    block.multiply();
  } else if (warp == kStepAdder) {
    block.add_up();
  } else if (warp < kStepScout) {
    block.copy();
  } else if (lane_of_thread() == 0) {
    block.look_ahead();
  }
#endif
}

}  // namespace slice::kernels::detail
