#include "cuda/all_reduce.h"

#include <algorithm>
#include <climits>

#include "cuda/detail/capability.h"
#include "cuda/detail/dependent_launch.cuh"
#include "cuda/detail/numeric.cuh"
#include "cuda/detail/peer_exchange.cuh"
#include "cuda/detail/range.h"

// all_reduce:   Y = Σ X_rank + d ⊙ R          all_gather:   Y = [X_0 | X_1 | …]
//   X, Y (M, N) contiguous   R strided rows
// grid    a block for 128 packs of 16 bytes, 128 blocks at most, then up to 16 packs a thread; a
//         launch for every 4 MiB
// block   128 threads: packs to all others first, then theirs as they come
// shared  none
// numerics  float32, ranks in ascending order, the shortcut last, one rounding to T
// edges   any M, N, residual_columns ≥ 0; unaligned rows go element by element
// work    sends and receives 2·(ranks − 1)·M·N elements

namespace slice::kernels {
namespace {

using detail::kExchangeBlocks;
using detail::kExchangeItems;
using detail::kExchangeThreads;
using detail::kVectorBytes;
using detail::kWords;
using detail::Pack;
using detail::PeerExchange;

constexpr int64_t kLaunchPacks = int64_t{kExchangeBlocks} * kExchangeItems * kExchangeThreads;

/// Packs of a launch, which begin at `first`. @return  the thread's j-th, past the end where it has
/// none
__device__ __forceinline__ int64_t pack_of_thread(int64_t first, int j) {
  return first + (int64_t{j} * gridDim.x + blockIdx.x) * kExchangeThreads + threadIdx.x;
}

template <typename T, int kWidth>
__device__ __forceinline__ void to_words(const Pack<T, kWidth>& pack, uint32_t (&words)[kWords]) {
  words[0] = 0;
  memcpy(words, &pack, sizeof pack);
}

template <typename T, int kWidth>
__device__ __forceinline__ Pack<T, kWidth> to_pack(const uint32_t (&words)[kWords]) {
  Pack<T, kWidth> pack;
  memcpy(&pack, words, sizeof pack);
  return pack;
}

template <typename T, int kWidth>
constexpr int kUsedWords = (sizeof(T) * kWidth + 3) / 4;

template <typename T>
struct ReduceOperands {
  T* Y;
  const T* X;
  const T* R;
  const T* diagonal;
  int64_t columns, residual_columns, r_row_stride;
  int64_t first, end;  // packs of this launch
};

template <typename T, int kWidth>
__global__ void __launch_bounds__(kExchangeThreads)
    all_reduce_kernel(const __grid_constant__ ReduceOperands<T> p,
                      const __grid_constant__ PeerRanks peers) {
  using P = Pack<T, kWidth>;
  detail::start_next_kernel();  // its weights are on their way while these few blocks wait
  detail::wait_for_previous_kernel();
  PeerExchange<kUsedWords<T, kWidth>> exchange(peers);
  const P* X = reinterpret_cast<const P*>(p.X);
  for (int j = 0; j < kExchangeItems; ++j) {
    const int64_t i = pack_of_thread(p.first, j);
    if (i >= p.end) break;
    uint32_t words[kWords];
    to_words(X[i], words);
    exchange.send(j, words);
  }
  const int64_t packs = p.columns / kWidth;  // of a row
  for (int j = 0; j < kExchangeItems; ++j) {
    const int64_t i = pack_of_thread(p.first, j);
    if (i >= p.end) break;
    const P own = X[i];
    const int64_t row = i / packs, column = i % packs * kWidth;
    const bool has_residual = column < p.residual_columns;
    P residual, factors;
    if (has_residual) {
      residual = *reinterpret_cast<const P*>(p.R + row * p.r_row_stride + column);
      if (p.diagonal != nullptr) factors = *reinterpret_cast<const P*>(p.diagonal + column);
    }
    float sums[kWidth] = {};
    for (int rank = 0; rank < peers.ranks; ++rank) {
      uint32_t words[kWords];
      if (rank != peers.rank) exchange.receive(rank, j, words);
      const P part = rank == peers.rank ? own : to_pack<T, kWidth>(words);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) sums[k] += detail::widen(part.values[k]);
    }
    P result;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      float y = sums[k];
      if (has_residual) {
        const float x = detail::widen(residual.values[k]);
        y += p.diagonal == nullptr ? x : x * detail::widen(factors.values[k]);
      }
      result.values[k] = detail::narrow<T>(y);
    }
    detail::store_pack(p.Y + i * kWidth, result);
  }
  exchange.finish();
}

