#include "libslice/text/sources/tokenizer_json.h"

#include "libslice/base/detail/json.h"
#include "libslice/base/detail/warn.h"
#include "libslice/text/detail/normalizer.h"
#include "libslice/text/sources/merge_line.h"
#include "libslice/text/sources/tokenizer_class.h"
#include "libslice/text/sources/tokenizer_components.h"
#include "libslice/text/sources/tokenizer_config.h"
#include "libslice/text/sources/vocabulary_json.h"

namespace slice::detail {
namespace {

using nlohmann::json;
using Ids = TextMap<int32_t>;

const json& member(const json& object, const char* key) {
  static const json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

void read_token_list(const json& root, BpeDefinition& definition) {
  for (const json& entry : array_field(root, "added_tokens", definition.source)) {
    const std::string where =
        detail::formatted("{}: added_tokens[{}]", definition.source, definition.added.size());
    AddedToken token;
    token.id = field<int64_t>(entry, "id", where);
    token.content = field<std::string>(entry, "content", where);
    const auto flag = [&](const char* key) {
      return find_field<bool>(entry, key, where).value_or(false);
    };
    token.special = flag("special");
    token.normalized = flag("normalized");
    token.left_strip = flag("lstrip");
    token.right_strip = flag("rstrip");
    token.single_word = flag("single_word");
    definition.added.push_back(std::move(token));
  }
}

void read_merges(const json& model, const Ids& ids, BpeDefinition& definition) {
  const std::string parent = definition.source + ": model";
  for (const json& entry : array_field(model, "merges", parent)) {
    const auto priority = static_cast<int32_t>(definition.merges.size());
    const std::string where =
        detail::formatted("{}: model.merges[{}]", definition.source, priority);
    if (entry.is_string()) {
      definition.merges.push_back(read_merge_line(entry, ids, priority, where));
      continue;
    }
    SLICE_FORMAT_CHECK(
        entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string(),
        "{}: want 'left right' or [left, right], got {}", where, entry.dump());
    definition.merges.push_back(make_merge(entry[0], entry[1], ids, priority, where));
  }
}

void read_model(const json& model, BpeDefinition& definition) {
  const std::string where = definition.source + ": model";
  const auto type = find_field<std::string>(model, "type", where).value_or("BPE");
  SLICE_FORMAT_CHECK(type == "BPE", "{} '{}' is not supported: want 'BPE'", where, type);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const auto affix = find_field<std::string>(model, key, where).value_or("");
    SLICE_FORMAT_CHECK(affix.empty(), "{}: {} '{}' is not supported", where, key, affix);
  }
  const Ids ids = read_vocabulary(member(model, "vocab"), where + ".vocab", definition);
  read_merges(model, ids, definition);
  const auto flag = [&](const char* key) {
    return find_field<bool>(model, key, where).value_or(false);
  };
  definition.byte_fallback = flag("byte_fallback");
  definition.ignore_merges = flag("ignore_merges");
  definition.fuse_unknown = flag("fuse_unk");
  if (const auto unknown = find_field<std::string>(model, "unk_token", where)) {
    if (const auto found = ids.find(*unknown); found != ids.end()) {
      definition.unknown = found->second;
    } else {
      warn("{}: unk_token '{}' is not a token and is ignored", where, *unknown);
    }
  }
}

}  // namespace

BpeDefinition read_tokenizer_json(const TokenizerTexts& texts) {
  BpeDefinition definition;
  definition.source = texts.directory + "/tokenizer.json";
  const json root = parse_json(texts.tokenizer, definition.source);
  read_token_list(root, definition);
  read_model(member(root, "model"), definition);
  definition.alphabet = BpeDefinition::Alphabet::kCharacters;
  read_normalizer(member(root, "normalizer"), definition);
  read_pre_tokenizer(member(root, "pre_tokenizer"), definition);
  read_decoder(member(root, "decoder"), definition);
  SLICE_FORMAT_CHECK(
      !definition.byte_fallback || definition.alphabet == BpeDefinition::Alphabet::kCharacters,
      "{}: byte_fallback together with ByteLevel is not supported", definition.source);
  definition.bos = read_post_processor(member(root, "post_processor"), definition);
  definition.adds_bos = definition.bos.has_value();
  read_added_tokens(texts, definition);
  use_tokenizer_class(texts, definition);
  for (AddedToken& token : definition.added) {
    if (token.normalized) token.content = normalized(token.content, definition.normalizers, true);
  }
  read_tokenizer_config(texts, definition);
  return definition;
}

}  // namespace slice::detail
