// Phi-3, Phi-3.5 and Phi-4: LLaMA's network whose files hold q, k and v as one tensor and gate and
// up as another; longrope, a sliding window, and heads that turn in part in some of them.
//   (arXiv 2404.14219, 2412.08905)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"
#include "libslice/model/families/stored_form.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What Phi3Config takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 3072,
                                               .layers = 32,
                                               .heads = 32,
                                               .vocabulary_size = 32064,
                                               .context_length = 4096},
                                     .ffn_size = 8192,
                                     .norm_eps = 1e-5,
                                     .turns_in_part = true,
                                     .bos_token = 1,
                                     .eos_token = 32000,
                                     .pad_token = 32000};
constexpr int64_t kOriginalContext = 4096;
constexpr const char* kOriginal = "original_max_position_embeddings";

/// Phi3Config calls longrope "su" or "yarn" too, and has an original context whatever is scaled.
json with_its_names(const json& object) {
  json own = object;
  if (!own.contains(kOriginal)) own[kOriginal] = kOriginalContext;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto rope = own.find(key);
    if (rope == own.end() || !rope->is_object()) continue;
    for (const char* type : {"rope_type", "type"}) {
      const auto found = rope->find(type);
      if (found != rope->end() && (*found == "su" || *found == "yarn")) *found = "longrope";
    }
  }
  return own;
}

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_llama_keys(with_its_names(object), "phi3", kDefaults, origin);
  SLICE_FORMAT_CHECK(!c.rope_scaling || c.rope_scaling->kind == RopeScaling::Kind::kLongRope,
                     "{}: rope_scaling: a Phi-3 is scaled by longrope or not at all", origin);
  c.sliding_window = find_field<int64_t>(object, "sliding_window", origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  if (c.heads * c.head_size == c.hidden_size) object.erase("head_dim");
  object["sliding_window"] = c.sliding_window ? json(*c.sliding_window) : json();
  object[kOriginal] = c.rope_scaling ? c.rope_scaling->original_context : c.context_length;
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "phi3");
  refuse_gguf_biases(file, c);
  parse_gguf_rope(file, c);
  if (const auto window = file.get<int64_t>("phi3.attention.sliding_window", 0); window > 0)
    c.sliding_window = window;
  return c;
}

void describe_stored(const ModelConfig& c, const std::string& parameter, StoredForm& form) {
  const auto part = layer_parameter(phi3().names, parameter);
  if (!part) return;
  fuse_queries_keys_values(c, phi3().names, *part, "self_attn.qkv_proj", form);
  fuse_gate_up(c, phi3().names, *part, "mlp.gate_up_proj", form);
}

/// Phi3Config counts longrope's factors by hidden size / heads, whatever the head size.
bool stock_takes(const ModelConfig& dense) {
  if (!dense.rope_scaling) return true;
  const auto share = static_cast<double>(dense.rotary_size.value_or(dense.head_size)) /
                     static_cast<double>(dense.head_size);
  const auto counted =
      static_cast<int64_t>(static_cast<double>(dense.hidden_size / dense.heads) * share);
  return counted / 2 == std::ssize(dense.rope_scaling->short_factors);
}

}  // namespace

const Family& phi3() {
  static const Family description = {.name = "phi3",
                                     .model_type = "phi3",
                                     .architecture = "Phi3ForCausalLM",
                                     .gguf_architecture = "phi3",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .describe_stored = describe_stored,
                                     .stock_takes = stock_takes};
  return description;
}

}  // namespace slice::models
