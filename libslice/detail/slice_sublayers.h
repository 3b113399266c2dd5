#pragma once

#include <functional>

#include "libslice/adapter.h"
#include "libslice/plan.h"
#include "libslice/progress.h"
#include "libslice/report.h"
#include "libslice/stream.h"

namespace slice::detail {

class SliceRecord;

/// Tells whoever owns the weights which of them the loop needs. 0 are the embeddings, i sublayer
/// i − 1, one more than there are sublayers the final norm and the head. Either may be empty.
struct Passage {
  std::function<void(int64_t part)> enter = {};  ///< it is needed from now on
  std::function<void(int64_t part)> leave = {};  ///< it is rewritten, and not needed again
  /// The signal stands in front of a part, in basis P: it may be saved there.
  std::function<void(int64_t part, const Stream& x, const at::Tensor& P)> rest = {};
  /// Where an earlier loop left off, and what it found; nullptr: nobody asks.
  SliceRecord* record = nullptr;
};

/// The paper's loop (slice_model.cpp). Weights that are placeholders (detail/placeholder.h) between
/// `leave` and `enter` say by them what dtype and device they will have.
SliceReport slice_sublayers(ModelAdapter& model, const at::Tensor& tokens,
                            const SliceOptions& options, const OnProgress& on_progress,
                            const Passage& passage = {});

}  // namespace slice::detail
