#include "libslice/model/families/config_keys.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/base/detail/warn.h"
#include "libslice/model/families/rope_magnitudes.h"

namespace slice::models {

using detail::field;
using detail::find_field;
using nlohmann::json;

namespace {

/// Names of the kinds of rotary scaling.
constexpr std::pair<const char*, RopeScaling::Kind> kScalings[] = {
    {"linear", RopeScaling::Kind::kLinear},
    {"llama3", RopeScaling::Kind::kLlama3},
    {"yarn", RopeScaling::Kind::kYarn},
    {"longrope", RopeScaling::Kind::kLongRope},
    {"dynamic", RopeScaling::Kind::kDynamic}};

constexpr const char* kOriginalContext = "original_max_position_embeddings";
constexpr const char *kWindowLayer = "sliding_attention", *kFullLayer = "full_attention";

/// Names of activations; the first name of each is the one that is written.
constexpr std::pair<const char*, Activation> kActivations[] = {
    {"silu", Activation::kSilu},
    {"swish", Activation::kSilu},
    {"relu", Activation::kRelu},
    {"gelu", Activation::kGelu},
    {"gelu_new", Activation::kGeluTanh},
    {"gelu_pytorch_tanh", Activation::kGeluTanh},
    // Other ways to compute the same functions.
    {"gelu_python", Activation::kGelu},
    {"gelu_fast", Activation::kGeluTanh},
    {"gelu_accurate", Activation::kGeluTanh},
    {"gelu_python_tanh", Activation::kGeluTanh},
    {"relu2", Activation::kRelu2},
};

/// The kind of scaling that rotary settings name.
std::string scaling_kind(const json& rope, const std::string& origin) {
  const auto type = find_field<std::string>(rope, "rope_type", origin);
  return type ? *type : find_field<std::string>(rope, "type", origin).value_or("default");
}

/// The key of rotary settings that counts; null where there are none.
const char* rope_key(const json& object) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto rope = object.find(key);
    if (rope != object.end() && !rope->is_null() && !(rope->is_object() && rope->empty()))
      return key;
  }
  return nullptr;
}

/// A number other than 0; `otherwise` where it is missing, null or 0.
double number_or(const json& rope, const char* key, double otherwise, const std::string& where) {
  const double value = find_field<double>(rope, key, where).value_or(0);
  return value == 0 ? otherwise : value;
}

void parse_yarn(const json& rope, const std::string& where, RopeScaling& s) {
  s.high_frequency_factor = number_or(rope, "beta_fast", 32, where);
  s.low_frequency_factor = number_or(rope, "beta_slow", 1, where);
  s.whole_dimensions = find_field<bool>(rope, "truncate", where).value_or(true);
  const double share = number_or(rope, "mscale", 0, where),
               all = number_or(rope, "mscale_all_dim", 0, where);
  const double usual = share != 0 && all != 0 ? usual_yarn_magnitude(s.factor, share) /
                                                    usual_yarn_magnitude(s.factor, all)
                                              : usual_yarn_magnitude(s.factor, 1);
  s.attention_factor = find_field<double>(rope, "attention_factor", where).value_or(usual);
}

std::vector<double> parse_divisors(const json& rope, const char* key, const std::string& where) {
  std::vector<double> divisors;
  for (const json& entry : detail::array_field(rope, key, where)) {
    SLICE_FORMAT_CHECK(entry.is_number(), "{}: {}: want numbers, got {}", where, key,
                       entry.type_name());
    divisors.push_back(entry.get<double>());
  }
  return divisors;
}

void parse_longrope(const json& rope, const std::string& where, RopeScaling& s) {
  s.short_factors = parse_divisors(rope, "short_factor", where);
  s.long_factors = parse_divisors(rope, "long_factor", where);
  const auto original = static_cast<double>(s.original_context);
  const double usual = usual_longrope_magnitude(s.factor, original);
  s.attention_factor = find_field<double>(rope, "attention_factor", where).value_or(usual);
  s.factor = std::max(s.factor, 1.0);  // of no other use
}