template <typename T>
struct GatherOperands {
  T* Y;
  const T* X;
  int64_t columns;
  int64_t begins[kMostPeerRanks + 1];
  int64_t rows, first, end;  // packs of this launch, of the widest rank
};

template <typename T, int kWidth>
__global__ void __launch_bounds__(kExchangeThreads)
    all_gather_kernel(const __grid_constant__ GatherOperands<T> p,
                      const __grid_constant__ PeerRanks peers) {
  using P = Pack<T, kWidth>;
  detail::start_next_kernel();
  detail::wait_for_previous_kernel();
  PeerExchange<kUsedWords<T, kWidth>> exchange(peers);
  const auto packs_of = [&](int rank) { return (p.begins[rank + 1] - p.begins[rank]) / kWidth; };
  const auto place = [&](int rank, int64_t i) {  // of its i-th pack in Y
    const int64_t packs = packs_of(rank);
    return p.Y + i / packs * p.columns + p.begins[rank] + i % packs * kWidth;
  };
  const P* X = reinterpret_cast<const P*>(p.X);
  // Ranks with fewer columns send all the same: who waits for nobody may be a call ahead too many.
  for (int j = 0; j < kExchangeItems; ++j) {
    const int64_t i = pack_of_thread(p.first, j);
    if (i >= p.end) break;
    uint32_t words[kWords] = {};
    if (i < p.rows * packs_of(peers.rank)) {
      const P own = X[i];
      to_words(own, words);
      detail::store_pack(place(peers.rank, i), own);
    }
    exchange.send(j, words);
  }
  for (int j = 0; j < kExchangeItems; ++j) {
    const int64_t i = pack_of_thread(p.first, j);
    if (i >= p.end) break;
    for (int rank = 0; rank < peers.ranks; ++rank) {
      if (rank == peers.rank) continue;
      uint32_t words[kWords];
      exchange.receive(rank, j, words);
      if (i < p.rows * packs_of(rank)) {
        detail::store_pack(place(rank, i), to_pack<T, kWidth>(words));
      }
    }
  }
  exchange.finish();
}

