// tokenize MODEL TEXT: token ids, one line a text; --count, --decode.

#include <charconv>
#include <cstdio>

#include "cli.h"
#include "libslice/slice.h"

namespace {

std::vector<int64_t> parse_ids(const std::string& text) {
  std::vector<int64_t> ids;
  const char *at = text.data(), *end = at + text.size();
  while (at != end) {
    if (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r' || *at == ',') {
      ++at;
      continue;
    }
    int64_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc())
      throw slice::FormatError("--decode: not a token id: " + std::string(at, end).substr(0, 20));
    ids.push_back(id);
    at = next;
  }
  return ids;
}

}  // namespace

int main(int argc, char** argv) {
  std::string path;
  std::vector<std::string> texts;
  bool count = false, decode = false, special = false;
  CLI::App app("Text to token ids and back.", "tokenize");
  app.add_option("MODEL", path, "Hugging Face directory, .gguf, or llama2.c .bin")->required();
  app.add_option("TEXT", texts, "text, or ids with --decode; - is stdin")->required();
  app.add_flag("--count", count, "print how many tokens instead");
  app.add_flag("--decode", decode, "ids to text");
  app.add_flag("--special", special, "recognise (or print) special tokens");
  return cli::run(app, argc, argv, [&] {
    const auto tokenizer = slice::load_tokenizer(path);
    for (std::string& text : texts) {
      if (text == "-") text = slice::read_text("-");
      if (decode) {
        std::printf("%s\n", tokenizer->decode(parse_ids(text), special).c_str());
        continue;
      }
      const std::vector<int64_t> ids = tokenizer->encode(text, special);
      if (count) {
        std::printf("%zu\n", ids.size());
        continue;
      }
      for (size_t i = 0; i < ids.size(); ++i) std::printf(i == 0 ? "%ld" : " %ld", ids[i]);
      std::printf("\n");
    }
  });
}
