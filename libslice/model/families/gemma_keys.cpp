#include "libslice/model/families/gemma_keys.h"

#include <cmath>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/model/families/gguf_keys.h"
#include "libslice/model/families/gguf_rope.h"

namespace slice::models {

using detail::find_field;
using nlohmann::json;

namespace {

/// What both configurations take for missing keys.
constexpr int64_t kHeadSize = 256, kFfnSize = 9216, kWindow = 4096, kScoreScalar = 256;
constexpr int64_t kPad = 0, kEos = 1, kBos = 2;
constexpr const char* kGelu = "gelu_pytorch_tanh";

}  // namespace

const Names& gemma_names() {
  static const Names names = [] {
    Names n = llama_names();
    n.attention_out_norm = "post_attention_layernorm";
    n.mlp_norm = "pre_feedforward_layernorm";
    n.mlp_out_norm = "post_feedforward_layernorm";
    return n;
  }();
  return names;
}

double parse_softcap(const json& object, const char* key, double otherwise,
                     const std::string& origin) {
  if (!object.contains(key)) return otherwise;
  const auto cap = find_field<double>(object, key, origin);
  SLICE_FORMAT_CHECK(!cap || *cap > 0, "{}: {}: want a positive number, got {}", origin, key,
                     cap.value_or(0));
  return cap.value_or(0);
}

ModelConfig parse_gemma(const json& object, const std::string& family, const SizeDefaults& defaults,
                        const std::string& origin) {
  refuse_unless(object, "use_bidirectional_attention", false, origin);
  ModelConfig c = parse_sizes(object, family, origin, defaults);
  if (!object.contains("head_dim")) c.head_size = kHeadSize;
  c.ffn_size = size_or(object, "intermediate_size", kFfnSize, origin);
  c.norm_eps = find_field<double>(object, "rms_norm_eps", origin).value_or(1e-6);
  c.norm_place = NormPlace::kBoth;
  c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  const double scalar =
      find_field<double>(object, "query_pre_attn_scalar", origin).value_or(kScoreScalar);
  SLICE_FORMAT_CHECK(scalar > 0, "{}: query_pre_attn_scalar: want a positive number, got {}",
                     origin, scalar);
  if (scalar != static_cast<double>(c.head_size)) c.attention_scale = 1 / std::sqrt(scalar);
  parse_window_size(object, c, kWindow, origin);
  c.activation = parse_activation(
      find_field<std::string>(object, "hidden_activation", origin).value_or(kGelu), origin);
  c.tied_head = find_field<bool>(object, "tie_word_embeddings", origin).value_or(true);
  c.qkv_bias = c.output_bias = find_field<bool>(object, "attention_bias", origin).value_or(false);
  if (!object.contains("bos_token_id")) c.bos_token = kBos;
  if (!object.contains("eos_token_id")) c.eos_tokens = {kEos};
  if (!object.contains("pad_token_id")) c.pad_token = kPad;
  return c;
}

ModelConfig parse_gguf_gemma(const GgufFile& file, const std::string& family,
                             int64_t large_layers) {
  ModelConfig c = parse_gguf_rms(file, family);
  c.norm_place = NormPlace::kBoth;
  c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  if (c.layers == large_layers)
    c.attention_scale =
        std::sqrt(static_cast<double>(c.heads) / static_cast<double>(c.hidden_size));
  c.activation = Activation::kGeluTanh;
  parse_gguf_whole_rope(file, c);
  return c;
}

json gemma_json(const ModelConfig& c) {
  json object = sizes_json(c);
  object["num_key_value_heads"] = c.kv_heads;
  object["head_dim"] = c.head_size;
  object["intermediate_size"] = c.ffn_size;
  object["rms_norm_eps"] = c.norm_eps;
  const std::string activation =
      c.activation == Activation::kGeluTanh ? kGelu : activation_name(c.activation);
  object["hidden_activation"] = activation;
  object["hidden_act"] = activation;  // what vLLM reads
  object["attention_bias"] = c.qkv_bias;
  const double scale = c.attention_scale.value_or(1 / std::sqrt(static_cast<double>(c.head_size)));
  object["query_pre_attn_scalar"] = std::llround(1 / (scale * scale));
  object["sliding_window"] = c.sliding_window ? json(*c.sliding_window) : json();
  object["layer_types"] = layer_types_json(c);
  object["final_logit_softcapping"] = c.logit_softcap > 0 ? json(c.logit_softcap) : json();
  object["use_bidirectional_attention"] = false;
  return object;
}

}  // namespace slice::models
