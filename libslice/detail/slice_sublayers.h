#pragma once

#include <functional>

#include "libslice/adapter.h"
#include "libslice/plan.h"
#include "libslice/process_group.h"
#include "libslice/progress.h"
#include "libslice/report.h"

namespace slice::detail {

/// Tells whoever owns the weights which of them the loop needs. 0 are the embeddings, i sublayer
/// i − 1, one more than there are sublayers the final norm and the head. Either may be empty.
struct Passage {
  std::function<void(int64_t part)> enter;  ///< it is needed from now on
  std::function<void(int64_t part)> leave;  ///< it is rewritten, and not needed again
};

/// The paper's loop (slice_model.cpp). Weights that are placeholders (detail/placeholder.h) between
/// `leave` and `enter` say by them what dtype and device they will have.
SliceReport slice_sublayers(ModelAdapter& model, const at::Tensor& tokens,
                            const SliceOptions& options, const OnProgress& on_progress,
                            const Passage& passage = {}, const ProcessGroup& group = {});

}  // namespace slice::detail
