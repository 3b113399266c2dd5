#include "cuda/rotary_append.h"

#include <algorithm>

#include "cuda/detail/numeric.cuh"
#include "cuda/detail/range.h"

// rotary_append:   q ← turned q;  cache ← turned k, v;  with places of tokens k ← turned k, too
//   qkv (B·T, (h + 2·kv)·d)   keys, values (B, kv, capacity, d)     row-major, contiguous
// grid    one block a token (a loop past 2³¹ − 1)
// block   256 threads; a thread owns two packs of every 256 / units-th head: i and i + r/2, which
//         turn together, or two neighbours that do not turn; its angles stay in registers
// shared  none
// numerics  products in float32, one rounding to T; what does not turn is copied bit by bit
// edges   any d ≤ 512, even r ≤ d (packs of 16 bytes or single elements), kv ≤ h, T ≥ 0
// work    reads B·T·(h + 2·kv)·d elements, writes as many; r of 2·tokens float32 angles

namespace slice::kernels {
namespace {

using detail::kVectorBytes;
using detail::Pack;

constexpr int kThreads = 256;
static_assert(kRotaryHeadSize <= 2 * kThreads);

template <typename T>
struct Arguments {
  T* qkv;
  T* keys;
  T* values;
  const float* cosine;
  const float* sine;
  const TokenPlace* places;
  int64_t rows, tokens, capacity, first;
  int heads, kv_heads, head_size, half, units;
};

// No __restrict__: q is turned in place, each element by the thread that reads it.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads) rotary_append_kernel(const Arguments<T> a) {
  using P = Pack<T, kWidth>;
  using Angles = Pack<float, kWidth>;
  const int slots = a.heads + 2 * a.kv_heads;
  const int teams = kThreads / a.units;
  const int team = static_cast<int>(threadIdx.x) / a.units;
  const int unit = static_cast<int>(threadIdx.x) % a.units;
  if (team >= teams) return;
  const int turning_units = a.half / kWidth;
  const bool turns = unit < turning_units;
  const int left = turns ? unit * kWidth : 2 * a.half + 2 * (unit - turning_units) * kWidth;
  const int right = turns ? left + a.half : left + kWidth;
  const bool has_right = right < a.head_size;

  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    int64_t sequence = row / a.tokens;
    int64_t position = a.first + row % a.tokens;
    if (a.places != nullptr) {
      sequence = a.places[row].sequence;
      position = a.places[row].position;
    }
    Angles cosine = {}, sine = {};
    if (turns) {
      cosine = *reinterpret_cast<const Angles*>(a.cosine + position * a.half + left);
      sine = *reinterpret_cast<const Angles*>(a.sine + position * a.half + left);
    }
    for (int slot = team; slot < slots; slot += teams) {
      const bool is_query = slot < a.heads;
      const bool is_value = slot >= a.heads + a.kv_heads;
      if (is_query && !turns) continue;
      T* source = a.qkv + (row * slots + slot) * a.head_size;
      T* target = source;
      if (!is_query) {
        const int64_t head = sequence * a.kv_heads + (slot - a.heads) % a.kv_heads;
        target = (is_value ? a.values : a.keys) + (head * a.capacity + position) * a.head_size;
      }
      P u = *reinterpret_cast<const P*>(source + left);
      P v = {};
      if (has_right) v = *reinterpret_cast<const P*>(source + right);
      const bool turned = turns && !is_value;
      if (turned) {
#pragma unroll
        for (int i = 0; i < kWidth; ++i) {
          const float x = detail::widen(u.values[i]), y = detail::widen(v.values[i]);
          u.values[i] = detail::narrow<T>(x * cosine.values[i] - y * sine.values[i]);
          v.values[i] = detail::narrow<T>(y * cosine.values[i] + x * sine.values[i]);
        }
      }
      detail::store_pack(target + left, u);
      if (has_right) detail::store_pack(target + right, v);
      if (turned && !is_query && a.places != nullptr) {
        detail::store_pack(source + left, u);
        detail::store_pack(source + right, v);
      }
    }
  }
}

template <typename T, int kWidth>
cudaError_t launch(const RotaryAppend& p, cudaStream_t stream) {
  const int64_t rows = p.batch * p.tokens;
  const Arguments<T> arguments = {static_cast<T*>(p.qkv),
                                  static_cast<T*>(p.keys),
                                  static_cast<T*>(p.values),
                                  p.cosine,
                                  p.sine,
                                  p.places,
                                  rows,
                                  p.tokens,
                                  p.capacity,
                                  p.first,
                                  static_cast<int>(p.heads),
                                  static_cast<int>(p.kv_heads),
                                  static_cast<int>(p.head_size),
                                  static_cast<int>(p.rotary_size / 2),
                                  static_cast<int>(detail::ceil_div(p.head_size, 2 * kWidth))};
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(rows, INT32_MAX));
  rotary_append_kernel<T, kWidth><<<blocks, kThreads, 0, stream>>>(arguments);
  return cudaPeekAtLastError();
}

template <typename T>
cudaError_t launch(const RotaryAppend& p, cudaStream_t stream) {
  constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
  const bool vectors =
      p.head_size % kWidth == 0 && p.rotary_size % (2 * kWidth) == 0 &&
      detail::is_aligned(p.qkv, kVectorBytes) && detail::is_aligned(p.keys, kVectorBytes) &&
      detail::is_aligned(p.values, kVectorBytes) && detail::is_aligned(p.cosine, kVectorBytes) &&
      detail::is_aligned(p.sine, kVectorBytes);
  return vectors ? launch<T, kWidth>(p, stream) : launch<T, 1>(p, stream);
}

bool is_valid(const RotaryAppend& p) {
  constexpr int64_t kMostHeads = 1 << 20;
  const bool sizes = p.heads > 0 && p.kv_heads > 0 && p.heads <= kMostHeads &&
                     p.kv_heads <= kMostHeads && p.head_size > 0 &&
                     p.head_size <= kRotaryHeadSize && p.rotary_size >= 0 &&
                     p.rotary_size <= p.head_size && p.rotary_size % 2 == 0 && p.first >= 0 &&
                     p.type != DataType::kFloat64;
  const bool fits = p.places != nullptr ? p.batch == 1 && p.first == 0 && p.capacity > 0
                                        : p.first + p.tokens <= p.capacity;
  const bool pointers = p.qkv != nullptr && p.keys != nullptr && p.values != nullptr &&
                        (p.rotary_size == 0 || (p.cosine != nullptr && p.sine != nullptr));
  const int64_t size = size_of(p.type);
  return sizes && fits && pointers && detail::is_aligned(p.qkv, size) &&
         detail::is_aligned(p.keys, size) && detail::is_aligned(p.values, size);
}

}  // namespace

cudaError_t rotary_append(const RotaryAppend& p, cudaStream_t stream) {
  if (p.batch < 0 || p.tokens < 0) return cudaErrorInvalidValue;
  if (p.batch == 0 || p.tokens == 0) return cudaSuccess;
  if (!is_valid(p)) return cudaErrorInvalidValue;
  return detail::dispatch_up_to_float32(p.type, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    return launch<T>(p, stream);
  });
}

}  // namespace slice::kernels
