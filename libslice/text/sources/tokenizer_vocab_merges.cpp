#include <algorithm>

#include "libslice/base/detail/json.h"
#include "libslice/base/detail/python_json.h"
#include "libslice/text/detail/pre_tokenizer.h"
#include "libslice/text/sources/merge_line.h"
#include "libslice/text/sources/tokenizer_class.h"
#include "libslice/text/sources/tokenizer_config.h"
#include "libslice/text/sources/tokenizer_sources.h"
#include "libslice/text/sources/vocabulary_json.h"

namespace slice::detail {
namespace {

// How a tokenizer_class of Transformers cuts words; all of them are byte-level.
const char* pre_tokenizer_of_class(const std::string& name) {
  static constexpr std::pair<const char*, const char*> kClasses[] = {
      {"GPT2Tokenizer", "gpt-2"},
      {"CodeGenTokenizer", "gpt-2"},
      {"Qwen2Tokenizer", "qwen2"},
  };
  for (const auto& [known, pre_tokenizer] : kClasses) {
    if (name == known || name == std::string(known) + "Fast") return pre_tokenizer;
  }
  return nullptr;
}

void read_merges(const std::string& text, const TextMap<int32_t>& ids, const std::string& file,
                 BpeDefinition& definition) {
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    definition.merges.push_back(read_merge_line(line, ids,
                                                static_cast<int32_t>(definition.merges.size()),
                                                detail::formatted("{}: line {}", file, number)));
  }
}

// The special tokens of the two published vocabularies of this kind, OPT's and GPT-2's, for
// directories that hold the two files only. OPT's vocabulary has GPT-2's token too, unused.
void name_usual_tokens(const TextMap<int32_t>& ids, BpeDefinition& definition) {
  const auto find = [&](const char* name) -> std::optional<int64_t> {
    const auto found = ids.find(name);
    return found == ids.end() ? std::nullopt : std::optional<int64_t>(found->second);
  };
  const bool opt = find("</s>") && find("<pad>");
  definition.bos = opt ? find("</s>") : find("<|endoftext|>");
  definition.padding = find("<pad>");
  if (definition.bos) definition.eos = {*definition.bos};
  for (const auto& id : {definition.bos, definition.padding}) {
    if (!id) continue;
    AddedToken token;
    token.id = *id;
    token.content = definition.tokens[*id];
    token.special = true;
    definition.added.push_back(std::move(token));
  }
}

}  // namespace

BpeDefinition read_vocab_merges_tokenizer(const TokenizerTexts& texts) {
  BpeDefinition definition;
  definition.source = texts.directory + "/vocab.json";
  const std::string config_name = texts.directory + "/tokenizer_config.json";
  const nlohmann::json config = texts.configuration.empty()
                                    ? nlohmann::json::object()
                                    : parse_python_json(texts.configuration, config_name);
  std::string kind = tokenizer_class(texts);
  if (kind.empty()) kind = "GPT2Tokenizer";
  const char* pre_tokenizer = pre_tokenizer_of_class(kind);
  SLICE_FORMAT_CHECK(pre_tokenizer,
                     "{}: tokenizer_class '{}' with vocab.json and merges.txt is not supported",
                     config_name, kind);
  add_pre_tokenizer(pre_tokenizer, definition);
  if (find_field<bool>(config, "add_prefix_space", config_name).value_or(false)) {
    definition.piece_normalizers.push_back({Normalizer::Kind::kPrependUnlessThere, "", " "});
  }
  const auto ids = read_vocabulary(parse_json(texts.vocabulary, definition.source),
                                   definition.source, definition);
  read_merges(texts.merges, ids, texts.directory + "/merges.txt", definition);
  if (texts.configuration.empty() && texts.special_tokens.empty()) {
    name_usual_tokens(ids, definition);
  }
  read_added_tokens(texts, definition);
  read_tokenizer_config(texts, definition);
  return definition;
}

}  // namespace slice::detail