/// @param original  the original context, of the kinds that have one
/// @param context   that of the configuration: the original one of dynamic scaling
std::optional<RopeScaling> parse_scaling(const json& rope, const std::string& kind,
                                         const std::string& key, int64_t original, int64_t context,
                                         const std::string& origin) {
  using Kind = RopeScaling::Kind;
  if (kind == "default") return std::nullopt;
  const auto* known =
      std::ranges::find_if(kScalings, [&](const auto& scaling) { return kind == scaling.first; });
  SLICE_FORMAT_CHECK(known != std::end(kScalings), "{}: {} '{}' is not supported", origin, key,
                     kind);
  const std::string where = origin + ": " + key;
  const bool derived = known->second == Kind::kYarn || known->second == Kind::kLongRope;
  const double ratio = static_cast<double>(context) / static_cast<double>(original);
  RopeScaling s{.kind = known->second,
                .factor = derived ? find_field<double>(rope, "factor", where).value_or(ratio)
                                  : field<double>(rope, "factor", where)};
  if (s.kind != Kind::kLinear) s.original_context = s.kind == Kind::kDynamic ? context : original;
  if (s.kind == Kind::kLlama3) {
    s.low_frequency_factor = field<double>(rope, "low_freq_factor", where);
    s.high_frequency_factor = field<double>(rope, "high_freq_factor", where);
  }
  SLICE_FORMAT_CHECK(s.kind != Kind::kDynamic || !rope.contains("alpha"),
                     "{}: dynamic scaling by 'alpha' is not supported", where);
  if (s.kind == Kind::kYarn) parse_yarn(rope, where, s);
  if (s.kind == Kind::kLongRope) parse_longrope(rope, where, s);
  return s;
}

