#include "libslice/text/text_file.h"

#include <catch2/catch_test_macros.hpp>
#include <tuple>
#include <utility>

#include "libslice/base/error.h"
#include "tests/support/heard_warnings.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

using tests::TemporaryDirectory;

TEST_CASE("text comes from plain files, JSON lines and Alpaca records", "[text_file]") {
  const TemporaryDirectory directory;
  const auto read = [&](const std::string& name, const std::string& bytes) {
    return read_text(directory.write(name, bytes).string());
  };
  CHECK(read("a.txt", "plain\r\n é\n") == "plain\r\n é\n");
  CHECK(read("a.jsonl", "{\"text\": \"one\"}\r\n\n{\"id\": 2, \"text\": \"t\\nwo\"}") ==
        "one\n\nt\nwo");
  CHECK(read("a.json", R"([{"instruction": "Add", "input": "1 2", "output": "3"},
                           {"instruction": "Hi", "input": "", "output": "Hello"},
                           {"instruction": "Bye", "output": "So long"}])") ==
        "Add\n1 2\n3\n\nHi\nHello\n\nBye\nSo long");
}

TEST_CASE("records come in the forms that data sets are published in", "[text_file]") {
  const TemporaryDirectory directory;
  const auto read = [&](const std::string& name, const std::string& bytes) {
    return read_text(directory.write(name, bytes).string());
  };
  const std::string lines = "{\"text\": \"a\", \"url\": \"u\"}\n{\"text\": \"b\"}\n";
  for (const char* name : {"lines.json", "lines.jsonl", "lines.ndjson", "LINES.JSON"})
    CHECK(read(name, lines) == "a\n\nb");
  for (const char* name : {"array.json", "array.jsonl"})
    CHECK(read(name, "[{\"text\": \"a\"},\n{\"text\":\n\"b\"}]\n") == "a\n\nb");
  CHECK(read("strings.json", R"(["a", "b\"]"])") == "a\n\nb\"]");
  CHECK(read("pretty.json", "{\n  \"text\": \"a\"\n}\n{\n  \"text\": \"b\"\n}\n") == "a\n\nb");
  CHECK(read("inside.json", R"({"version": 1, "data": [{"text": "a"}, {"text": "b"}]})") ==
        "a\n\nb");
  CHECK(read("rows.json", R"({"rows": [{"row_idx": 0, "row": {"text": "a"}}]})") == "a");
  CHECK(read("null.jsonl", "{\"text\": null}\n{\"text\": \"\"}\n{\"text\": \"a\"}") == "a");
  CHECK(read("marked.jsonl", "\xef\xbb\xbf" + lines) == "a\n\nb");
  CHECK(read("marked.txt", "\xef\xbb\xbfplain") == "plain");
  CHECK(read("a.jsonl", R"({"instruction": "Add", "input": "1 2", "output": "3"})") ==
        "Add\n1 2\n3");
  CHECK(read("d.jsonl", R"({"instruction": "Add", "context": "1 2", "response": "3"})") ==
        "Add\n1 2\n3");
  CHECK(read("p.jsonl", R"({"prompt": "One, two,", "completion": " three"})") == "One, two, three");
  CHECK(read("q.jsonl", R"({"question": "1 + 2?", "answer": "3"})") == "1 + 2?\n3");
  CHECK(read("c.jsonl", R"({"content": "a"})") == "a");
  CHECK(read("m.jsonl", R"({"messages": [{"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "He"}, "llo"]}]})") ==
        "Hi\nHello");
  CHECK(read("s.json", R"([{"conversations": [{"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Hello"}]}])") == "Hi\nHello");
}

std::string packed(std::string_view hexadecimal) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hexadecimal.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string(hexadecimal.substr(i, 2)), nullptr, 16));
  return bytes;
}

// "hello hello hello\n" by gzip, xz and zstd.
constexpr char kGzip[] = "1f8b0800000000000203cb48cdc9c957c840905c003b7c8adf12000000";
constexpr char kXz[] =
    "fd377a585a000004e6d6b4460200210116000000742fe5a3e00011000c5d00341949ee8de94f7e2121b000001f01d9"
    "c8"
    "87c143c800012812c96a628e1fb6f37d010000000004595a";
constexpr char kZstandard[] = "28b52ffd04586d00003868656c6c6f200a0100314a11a3aa74ce";

TEST_CASE("compressed text is read where its name says so", "[text_file]") {
  const TemporaryDirectory directory;
  const auto read = [&](const std::string& name, const std::string& bytes) {
    return read_text(directory.write(name, bytes).string());
  };
  const std::string text = "hello hello hello\n";
  for (const auto& [suffix, bytes] :
       {std::pair(".gz", packed(kGzip)), {".xz", packed(kXz)}, {".zst", packed(kZstandard)}}) {
    CAPTURE(suffix);
    CHECK(read(std::string("t.txt") + suffix, bytes) == text);
    CHECK(read(std::string("twice.txt") + suffix, bytes + bytes) == text + text);
  }
  CHECK(read("padded.GZ", packed(kGzip) + std::string(512, '\0')) == text);
  // {"text": "a"} twice, on lines of their own
  CHECK(read("lines.jsonl.gz", packed("1f8b0800000000000203ab562a49ad2851b252504a54aae5"
                                      "aa46e10100d31253021c000000")) == "a\n\na");
}

