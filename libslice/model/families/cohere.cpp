// Cohere's Command R: LayerNorms without β before parallel blocks, logits times a scale, and files
// that turn neighbouring coordinates of a head together.   (huggingface.co/CohereForAI)

#include <nlohmann/json.hpp>

#include "libslice/model/families/cohere_keys.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/stored_form.h"

namespace slice::models {
namespace {

using nlohmann::json;

constexpr double kRopeTheta = 500000.0;  // CohereConfig's default

ModelConfig parse(const json& object, const std::string& origin) {
  refuse_unless(object, "use_qk_norm", false, origin);
  return parse_cohere_keys(object, "cohere", kRopeTheta, origin);
}

json write(const ModelConfig& c) {
  json object = cohere_keys_json(c);
  object["head_dim"] = c.head_size;
  object["use_qk_norm"] = false;
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  const std::string origin = file.path().string();
  ModelConfig c = parse_gguf_sizes(file, "cohere");
  c.norm = NormKind::kLayer;
  c.norm_bias = false;
  c.parallel_block = true;
  SLICE_FORMAT_CHECK(!c.qkv_bias && !c.output_bias && !c.mlp_bias && !c.head_bias,
                     "{}: want no biases in a Command R", origin);
  c.norm_eps = file.get<double>("command-r.attention.layer_norm_epsilon");
  c.logit_scale = file.get<double>("command-r.logit_scale");
  parse_gguf_whole_rope(file, c);
  return c;
}

void describe_stored(const ModelConfig& c, const std::string& parameter, StoredForm& form) {
  turn_neighbours(c, cohere().names, parameter, form);
}

}  // namespace

const Family& cohere() {
  static const Family description = {.name = "cohere",
                                     .model_type = "cohere",
                                     .architecture = "CohereForCausalLM",
                                     .gguf_architecture = "command-r",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .describe_stored = describe_stored};
  return description;
}

}  // namespace slice::models
