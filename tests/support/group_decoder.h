#pragma once

#include <memory>
#include <string>

#include "libslice/checkpoint/checkpoint.h"
#include "libslice/decode/pipeline.h"
#include "libslice/decode/tensor_parallel.h"

namespace slice::tests {

/// A rank's part of a model: a run of layers, or parts of all of them.
inline std::unique_ptr<GroupDecoder> group_decoder(const std::string& path, bool pipeline,
                                                   const ProcessGroup& group,
                                                   const GroupDecoderOptions& options = {
                                                       .dtype = at::kDouble, .capacity = 1}) {
  const auto checkpoint = open_checkpoint(path);
  if (pipeline) return std::make_unique<Pipeline>(*checkpoint, group, options);
  return std::make_unique<TensorParallel>(*checkpoint, group, options);
}

}  // namespace slice::tests
