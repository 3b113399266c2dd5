#include "libslice/model/families/family.h"

#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"

namespace slice::models {

const std::vector<const Family*>& families() {
  static const std::vector<const Family*> all = {
      &apertus(),   &arcee(),      &cohere(),    &cohere2(),  &ernie4_5(),      &exaone4(),
      &falcon(),    &gemma(),      &gemma2(),    &gemma3(),   &glm4(),          &gpt2(),
      &gpt_neox(),  &gptj(),       &granite(),   &helium(),   &hunyuan_dense(), &llama(),
      &ministral(), &ministral3(), &mistral(),   &mixtral(),  &nemotron(),      &olmo(),
      &olmo2(),     &olmo3(),      &olmoe(),     &opt(),      &phi(),           &phi3(),
      &qwen2(),     &qwen3(),      &qwen3_moe(), &seed_oss(), &smollm3(),       &stablelm(),
      &starcoder2()};
  return all;
}

const Family& family(const std::string& name) {
  for (const Family* candidate : families()) {
    if (candidate->name == name) return *candidate;
  }
  throw FormatError(detail::formatted("no family is named '{}'", name));
}

std::string modeling_module(const Family& family) { return "modeling_sliced_" + family.model_type; }

std::string sliced_model_type(const Family& family) { return "sliced_" + family.model_type; }

std::optional<int64_t> layer_of(const Names& names, const std::string& parameter) {
  const std::string prefix = names.layers + ".";
  if (!parameter.starts_with(prefix)) return std::nullopt;
  return std::stoll(parameter.substr(prefix.size()));  // up to the next dot
}

bool is_embedding(const Names& names, const std::string& parameter) {
  return parameter == names.embedding + ".weight" || parameter == names.positions + ".weight";
}

}  // namespace slice::models
