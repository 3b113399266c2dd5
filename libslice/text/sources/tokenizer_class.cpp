#include "libslice/text/sources/tokenizer_class.h"

#include <bitset>

#include "libslice/base/detail/json.h"
#include "libslice/text/detail/byte_alphabet.h"
#include "libslice/text/detail/pre_tokenizer.h"
#include "libslice/text/sources/tokenizer_configs.h"
#include "libslice/text/sources/tokenizer_json.h"

namespace slice::detail {
namespace {

using Kind = Normalizer::Kind;

std::optional<bool> flag(const TokenizerTexts& texts, const char* key) {
  const JsonFile config(texts, texts.configuration, "tokenizer_config.json");
  return find_field<bool>(config.object, key, config.where);
}

// What the classes that rebuild a tokenizer do not take from the file.
void forget_words(BpeDefinition& definition) {
  definition.normalizers.clear();
  definition.piece_normalizers.clear();
  definition.splits.clear();
  definition.strip_leading_space = definition.strip_first_marks = definition.decode_verbatim =
      false;
  definition.decode_bytes = false;
  definition.word_end.clear();
  definition.ignore_merges = definition.fuse_unknown = definition.byte_fallback = false;
  definition.unknown.reset();
}

bool has_all_bytes(const BpeDefinition& definition) {
  std::bitset<256> found;
  for (const std::string& token : definition.tokens) {
    if (const auto byte = byte_of_token(token)) found.set(*byte);
  }
  return found.all();
}

void use_byte_level_words(const TokenizerTexts& texts, const char* words,
                          BpeDefinition& definition) {
  forget_words(definition);
  definition.alphabet = BpeDefinition::Alphabet::kBytes;
  const bool adds_bos = definition.adds_bos;
  add_pre_tokenizer(words, definition);
  definition.adds_bos = adds_bos;
  if (flag(texts, "add_prefix_space").value_or(false)) {
    definition.piece_normalizers.push_back({Kind::kPrependUnlessThere, "", " "});
  }
}

}  // namespace

std::string tokenizer_class(const TokenizerTexts& texts) {
  const JsonFile config(texts, texts.configuration, "tokenizer_config.json");
  const JsonFile model(texts, texts.model, "config.json");
  auto type = find_field<std::string>(model.object, "model_type", model.where).value_or("");
  if (type.starts_with("sliced_")) type = type.substr(7);
  if (type == "qwen2") return "Qwen2Tokenizer";
  auto name = find_field<std::string>(config.object, "tokenizer_class", config.where);
  if (!name) name = find_field<std::string>(model.object, "tokenizer_class", model.where);
  if (!name) return type == "opt" || type == "phi" ? "GPT2Tokenizer" : "";
  if (name->ends_with("Fast")) name->resize(name->size() - 4);
  return type == "mistral" && *name == "LlamaTokenizer" ? "" : *name;
}

void use_llama_words(const TokenizerTexts& texts, BpeDefinition& definition) {
  const bool prefix = flag(texts, "add_prefix_space").value_or(true);
  const bool always = flag(texts, "legacy").value_or(false);
  const auto unknown = definition.unknown;
  forget_words(definition);
  // Without it a character whose bytes are no tokens is dropped; with all bytes there is none.
  if (has_all_bytes(definition)) definition.unknown = unknown;
  definition.space_mark = kSpaceMark;
  definition.byte_fallback = definition.fuse_unknown = true;
  definition.piece_normalizers.push_back({Kind::kReplace, " ", kSpaceMark});
  if (prefix) {
    definition.piece_normalizers.push_back(
        {always ? Kind::kPrependUnlessThere : Kind::kPrependAtStart, "", kSpaceMark});
  }
  definition.strip_leading_space = prefix;
}

void use_tokenizer_class(const TokenizerTexts& texts, BpeDefinition& definition) {
  const std::string name = tokenizer_class(texts);
  const bool bytes = definition.alphabet == BpeDefinition::Alphabet::kBytes;
  if (name == "LlamaTokenizer" && !bytes) use_llama_words(texts, definition);
  if (name == "Qwen2Tokenizer") use_byte_level_words(texts, "qwen2", definition);
  if (name == "GPT2Tokenizer" || name == "CodeGenTokenizer") {
    use_byte_level_words(texts, "gpt-2", definition);
  }
}

}  // namespace slice::detail
