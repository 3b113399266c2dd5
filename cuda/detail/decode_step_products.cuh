#pragma once

#include "cuda/detail/decode_step_attention.cuh"
#include "cuda/detail/decode_step_block.cuh"
#include "cuda/detail/mma.cuh"

// decode_step: the warps that multiply.

namespace slice::kernels::detail {

template <typename T, int kHead>
class StepProducts : StepBlock<T, kHead> {
  using Block = StepBlock<T, kHead>;
  using Block::begin, Block::end, Block::lane_, Block::position_, Block::shared_, Block::stage,
      Block::stamp, Block::step_, Block::warp_;

 public:
  __device__ __forceinline__ explicit StepProducts(const Block& block)
      : Block(block), signals_(block.signals()) {}

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

  uint8_t* signals_;  // X, then Z, each from a whole chunk on
};

}  // namespace slice::kernels::detail