/// Launches a kernel for all packs, some at a time.
template <typename Kernel, typename Operands>
cudaError_t launch(Kernel kernel, Operands operands, int64_t packs, const PeerRanks& peers,
                   cudaStream_t stream) {
  const bool early = detail::can_start_early();
  for (int64_t first = 0; first < packs; first += kLaunchPacks) {
    operands.first = first;
    operands.end = std::min(packs, first + kLaunchPacks);
    const int64_t blocks = std::min<int64_t>(
        kExchangeBlocks, detail::ceil_div(operands.end - first, int64_t{kExchangeThreads}));
    const cudaError_t status =
        detail::launch_dependent(kernel, {static_cast<unsigned>(blocks), kExchangeThreads, 0},
                                 early, stream, operands, peers);
    if (status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

bool ranks_are_good(const PeerRanks& p) {
  if (p.ranks < 1 || p.ranks > kMostPeerRanks || p.rank < 0 || p.rank >= p.ranks) return false;
  if (p.counters == nullptr || p.lost == nullptr || p.patience_ns < 0) return false;
  return std::all_of(p.mailboxes, p.mailboxes + p.ranks, [](const void* mailbox) {
    return mailbox != nullptr && detail::is_aligned(mailbox, kVectorBytes);
  });
}

bool operands_are_good(const AllReduce& r) {
  const int64_t size = size_of(r.type), count = r.M * r.N * size;
  const auto good = [size](const void* pointer, bool needed) {
    return (pointer != nullptr || !needed) && detail::is_aligned(pointer, size);
  };
  const bool residual = r.residual_columns > 0;
  if (!good(r.Y, true) || !good(r.X, true) || !good(r.R, residual) || !good(r.diagonal, false) ||
      r.residual_columns < 0 || r.residual_columns > r.N ||
      (residual && r.M > 1 && r.r_row_stride < r.residual_columns)) {
    return false;
  }
  const int64_t extent = detail::strided_extent(r.M, r.residual_columns, r.r_row_stride) * size;
  const bool in_place = r.Y == r.R && (r.r_row_stride == r.N || r.M == 1);
  return (r.Y == r.X || detail::are_disjoint(r.Y, count, r.X, count)) &&
         (in_place || detail::are_disjoint(r.Y, count, r.R, extent)) &&
         detail::are_disjoint(r.Y, count, r.diagonal,
                              r.diagonal == nullptr ? 0 : r.residual_columns * size);
}

}  // namespace

size_t peer_mailbox_bytes(int ranks) {
  if (ranks < 1 || ranks > kMostPeerRanks) return 0;
  return size_t{2} * static_cast<size_t>(ranks) * kLaunchPacks * kWords * sizeof(uint64_t);
}

size_t peer_counter_bytes() { return sizeof(detail::PeerCounters); }

cudaError_t all_reduce(const AllReduce& r, const PeerRanks& peers, cudaStream_t stream) {
  if (r.M < 0 || r.N < 0 || r.type == DataType::kFloat64 || !ranks_are_good(peers)) {
    return cudaErrorInvalidValue;
  }
  if (r.M == 0 || r.N == 0) return cudaSuccess;
  if (!operands_are_good(r)) return cudaErrorInvalidValue;
  const int64_t size = size_of(r.type);
  const auto whole = [&](int64_t elements) { return elements * size % kVectorBytes == 0; };
  const bool vectors =
      detail::is_aligned(r.Y, kVectorBytes) && detail::is_aligned(r.X, kVectorBytes) &&
      detail::is_aligned(r.R, kVectorBytes) && detail::is_aligned(r.diagonal, kVectorBytes) &&
      whole(r.N) && whole(r.residual_columns) && (r.M == 1 || whole(r.r_row_stride));
  return detail::dispatch_up_to_float32(r.type, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
    const ReduceOperands<T> operands{static_cast<T*>(r.Y),
                                     static_cast<const T*>(r.X),
                                     static_cast<const T*>(r.R),
                                     static_cast<const T*>(r.diagonal),
                                     r.N,
                                     r.residual_columns,
                                     r.r_row_stride,
                                     0,
                                     0};
    return vectors
               ? launch(all_reduce_kernel<T, kWidth>, operands, r.M * r.N / kWidth, peers, stream)
               : launch(all_reduce_kernel<T, 1>, operands, r.M * r.N, peers, stream);
  });
}

cudaError_t all_gather(const AllGather& g, const PeerRanks& peers, cudaStream_t stream) {
  if (g.M < 0 || g.type == DataType::kFloat64 || !ranks_are_good(peers) || g.begins[0] != 0) {
    return cudaErrorInvalidValue;
  }
  const int64_t size = size_of(g.type);
  int64_t widest = 0;
  bool vectors = detail::is_aligned(g.Y, kVectorBytes) && detail::is_aligned(g.X, kVectorBytes);
  for (int rank = 0; rank < peers.ranks; ++rank) {
    if (g.begins[rank + 1] < g.begins[rank]) return cudaErrorInvalidValue;
    widest = std::max(widest, g.begins[rank + 1] - g.begins[rank]);
    vectors = vectors && g.begins[rank + 1] * size % kVectorBytes == 0;
  }
  const int64_t N = g.begins[peers.ranks];
  const int64_t own = g.begins[peers.rank + 1] - g.begins[peers.rank];
  if (g.M == 0 || N == 0) return cudaSuccess;
  if (g.Y == nullptr || (g.X == nullptr && own > 0) || !detail::is_aligned(g.Y, size) ||
      !detail::is_aligned(g.X, size) ||
      !detail::are_disjoint(g.Y, g.M * N * size, g.X, g.M * own * size)) {
    return cudaErrorInvalidValue;
  }
  return detail::dispatch_up_to_float32(g.type, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    constexpr int kWidth = kVectorBytes / static_cast<int>(sizeof(T));
    GatherOperands<T> operands{static_cast<T*>(g.Y), static_cast<const T*>(g.X), N, {}, g.M, 0, 0};
    std::copy(g.begins, g.begins + peers.ranks + 1, operands.begins);
    return vectors ? launch(all_gather_kernel<T, kWidth>, operands, g.M * widest / kWidth, peers,
                            stream)
                   : launch(all_gather_kernel<T, 1>, operands, g.M * widest, peers, stream);
  });
}

}  // namespace slice::kernels
