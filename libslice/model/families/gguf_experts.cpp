#include "libslice/model/families/gguf_experts.h"

#include "libslice/base/detail/check.h"
#include "libslice/model/families/gguf_keys.h"

namespace slice::models {
namespace {

/// What a mixture of another kind says of itself, and what changes nothing.
constexpr struct {
  const char* key;
  double usual;
} kOthers[] = {{"expert_shared_count", 0},       {"expert_shared_feed_forward_length", 0},
               {"leading_dense_block_count", 0}, {"expert_group_count", 1},
               {"expert_gating_func", 1},  // a softmax over all experts
               {"expert_weights_scale", 1}};

}  // namespace

bool gguf_routed(const GgufFile& file) {
  const int64_t count = gguf_uniform_size(file, "expert_count", 0);
  return count != 0 && (count != 1 || file.tensors().contains("blk.0.ffn_gate_inp.weight"));
}

ExpertSizes parse_gguf_experts(const GgufFile& file, bool normalised) {
  const std::string origin = file.path().string();
  ExpertSizes e{.count = gguf_uniform_size(file, "expert_count"), .normalised = normalised};
  SLICE_FORMAT_CHECK(e.count >= 1, "{}: {}: want at least 1, got {}", origin,
                     gguf_key(file, "expert_count"), e.count);
  e.per_token = gguf_uniform_size(file, "expert_used_count");
  SLICE_FORMAT_CHECK(e.per_token >= 1 && e.per_token <= e.count, "{}: {}: want 1 … {}, got {}",
                     origin, gguf_key(file, "expert_used_count"), e.count, e.per_token);
  for (const auto& [key, usual] : kOthers) {
    const auto value = file.get<double>(gguf_key(file, key), usual);
    SLICE_FORMAT_CHECK(value == usual || value == 0, "{}: {} {} is not supported", origin,
                       gguf_key(file, key), value);
  }
  const std::string norm = gguf_key(file, "expert_weights_norm");
  SLICE_FORMAT_CHECK(file.get<bool>(norm, normalised) == normalised,
                     "{}: {}: want {}, as llama.cpp's network of this architecture has it", origin,
                     norm, normalised);
  return e;
}

}  // namespace slice::models
