#include "libslice/model/config_json.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/base/detail/python_json.h"
#include "libslice/base/detail/unite.h"
#include "libslice/model/detail/shortcut_names.h"
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
    const auto known =
        std::find_if(std::begin(detail::kShortcutNames), std::end(detail::kShortcutNames),
                     [&](const auto& entry) { return entry.second == name; });
    SLICE_FORMAT_CHECK(known != std::end(detail::kShortcutNames),
                       "{}: shortcut '{}' is not supported", origin, name);
    c.shortcut = known->first;
    c.shortcut_rank = detail::find_field<int64_t>(object, "shortcut_rank", origin).value_or(0);
  }
  c.ffn_sizes = widths;
  return c;
}

}  // namespace

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
