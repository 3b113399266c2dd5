#include <algorithm>
#include <string>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/base/detail/warn.h"
#include "libslice/format/gguf.h"
#include "libslice/text/detail/pieces.h"
#include "libslice/text/detail/pre_tokenizer.h"
#include "libslice/text/detail/word_encoder.h"
#include "libslice/text/sources/merge_line.h"
#include "libslice/text/sources/tokenizer_json.h"
#include "libslice/text/sources/tokenizer_sources.h"

namespace slice::detail {
namespace {

std::optional<int64_t> optional_id(const GgufFile& file, const char* key,
                                   std::optional<int64_t> otherwise = std::nullopt) {
  if (!file.metadata().contains(key)) return otherwise;
  return file.get<int64_t>(key);
}

std::vector<int64_t> read_types(const GgufFile& file, size_t tokens) {
  auto types = file.get<std::vector<int64_t>>("tokenizer.ggml.token_type", {});
  SLICE_FORMAT_CHECK(types.empty() || types.size() == tokens,
                     "{}: tokenizer.ggml.token_type has {} entries, want {}", file.path().string(),
                     types.size(), tokens);
  std::ranges::replace(types, int64_t{0}, int64_t{Pieces::kNormal});  // "undefined"
  return types;
}

void read_merges(const GgufFile& file, BpeDefinition& definition) {
  TextMap<int32_t> ids;
  ids.reserve(definition.tokens.size());
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    ids.emplace(definition.tokens[id], static_cast<int32_t>(id));
  }
  int32_t priority = -1;
  std::vector<std::string> ignored;
  for (const auto& line : file.get<std::vector<std::string>>("tokenizer.ggml.merges")) {
    const std::string where =
        detail::formatted("{}: tokenizer.ggml.merges[{}]", definition.source, ++priority);
    if (const auto merge = find_merge_line(line, ids, priority, where)) {
      definition.merges.push_back(*merge);
    } else {
      ignored.push_back(formatted("'{}'", line));
    }
  }
  if (!ignored.empty()) {
    warn("{}: merges of or into what is not a token are ignored: {}", definition.source,
         shortened(ignored));
  }
}

// How words are cut where the file does not say, or says what nobody knows: Qwen2's and Phi-2's
// have one way, and for the others llama.cpp takes its default.
const char* usual_pre_tokenizer(const GgufFile& file) {
  const auto architecture = file.get<std::string>("general.architecture", "");
  if (architecture == "qwen2") return "qwen2";
  return architecture == "phi2" ? "phi-2" : "default";
}

void read_pre_tokenizer(const GgufFile& file, BpeDefinition& definition) {
  const auto name = file.get<std::string>("tokenizer.ggml.pre", "");
  if (!name.empty() && add_pre_tokenizer(name, definition)) return;
  const char* usual = usual_pre_tokenizer(file);
  if (name.empty()) {
    warn(
        "{}: no tokenizer.ggml.pre says how words are cut: they are cut as by '{}', which may "
        "give other token ids than the model was trained with",
        definition.source, usual);
  } else {
    warn(
        "{}: tokenizer.ggml.pre '{}' is not known: words are cut as by '{}', which may give other "
        "token ids than the model was trained with",
        definition.source, name, usual);
  }
  add_pre_tokenizer(usual, definition);
}

// Byte-level BPE.
void read_gpt2(const GgufFile& file, BpeDefinition& definition) {
  read_pre_tokenizer(file, definition);
  definition.tokens = file.get<std::vector<std::string>>("tokenizer.ggml.tokens");
  const auto types = read_types(file, definition.tokens.size());
  for (size_t id = 0; id < types.size(); ++id) {
    if (types[id] != Pieces::kControl && types[id] != Pieces::kUserDefined) continue;
    AddedToken token;
    token.id = static_cast<int64_t>(id);
    token.content = definition.tokens[id];
    token.special = types[id] == Pieces::kControl;
    definition.added.push_back(std::move(token));
  }
  read_merges(file, definition);
  definition.bos = optional_id(file, "tokenizer.ggml.bos_token_id");
  definition.adds_bos = definition.adds_bos && definition.bos;
}

// SentencePiece's BPE as llama.cpp does it: a space goes before each stretch of text between added
// tokens.
void read_llama(const GgufFile& file, BpeDefinition& definition) {
  Pieces pieces;
  pieces.texts = file.get<std::vector<std::string>>("tokenizer.ggml.tokens");
  pieces.types = read_types(file, pieces.texts.size());
  SLICE_FORMAT_CHECK(!pieces.types.empty(), "{}: tokenizer.ggml.token_type is missing",
                     definition.source);
  for (const double score : file.get<std::vector<double>>("tokenizer.ggml.scores")) {
    pieces.scores.push_back(static_cast<float>(score));
  }
  SLICE_FORMAT_CHECK(pieces.scores.size() == pieces.texts.size(),
                     "{}: tokenizer.ggml.scores has {} entries, want {}", definition.source,
                     pieces.scores.size(), pieces.texts.size());
  // Searched for in the original text, where a space is a space.
  for (size_t id = 0; id < pieces.texts.size(); ++id) {
    if (pieces.types[id] == Pieces::kUserDefined) {
      pieces.texts[id] = unescaped_piece(std::move(pieces.texts[id]));
    }
  }
  define_pieces(std::move(pieces), definition);
  definition.strip_leading_space = file.get<bool>("tokenizer.ggml.add_space_prefix", true);
  using Kind = Normalizer::Kind;
  if (definition.strip_leading_space) {
    definition.normalizers.push_back({Kind::kPrepend, "", kSpaceMark});
  }
  definition.normalizers.push_back({Kind::kReplace, " ", kSpaceMark});
  definition.unknown = optional_id(file, "tokenizer.ggml.unknown_token_id", definition.unknown);
  definition.bos = optional_id(file, "tokenizer.ggml.bos_token_id", 1);
  definition.eos.push_back(2);
  definition.adds_bos = true;
}

void read_eos(const GgufFile& file, BpeDefinition& definition) {
  const auto id = optional_id(file, "tokenizer.ggml.eos_token_id");
  if (id) definition.eos = {*id};
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const auto more = optional_id(file, key);
    if (more && std::ranges::find(definition.eos, *more) == definition.eos.end()) {
      definition.eos.push_back(*more);
    }
  }
}

}  // namespace

BpeDefinition read_gguf_tokenizer(const GgufFile& file) {
  BpeDefinition definition;
  definition.source = file.path().string();
  const auto model = file.get<std::string>("tokenizer.ggml.model");
  SLICE_FORMAT_CHECK(model == "gpt2" || model == "llama",
                     "{}: tokenizer.ggml.model '{}' is not supported: want 'gpt2' or 'llama'",
                     definition.source, model);
  (model == "llama" ? read_llama : read_gpt2)(file, definition);
  read_eos(file, definition);
  definition.padding = optional_id(file, "tokenizer.ggml.padding_token_id");
  definition.adds_bos = file.get<bool>("tokenizer.ggml.add_bos_token", definition.adds_bos);
  definition.chat_template = file.get<std::string>("tokenizer.chat_template", "");
  check_utf8(definition.chat_template, definition.source + ": tokenizer.chat_template");
  return definition;
}

}  // namespace slice::detail
