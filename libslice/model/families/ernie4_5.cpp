// ERNIE 4.5, dense: LLaMA's network whose files turn neighbouring coordinates of a head together.
//   (ernie.baidu.com/blog/publication/ERNIE_Technical_Report.pdf)

#include <nlohmann/json.hpp>

#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/llama_keys.h"
#include "libslice/model/families/stored_form.h"

namespace slice::models {
namespace {

using nlohmann::json;

/// What Ernie4_5Config takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 1024,
                                               .layers = 18,
                                               .heads = 16,
                                               .vocabulary_size = 103424,
                                               .context_length = 131072,
                                               .kv_heads = 2,
                                               .head_size = 128},
                                     .ffn_size = 3072,
                                     .norm_eps = 1e-5,
                                     .rope_theta = 500000.0,
                                     .tied_head = true,
                                     .bos_token = 1,
                                     .eos_token = 2,
                                     .pad_token = 0};

ModelConfig parse(const json& object, const std::string& origin) {
  ModelConfig c = parse_llama_keys(object, "ernie4_5", kDefaults, origin);
  c.qkv_bias = c.output_bias = c.mlp_bias = flag_or(object, "use_bias", false, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  object["use_bias"] = c.qkv_bias;
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_rms(file, "ernie4_5");
  refuse_gguf_biases(file, c);
  parse_gguf_whole_rope(file, c);
  return c;
}

void describe_stored(const ModelConfig& c, const std::string& parameter, StoredForm& form) {
  turn_neighbours(c, ernie4_5().names, parameter, form);
}

}  // namespace

const Family& ernie4_5() {
  static const Family description = {.name = "ernie4_5",
                                     .model_type = "ernie4_5",
                                     .architecture = "Ernie4_5ForCausalLM",
                                     .gguf_architecture = "ernie4_5",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .describe_stored = describe_stored};
  return description;
}

}  // namespace slice::models
