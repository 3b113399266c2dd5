#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "cuda/data_type.h"

namespace slice::kernels {

/// The step from logits to the stream of the next token, on the device alone: choose a token, write
/// it down, look its embedding up.
///
///   t = argmax(logits)            ties: the lowest id; a NaN: −1, and row 0 in its place
///   p ← p + 1,  history[p] = t,  x = scale · E[t] + P[p + position_offset]
///
/// Without logits t is what history[p + 1] already has.
struct NextToken {
  void* x = nullptr;                    ///< (batch, width), contiguous
  int64_t* history = nullptr;           ///< (batch, capacity): the token at each position
  int32_t* positions = nullptr;         ///< (batch), p ≥ −1, counted up
  const void* logits = nullptr;         ///< (batch, vocabulary), contiguous, or absent
  const void* embedding = nullptr;      ///< E (vocabulary, width), contiguous
  const void* position_rows = nullptr;  ///< P (…, width), contiguous, or absent
  void* workspace = nullptr;            ///< zeros before the first call with logits
  DataType type = DataType::kFloat16;   ///< not kFloat64
  int64_t batch = 0, vocabulary = 0, width = 0, capacity = 0, position_offset = 0;
  double scale = 1;  ///< of embeddings; their product is rounded to the type
};

size_t next_token_workspace_bytes(int64_t batch);

/// p + 1 must lie below capacity, history's ids below vocabulary, p + 1 + position_offset in P.
/// @return  cudaErrorInvalidValue for a bad size or a missing pointer; else the launch's.
cudaError_t next_token(const NextToken& next, cudaStream_t stream);

}  // namespace slice::kernels
