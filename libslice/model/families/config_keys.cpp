#include "libslice/model/families/config_keys.h"

#include <cmath>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"

namespace slice::models {

using detail::field;
using detail::find_field;
using nlohmann::json;

namespace {

/// Names of the kinds of rotary scaling.
constexpr std::pair<const char*, RopeScaling::Kind> kScalings[] = {
    {"linear", RopeScaling::Kind::kLinear}, {"llama3", RopeScaling::Kind::kLlama3}};

/// Names of activations; the first name of each is the one that is written.
constexpr std::pair<const char*, Activation> kActivations[] = {
    {"silu", Activation::kSilu},         {"swish", Activation::kSilu},
    {"relu", Activation::kRelu},         {"gelu", Activation::kGelu},
    {"gelu_new", Activation::kGeluTanh}, {"gelu_pytorch_tanh", Activation::kGeluTanh},
};

std::optional<RopeScaling> parse_scaling(const json& rope, const std::string& kind,
                                         const std::string& key, const std::string& origin) {
  if (kind == "default") return std::nullopt;
  for (const auto& [name, value] : kScalings) {
    if (kind != name) continue;
    const std::string where = origin + ": " + key;
    RopeScaling scaling{.kind = value, .factor = field<double>(rope, "factor", where)};
    if (value == RopeScaling::Kind::kLlama3) {
      scaling.low_frequency_factor = field<double>(rope, "low_freq_factor", where);
      scaling.high_frequency_factor = field<double>(rope, "high_freq_factor", where);
      scaling.original_context = field<int64_t>(rope, "original_max_position_embeddings", where);
    }
    return scaling;
  }
  throw FormatError(detail::formatted("{}: {} '{}' is not supported", origin, key, kind));
}

json scaling_json(const ModelConfig& c) {
  if (!c.rope_scaling) return nullptr;
  const RopeScaling& s = *c.rope_scaling;
  if (s.kind == RopeScaling::Kind::kLinear)
    return {{"rope_type", "linear"}, {"type", "linear"}, {"factor", s.factor}};
  return {{"rope_type", "llama3"},
          {"factor", s.factor},
          {"low_freq_factor", s.low_frequency_factor},
          {"high_freq_factor", s.high_frequency_factor},
          {"original_max_position_embeddings", s.original_context}};
}

void parse_special_tokens(const json& object, ModelConfig& c, const std::string& origin) {
  c.bos_token = find_field<int64_t>(object, "bos_token_id", origin);
  c.eos_tokens = parse_eos_tokens(object, origin);
  const auto pad = object.find("pad_token_id");
  if (pad == object.end() || !pad->is_number_integer()) return;
  const auto id = pad->get<int64_t>();  // nothing here needs it: one that is no token is left out
  if (id >= 0 && id < c.vocabulary_size) c.pad_token = id;
}

}  // namespace

std::vector<int64_t> parse_eos_tokens(const json& object, const std::string& origin) {
  std::vector<int64_t> tokens;
  const auto eos = object.find("eos_token_id");
  if (eos == object.end() || eos->is_null()) return tokens;
  const json list = eos->is_array() ? *eos : json::array({*eos});
  for (const json& id : list) {
    SLICE_FORMAT_CHECK(id.is_number_integer(), "{}: 'eos_token_id': want integers, got {}", origin,
                       id.type_name());
    tokens.push_back(id.get<int64_t>());
  }
  return tokens;
}

ModelConfig parse_sizes(const json& object, const std::string& family, const std::string& origin) {
  const auto size = [&](const char* key) { return field<int64_t>(object, key, origin); };
  const auto quantised = object.find("quantization_config");
  SLICE_FORMAT_CHECK(quantised == object.end() || quantised->is_null(),
                     "{}: quantization_config is not supported", origin);
  ModelConfig c;
  c.family = family;
  c.hidden_size = size("hidden_size");
  c.layers = size("num_hidden_layers");
  c.heads = size("num_attention_heads");
  SLICE_FORMAT_CHECK(c.heads > 0, "{}: num_attention_heads: want at least 1, got {}", origin,
                     c.heads);
  c.kv_heads = find_field<int64_t>(object, "num_key_value_heads", origin).value_or(c.heads);
  const auto head_size = find_field<int64_t>(object, "head_dim", origin);
  SLICE_FORMAT_CHECK(head_size || c.hidden_size % c.heads == 0,
                     "{}: hidden_size {} is not a multiple of {} heads", origin, c.hidden_size,
                     c.heads);
  c.head_size = head_size.value_or(c.hidden_size / c.heads);
  c.vocabulary_size = size("vocab_size");
  c.context_length = find_field<int64_t>(object, "max_position_embeddings", origin).value_or(2048);
  parse_special_tokens(object, c, origin);
  return c;
}

json sizes_json(const ModelConfig& c) {
  return {{"hidden_size", c.hidden_size},
          {"num_hidden_layers", c.layers},
          {"num_attention_heads", c.heads},
          {"max_position_embeddings", c.context_length}};
}

void parse_rope(const json& object, ModelConfig& c, double rotated, const std::string& origin) {
  const auto number = [&](const json& from, const char* key, double otherwise) {
    return find_field<double>(from, key, origin).value_or(otherwise);
  };
  double theta = number(object, "rope_theta", 10000.0);
  rotated = number(object, "partial_rotary_factor", rotated);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto rope = object.find(key);
    if (rope == object.end() || rope->is_null()) continue;
    SLICE_FORMAT_CHECK(rope->is_object(), "{}: '{}': want an object, got {}", origin, key,
                       rope->type_name());
    for (const auto& [name, value] : rope->items()) {
      SLICE_FORMAT_CHECK(!value.is_structured(), "{}: {}: '{}' is not supported", origin, key,
                         name);
    }
    const auto type = find_field<std::string>(*rope, "rope_type", origin);
    const std::string kind =
        type ? *type : find_field<std::string>(*rope, "type", origin).value_or("default");
    if (auto scaling = parse_scaling(*rope, kind, key, origin)) c.rope_scaling = scaling;
    theta = number(*rope, "rope_theta", theta);
    rotated = number(*rope, "partial_rotary_factor", rotated);
  }
  SLICE_FORMAT_CHECK(rotated > 0 && rotated <= 1,
                     "{}: partial_rotary_factor: want a fraction of a head, got {}", origin,
                     rotated);
  c.rope_theta = theta;
  if (rotated < 1) c.rotary_size = static_cast<int64_t>(rotated * static_cast<double>(c.head_size));
}

void write_rope(const ModelConfig& c, json& object) {
  object["rope_theta"] = c.rope_theta;
  object["rope_scaling"] = scaling_json(c);
  if (c.rotary_size) {
    const auto r = static_cast<double>(*c.rotary_size), d = static_cast<double>(c.head_size);
    const bool low = std::floor(r / d * d) < r;  // a rounded r / d may lose the last coordinate
    object["partial_rotary_factor"] = low ? std::nextafter(r / d, 1.0) : r / d;
  }
}

Activation parse_activation(const std::string& name, const std::string& origin) {
  for (const auto& [known, activation] : kActivations) {
    if (name == known) return activation;
  }
  throw FormatError(detail::formatted("{}: activation '{}' is not supported", origin, name));
}

std::string activation_name(Activation activation) {
  for (const auto& [name, value] : kActivations) {
    if (value == activation) return name;
  }
  return "";
}

}  // namespace slice::models
