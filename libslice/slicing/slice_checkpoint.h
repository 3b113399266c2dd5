#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

#include "libslice/base/progress.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/shard_writer.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/plan.h"
#include "libslice/slicing/report.h"
#include "libslice/text/tokenizer.h"

namespace slice {

/// Where a checkpoint is sliced, and what is written.
struct LayerwiseOptions {
  at::Device device = at::kCPU;
  /// Dtype that weights are held and computed in: float32 on the CPU when absent, on a GPU the
  /// stored dtype.
  std::optional<at::ScalarType> dtype = std::nullopt;
  /// Dtype that is written: the stored one when absent.
  std::optional<at::ScalarType> written = std::nullopt;
  int64_t shard_bytes = kShardBytes;
  /// PartialDirectory::journal(): a directory for what a killed run is resumed from, empty or that
  /// of the run to resume. Whoever made it removes it. Empty: nothing is kept.
  std::filesystem::path journal = {};
  /// Layers between two saves of the signal; 0: as many as keep their cost below a twentieth of the
  /// time.
  int64_t save_every = 0;
};

/// Slices a model that need not fit on the device, or into memory: layers are read from the
/// checkpoint one by one, the next one while this one is sliced, and written into the output's
/// shards while the next one is sliced. The files are those that load_model, slice_model and
/// write_model give, byte for byte; on a GPU where chunks are of the same size (a nearly full one
/// makes them smaller).
///
/// On the device at a time: the embedding or the head, or two layers, beside the signal of all
/// calibration tokens (two of them for kRefit) and the working memory of a layer. A signal for
/// which there is no room there is kept in the host's memory, or on the disk in an unnamed file
/// beside the output. On the host: a layer read ahead. kRefit takes its gradients first, in two
/// sweeps over the layers, as many of them together as half of the free device memory holds, √L on
/// the CPU; the host then keeps the signal before each such run of layers, and 8·D² bytes a site of
/// Γ: those grow with depth.
///
/// With a journal a layer's weights are on the disk before the next but one is begun, and the signal
/// (both of kRefit) is saved now and then. A killed run is resumed by the same call: kSliceGpt runs
/// the layers since the last signal with the bases that were found, kRefit slices them again; Γ, in
/// 8·D² bytes a site, and the plan of a budget are kept once they are found. The files are those of
/// an uninterrupted run, byte for byte, given the same device, threads and libslice.
///
/// Of a budget the plan is searched first, among layerwise_candidates(); every trial reads the
/// checkpoint once. It is the plan that slice_model finds among the same.
///
/// @param windows    calibration windows (N, T) int64, or CalibrationWindows of several texts
/// @param options    of kRefit no diagonal shortcuts, and no kept tie unless the hidden size stays
/// @param directory  exists; files of a Hugging Face model are written into it
/// @param tokenizer  written beside them; may be nullptr
/// @throws FormatError, NumericError, DeviceError, Error  as load_model, slice_model and
///                    write_model; FormatError for a quantised checkpoint without `written`, and on
///                    a GPU without `dtype`: which half type holds it is known only once all of it
///                    is read
/// @throws Error      the journal is that of a run with another checkpoint, calibration, plan or
///                    dtype; no space left, and then the run can be resumed once there is some
/// @throws ArgumentError  other options
SliceReport slice_checkpoint(const Checkpoint& checkpoint, const CalibrationWindows& windows,
                             const SliceOptions& options, const std::filesystem::path& directory,
                             const LayerwiseOptions& layerwise, const Tokenizer* tokenizer,
                             const OnProgress& on_progress = {});

}  // namespace slice
