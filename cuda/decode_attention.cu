#include "cuda/decode_attention.h"

#include <algorithm>

#include "cuda/detail/capability.h"
#include "cuda/detail/decode_attention.cuh"
#include "cuda/detail/decode_attention_ring.h"
#include "cuda/detail/dependent_launch.cuh"

// decode_attention:   out = softmax(cap(scale · q Kᵀ)) V, one query a sequence
//   qkv (B, (h + 2·kv)·d)   K, V (B, kv, capacity, d)   out (B, h·d)     row-major, contiguous
// On compute capability 9.0 by decode_attention_ring.cu where there are many sequences; else:
// grid    splits · kv · ⌈h / kv / kHeads⌉ · B; a block takes a range of positions for up to kHeads
//         query heads of one key head; ranges that are empty leave at once
// block   256 threads in teams of 8 … 32 lanes; a team has rows of K and of V in its registers,
//         the first of them before the previous kernel has ended; then the L2 has the next ones
// shared  the new row; turned queries, then one sum a warp and head: at most 36 KiB
// numerics  products, softmax (base 2, running maximum) and sums in float32; one rounding to T; the
//         new key is rounded to T before it is used, as the cached ones are; norms of heads in
//         float32, not rounded before they turn; the last block to finish adds the splits in their
//         order, so results repeat bit by bit
// edges   any d ≤ 256 (16-byte packs or single elements), any GQA ratio, windows, p = 0
// work    reads 2·(p + 1)·kv·d elements a sequence, 4·(p + 1)·h·d flop

namespace slice::kernels {
namespace {

using detail::AttentionArguments;
using detail::kAttentionHeads;
using detail::kAttentionThreads;
using detail::kMaxHeadSize;
using detail::kVectorBytes;
using detail::kWarp;

template <typename T, int kWidth, int kPacks, int kTeam, int kHeads>
__global__ void __launch_bounds__(kAttentionThreads)
    decode_attention_kernel(const AttentionArguments<T> a) {
  __shared__ detail::AttentionShared<T, kWidth * kPacks * kTeam, kHeads> shared;
  detail::attend<T, kWidth, kPacks, kTeam, kHeads>(a, static_cast<int>(blockIdx.x), shared, [] {
    detail::start_next_kernel();  // its weights are on their way while these few blocks work
    detail::wait_for_previous_kernel();
  });
}

template <typename T, int kWidth, int kPacks, int kTeam>
cudaError_t launch(const AttentionArguments<T>& a, const DecodeAttention& p, bool early,
                   cudaStream_t stream) {
  const auto start = [&](auto kernel, int64_t heads) {
    const int64_t chunks = detail::ceil_div(p.heads / p.kv_heads, heads);
    const auto blocks = static_cast<unsigned>(p.splits * chunks * p.kv_heads * p.batch);
    const cudaError_t status =
        detail::launch_dependent(kernel, {blocks, kAttentionThreads, 0}, early, stream, a);
    return status != cudaSuccess ? status : cudaPeekAtLastError();
  };
  const int64_t group = p.heads / p.kv_heads;
  if (group == 1) return start(decode_attention_kernel<T, kWidth, kPacks, kTeam, 1>, 1);
  return start(decode_attention_kernel<T, kWidth, kPacks, kTeam, kAttentionHeads>, kAttentionHeads);
}

// Teams as small as a row allows: more rows at a time.
template <typename T>
cudaError_t launch(const AttentionArguments<T>& a, const DecodeAttention& p, cudaStream_t stream) {
  detail::Capability device;
  const cudaError_t status = detail::current_capability(device);
  if (status != cudaSuccess) return status;
  const bool early = device.major >= 9;
  constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
  const bool vectors = p.head_size % kWidth == 0 && detail::is_aligned(p.keys, kVectorBytes) &&
                       detail::is_aligned(p.values, kVectorBytes);
  if (!vectors) return launch<T, 1, kMaxHeadSize / kWarp, kWarp>(a, p, early, stream);
  if constexpr (sizeof(T) == 2) {
    const bool rings = device.major == detail::kHopperMajor && p.splits == 1;
    const int heads = rings ? detail::attention_ring_heads(p, device.multiprocessors) : 0;
    if (heads > 0)
      return detail::launch_attention_ring(a, p, device.multiprocessors, heads, stream);
  }
  if (p.head_size <= 8 * kWidth) return launch<T, kWidth, 1, 8>(a, p, early, stream);
  if (p.head_size <= 16 * kWidth) return launch<T, kWidth, 1, 16>(a, p, early, stream);
  return launch<T, kWidth, kMaxHeadSize / kWarp / kWidth, kWarp>(a, p, early, stream);
}

}  // namespace

int64_t decode_attention_splits(int64_t batch, int64_t kv_heads, int64_t capacity,
                                int64_t multiprocessors) {
  const int64_t wanted =
      detail::ceil_div(2 * multiprocessors, std::max<int64_t>(1, batch * kv_heads));
  const int64_t most = detail::ceil_div(capacity, detail::kMinSplitRows);
  return std::max<int64_t>(1, std::min(wanted, most));
}

size_t decode_attention_workspace_bytes(const DecodeAttention& p) {
  const int64_t partials = p.batch * p.heads * p.splits * (detail::kPartialHeader + p.head_size);
  return static_cast<size_t>(detail::attention_ticket_bytes(p) +
                             partials * static_cast<int64_t>(sizeof(float)));
}

cudaError_t decode_attention(const DecodeAttention& p, cudaStream_t stream) {
  if (p.batch < 0) return cudaErrorInvalidValue;
  if (p.batch == 0) return cudaSuccess;
  if (!detail::attention_is_valid(p)) return cudaErrorInvalidValue;
  return detail::dispatch_up_to_float32(p.type, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    return launch(detail::attention_arguments<T>(p), p, stream);
  });
}

}  // namespace slice::kernels
