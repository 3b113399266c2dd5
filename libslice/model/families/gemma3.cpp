// Gemma 3, text: Gemma 2 with norms of queries and keys in place of soft caps, a window in five of
// six layers, and another rotary base in those.   (arXiv 2503.19786)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gemma_keys.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/stored_form.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What Gemma3TextConfig takes for missing keys.
constexpr SizeDefaults kDefaults = {.hidden_size = 2304,
                                    .layers = 26,
                                    .heads = 8,
                                    .vocabulary_size = 262208,
                                    .context_length = 131072,
                                    .kv_heads = 4};
constexpr int64_t kPattern = 6;  // of so many layers the last one has no window
constexpr RopeBases kBases = {.full = 1e6, .window = 1e4};
constexpr const char* kWindowBase = "rope_local_base_freq";

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_gemma(object, "gemma3", kDefaults, origin);
  c.head_norm = HeadNorm::kEach;
  c.logit_softcap = parse_softcap(object, "final_logit_softcapping", 0, origin);
  SLICE_FORMAT_CHECK(parse_softcap(object, "attn_logit_softcapping", 0, origin) == 0,
                     "{}: attn_logit_softcapping is not supported in a Gemma 3, whose queries and "
                     "keys are normed instead",
                     origin);
  const auto pattern =
      find_field<int64_t>(object, "sliding_window_pattern", origin).value_or(kPattern);
  SLICE_FORMAT_CHECK(pattern > 0, "{}: sliding_window_pattern: want at least 1, got {}", origin,
                     pattern);
  for (int64_t layer = 0; layer < c.layers; ++layer)
    c.window_layers.push_back((layer + 1) % pattern != 0);
  parse_layer_types(object, c, origin);
  parse_rope_of_kinds(object, c, kBases, kWindowBase, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = gemma_json(c);
  write_rope_of_kinds(c, kWindowBase, object);
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  constexpr int64_t kLargeLayers = 62;  // of the 27B
  ModelConfig c = parse_gguf_gemma(file, "gemma3", kLargeLayers);
  c.head_norm = HeadNorm::kEach;
  c.logit_softcap = file.get<double>("gemma3.final_logit_softcapping", 0.0);
  const auto window = file.get<int64_t>("gemma3.attention.sliding_window", 0);
  if (window == 0) return c;
  c.sliding_window = window;
  parse_gguf_windows(file, c, kPattern);
  const auto base = file.get<double>("gemma3.rope.freq_base_swa", kBases.window);
  if (c.sliding_window && (base != c.rope_theta || c.rope_scaling)) c.window_rope_theta = base;
  return c;
}

void describe_stored(const ModelConfig&, const std::string& parameter, StoredForm& form) {
  take_one_off_norms(gemma3().names, parameter, form);
}

}  // namespace

const Family& gemma3() {
  static const Names names = [] {
    Names n = gemma_names();
    n.q_norm = "self_attn.q_norm";
    n.k_norm = "self_attn.k_norm";
    return n;
  }();
  static const Family description = {.name = "gemma3",
                                     .model_type = "gemma3_text",
                                     .architecture = "Gemma3ForCausalLM",
                                     .gguf_architecture = "gemma3",
                                     .names = names,
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .describe_stored = describe_stored};
  return description;
}

}  // namespace slice::models
