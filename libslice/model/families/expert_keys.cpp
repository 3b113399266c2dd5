#include "libslice/model/families/expert_keys.h"

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"

namespace slice::models {

using detail::find_field;
using nlohmann::json;

namespace {

constexpr const char *kCount = "num_experts", *kLocalCount = "num_local_experts",
                     *kPerToken = "num_experts_per_tok";

}  // namespace

const Names& expert_names() {
  static const Names names = [] {
    Names n = llama_names();
    n.q_norm = "self_attn.q_norm";
    n.k_norm = "self_attn.k_norm";
    n.router = "mlp.gate";
    n.experts = "mlp.experts";
    n.gate = "gate_proj";
    n.up = "up_proj";
    n.down = "down_proj";
    return n;
  }();
  return names;
}

ExpertSizes parse_experts(const json& object, const ExpertSizes& otherwise,
                          const std::string& origin) {
  const auto count = find_field<int64_t>(object, kCount, origin),
             local = find_field<int64_t>(object, kLocalCount, origin);
  SLICE_FORMAT_CHECK(!count || !local || *count == *local, "{}: {} {}, and {} {}", origin, kCount,
                     count.value_or(0), kLocalCount, local.value_or(0));
  ExpertSizes sizes = otherwise;
  sizes.count = local.value_or(count.value_or(otherwise.count));
  SLICE_FORMAT_CHECK(sizes.count >= 1, "{}: {}: want at least 1, got {}", origin, kCount,
                     sizes.count);
  sizes.per_token = find_field<int64_t>(object, kPerToken, origin).value_or(otherwise.per_token);
  return sizes;
}

void write_experts(const ModelConfig& c, json& object) {
  object[kCount] = object[kLocalCount] = c.experts.count;  // before and since Transformers 5
  object[kPerToken] = c.experts.per_token;
}

}  // namespace slice::models
