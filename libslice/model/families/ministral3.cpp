// Ministral 3: Mistral's network, whose queries grow with their position.
//   (Transformers, modeling_ministral3.py)

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/llama_keys.h"

namespace slice::models {
namespace {

using detail::find_field;
using nlohmann::json;

/// What Ministral3Config takes for missing keys.
constexpr LlamaDefaults kDefaults = {.sizes = {.hidden_size = 4096,
                                               .layers = 34,
                                               .heads = 32,
                                               .vocabulary_size = 131072,
                                               .context_length = 262144,
                                               .kv_heads = 8,
                                               .head_size = 128},
                                     .ffn_size = 14336,
                                     .norm_eps = 1e-5,
                                     .bos_token = 1,
                                     .eos_token = 2,
                                     .pad_token = 11};
constexpr const char *kRope = "rope_parameters", *kBeta = "llama_4_scaling_beta",
                     *kOriginal = "original_max_position_embeddings";

/// Rotary settings where the file has none.
json usual_rope() {
  return {{"rope_type", "yarn"}, {"rope_theta", 1e6},     {"factor", 16.0},
          {kOriginal, 16384},    {"beta_fast", 32.0},     {"beta_slow", 1.0},
          {"mscale", 1.0},       {"mscale_all_dim", 1.0}, {kBeta, 0.1}};
}

ModelConfig parse(const json& object, const std::string& origin) {
  json own = object;
  const auto settings = [&](const char* key) {
    return own.contains(key) && own[key].is_object() && !own[key].empty();
  };
  const char* key = settings("rope_scaling") ? "rope_scaling" : kRope;
  if (!settings(key)) own[kRope] = usual_rope();
  ModelConfig c = parse_llama_keys(own, "ministral3", kDefaults, origin);
  const auto beta = find_field<double>(own[key], kBeta, origin);
  const auto period = find_field<int64_t>(own[key], kOriginal, origin);
  SLICE_FORMAT_CHECK(beta && period, "{}: {}: want {} and {}", origin, key, kBeta, kOriginal);
  c.query_growth = QueryGrowth{*beta, *period};
  c.sliding_window = find_field<int64_t>(object, "sliding_window", origin);
  return c;
}

json write(const ModelConfig& c) {
  json object = llama_keys_json(c);
  const QueryGrowth growth = c.query_growth.value_or(QueryGrowth{});
  json rope = object.value("rope_scaling", json{{"rope_type", "default"}});
  rope["rope_theta"] = c.rope_theta;
  rope[kBeta] = growth.beta;
  rope[kOriginal] = growth.period;
  object.erase("rope_scaling");
  object[kRope] = rope;
  object["sliding_window"] = c.sliding_window ? json(*c.sliding_window) : json();
  return object;
}

}  // namespace

const Family& ministral3() {
  static const Family description = {.name = "ministral3",
                                     .model_type = "ministral3",
                                     .architecture = "Ministral3ForCausalLM",
                                     .gguf_architecture = "",
                                     .names = llama_names(),
                                     .ignored_suffixes = {"rotary_emb.inv_freq"},
                                     .parse = parse,
                                     .write = write,
                                     .parse_gguf = nullptr};
  return description;
}

}  // namespace slice::models
