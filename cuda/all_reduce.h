#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/data_type.h"
#include "cuda/peer_ranks.h"

namespace slice::kernels {

/// The end of a sublayer whose writers are divided among ranks: what each rank's part of them gives
/// is added up, and the shortcut to it.
///
///   Y = Σ X_rank + d ⊙ R
///
/// X and Y are contiguous. All operands have one type.
struct AllReduce {
  void* Y = nullptr;                   // (M, N); may be X or R, overlaps nothing else
  const void* X = nullptr;             // (M, N), this rank's part
  const void* R = nullptr;             // (M, residual_columns), optional; columns beyond get none
  const void* diagonal = nullptr;      // (residual_columns), optional: ones
  DataType type = DataType::kFloat16;  // not kFloat64
  int64_t M = 0;
  int64_t N = 0;
  int64_t residual_columns = 0;
  int64_t r_row_stride = 0;
};

/// One shot: every rank sends its part to all others and adds up all of them itself, in the order
/// of the ranks, in float32, the shortcut last, with one rounding: the same bits on every rank
/// where R and d are.
/// @return  cudaErrorInvalidValue for a bad size, alignment, overlap or rank; else the launch's.
///
/// Cost: 2·(ranks − 1)·M·N elements over the link each way, and as much received. 16-byte accesses
/// where Y, X, R, d and their rows allow.
cudaError_t all_reduce(const AllReduce& reduce, const PeerRanks& peers, cudaStream_t stream);

/// Columns that ranks have of a matrix, to every rank: the logits of a divided head.
struct AllGather {
  void* Y = nullptr;        // (M, N), contiguous, disjoint from X
  const void* X = nullptr;  // (M, begins[rank + 1] − begins[rank]), contiguous, this rank's columns
  DataType type = DataType::kFloat16;  // not kFloat64
  int64_t M = 0;
  int64_t begins[kMostPeerRanks + 1] = {};  // first column of each rank, ascending, the last is N
};

/// @return  as all_reduce. Cost: 2·(ranks − 1) times X over the link.
cudaError_t all_gather(const AllGather& gather, const PeerRanks& peers, cudaStream_t stream);

}  // namespace slice::kernels