json scaling_json(const RopeScaling& s) {
  using Kind = RopeScaling::Kind;
  const char* name =
      std::ranges::find(kScalings, s.kind, &std::pair<const char*, Kind>::second)->first;
  json object = {{"rope_type", name}, {"factor", s.factor}};
  if (s.kind != Kind::kLlama3) object["type"] = name;
  if (s.kind == Kind::kLlama3) {
    object["low_freq_factor"] = s.low_frequency_factor;
    object["high_freq_factor"] = s.high_frequency_factor;
  }
  if (s.kind == Kind::kYarn) {
    object["beta_slow"] = s.low_frequency_factor;
    object["beta_fast"] = s.high_frequency_factor;
    object["truncate"] = s.whole_dimensions;
  }
  if (s.kind == Kind::kLongRope) {
    object["short_factor"] = s.short_factors;
    object["long_factor"] = s.long_factors;
  }
  if (s.kind == Kind::kYarn || s.kind == Kind::kLongRope)
    object["attention_factor"] = s.attention_factor;
  if (s.kind != Kind::kLinear && s.kind != Kind::kDynamic)
    object[kOriginalContext] = s.original_context;
  return object;
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

int64_t size_or(const json& object, const char* key, int64_t otherwise, const std::string& origin) {
  return otherwise != 0 && !object.contains(key) ? otherwise : field<int64_t>(object, key, origin);
}

void keep_usable_tokens(ModelConfig& c, const std::string& origin) {
  const auto unusable = [&](const char* key, int64_t id) {
    const bool outside = id < 0 || id >= c.vocabulary_size;
    if (outside)
      detail::warn("{}: {} {} is outside the vocabulary of {} and is left out", origin, key, id,
                   c.vocabulary_size);
    return outside;
  };
  if (c.bos_token && unusable("bos_token_id", *c.bos_token)) c.bos_token.reset();
  std::erase_if(c.eos_tokens, [&](int64_t id) { return unusable("eos_token_id", id); });
}

ModelConfig parse_sizes(const json& object, const std::string& family, const std::string& origin,
                        const SizeDefaults& defaults) {
  for (const char* key : {"quantization_config", "per_layer_config"}) {
    const auto found = object.find(key);
    SLICE_FORMAT_CHECK(found == object.end() || found->empty(), "{}: {} is not supported", origin,
                       key);
  }
  refuse_unless(object, "is_causal", true, origin);
  ModelConfig c;
  c.family = family;
  c.hidden_size = size_or(object, "hidden_size", defaults.hidden_size, origin);
  c.layers = size_or(object, "num_hidden_layers", defaults.layers, origin);
  c.heads = size_or(object, "num_attention_heads", defaults.heads, origin);
  SLICE_FORMAT_CHECK(c.heads > 0, "{}: num_attention_heads: want at least 1, got {}", origin,
                     c.heads);
  c.kv_heads = find_field<int64_t>(object, "num_key_value_heads", origin).value_or(c.heads);
  if (defaults.kv_heads != 0 && !object.contains("num_key_value_heads"))
    c.kv_heads = defaults.kv_heads;
  const auto head_size = find_field<int64_t>(object, "head_dim", origin);
  const bool usual_head = defaults.head_size != 0 && !object.contains("head_dim");
  SLICE_FORMAT_CHECK(head_size || usual_head || c.hidden_size % c.heads == 0,
                     "{}: hidden_size {} is not a multiple of {} heads", origin, c.hidden_size,
                     c.heads);
  c.head_size = usual_head ? defaults.head_size : head_size.value_or(c.hidden_size / c.heads);
  c.vocabulary_size = size_or(object, "vocab_size", defaults.vocabulary_size, origin);
  c.context_length = find_field<int64_t>(object, "max_position_embeddings", origin)
                         .value_or(defaults.context_length);
  parse_special_tokens(object, c, origin);
  return c;
}

void write_end_tokens(const std::vector<int64_t>& ids, json& object) {
  object["eos_token_id"] = ids.empty() ? json() : json(ids);
  if (ids.size() == 1) object["eos_token_id"] = ids[0];
}

void write_special_tokens(const ModelConfig& c, json& object) {
  object["bos_token_id"] = c.bos_token ? json(*c.bos_token) : json();
  object["pad_token_id"] = c.pad_token ? json(*c.pad_token) : json();
  write_end_tokens(c.eos_tokens, object);
}

json sizes_json(const ModelConfig& c) {
  return {{"hidden_size", c.hidden_size},
          {"num_hidden_layers", c.layers},
          {"num_attention_heads", c.heads},
          {"max_position_embeddings", c.context_length}};
}

void parse_rope(const json& object, ModelConfig& c, double rotated, const std::string& origin,
                double theta) {
  const auto number = [&](const json& from, const char* key, double otherwise) {
    return find_field<double>(from, key, origin).value_or(otherwise);
  };
  theta = number(object, "rope_theta", theta);
  rotated = number(object, "partial_rotary_factor", rotated);
  if (const char* key = rope_key(object)) {
    const json& rope = object[key];
    SLICE_FORMAT_CHECK(rope.is_object(), "{}: '{}': want an object, got {}", origin, key,
                       rope.type_name());
    for (const char* layers : {"full_attention", "sliding_attention"}) {
      SLICE_FORMAT_CHECK(!rope.contains(layers), "{}: {}: '{}' is not supported", origin, key,
                         layers);
    }
    const std::string kind = scaling_kind(rope, origin);
    const auto original = find_field<int64_t>(object, kOriginalContext, origin);
    const auto nested = find_field<int64_t>(rope, kOriginalContext, origin + ": " + key);
    c.rope_scaling =
        parse_scaling(rope, kind, key, original.value_or(nested.value_or(c.context_length)),
                      c.context_length, origin);
    theta = number(rope, "rope_theta", theta);
    rotated = number(rope, "partial_rotary_factor", rotated);
  }
  SLICE_FORMAT_CHECK(rotated > 0 && rotated <= 1,
                     "{}: partial_rotary_factor: want a fraction of a head, got {}", origin,
                     rotated);
  c.rope_theta = theta;
  if (rotated < 1) c.rotary_size = static_cast<int64_t>(rotated * static_cast<double>(c.head_size));
}

void write_rope(const ModelConfig& c, json& object) {
  object["rope_theta"] = c.rope_theta;
  // A null would make Transformers 5 warn of an obsolete key.
  if (c.rope_scaling) object["rope_scaling"] = scaling_json(*c.rope_scaling);
  if (c.rotary_size) {
    const auto r = static_cast<double>(*c.rotary_size), d = static_cast<double>(c.head_size);
    const bool low = std::floor(r / d * d) < r;  // a rounded r / d may lose the last coordinate
    object["partial_rotary_factor"] = low ? std::nextafter(r / d, 1.0) : r / d;
  }
}

void parse_rope_of_kinds(const json& object, ModelConfig& c, const RopeBases& otherwise,
                         const char* window_base, const std::string& origin) {
  const char* const parameters = "rope_parameters";
  const auto object_at = [&](const json& from, const char* key) {
    const auto found = from.find(key);
    if (found == from.end() || found->is_null()) return json::object();
    SLICE_FORMAT_CHECK(found->is_object(), "{}: '{}': want an object, got {}", origin, key,
                       found->type_name());
    return *found;
  };
  const json kinds = object_at(object, parameters);
  SLICE_FORMAT_CHECK(kinds.empty() || kinds.contains(kFullLayer) || kinds.contains(kWindowLayer),
                     "{}: {}: want '{}' and '{}'", origin, parameters, kFullLayer, kWindowLayer);
  json full = object_at(kinds, kFullLayer);
  const json window = object_at(kinds, kWindowLayer), older = object_at(object, "rope_scaling");
  for (const json* rope : std::initializer_list<const json*>{&full, &window, &older})
    SLICE_FORMAT_CHECK(find_field<double>(*rope, "partial_rotary_factor", origin).value_or(1) == 1,
                       "{}: partial_rotary_factor is not supported in a {}", origin, c.family);
  full.update(older);
  const auto base = [&](const json& rope, const char* key, double last) {
    if (const auto own = find_field<double>(rope, "rope_theta", origin)) return *own;
    return (key ? find_field<double>(object, key, origin) : std::nullopt).value_or(last);
  };
  c.rope_theta = base(full, "rope_theta", otherwise.full);
  const auto original = find_field<int64_t>(full, kOriginalContext, origin);
  c.rope_scaling = parse_scaling(full, scaling_kind(full, origin), parameters,
                                 original.value_or(c.context_length), c.context_length, origin);
  SLICE_FORMAT_CHECK(scaling_kind(window, origin) == "default",
                     "{}: {}: scaling of {} is not supported", origin, parameters, kWindowLayer);
  const double windows = base(window, window_base, otherwise.window);
  if (c.sliding_window && (windows != c.rope_theta || c.rope_scaling))
    c.window_rope_theta = windows;
}

void write_rope_of_kinds(const ModelConfig& c, const char* window_base, json& object) {
  const double window = c.window_rope_theta.value_or(c.rope_theta);
  object["rope_theta"] = c.rope_theta;
  if (window_base != nullptr) object[window_base] = window;
  json full = {{"rope_type", "default"}};
  if (c.rope_scaling) object["rope_scaling"] = full = scaling_json(*c.rope_scaling);
  full["rope_theta"] = c.rope_theta;
  object["rope_parameters"] = {{kFullLayer, full},
                               {kWindowLayer, {{"rope_type", "default"}, {"rope_theta", window}}}};
}

void parse_window_size(const json& object, ModelConfig& c, int64_t otherwise,
                       const std::string& origin) {
  c.sliding_window = find_field<int64_t>(object, "sliding_window", origin);
  if (!object.contains("sliding_window")) c.sliding_window = otherwise;  // null means none
}

void put_window_pattern(ModelConfig& c, int64_t pattern) {
  c.window_layers.clear();
  for (int64_t layer = 0; layer < c.layers; ++layer)
    c.window_layers.push_back((layer + 1) % pattern != 0);
}

json layer_types_json(const ModelConfig& c) {
  json types = json::array();
  for (int64_t layer = 0; layer < c.layers; ++layer)
    types.push_back(c.window(layer) > 0 ? kWindowLayer : kFullLayer);
  return types;
}

void parse_layer_types(const json& object, ModelConfig& c, const std::string& origin) {
  const json& types = detail::array_field(object, "layer_types", origin);
  if (!types.empty()) {
    c.window_layers.clear();
    for (int64_t layer = 0; layer < std::min<int64_t>(c.layers, std::ssize(types)); ++layer) {
      const json& type = types[layer];
      const bool window = type == kWindowLayer;
      SLICE_FORMAT_CHECK(window || type == kFullLayer, "{}: layer_types[{}]: {} is not supported",
                         origin, layer, type.dump());
      SLICE_FORMAT_CHECK(!window || c.sliding_window,
                         "{}: layer_types[{}]: {} without a sliding_window in use", origin, layer,
                         type.dump());
      c.window_layers.push_back(window);
    }
    SLICE_FORMAT_CHECK(std::ssize(types) == c.layers, "{}: layer_types: want {} entries, got {}",
                       origin, c.layers, types.size());
  }
  const auto windows = std::ranges::count(c.window_layers, true);
  if (!c.window_layers.empty() && windows == 0) c.sliding_window.reset();
  if (!c.sliding_window || windows == std::ssize(c.window_layers)) c.window_layers.clear();
}

void write_window_layers(const ModelConfig& c, json& object) {
  std::vector<bool> windows = c.window_layers;
  windows.resize(static_cast<size_t>(c.layers), c.sliding_window && c.window_layers.empty());
  const auto first = std::ranges::find(windows, true) - windows.begin();
  object["max_window_layers"] = first;
  if (!std::ranges::is_sorted(windows)) object["layer_types"] = layer_types_json(c);
}

void parse_upper_window(const json& object, ModelConfig& c, int64_t window, int64_t first,
                        const std::string& origin) {
  if (find_field<bool>(object, "use_sliding_window", origin).value_or(false)) {
    parse_window_size(object, c, window, origin);
    first = find_field<int64_t>(object, "max_window_layers", origin).value_or(first);
    SLICE_FORMAT_CHECK(first >= 0, "{}: max_window_layers: want at least 0, got {}", origin, first);
    for (int64_t layer = 0; layer < c.layers; ++layer) c.window_layers.push_back(layer >= first);
  }
  parse_layer_types(object, c, origin);
}

void write_upper_window(const ModelConfig& c, json& object) {
  object["use_sliding_window"] = c.sliding_window.has_value();
  object["sliding_window"] = c.sliding_window ? json(*c.sliding_window) : json();
  write_window_layers(c, object);
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
