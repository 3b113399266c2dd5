#include <algorithm>
#include <string>

#include "libslice/detail/check.h"
#include "libslice/detail/merge_line.h"
#include "libslice/detail/tokenizer_json.h"
#include "libslice/detail/tokenizer_sources.h"
#include "libslice/detail/word_encoder.h"
#include "libslice/gguf.h"

namespace slice::detail {
namespace {

// tokenizer.ggml.token_type   (GGUF specification)
constexpr int64_t kControl = 3, kUserDefined = 4;

struct PreTokenizer {
  const char* name;                   // tokenizer.ggml.pre
  std::vector<const char*> patterns;  // applied one after the other
};

// What llama.cpp applies for each name (src/llama-vocab.cpp); "smollm" equals SmolLM2's own
// tokenizer.json.
const PreTokenizer* find_pre_tokenizer(const std::string& name) {
  static const PreTokenizer known[] = {
      {"smollm", {kNumber, kGpt2Words}},
      {"gpt-2", {kGpt2Words}},
      {"default", {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Words, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
  };
  const auto found = std::ranges::find(known, name, &PreTokenizer::name);
  return found == std::end(known) ? nullptr : found;
}

std::optional<int64_t> optional_id(const GgufFile& file, const char* key) {
  if (!file.metadata().contains(key)) return std::nullopt;
  return file.get<int64_t>(key);
}

}  // namespace

BpeDefinition read_gguf_tokenizer(const GgufFile& file) {
  BpeDefinition definition;
  definition.source = file.path().string();
  const auto model = file.get<std::string>("tokenizer.ggml.model");
  SLICE_FORMAT_CHECK(model == "gpt2", "{}: tokenizer.ggml.model '{}' is not supported: want 'gpt2'",
                     definition.source, model);
  const auto pre = file.get<std::string>("tokenizer.ggml.pre", "default");
  const PreTokenizer* pre_tokenizer = find_pre_tokenizer(pre);
  SLICE_FORMAT_CHECK(pre_tokenizer, "{}: tokenizer.ggml.pre '{}' is not supported",
                     definition.source, pre);
  for (const char* pattern : pre_tokenizer->patterns) {
    definition.splits.push_back({pattern, Split::Matches::kIsolated, false});
  }
  definition.tokens = file.get<std::vector<std::string>>("tokenizer.ggml.tokens");
  TextMap<int32_t> ids;
  ids.reserve(definition.tokens.size());
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    ids.emplace(definition.tokens[id], static_cast<int32_t>(id));
  }
  const auto types = file.get<std::vector<int64_t>>("tokenizer.ggml.token_type", {});
  SLICE_FORMAT_CHECK(types.empty() || types.size() == definition.tokens.size(),
                     "{}: tokenizer.ggml.token_type has {} entries, want {}", definition.source,
                     types.size(), definition.tokens.size());
  for (size_t id = 0; id < types.size(); ++id) {
    if (types[id] != kControl && types[id] != kUserDefined) continue;
    AddedToken token;
    token.id = static_cast<int64_t>(id);
    token.content = definition.tokens[id];
    token.special = types[id] == kControl;
    definition.added.push_back(std::move(token));
  }
  for (const auto& line : file.get<std::vector<std::string>>("tokenizer.ggml.merges")) {
    const auto priority = static_cast<int32_t>(definition.merges.size());
    const std::string where =
        fmt::format("{}: tokenizer.ggml.merges[{}]", definition.source, priority);
    definition.merges.push_back(read_merge_line(line, ids, priority, where));
  }
  definition.bos = optional_id(file, "tokenizer.ggml.bos_token_id");
  definition.padding = optional_id(file, "tokenizer.ggml.padding_token_id");
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    const auto id = optional_id(file, key);
    if (id && std::ranges::find(definition.eos, *id) == definition.eos.end()) {
      definition.eos.push_back(*id);
    }
  }
  definition.adds_bos = file.get<bool>("tokenizer.ggml.add_bos_token", false);
  definition.chat_template = file.get<std::string>("tokenizer.chat_template", "");
  return definition;
}

}  // namespace slice::detail
