#include "libslice/model/families/model_types.h"

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>

#include "libslice/base/detail/check.h"

namespace slice::models {

using nlohmann::json;

namespace {

constexpr const char* kStateSpace = "state-space layers (Mamba) beside attention";
constexpr const char* kDelta = "linear attention with a recurrent state (gated delta rule)";
constexpr const char* kExperts = "experts that all tokens share, or that are chosen in another way";
constexpr const char* kLatent = "attention on a low-rank latent of keys and values (MLA)";
constexpr const char* kStreams = "inputs of their own for every layer, or several residual streams";

/// model_type → what a network of it would need.
constexpr std::pair<const char*, const char*> kOther[] = {
    {"qwen3_5", kDelta},
    {"qwen3_5_text", kDelta},
    {"qwen3_next", kDelta},
    {"falcon_h1", kStateSpace},
    {"granitemoehybrid", kStateSpace},
    {"nemotron_h", kStateSpace},
    {"bamba", kStateSpace},
    {"jamba", kStateSpace},
    {"zamba2", kStateSpace},
    {"lfm2", "short convolutions beside attention"},
    {"lfm2_moe", "short convolutions beside attention, and mixtures of experts"},
    {"deepseek_v2", kLatent},
    {"deepseek_v3", kLatent},
    {"minicpm3", kLatent},
    {"gpt_oss", "experts stored as MXFP4, and attention sinks"},
    {"gemma3n", kStreams},
    {"gemma3n_text", kStreams},
    {"gemma4", kStreams},
    {"gemma4_text", kStreams},
    {"qwen2_moe", kExperts},
    {"granitemoe", kExperts},
    {"phimoe", kExperts},
    {"ernie4_5_moe", kExperts},
    {"hunyuan_v1_moe", kExperts},
};

/// Models of text and images whose text is a network of its own under text_config.
constexpr std::pair<const char*, const char*> kWithImages[] = {{"gemma3", "gemma3_text"},
                                                               {"mistral3", "mistral"}};

}  // namespace

std::string what_it_would_need(const std::string& model_type) {
  for (const auto& [type, need] : kOther)
    if (model_type == type) return need;
  return "";
}

const Family& family_of_type(const std::string& model_type, const std::string& origin) {
  std::string known;
  for (const Family* family : families()) {
    if (family->model_type == model_type) return *family;
    known += (known.empty() ? "" : ", ") + family->model_type;
  }
  const std::string need = what_it_would_need(model_type);
  SLICE_FORMAT_CHECK(need.empty(), "{}: model_type '{}' is not supported: it would need {}", origin,
                     model_type, need);
  throw FormatError(detail::formatted("{}: model_type '{}' is not supported: libslice reads {}",
                                      origin, model_type, known));
}

json text_config(const json& object, const std::string& origin) {
  if (!object.is_object()) return object;
  const std::string type = object.value("model_type", json()).is_string()
                               ? object["model_type"].get<std::string>()
                               : std::string();
  const auto* wrapper =
      std::ranges::find_if(kWithImages, [&](const auto& entry) { return type == entry.first; });
  if (wrapper == std::end(kWithImages)) return object;
  const auto text = object.find("text_config");
  SLICE_FORMAT_CHECK(text != object.end() && text->is_object(), "{}: text_config is missing",
                     origin);
  json own = *text;
  // Transformers ignores it beside images, other tools do not.
  SLICE_FORMAT_CHECK(own.value("final_logit_softcapping", json()).is_null(),
                     "{}: final_logit_softcapping is not supported in the text of a '{}'", origin,
                     type);
  if (!own.contains("model_type")) own["model_type"] = wrapper->second;
  for (const char* key : {"quantization_config", "tie_word_embeddings"})
    if (object.contains(key)) own[key] = object[key];
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"})
    if (object.contains(key) && !own.contains(key)) own[key] = object[key];
  return own;
}

}  // namespace slice::models
