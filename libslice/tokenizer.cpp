#include "libslice/tokenizer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "libslice/bpe.h"
#include "libslice/detail/check.h"
#include "libslice/detail/file.h"
#include "libslice/detail/tokenizer_json.h"
#include "libslice/detail/tokenizer_sources.h"
#include "libslice/gguf.h"

namespace slice {
namespace {

namespace fs = std::filesystem;

// Files that belong to a tokenizer in a Hugging Face directory.
constexpr const char* kTokenizerFiles[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "chat_template.jinja",
};

std::shared_ptr<const Tokenizer> load_from_directory(const fs::path& directory) {
  SLICE_FORMAT_CHECK(fs::exists(directory / "tokenizer.json"),
                     "{}: no tokenizer.json (other kinds are not supported)", directory.string());
  std::vector<Tokenizer::File> files;
  for (const char* name : kTokenizerFiles) {
    if (!fs::exists(directory / name)) continue;
    files.push_back({name, detail::read_text_file(directory / name)});
  }
  detail::TokenizerJson texts;
  texts.directory = directory.string();
  const auto text = [&](const std::string& name) {
    const auto found = std::ranges::find(files, name, &Tokenizer::File::name);
    return found == files.end() ? std::string() : found->bytes;
  };
  texts.tokenizer = text("tokenizer.json");
  texts.tokenizer_config = text("tokenizer_config.json");
  texts.special_tokens_map = text("special_tokens_map.json");
  if (fs::exists(directory / "generation_config.json")) {
    texts.generation_config = detail::read_text_file(directory / "generation_config.json");
  }
  return make_bpe_tokenizer(detail::read_tokenizer_json(texts), std::move(files));
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
                     "{}: no tokenizer.bin beside it, nor another *.bin that holds {} tokens",
                     model.string(), vocabulary);
  SLICE_FORMAT_CHECK(found.size() == 1, "{}: its tokenizer may be {} or {}: name one tokenizer.bin",
                     model.string(), found[0].source, found[1].source);
  return make_bpe_tokenizer(std::move(found.front()));
}

// llama2.c's header: hidden size, FFN, layers, heads, KV heads, vocabulary (negative: head not
// tied), context.
int64_t llama2c_vocabulary(const detail::MappedFile& file) {
  const auto bytes = file.bytes();
  int32_t header[7] = {};
  if (bytes.size() >= sizeof(header)) std::memcpy(header, bytes.data(), sizeof(header));
  header[5] = header[5] == INT32_MIN ? 0 : std::abs(header[5]);
  const bool sane = std::ranges::all_of(header, [](int32_t value) { return value > 0; });
  SLICE_FORMAT_CHECK(sane, "{}: neither a GGUF file nor a llama2.c model", file.path().string());
  return header[5];
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer(const fs::path& model) {
  std::error_code error;  // whatever cannot be looked at is reported on opening it
  if (fs::is_directory(model, error)) return load_from_directory(model);
  const detail::MappedFile file(model);
  const auto bytes = file.bytes();
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0) {
    return make_bpe_tokenizer(detail::read_gguf_tokenizer(GgufFile(model)));
  }
  return load_beside_llama2c(model, llama2c_vocabulary(file));
}

}  // namespace slice
