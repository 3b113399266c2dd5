// Cohere's Command R7B and Command A: Command R's network with a sliding window and rotary
// positions in three layers of four, and neither in the fourth.   (arXiv 2504.00698)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/json.h"
#include "libslice/model/families/cohere_keys.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"
#include "libslice/model/families/stored_form.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What Cohere2Config takes for missing keys.
constexpr double kRopeTheta = 10000.0;
constexpr int64_t kWindow = 4096, kPattern = 4;

/// Those with the window.
void put_turning_layers(ModelConfig& c) {
  for (int64_t layer = 0; layer < c.layers; ++layer) c.rotary_layers.push_back(c.window(layer) > 0);
  if (c.sliding_window && c.window_layers.empty()) c.rotary_layers.clear();  // all of them
}

void parse_window(const json& object, ModelConfig& c, const std::string& origin) {
  parse_window_size(object, c, kWindow, origin);
  SLICE_FORMAT_CHECK(c.sliding_window.has_value(),
                     "{}: sliding_window null is not supported in a Cohere2", origin);
  const auto pattern =
      find_field<int64_t>(object, "sliding_window_pattern", origin).value_or(kPattern);
  SLICE_FORMAT_CHECK(pattern >= 1, "{}: sliding_window_pattern: want at least 1, got {}", origin,
                     pattern);
  put_window_pattern(c, pattern);
  parse_layer_types(object, c, origin);
  put_turning_layers(c);
}

ModelConfig parse(const json& object, const std::string& origin) {
  json own = object;
  own.erase("head_dim");  // Cohere2Config computes it
  ModelConfig c = parse_cohere_keys(own, "cohere2", kRopeTheta, origin);
  parse_window(own, c, origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = cohere_keys_json(c);
  object["sliding_window"] = c.sliding_window.value_or(kWindow);
  object["layer_types"] = layer_types_json(c);
  return object;
}

ModelConfig parse_gguf(const GgufFile& file) {
  ModelConfig c = parse_gguf_sizes(file, "cohere2");
  refuse_gguf_biases(file, c);
  c.norm = NormKind::kLayer;
  c.norm_bias = false;
  c.parallel_block = true;
  c.norm_eps = file.get<double>("cohere2.attention.layer_norm_epsilon");
  c.logit_scale = file.get<double>("cohere2.logit_scale");
  parse_gguf_whole_rope(file, c);
  c.sliding_window = file.get<int64_t>("cohere2.attention.sliding_window");
  parse_gguf_windows(file, c, kPattern);
  put_turning_layers(c);
  return c;
}

void describe_stored(const ModelConfig& c, const std::string& parameter, StoredForm& form) {
  turn_neighbours(c, cohere2().names, parameter, form);
}

}  // namespace

const Family& cohere2() {
  static const Family description = {.name = "cohere2",
                                     .model_type = "cohere2",
                                     .architecture = "Cohere2ForCausalLM",
                                     .gguf_architecture = "cohere2",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = parse_gguf,
                                     .free_head_size = false,
                                     .describe_stored = describe_stored};
  return description;
}

}  // namespace slice::models
