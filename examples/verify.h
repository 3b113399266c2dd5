#pragma once

// slice_model --verify: what costs too much for every run.

#include <filesystem>
#include <optional>

#include "libslice/slice.h"

namespace cli {

/// The calibration windows that a loss before and after is measured on (n, T): those that are held
/// out; all where none is.
at::Tensor verified_windows(const slice::CalibrationWindows& windows);

/// Loads what was written anew, and compares: the files with the model in memory, and with what they
/// are loaded as, to the bit; and measures the loss.
/// @param dense  the dense model's loss on `windows`, in nats a token
/// @throws slice::Error  something differs, or the loss is not finite
slice::VerifyReport verify(const slice::Model& model, const std::filesystem::path& directory,
                           std::optional<at::ScalarType> dtype, const at::Tensor& windows,
                           double dense, const slice::OnProgress& on_progress);

}  // namespace cli
