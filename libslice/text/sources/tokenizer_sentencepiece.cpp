#include "libslice/base/detail/json.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/detail/pieces.h"
#include "libslice/text/sources/protobuf.h"
#include "libslice/text/sources/tokenizer_class.h"
#include "libslice/text/sources/tokenizer_config.h"
#include "libslice/text/sources/tokenizer_configs.h"
#include "libslice/text/sources/tokenizer_json.h"
#include "libslice/text/sources/tokenizer_sources.h"

namespace slice::detail {
namespace {

// The content of a model file. The defaults are those of sentencepiece_model.proto: a file leaves
// out fields that have their default.
struct Model {
  Pieces pieces;
  int64_t type = 1;
  bool byte_fallback = false, space_after = false;
  int64_t bos = 1, eos = 2, padding = -1;
  std::string normalizer;
  bool normalizes = false, denormalizes = false;
  bool adds_space = true, removes_spaces = true, escapes_spaces = true;
};

void read_piece(ProtobufReader fields, Pieces& pieces) {
  pieces.texts.emplace_back();
  pieces.scores.push_back(0);
  pieces.types.push_back(Pieces::kNormal);
  while (fields.next()) {
    if (fields.field() == 1) pieces.texts.back() = fields.text("piece");
    if (fields.field() == 2) pieces.scores.back() = fields.real("score");
    if (fields.field() == 3) pieces.types.back() = fields.integer("type");
  }
}

// Ids are int32, which the wire format encodes as int64 when negative.
void read_trainer(ProtobufReader fields, Model& model) {
  while (fields.next()) {
    if (fields.field() == 3) model.type = fields.integer("model_type");
    if (fields.field() == 24) model.space_after = fields.flag("treat_whitespace_as_suffix");
    if (fields.field() == 35) model.byte_fallback = fields.flag("byte_fallback");
    if (fields.field() == 41) model.bos = fields.integer("bos_id");
    if (fields.field() == 42) model.eos = fields.integer("eos_id");
    if (fields.field() == 43) model.padding = fields.integer("pad_id");
  }
}

void read_normalizer(ProtobufReader fields, Model& model) {
  while (fields.next()) {
    if (fields.field() == 1) model.normalizer = fields.text("name");
    if (fields.field() == 2) model.normalizes = !fields.text("precompiled_charsmap").empty();
    if (fields.field() == 3) model.adds_space = fields.flag("add_dummy_prefix");
    if (fields.field() == 4) model.removes_spaces = fields.flag("remove_extra_whitespaces");
    if (fields.field() == 5) model.escapes_spaces = fields.flag("escape_whitespaces");
  }
}

void read_denormalizer(ProtobufReader fields, Model& model) {
  while (fields.next()) {
    if (fields.field() == 2) model.denormalizes = !fields.text("precompiled_charsmap").empty();
  }
}

Model read_model(std::string_view bytes, const std::string& source) {
  Model model;
  ProtobufReader fields(bytes, source);
  while (fields.next()) {
    const auto message = [&](const char* name) {
      return ProtobufReader(fields.text(name), detail::formatted("{}: {}", source, name));
    };
    if (fields.field() == 1) {
      const std::string where = detail::formatted("pieces[{}]", model.pieces.texts.size());
      read_piece(message(where.c_str()), model.pieces);
    }
    if (fields.field() == 2) read_trainer(message("trainer_spec"), model);
    if (fields.field() == 3) read_normalizer(message("normalizer_spec"), model);
    if (fields.field() == 5) read_denormalizer(message("denormalizer_spec"), model);
  }
  SLICE_FORMAT_CHECK(!model.pieces.texts.empty(), "{}: no pieces", source);
  return model;
}

void check_supported(const Model& model, const std::string& source) {
  static constexpr const char* kTypes[] = {"UNIGRAM", "BPE", "WORD", "CHAR"};
  SLICE_FORMAT_CHECK(
      model.type == 2, "{}: trainer_spec.model_type {} is not supported: want BPE", source,
      model.type >= 1 && model.type <= 4 ? kTypes[model.type - 1] : std::to_string(model.type));
  SLICE_FORMAT_CHECK(!model.normalizes,
                     "{}: the normalisation '{}' is not supported: want identity", source,
                     model.normalizer);
  const auto refuse = [&](bool refused, const char* option) {
    SLICE_FORMAT_CHECK(!refused, "{}: {} is not supported", source, option);
  };
  refuse(model.denormalizes, "a denormalizer_spec with a precompiled_charsmap");
  refuse(!model.escapes_spaces, "normalizer_spec.escape_whitespaces = false");
  refuse(model.space_after, "trainer_spec.treat_whitespace_as_suffix");
  for (size_t id = 0; id < model.pieces.types.size(); ++id) {
    SLICE_FORMAT_CHECK(model.pieces.types[id] != Pieces::kUnused,
                       "{}: piece {} '{}' is of type UNUSED: not supported", source, id,
                       model.pieces.texts[id]);
  }
}

// -1: none.
std::optional<int64_t> optional_id(int64_t id) { return id < 0 ? std::nullopt : std::optional(id); }

// Transformers reads the file with other words than SentencePiece's where tokenizer_config.json
// says so: with `legacy` false, no space is put before a text that follows a special token.
void use_words_of_class(const TokenizerTexts& texts, BpeDefinition& definition) {
  const JsonFile config(texts, texts.configuration, "tokenizer_config.json");
  if (tokenizer_class(texts) == "LlamaTokenizer") return use_llama_words(texts, definition);
  if (find_field<bool>(config.object, "legacy", config.where).value_or(true)) return;
  for (Normalizer& normalizer : definition.normalizers) {
    if (normalizer.kind == Normalizer::Kind::kPrepend) {
      normalizer.kind = Normalizer::Kind::kPrependAtStart;
    }
  }
}

}  // namespace

BpeDefinition read_sentencepiece_tokenizer(const TokenizerTexts& texts) {
  BpeDefinition definition;
  definition.source = texts.directory + "/tokenizer.model";
  Model model = read_model(texts.sentencepiece, definition.source);
  check_supported(model, definition.source);
  define_pieces(std::move(model.pieces), definition);
  SLICE_FORMAT_CHECK(definition.unknown, "{}: no piece of type UNKNOWN", definition.source);
  definition.byte_fallback = model.byte_fallback;
  // SentencePiece searches for these in the normalised text.
  for (AddedToken& token : definition.added) token.normalized = !token.special;
  using Kind = Normalizer::Kind;
  if (model.removes_spaces) definition.normalizers.push_back({Kind::kSqueeze, " ", ""});
  if (model.adds_space) definition.normalizers.push_back({Kind::kPrepend, "", kSpaceMark});
  definition.normalizers.push_back({Kind::kReplace, " ", kSpaceMark});
  if (model.removes_spaces) definition.normalizers.push_back({Kind::kTrimEnd, kSpaceMark, ""});
  definition.strip_leading_space = model.adds_space || model.removes_spaces;
  definition.bos = optional_id(model.bos);
  definition.padding = optional_id(model.padding);
  if (model.eos >= 0) definition.eos = {model.eos};
  definition.adds_bos = definition.bos.has_value();
  read_added_tokens(texts, definition);
  use_words_of_class(texts, definition);
  read_tokenizer_config(texts, definition);
  return definition;
}

}  // namespace slice::detail
