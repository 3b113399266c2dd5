#pragma once

#include "cuda/detail/decode_step_block.cuh"

// decode_step: the warp that adds up and writes.

namespace slice::kernels::detail {

template <typename T, int kHead>
class StepSums : StepBlock<T, kHead> {
  using Block = StepBlock<T, kHead>;
  using Block::begin, Block::end, Block::lane_, Block::shared_, Block::stamp, Block::step_,
      Block::steps_;

 public:
  __device__ __forceinline__ explicit StepSums(const Block& block) : Block(block) {}

  // By one warp: sums of the multipliers, in their order, what the epilogue makes of them, and word
  // to the other blocks.
  __device__ __forceinline__ void add_up() const {
    int tile = 0;
    for (int o = 0; o < step_.count; ++o) {
      const StepOperation<T>& operation = begin(o);
      if (lane_ == 0) {
        // Never two operations ahead: a barrier tells apart the phase that ended last, no more.
        if (o > 0) barrier_wait(&shared_.taken, (o - 1) % 2);
        const bool many = operation.items == 0 && operation.linear.K > kStepFewColumns;
        if (many && operation.x.words != nullptr) {
          wait_for_count(step_.finished + operation.x.operation, (steps_ + 1) * operation.makers);
        }
        barrier_arrive(&shared_.ready);
      }
      __syncwarp();
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
};

}  // namespace slice::kernels::detail
