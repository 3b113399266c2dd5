// Gemma 2: RMSNorms before and after attention and feed-forward, soft caps on scores and logits,
// scaled embeddings, a sliding window in every second layer, gated GELU.   (arXiv 2408.00118)

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

/// What Gemma2Config takes for missing keys.
constexpr SizeDefaults kDefaults = {.hidden_size = 2304,
                                    .layers = 26,
                                    .heads = 8,
                                    .vocabulary_size = 256000,
                                    .context_length = 8192,
                                    .kv_heads = 4};
constexpr double kAttentionCap = 50, kLogitCap = 30;
constexpr int64_t kPattern = 2;    // of so many layers the last one has no window
constexpr int64_t kWindow = 4096;  // what llama.cpp takes where a file has none

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_gemma(object, "gemma2", kDefaults, origin);
  c.attention_softcap = parse_softcap(object, "attn_logit_softcapping", kAttentionCap, origin);
  c.logit_softcap = parse_softcap(object, "final_logit_softcapping", kLogitCap, origin);
  for (int64_t layer = 0; layer < c.layers; ++layer)
    c.window_layers.push_back((layer + 1) % kPattern != 0);
  parse_layer_types(object, c, origin);
  parse_rope(object, c, 1.0, origin);
  SLICE_FORMAT_CHECK(!c.rotary_size, "{}: partial_rotary_factor is not supported in a Gemma",
                     origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = gemma_json(c);
  object["attn_logit_softcapping"] = c.attention_softcap > 0 ? json(c.attention_softcap) : json();
  write_rope(c, object);
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  constexpr int64_t kLargeLayers = 46;  // of the 27B
  ModelConfig c = parse_gguf_gemma(file, "gemma2", kLargeLayers);
  c.attention_softcap = file.get<double>("gemma2.attn_logit_softcapping", kAttentionCap);
  c.logit_softcap = file.get<double>("gemma2.final_logit_softcapping", kLogitCap);
  c.sliding_window = file.get<int64_t>("gemma2.attention.sliding_window", kWindow);
  parse_gguf_windows(file, c, kPattern);
  return c;
}

void describe_stored(const ModelConfig&, const std::string& parameter, StoredForm& form) {
  take_one_off_norms(gemma2().names, parameter, form);
}

}  // namespace

const Family& gemma2() {
  static const Family description = {.name = "gemma2",
                                     .model_type = "gemma2",
                                     .architecture = "Gemma2ForCausalLM",
                                     .gguf_architecture = "gemma2",
                                     .names = gemma_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .describe_stored = describe_stored};
  return description;
}

}  // namespace slice::models
