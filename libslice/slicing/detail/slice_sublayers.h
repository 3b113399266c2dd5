#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"
#include "libslice/method/calibration_windows.h"
#include "libslice/method/plan.h"
#include "libslice/method/signal.h"
#include "libslice/model/adapter.h"
#include "libslice/slicing/report.h"

namespace slice::detail {

class ResumeJournal;

/// What a loop holds before a part, from which it can be resumed there.
struct LoopState {
  std::vector<std::pair<std::string, const Signal*>> signals;  ///< by name
  at::Tensor P;                      ///< (D, k) basis of the first one; undefined: the original
  std::vector<double> numbers = {};  ///< the loop's own; as many at every part

  int64_t signal_bytes() const {
    int64_t bytes = 0;
    for (const auto& [name, signal] : signals) bytes += signal->bytes();
    return bytes;
  }
};

/// What a slicing loop calls at every part of the model: 0 are the embeddings, i is sublayer i − 1,
/// and the last, one after the sublayers, is the final norm and the head. Any hook may be empty.
struct LayerHooks {
  std::function<void(int64_t part)> enter = {};  ///< its weights are needed from now on
  std::function<void(int64_t part)> leave = {};  ///< they are rewritten, and not needed again
  /// Before a part: the loop's state may be saved. @return  a note for the user; nearly always
  /// empty
  std::function<std::string(int64_t part, const LoopState& state)> save = {};
  /// What an earlier run found, and where to resume; nullptr: nothing is kept.
  ResumeJournal* journal = nullptr;
  /// Directory for a signal that no memory has room for; empty: the system's temporary directory.
  std::filesystem::path scratch = {};

  void entered(int64_t part) const {
    if (enter) enter(part);
  }
  void left(int64_t part) const {
    if (leave) leave(part);
  }
  /// Whether a loop begins with saved signals, after the embeddings.
  bool resumes() const;
};

/// The paper's loop (slicegpt.h). Weights may be placeholders (model/detail/placeholder.h) outside
/// `enter` … `leave`: they have the dtype and device that the weights will have.
/// @throws ArgumentError  texts with weights: the paper's method has none
SliceReport slice_sublayers(ModelAdapter& model, const CalibrationWindows& windows,
                            const SliceOptions& options, const OnProgress& on_progress,
                            const LayerHooks& hooks = {}, const ProcessGroup& group = {});

/// The refit method's loop (refitter.h), given the gradient covariances.
SliceReport refit_sublayers(ModelAdapter& model, const CalibrationWindows& windows,
                            const SliceOptions& options, const OnProgress& on_progress,
                            const std::vector<at::Tensor>& gammas, const LayerHooks& hooks = {},
                            const ProcessGroup& group = {});

/// refit_trial (refit_model.h) of a model whose weights may be placeholders until `enter`, the only
/// hook that is called: those of a part are as they were once the next one is entered.
double trial_loss(ModelAdapter& model, const CalibrationWindows& trial, const SliceOptions& options,
                  const OnProgress& on_progress, const std::vector<at::Tensor>& gammas,
                  const LayerHooks& hooks = {}, const ProcessGroup& group = {});

}  // namespace slice::detail
