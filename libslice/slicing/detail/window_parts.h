#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "libslice/device/process_group.h"
#include "libslice/method/calibration_windows.h"

namespace slice::detail {

/// Windows begin … end of this rank's: its share of those of one text and one use, which may be
/// none of them.
struct WindowPart {
  int64_t text, begin, end;
};

/// This rank's calibration windows, use after use, and of each use text after text. Every rank has
/// the same parts, in the same order: those of which some rank has windows.
struct WindowParts {
  WindowParts(const CalibrationWindows& windows, const ProcessGroup& group);

  at::Tensor tokens;   // (n, T)
  int64_t summed = 0;  // of them the first ones, which moments are summed over: not held out
  std::vector<WindowPart> fit, choose, held_out;
};

}  // namespace slice::detail
