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
      if (operation.items == 0) multiply_rows(operation, o, place, tile);
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

  // Columns of X that warp w has.
  static __device__ __forceinline__ int own_columns(int columns, int w) {
    const int rest = columns % kStepChunk - 128 * w;
    return columns / kStepChunk * 128 + min(max(rest, 0), 128);
  }

  // The LayerNorm of X, which is in shared memory: (x − mean) / √(var + eps) · α + β. By all warps,
  // each its own columns: their squares are about the warp's mean, and the warps' are put together.
  __device__ __forceinline__ void centre(const StepOperation<T>& operation, int o) const {
    using P = Pack<T, 4>;
    const DecodeLinearOperands<T>& p = operation.linear;
    const int first = warp_ * 128 + lane_ * 4, columns = static_cast<int>(p.K);
    const auto each = [&](auto&& visit) {
#pragma unroll 4
      for (int column = first; column < columns; column += kStepChunk)
        visit(reinterpret_cast<P*>(signals_)[column / 4], column);
    };
    float total = 0;
    each([&](const P& pack, int) {
#pragma unroll
      for (const T value : pack.values) total += widen(value);
    });
    total = warp_sum(total);
    const float own_mean = total / static_cast<float>(max(own_columns(columns, warp_), 1));
    float squares = 0;
    each([&](const P& pack, int) {
#pragma unroll
      for (const T value : pack.values)
        squares += (widen(value) - own_mean) * (widen(value) - own_mean);
    });
    squares = warp_sum(squares);
    float2* moments = shared_.moments[o % 2];
    if (lane_ == 0) moments[warp_] = {total, squares};
    multipliers_barrier();
    float mean = 0, variance = 0;
#pragma unroll
    for (int w = 0; w < kStepMultipliers; ++w) mean += moments[w].x;
    mean /= static_cast<float>(columns);
#pragma unroll
    for (int w = 0; w < kStepMultipliers; ++w) {
      const auto count = static_cast<float>(own_columns(columns, w));
      const float apart = moments[w].x / fmaxf(count, 1.0f) - mean;
      variance += moments[w].y + count * apart * apart;
    }
    const float scale = 1.0f / sqrtf(variance / static_cast<float>(columns) + p.eps);
    const bool weighs = p.norm_weight != nullptr, adds = operation.norm_bias != nullptr;
    each([&](P& pack, int column) {
      uint2 weights{}, biases{};
      if (weighs) weights = __ldg(reinterpret_cast<const uint2*>(p.norm_weight + column));
      if (adds) biases = __ldg(reinterpret_cast<const uint2*>(operation.norm_bias + column));
      P alpha, beta;
      memcpy(&alpha, &weights, sizeof alpha);
      memcpy(&beta, &biases, sizeof beta);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float value = (widen(pack.values[e]) - mean) * scale;
        if (weighs) value *= widen(alpha.values[e]);
        pack.values[e] = narrow<T>(value + widen(beta.values[e]));
      }
    });
  }

  __device__ __forceinline__ void multiply_rows(const StepOperation<T>& operation, int o,
                                                StepPlace& place, int& tile) const {
    const DecodeLinearOperands<T>& p = operation.linear;
    const StepRowRange rows = rows_of_block(p);
    if (rows.count == 0) return;
    const int chunks = chunks_of(p);
    __syncwarp();  // the warp's columns of the product before are read no more
    const T* alpha = operation.is_centred ? nullptr : p.norm_weight;
    const float square = warp_sum(take_signal(operation.x, p.X, p.K, alpha, signals_));
    if (operation.is_centred) centre(operation, o);
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
