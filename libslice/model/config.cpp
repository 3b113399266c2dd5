#include "libslice/model/config.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/base/detail/python_json.h"
#include "libslice/base/detail/unite.h"
#include "libslice/model/families/config_keys.h"
#include "libslice/model/families/family.h"
#include "libslice/model/families/model_types.h"

namespace slice {

using nlohmann::json;

namespace {

const std::string kSlicedPrefix = "sliced_";
/// The first version of Transformers that knows all keys that are written. From a file without one
/// later versions conclude that a tokenizer was made by an old one, and warn.
constexpr const char* kTransformersVersion = "5.0.0";
constexpr std::pair<ShortcutForm, const char*> kShortcutNames[] = {
    {ShortcutForm::kDense, "dense"},
    {ShortcutForm::kDiagonal, "diagonal"},
    {ShortcutForm::kLowRank, "lowrank"},
    {ShortcutForm::kNone, "none"}};

std::vector<int64_t> parse_sizes(const json& object, const char* key, const std::string& origin) {
  std::vector<int64_t> sizes;
  for (const json& entry : detail::array_field(object, key, origin)) {
    SLICE_FORMAT_CHECK(entry.is_number_integer(), "{}: {}: want integers, got {}", origin, key,
                       entry.type_name());
    sizes.push_back(entry.get<int64_t>());
  }
  return sizes;
}

/// The additions of this library to the family's configuration: sizes of sites, shortcuts, widths.
ModelConfig parse_sliced(const json& object, const ModelConfig& dense, const std::string& origin) {
  ModelConfig c = dense;
  const std::vector<int64_t> streams = parse_sizes(object, "stream_sizes", origin),
                             widths = parse_sizes(object, "ffn_sizes", origin);
  SLICE_FORMAT_CHECK(!streams.empty() || !widths.empty(), "{}: 'stream_sizes' is missing", origin);
  if (!streams.empty()) {
    c = sliced_config(dense, streams, /*keep_tie=*/true);
    const auto name = detail::find_field<std::string>(object, "shortcut", origin).value_or("dense");
    const auto known = std::find_if(std::begin(kShortcutNames), std::end(kShortcutNames),
                                    [&](const auto& entry) { return entry.second == name; });
    SLICE_FORMAT_CHECK(known != std::end(kShortcutNames), "{}: shortcut '{}' is not supported",
                       origin, name);
    c.shortcut = known->first;
    c.shortcut_rank = detail::find_field<int64_t>(object, "shortcut_rank", origin).value_or(0);
  }
  c.ffn_sizes = widths;
  return c;
}

void check_stream_sizes(const ModelConfig& c, const std::string& origin) {
  SLICE_FORMAT_CHECK(std::ssize(c.stream_sizes) == c.sites(),
                     "{}: stream_sizes: want {} sizes, got {}", origin, c.sites(),
                     c.stream_sizes.size());
  for (const int64_t size : c.stream_sizes) {
    SLICE_FORMAT_CHECK(size >= 1 && size <= c.hidden_size, "{}: stream_sizes: want 1 … {}, got {}",
                       origin, c.hidden_size, size);
  }
  if (c.shortcut == ShortcutForm::kLowRank) {
    SLICE_FORMAT_CHECK(c.shortcut_rank >= 1 && c.shortcut_rank <= c.hidden_size,
                       "{}: shortcut_rank: want 1 … {}, got {}", origin, c.hidden_size,
                       c.shortcut_rank);
  }
  for (int64_t sublayer = 0; sublayer < c.sublayers(); ++sublayer) {
    const int64_t from = c.stream_size(sublayer), to = c.stream_size(sublayer + 1);
    const bool last = sublayer + 1 == c.sublayers();
    SLICE_FORMAT_CHECK(c.shortcut == ShortcutForm::kDense || from == to || (last && from < to),
                       "{}: stream_sizes: {} shortcuts want one size at all sites, got {} and {}",
                       origin, shortcut_name(c.shortcut), from, to);
  }
}

void check_ffn_sizes(const ModelConfig& c, const std::string& origin) {
  SLICE_FORMAT_CHECK(std::ssize(c.ffn_sizes) == c.layers, "{}: ffn_sizes: want {} sizes, got {}",
                     origin, c.layers, c.ffn_sizes.size());
  for (const int64_t size : c.ffn_sizes) {
    SLICE_FORMAT_CHECK(size >= 1 && size <= c.ffn_size, "{}: ffn_sizes: want 1 … {}, got {}",
                       origin, c.ffn_size, size);
  }
}

void check_scaling(const ModelConfig& c, const std::string& origin) {
  const RopeScaling& s = *c.rope_scaling;
  SLICE_FORMAT_CHECK(s.factor >= 1 && s.factor < 1e6,
                     "{}: rope scaling factor: want 1 … 1e6, got {}", origin, s.factor);
  SLICE_FORMAT_CHECK(s.low_frequency_factor > 0 && s.high_frequency_factor > s.low_frequency_factor,
                     "{}: rope scaling: want 0 < low_freq_factor < high_freq_factor, got {} and {}",
                     origin, s.low_frequency_factor, s.high_frequency_factor);
  SLICE_FORMAT_CHECK(s.original_context >= 1 && s.original_context <= int64_t{1} << 40,
                     "{}: original_max_position_embeddings: want 1 … {}, got {}", origin,
                     int64_t{1} << 40, s.original_context);
  SLICE_FORMAT_CHECK(s.attention_factor > 0 && s.attention_factor < 1e3,
                     "{}: rope scaling: attention factor: want a positive number, got {}", origin,
                     s.attention_factor);
  if (s.kind != RopeScaling::Kind::kLongRope) return;
  const int64_t pairs = c.rotary_size.value_or(c.head_size) / 2;
  for (const std::vector<double>* factors : {&s.short_factors, &s.long_factors}) {
    SLICE_FORMAT_CHECK(std::ssize(*factors) == pairs,
                       "{}: rope scaling: want {} short and long factors, got {}", origin, pairs,
                       factors->size());
    SLICE_FORMAT_CHECK(std::ranges::all_of(*factors, [](double f) { return f > 0 && f < 1e6; }),
                       "{}: rope scaling: want positive short and long factors", origin);
  }
}

void check_layers(const ModelConfig& c, const std::string& origin) {
  const auto count = [&](const char* name, const std::vector<bool>& layers) {
    SLICE_FORMAT_CHECK(layers.empty() || std::ssize(layers) == c.layers,
                       "{}: {}: want {} layers, got {}", origin, name, c.layers, layers.size());
  };
  count("layers with rotary positions", c.rotary_layers);
  count("layers with a sliding window", c.window_layers);
  if (!c.window_rope_theta) return;
  SLICE_FORMAT_CHECK(*c.window_rope_theta > 0 && *c.window_rope_theta < 1e15,
                     "{}: rope_theta of windows: want a positive base, got {}", origin,
                     *c.window_rope_theta);
}

void check_experts(const ModelConfig& c, const std::string& origin) {
  constexpr int64_t kMost = 4096;
  const ExpertSizes& e = c.experts;
  SLICE_FORMAT_CHECK(e.count <= kMost, "{}: number of experts: want 1 … {}, got {}", origin, kMost,
                     e.count);
  SLICE_FORMAT_CHECK(e.per_token >= 1 && e.per_token <= e.count,
                     "{}: num_experts_per_tok: want 1 … {}, got {}", origin, e.count, e.per_token);
  SLICE_FORMAT_CHECK(
      c.gated_mlp && !c.mlp_bias && !c.parallel_block && !c.shifts() && !c.norms_outputs(),
      "{}: experts are supported as gated networks without biases in sequential "
      "blocks with RMSNorms",
      origin);
}

void check_scales(const ModelConfig& c, const std::string& origin) {
  const auto positive = [&](const char* name, double value) {
    SLICE_FORMAT_CHECK(value > 0 && value < 1e6, "{}: {}: want a positive number, got {}", origin,
                       name, value);
  };
  positive("attention scale", c.attention_scale.value_or(1));
  positive("embedding scale", c.embedding_scale);
  positive("residual scale", c.residual_scale);
  positive("logit scale", c.logit_scale);
  if (c.query_growth) {
    SLICE_FORMAT_CHECK(
        c.query_growth->beta >= 0 && c.query_growth->beta < 1e3 && c.query_growth->period >= 1,
        "{}: growth of queries: want β of 0 or more and a period of 1 or more, got "
        "{} and {}",
        origin, c.query_growth->beta, c.query_growth->period);
  }
  for (const double cap : {c.attention_softcap, c.logit_softcap}) {
    SLICE_FORMAT_CHECK(cap >= 0 && cap < 1e6, "{}: soft cap: want 0 or more, got {}", origin, cap);
  }
}

}  // namespace

int64_t ModelConfig::stream_size(int64_t site) const {
  return stream_sizes.empty() ? hidden_size : stream_sizes.at(static_cast<size_t>(site));
}

int64_t ModelConfig::ffn_width(int64_t layer) const {
  return ffn_sizes.empty() ? ffn_size : ffn_sizes.at(static_cast<size_t>(layer));
}

int64_t ModelConfig::positions() const {
  return learned_positions > 0 ? learned_positions - position_offset
                               : std::numeric_limits<int64_t>::max();
}

int64_t ModelConfig::window(int64_t layer) const {
  const bool has = window_layers.empty() || window_layers.at(static_cast<size_t>(layer));
  return has ? sliding_window.value_or(0) : 0;
}

int64_t ModelConfig::turning(int64_t layer) const {
  const bool turns = rotary_layers.empty() || rotary_layers.at(static_cast<size_t>(layer));
  return turns && learned_positions == 0 ? rotary_size.value_or(head_size) : 0;
}

std::vector<int64_t> ModelConfig::ffn_widths() const {
  return ffn_sizes.empty() ? std::vector<int64_t>(static_cast<size_t>(layers), ffn_size)
                           : ffn_sizes;
}

ShortcutForm ModelConfig::shortcut_of(int64_t sublayer) const {
  if (!sliced()) return ShortcutForm::kNone;
  const bool extends = stream_size(sublayer) < stream_size(sublayer + 1);
  if (shortcut != ShortcutForm::kDense && extends) return ShortcutForm::kNone;
  if (shortcut == ShortcutForm::kDiagonal && sublayer % 2 == 1) return ShortcutForm::kDense;
  return shortcut;
}

std::string shortcut_name(ShortcutForm form) {
  for (const auto& [known, name] : kShortcutNames)
    if (known == form) return name;
  return "";
}

ModelConfig narrowed_config(ModelConfig config, std::vector<int64_t> ffn_sizes) {
  const bool equal = std::all_of(ffn_sizes.begin(), ffn_sizes.end(),
                                 [&](int64_t size) { return size == ffn_sizes.front(); });
  if (equal && !ffn_sizes.empty()) {
    config.ffn_size = ffn_sizes.front();
    ffn_sizes.clear();
  }
  config.ffn_sizes = std::move(ffn_sizes);
  return config;
}

ModelConfig sliced_config(const ModelConfig& dense, std::vector<int64_t> stream_sizes,
                          bool keep_tie) {
  ModelConfig sliced = dense;
  sliced.stream_sizes = std::move(stream_sizes);
  sliced.tied_head = dense.tied_head && keep_tie;
  if (!dense.shifts()) return sliced;
  sliced.qkv_bias = sliced.mlp_bias = true;        // W β of their norms
  if (!sliced.tied_head) sliced.head_bias = true;  // the map of a tied head has a bias for it
  return sliced;
}

void check_config(const ModelConfig& c, const std::string& origin) {
  constexpr int64_t kLargest = int64_t{1} << 24, kMostLayers = 1000;
  const auto in_range = [&](const char* name, int64_t value, int64_t largest) {
    SLICE_FORMAT_CHECK(value >= 1 && value <= largest, "{}: {}: want 1 … {}, got {}", origin, name,
                       largest, value);
  };
  in_range("hidden_size", c.hidden_size, kLargest);
  in_range("num_hidden_layers", c.layers, kMostLayers);
  in_range("num_attention_heads", c.heads, kLargest);
  in_range("num_key_value_heads", c.kv_heads, kLargest);
  in_range("head_dim", c.head_size, kLargest);
  in_range("intermediate_size", c.ffn_size, kLargest);
  in_range("vocab_size", c.vocabulary_size, kLargest);
  in_range("max_position_embeddings", c.context_length, int64_t{1} << 40);
  SLICE_FORMAT_CHECK(c.heads % c.kv_heads == 0,
                     "{}: num_key_value_heads {} does not divide num_attention_heads {}", origin,
                     c.kv_heads, c.heads);
  const int64_t turning = c.learned_positions > 0 ? 0 : c.rotary_size.value_or(c.head_size);
  SLICE_FORMAT_CHECK(turning % 2 == 0, "{}: head_dim {} is odd: rotary embeddings want pairs",
                     origin, turning);
  SLICE_FORMAT_CHECK((turning > 0 || c.learned_positions > 0) && turning <= c.head_size,
                     "{}: rotary embeddings of {} coordinates in heads of {}", origin, turning,
                     c.head_size);
  if (c.learned_positions > 0) {
    in_range("position table", c.learned_positions, kLargest);
    SLICE_FORMAT_CHECK(c.position_offset >= 0 && c.position_offset < c.learned_positions,
                       "{}: position offset {} in a table of {}", origin, c.position_offset,
                       c.learned_positions);
  }
  if (c.sliding_window) in_range("sliding_window", *c.sliding_window, int64_t{1} << 40);
  SLICE_FORMAT_CHECK(c.heads * c.head_size <= kLargest, "{}: {} heads of {} are too wide", origin,
                     c.heads, c.head_size);
  SLICE_FORMAT_CHECK(c.norm_eps >= 0 && c.norm_eps < 1, "{}: norm epsilon: want [0, 1), got {}",
                     origin, c.norm_eps);
  SLICE_FORMAT_CHECK(c.rope_theta > 0 && c.rope_theta < 1e15,
                     "{}: rope_theta: want a positive base, got {}", origin, c.rope_theta);
  if (c.rope_scaling) check_scaling(c, origin);
  check_layers(c, origin);
  check_scales(c, origin);
  if (c.routed()) check_experts(c, origin);
  const auto is_token = [&](const char* name, int64_t id) {
    SLICE_FORMAT_CHECK(id >= 0 && id < c.vocabulary_size,
                       "{}: {} {} is outside the vocabulary of {}", origin, name, id,
                       c.vocabulary_size);
  };
  if (c.bos_token) is_token("bos_token_id", *c.bos_token);
  for (const int64_t id : c.eos_tokens) is_token("eos_token_id", id);
  SLICE_FORMAT_CHECK(!c.norms_outputs() || (c.norm == NormKind::kRms && !c.parallel_block),
                     "{}: norms on outputs are supported as RMSNorms of sequential blocks", origin);
  SLICE_FORMAT_CHECK(!c.norms_outputs() || !c.sliced(),
                     "{}: stream_sizes: norms on outputs keep the stream as it is", origin);
  if (c.sliced()) check_stream_sizes(c, origin);
  if (!c.ffn_sizes.empty()) check_ffn_sizes(c, origin);
}

ModelConfig parse_config(std::string_view text, const std::string& origin) {
  json object = detail::parse_python_json(text, origin);
  detail::make_integers_inplace(object);
  object = models::text_config(object, origin);
  std::string type = detail::field<std::string>(object, "model_type", origin);
  const bool sliced = type.starts_with(kSlicedPrefix);
  if (sliced) type = type.substr(kSlicedPrefix.size());
  ModelConfig config = models::family_of_type(type, origin).parse(object, origin);
  if (sliced) config = parse_sliced(object, config, origin);
  models::keep_usable_tokens(config, origin);
  check_config(config, origin);
  return config;
}

std::string config_json(const ModelConfig& config, const std::string& dtype) {
  const models::Family& family = models::family(config.family);
  json object = family.write(config);
  object["model_type"] = family.model_type;
  object["architectures"] = {family.architecture};
  object["torch_dtype"] = dtype;
  object["dtype"] = dtype;
  object["vocab_size"] = config.vocabulary_size;
  object["tie_word_embeddings"] = config.tied_head;
  object["use_cache"] = true;
  object["transformers_version"] = kTransformersVersion;
  models::write_special_tokens(config, object);
  if (config.sliced() || !config.ffn_sizes.empty()) {
    const std::string module = models::modeling_module(family),
                      type = "Sliced" + family.architecture;
    const std::string base = type.substr(0, type.find("ForCausalLM"));
    object["model_type"] = models::sliced_model_type(family);
    object["architectures"] = {type};
    object["auto_map"] = {{"AutoConfig", module + "." + base + "Config"},
                          {"AutoModelForCausalLM", module + "." + type}};
  }
  if (config.sliced()) {
    object["stream_sizes"] = config.stream_sizes;
    object["shortcut"] = shortcut_name(config.shortcut);
    if (config.shortcut == ShortcutForm::kLowRank) object["shortcut_rank"] = config.shortcut_rank;
  }
  if (!config.ffn_sizes.empty()) object["ffn_sizes"] = config.ffn_sizes;
  return object.dump(2) + "\n";
}

ModelConfig with_end_tokens(ModelConfig config, const std::vector<int64_t>& ids) {
  std::vector<int64_t> usable;
  for (const int64_t id : ids)
    if (id >= 0 && id < config.vocabulary_size) usable.push_back(id);
  detail::unite_inplace(config.eos_tokens, usable);
  return config;
}

ModelConfig with_generation_config(ModelConfig config, std::string text,
                                   const std::string& origin) {
  if (text.empty()) return config;
  const json object = detail::parse_python_json(text, origin);
  SLICE_FORMAT_CHECK(object.is_object(), "{}: want an object, got {}", origin, object.type_name());
  config = with_end_tokens(std::move(config), models::parse_eos_tokens(object, origin));
  config.generation = std::move(text);
  return config;
}

std::string generation_config_json(const ModelConfig& config) {
  if (config.generation.empty()) {
    json object = {{"_from_model_config", true}};
    models::write_special_tokens(config, object);
    return object.dump(2) + "\n";
  }
  const std::string origin = "generation_config.json";
  json object = detail::parse_python_json(config.generation, origin);
  const std::vector<int64_t> known = models::parse_eos_tokens(object, origin);
  std::vector<int64_t> all = known;
  detail::unite_inplace(all, config.eos_tokens);
  if (all == known) return config.generation;
  models::write_end_tokens(all, object);
  return object.dump(2) + "\n";
}

}  // namespace slice