// A byte a token, and a template that writes its end tokens, but answers to "user" first only.
class ChatTokenizer final : public Tokenizer {
 public:
  std::vector<int64_t> encode(std::string_view text, bool special) const override {
    std::vector<int64_t> ids;
    for (size_t i = 0; i < text.size(); ++i) {
      const bool end = special && text.substr(i).starts_with("<e>");
      ids.push_back(end ? 256 : static_cast<unsigned char>(text[i]));
      if (end) i += 2;
    }
    return ids;
  }
  std::string decode(std::span<const int64_t>, bool) const override { return "<e>"; }
  int64_t vocabulary_size() const override { return 257; }
  std::optional<int64_t> bos_token() const override { return std::nullopt; }
  std::vector<int64_t> eos_tokens() const override { return {256}; }
  bool adds_bos() const override { return false; }
  std::string chat_template() const override {
    return "{% if messages[0].role != 'user' %}{{ raise_exception('who asks?') }}{% endif %}"
           "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}<e>{% endfor %}";
  }
  std::vector<File> files() const override { return {}; }
};

TEST_CASE("conversations are rendered through the chat template, special tokens and all",
          "[text_file]") {
  const TemporaryDirectory directory;
  const std::string hi = R"({"messages": [{"role": "user", "content": "H"}]})";
  const std::string share =
      R"({"conversations": [{"from": "human", "value": "A"}, {"from": "gpt", "value": "B"}]})";
  const std::string refused = R"({"messages": [{"role": "assistant", "content": "no"}]})";
  const auto ids = [&](const std::string& bytes) {
    return encode_file(ChatTokenizer(), directory.write("chat.jsonl", bytes).string());
  };
  const std::vector<int64_t> want = {'u', ':', 'H', 256, 'u', ':', 'A', 256, 'a', ':', 'B', 256};
  CHECK(ids(hi + "\n" + share) == want);
  CHECK(ids("{\"text\": \"<e>\"}\n" + hi) ==
        std::vector<int64_t>{'<', 'e', '>', 'u', ':', 'H', 256});
  tests::HeardWarnings heard;
  CHECK(ids(refused + "\n" + hi) == std::vector<int64_t>{'u', ':', 'H', 256});
  CHECK(heard.text().find("1 conversations are left out") != std::string::npos);
  CHECK(heard.text().find("line 1: ") != std::string::npos);
  CHECK(heard.text().find("who asks?") != std::string::npos);
  CHECK_THROWS_AS(ids(refused), FormatError);
}

TEST_CASE("malformed text is refused by place", "[text_file]") {
  const TemporaryDirectory directory;
  const std::tuple<const char*, std::string, const char*> table[] = {
      {"empty.txt", "", "no text"},
      {"latin1.txt", "caf\xE9 au lait", "byte 3"},
      {"empty.jsonl", "\n\n", "no text"},
      {"broken.jsonl", "{\"text\": \"a\"}\n{\"text\": ", "line 2"},
      {"other.jsonl", "{\"text\": \"a\"}\n\n{\"body\": \"b\"}", "line 3: no text in it"},
      {"number.jsonl", "{\"text\": 5}", "line 1: 'text': want a string"},
      {"list.jsonl", "[1]", "line 1, record 1: want an object"},
      {"object.json", "{}", "line 1: no text in it: want 'text', 'messages'"},
      {"keys.json", "[{\"text\": \"a\"},\n {\"title\": \"b\", \"id\": 4}]",
       "line 2, record 2: no text in it"},
      {"names.jsonl", "{\"title\": \"b\", \"id\": 4}", "got 'id', 'title'"},
      {"comma.json", "[{\"text\": \"a\"}\n\n {\"text\": \"b\"}]", "line 3: not JSON: want a comma"},
      {"open.json", "[{\"text\": \"a\"},\n", "line 2, record 2: not JSON"},
      {"ends.json", "[\n{\"text\": \"a\"}", "want a comma or the array's end after record 1"},
      {"string.jsonl", "{\"text\": \"a\n\"}\n", "line 1: not JSON"},
      {"latin1.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\xE9\"}", "line 2"},
      {"role.jsonl", R"({"messages": [{"content": "a"}]})", "message 1: 'role' is missing"},
      {"turn.jsonl", R"({"messages": "a"})", "line 1: 'messages': want an array of messages"},
      {"output.jsonl", R"({"instruction": "a"})", "line 1: 'output' is missing"},
      {"short.txt.gz", packed("1f8b0800000000000203cb48cd"), "damaged: it ends too early"},
      {"other.gz", "plain text", "damaged: incorrect header check"},
      {"nothing.gz", "", "damaged: it ends too early"},
      {"crc.gz", packed("1f8b0800000000000203cb48cdc9c957c840905c003b7c8ade12000000"), "damaged: "},
      {"short.xz", packed(kXz).substr(0, 50), "damaged: it ends too early"},
      {"other.xz", "plain text, which is not compressed", "damaged: no xz data"},
      {"short.zst", packed(kZstandard).substr(0, 20), "damaged: it ends too early"},
      {"other.zst", "plain text", "damaged: "},
      {"gzip.txt", packed(kGzip), "gzip data: give it a name that ends in .gz"},
      {"wide.txt",
       std::string("\xff\xfe"
                   "a\0",
                   4),
       "UTF-16"},
      {"table.json", "PAR1....", "Parquet"},
      {"pointer.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
       "git lfs pull"},
      {"none.json", "[]", "no text"},
      {"field.json", R"([{"instruction": "a", "output": "b"}, {"instruction": "a"}])",
       "line 1, record 2: 'output' is missing"},
      {"deep.json", std::string(100000, '['), "deep"},
  };
  for (const auto& [name, bytes, part] : table) {
    const std::string path = directory.write(name, bytes).string();
    try {
      read_text(path);
      FAIL("accepted " << name);
    } catch (const FormatError& error) {
      const std::string message = error.what();
      INFO(message);
      CHECK(message.find(part) != std::string::npos);
      CHECK(message.find(name) != std::string::npos);
    }
  }
  CHECK_THROWS_AS(read_text((directory.path() / "missing.txt").string()), FormatError);
}

}  // namespace
}  // namespace slice
