#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <variant>
#include <vector>

#include "cuda/decode_attention.h"
#include "cuda/decode_linear.h"

namespace slice::kernels {

/// The LayerNorm before products, of one row: y = (x − mean(x)) / √(var(x) + eps) · α + β. The
/// products of the list that read Y do it to what they read of X; Y itself is not written.
struct DecodeNorm {
  void* Y = nullptr;             ///< (columns): stands for what is read
  const void* X = nullptr;       ///< (columns)
  const void* weight = nullptr;  ///< α (columns), optional: ones
  const void* bias = nullptr;    ///< β (columns), optional: zeros
  DataType type = DataType::kFloat16;
  int64_t columns = 0;
  double eps = 0;
};

/// A product, an attention or a norm of a decoding step.
using DecodeOperation = std::variant<DecodeLinear, DecodeAttention, DecodeNorm>;

inline constexpr int64_t kDecodeStepHeadSize = 128;

/// Whether decode_step() runs these on the current device: compute capability 9.0; one row (M = 1,
/// batch 1) of one half type; products of whole 16-byte vectors, with an even number of columns;
/// attention with heads of whole vectors, of kDecodeStepHeadSize at most, all of it at one position,
/// in splits of its own; LayerNorms. Every operand is what one of the eight operations before it
/// made, all of it, or nothing that the list writes; X is so for the first eight alone, and qkv for
/// none. What has fewer than two columns a multiprocessor is a product that neither another such
/// one nor attention reads, nor reads it attention. Other lists: one call each.
bool decode_step_runs(const std::vector<DecodeOperation>& operations);

/// Device memory of a list that runs.
size_t decode_step_workspace_bytes(const std::vector<DecodeOperation>& operations);

/// Writes a list that runs to the device, with the host waiting for it. Not part of a capture that
/// may be under way on this thread.
/// @param workspace  decode_step_workspace_bytes() on the device, from a multiple of 16 bytes on, to
///                   be kept for all steps of this list; no step may be under way in it
cudaError_t prepare_decode_step(const std::vector<DecodeOperation>& operations, void* workspace);

/// The operations, one after the other, as one kernel that never lets go of the memory bus: a block a
/// multiprocessor, each with some rows of every product, whose weights it goes on reading while it
/// waits for what others make. Results are those of decode_linear() and decode_attention() to
/// rounding, and repeat bit by bit.
/// @param workspace  as prepare_decode_step() left it for this list; one step at a time
/// @return  cudaErrorCooperativeLaunchTooLarge where a block a multiprocessor does not fit at one time
cudaError_t decode_step(const std::vector<DecodeOperation>& operations, void* workspace,
                        cudaStream_t stream);

}  // namespace slice::kernels
