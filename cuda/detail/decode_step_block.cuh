#pragma once

#include "cuda/detail/bulk_copy.cuh"
#include "cuda/detail/decode_step_attention.cuh"
#include "cuda/detail/decode_step_operation.cuh"
#include "cuda/detail/warp.cuh"

// decode_step: what the warps of a block share.

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
  float2 moments[2][kStepMultipliers];  // sums and squares about their own means, of a LayerNorm
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
        warp_(warp_of_thread()),
        lane_(lane_of_thread()),
        steps_(*reinterpret_cast<volatile unsigned*>(step.steps)),
        position_(step.positions == nullptr ? 0 : *step.positions) {}

  /// Where X and Z are, after the ring.
  __device__ __forceinline__ uint8_t* signals() const {
    return ring_ + step_.stages * kStepStageBytes;
  }

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

 protected:
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

  const StepArguments<T>& step_;
  StepShared<T, kHead>& shared_;
  uint8_t* ring_;
  int warp_;
  int lane_;
  unsigned steps_;
  int position_;
};

}  // namespace slice::kernels::detail
