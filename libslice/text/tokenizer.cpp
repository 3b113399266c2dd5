#include "libslice/text/tokenizer.h"

#include <algorithm>
#include <cstdlib>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/input_file.h"
#include "libslice/format/gguf.h"
#include "libslice/text/bpe.h"
#include "libslice/text/sources/tokenizer_json.h"
#include "libslice/text/sources/tokenizer_sources.h"
#include "libslice/text/sources/tokenizer_texts.h"

namespace slice {
namespace {

namespace fs = std::filesystem;

using detail::TokenizerTexts;

// Files of a tokenizer in a Hugging Face directory, and the member that each is read into.
constexpr std::pair<const char*, std::string TokenizerTexts::*> kTokenizerFiles[] = {
    {"tokenizer.json", &TokenizerTexts::tokenizer},
    {"tokenizer_config.json", &TokenizerTexts::configuration},
    {"special_tokens_map.json", &TokenizerTexts::special_tokens},
    {"tokenizer.model", &TokenizerTexts::sentencepiece},
    {"vocab.json", &TokenizerTexts::vocabulary},
    {"merges.txt", &TokenizerTexts::merges},
    {"added_tokens.json", &TokenizerTexts::added_tokens},
    {"chat_template.jinja", &TokenizerTexts::chat_template},
};

BpeDefinition read_directory_tokenizer(const TokenizerTexts& texts) {
  if (!texts.tokenizer.empty()) return detail::read_tokenizer_json(texts);
  if (!texts.sentencepiece.empty()) return detail::read_sentencepiece_tokenizer(texts);
  return detail::read_vocab_merges_tokenizer(texts);
}

std::shared_ptr<const Tokenizer> load_from_directory(const fs::path& directory) {
  const auto has = [&](const char* name) { return fs::exists(directory / name); };
  SLICE_FORMAT_CHECK(
      has("tokenizer.json") || has("tokenizer.model") || (has("vocab.json") && has("merges.txt")),
      "{}: no tokenizer.json, no tokenizer.model, and no vocab.json with merges.txt",
      directory.string());
  std::vector<Tokenizer::File> files;
  TokenizerTexts texts;
  texts.directory = directory.string();
  for (const auto& [name, text] : kTokenizerFiles) {
    if (!has(name)) continue;
    files.push_back({name, detail::read_text_file(directory / name)});
    SLICE_FORMAT_CHECK(!files.back().bytes.empty(), "{}/{}: empty", texts.directory, name);
    texts.*text = files.back().bytes;
  }
  for (const auto& [name, text] : {std::pair("generation_config.json", &TokenizerTexts::generation),
                                   std::pair("config.json", &TokenizerTexts::model)}) {
    if (has(name)) texts.*text = detail::read_text_file(directory / name);
  }
  BpeDefinition definition = read_directory_tokenizer(texts);
  return make_bpe_tokenizer(std::move(definition), std::move(files));
}

// A model file does not name its tokenizer, but few other files parse as one of its vocabulary
// size.
std::vector<BpeDefinition> find_llama2c_tokenizers(const fs::path& model, const fs::path& directory,
                                                   int64_t vocabulary) {
  std::vector<BpeDefinition> found;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    const fs::path& path = entry.path();
    if (path.extension() != ".bin" || path.filename() == model.filename()) continue;
    try {
      found.push_back(detail::read_llama2c_tokenizer(path, vocabulary));
    } catch (const FormatError&) {  // some other file
    }
  }
  SLICE_FORMAT_CHECK(!error, "{}: {}", directory.string(), error.message());
  return found;
}

std::shared_ptr<const Tokenizer> load_beside_llama2c(const fs::path& model, int64_t vocabulary) {
  const fs::path directory = model.has_parent_path() ? model.parent_path() : fs::path(".");
  const fs::path usual = directory / "tokenizer.bin";
  if (fs::exists(usual)) {
    return make_bpe_tokenizer(detail::read_llama2c_tokenizer(usual, vocabulary));
  }
  std::vector<BpeDefinition> found = find_llama2c_tokenizers(model, directory, vocabulary);
  SLICE_FORMAT_CHECK(!found.empty(),
                     "{}: no tokenizer.bin next to it, nor another *.bin that holds {} tokens",
                     model.string(), vocabulary);
  SLICE_FORMAT_CHECK(found.size() == 1, "{}: its tokenizer may be {} or {}: name one tokenizer.bin",
                     model.string(), found[0].source, found[1].source);
  return make_bpe_tokenizer(std::move(found.front()));
}

// llama2.c's header: hidden size, FFN, layers, heads, KV heads, vocabulary (negative: head not
// tied), context.
int64_t llama2c_vocabulary(const detail::InputFile& file) {
  int32_t header[7] = {};
  if (file.size() >= sizeof(header)) file.read(header, 0, sizeof(header));
  header[5] = header[5] == INT32_MIN ? 0 : std::abs(header[5]);
  const bool sane = std::ranges::all_of(header, [](int32_t value) { return value > 0; });
  SLICE_FORMAT_CHECK(sane, "{}: neither a GGUF file nor a llama2.c model", file.path().string());
  return header[5];
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer(const fs::path& model) {
  std::error_code error;  // a path that cannot be examined is reported when it is opened
  if (fs::is_directory(model, error)) return load_from_directory(model);
  const detail::InputFile file(model);
  if (file.head().starts_with("GGUF")) {
    return make_bpe_tokenizer(detail::read_gguf_tokenizer(GgufFile(model)));
  }
  return load_beside_llama2c(model, llama2c_vocabulary(file));
}

}  // namespace slice
