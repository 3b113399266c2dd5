#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

#include "libslice/base/progress.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/method/plan.h"
#include "libslice/slicing/report.h"
#include "libslice/text/tokenizer.h"

namespace slice {

/// Where a checkpoint is sliced, and what is written.
struct LayerwiseOptions {
  at::Device device = at::kCPU;
  /// What weights are held and computed in: float32 on the CPU when absent, on a GPU the stored
  /// dtype.
  std::optional<at::ScalarType> dtype = std::nullopt;
  /// What is written: the stored dtype when absent.
  std::optional<at::ScalarType> written = std::nullopt;
  int64_t shard_bytes = kShardBytes;  ///< largest safetensors file
  /// Where what a killed run goes on from is kept, PartialDirectory::journal(): a directory, empty
  /// or that of the run to go on with, which is removed with what is no longer needed by whoever
  /// made it. Empty: nothing is kept.
  std::filesystem::path journal = {};
  /// Layers between two savings of the signal; 0: as many as keep their cost below a twentieth of
  /// the time.
  int64_t save_every = 0;
};

/// Slices a model that need not fit on the device, or into memory: layers come from the checkpoint
/// one by one, the next one read while this one is sliced, and go into the output's shards while
/// the next one is sliced. The files are those that load_model, slice_model and write_model give,
/// byte for byte; on a GPU where chunks are of the same size (a nearly full one makes them
/// smaller).
///
/// On the device at a time: the embedding or the head, or two layers, beside the stream of all
/// calibration tokens (twice for kRefit) and what slicing a layer takes. A stream for which there
/// is no room there lives in the host's memory, or on the disk in a file without a name beside the
/// output. On the host: a layer read
/// ahead. kRefit takes its gradients first, in two sweeps over the layers, as many of them together
/// as half of the free device memory holds, √L on the CPU; the host then keeps the signal in front
/// of each such run, and 8·D² bytes a site of Γ: those grow with depth.
///
/// With a journal, which kSliceGpt alone has, a layer's weights and bases are on the disk before
/// the next but one is begun, and the signal now and then. A run that was killed goes on when it is
/// called again with the same arguments: it passes the layers since the last signal with the bases
/// that were found, and the files are those of a run that was not killed, byte for byte, given the
/// same device, threads and libslice.
///
/// @param tokens     (N, T) int64     @param options  no budget; of kRefit no kept tie and no
/// diagonal shortcuts
/// @param directory  exists; files of a Hugging Face model are written into it
/// @param tokenizer  written beside them; may be nullptr
/// @throws FormatError, NumericError, DeviceError, Error  as load_model, slice_model and
/// write_model; FormatError for a quantised checkpoint without `written`, and on a GPU without
/// `dtype`: which half type holds it is known only when all of it was read
/// @throws Error  the journal is that of a run with another checkpoint, calibration, plan or dtype;
/// no space left, and then the run can go on once there is some
/// @throws ShapeError  other options, a journal for kRefit
SliceReport slice_checkpoint(const Checkpoint& checkpoint, const at::Tensor& tokens,
                             const SliceOptions& options, const std::filesystem::path& directory,
                             const LayerwiseOptions& pass, const Tokenizer* tokenizer,
                             const OnProgress& on_progress = {});

}  // namespace slice
