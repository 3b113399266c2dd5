#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "libslice/base/progress.h"
#include "libslice/device/process_group.h"
#include "libslice/method/plan.h"
#include "libslice/method/signal.h"
#include "libslice/model/adapter.h"
#include "libslice/slicing/report.h"

namespace slice::detail {

class ResumeJournal;

/// Tells whoever owns the weights which of them the loop needs. 0 are the embeddings, i sublayer
/// i − 1, one more than there are sublayers the final norm and the head. Any may be empty.
struct LayerHooks {
  std::function<void(int64_t part)> enter = {};  ///< it is needed from now on
  std::function<void(int64_t part)> leave = {};  ///< it is rewritten, and not needed again
  /// The signal stands in front of a part, in basis P: it may be saved there. @return  what a
  /// person should know of that; empty nearly always
  std::function<std::string(int64_t part, const Signal& x, const at::Tensor& P)> rest = {};
  /// Where an earlier loop left off, and what it found; nullptr: nobody asks.
  ResumeJournal* record = nullptr;
  /// Where a signal goes that no memory has room for; empty: the system's directory for such.
  std::filesystem::path scratch = {};

  void entered(int64_t part) const {
    if (enter) enter(part);
  }
  void left(int64_t part) const {
    if (leave) leave(part);
  }
};

/// The paper's loop (slice_model.cpp). Weights that are placeholders (detail/placeholder.h) between
/// `leave` and `enter` say by them what dtype and device they will have.
SliceReport slice_sublayers(ModelAdapter& model, const at::Tensor& tokens,
                            const SliceOptions& options, const OnProgress& on_progress,
                            const LayerHooks& passage = {}, const ProcessGroup& group = {});

/// The refit method's loop (refit_model.cpp) over a model whose gradient covariances are known.
SliceReport refit_sublayers(ModelAdapter& model, const at::Tensor& tokens,
                            const SliceOptions& options, const OnProgress& on_progress,
                            const std::vector<at::Tensor>& gammas, const LayerHooks& passage = {},
                            const ProcessGroup& group = {});

}  // namespace slice::detail
