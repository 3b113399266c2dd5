#include "cuda/detail/decode_attention_ring.cuh"

#include "cuda/detail/decode_attention_ring.h"

// decode_attention for many sequences:   out = softmax(cap(scale · q Kᵀ)) V
// grid    one block a multiprocessor; its 16 warps work on a key head of a sequence each, one after
//         the other, for up to 1, 2 or 4 query heads
// shared  a ring of two stages of 2 KiB of K and of V a warp: 128 KiB
// numerics  products, softmax (base 2, running maximum) and sums in float32, rows of a team in
//         ascending order, then the new one, then the teams; one rounding to T: repeats bit by bit
// edges   any d ≤ 256 that 8 divides, any GQA ratio, windows, p = 0
// work    reads 2·(p + 1)·kv·d elements a sequence, again for every further heads of a key head

namespace slice::kernels::detail {
namespace {

template <typename T, int kTeam, int kHeads>
cudaError_t launch_shape(const AttentionArguments<T>& a, int items, int multiprocessors,
                         cudaStream_t stream) {
  using Shape = AttentionRingShape<kTeam, kHeads>;
  const auto kernel = decode_attention_ring_kernel<T, Shape>;
  const cudaError_t status = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::kSharedBytes);
  if (status != cudaSuccess) return status;
  return launch_dependent(kernel,
                          {static_cast<unsigned>(multiprocessors), Shape::kWarps * kWarp,
                           static_cast<size_t>(Shape::kSharedBytes)},
                          /*early=*/true, stream, a, items);
}

int64_t items_of(const DecodeAttention& p, int heads) {
  return p.batch * p.kv_heads * ceil_div(p.heads / p.kv_heads, heads);
}

}  // namespace

int attention_ring_heads(const DecodeAttention& p, int multiprocessors) {
  const int64_t group = p.heads / p.kv_heads;
  // Measured: fewer items than this leave warps idle for too long.
  for (const int heads : {4, 2, 1}) {
    const bool fits = heads == 1 ? group == 1 : group > heads / 2;
    if (fits && items_of(p, heads) >= int64_t{7} * multiprocessors) return heads;
  }
  return 0;
}

template <typename T>
cudaError_t launch_attention_ring(const AttentionArguments<T>& a, const DecodeAttention& p,
                                  int multiprocessors, int heads, cudaStream_t stream) {
  const auto items = static_cast<int>(items_of(p, heads));
  const auto launch = [&](auto team) {
    constexpr int kTeam = decltype(team)::value;
    switch (heads) {
      case 1:
        return launch_shape<T, kTeam, 1>(a, items, multiprocessors, stream);
      case 2:
        return launch_shape<T, kTeam, 2>(a, items, multiprocessors, stream);
      default:
        return launch_shape<T, kTeam, 4>(a, items, multiprocessors, stream);
    }
  };
  if (p.head_size <= 64) return launch(std::integral_constant<int, 8>());
  if (p.head_size <= 128) return launch(std::integral_constant<int, 16>());
  return launch(std::integral_constant<int, 32>());
}

template cudaError_t launch_attention_ring(const AttentionArguments<__half>&,
                                           const DecodeAttention&, int, int, cudaStream_t);
template cudaError_t launch_attention_ring(const AttentionArguments<__nv_bfloat16>&,
                                           const DecodeAttention&, int, int, cudaStream_t);

}  // namespace slice::kernels::detail
