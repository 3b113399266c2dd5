#pragma once

#include "cuda/detail/bulk_copy.cuh"
#include "cuda/detail/decode_step_block.cuh"

// decode_step: what keeps weights, and what describes them, coming.

namespace slice::kernels::detail {

template <typename T, int kHead>
class StepCopies : StepBlock<T, kHead> {
  using Block = StepBlock<T, kHead>;
  using Block::begin, Block::end, Block::lane_, Block::position_, Block::shared_, Block::stage,
      Block::stamp, Block::step_, Block::warp_;

 public:
  __device__ __forceinline__ explicit StepCopies(const Block& block) : Block(block) {}

  // By one thread: operations to shared memory before they are needed, norms' weights to the L2.
  __device__ __forceinline__ void look_ahead() const {
    for (int o = 0; o < step_.count; ++o) {
      const int slot = o % kStepSlots;
      if (o >= kStepSlots) barrier_wait(shared_.slot_empty + slot, (o / kStepSlots - 1) % 2);
      barrier_expect(shared_.slot_full + slot, sizeof(StepOperation<T>));
      copy_bytes(shared_address(shared_.slots + slot), step_.operations + o,
                 sizeof(StepOperation<T>), shared_.slot_full + slot);
      const StepOperation<T>& operation = begin(o);
      if (operation.items > 0) continue;
      const auto bytes = static_cast<unsigned>(operation.linear.K * sizeof(T));
      if (operation.linear.norm_weight != nullptr)
        prefetch_bytes(operation.linear.norm_weight, bytes);
      if (operation.norm_bias != nullptr) prefetch_bytes(operation.norm_bias, bytes);
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
        constexpr int kCacheRows = kStepCacheRows<T, kHead>;
        const AttentionRange range = step_range_of<kCacheRows>(a, position_, item % a.splits);
        const int64_t first_row = int64_t{key_head_of(a, item)} * a.capacity;
        const int d = a.head_size;
        for (int first = range.begin; first < range.end; first += kCacheRows, next()) {
          if (!mine() || lane_ != 0) continue;
          const unsigned bytes = min(kCacheRows, range.end - first) * d * sizeof(T);
          const int64_t offset = (first_row + first) * d;
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
};

}  // namespace slice::kernels::detail
