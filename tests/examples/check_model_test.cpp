// slice_model --check and --verify, and that the same command writes the same files.

#include <catch2/catch_all.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "libslice/base/error.h"
#include "libslice/checkpoint/check_saved.h"
#include "libslice/checkpoint/model.h"
#include "libslice/slicing/written_files.h"
#include "libslice/text/bpe.h"
#include "tests/support/child_process.h"
#include "tests/support/directory_contents.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_vocabulary.h"

namespace fs = std::filesystem;

namespace slice::tests {
namespace {

using nlohmann::json;
using Files = std::map<std::string, std::string>;

/// A small model with a tokenizer, a text, and what is sliced of them.
class Shop {
 public:
  Shop() {
    const auto tokenizer = make_bpe_tokenizer(tiny_definition());
    ModelConfig config = tiny_config();
    config.vocabulary_size = tokenizer->vocabulary_size();
    const Model bare = random_model(config, 1, at::kFloat);
    save_model(Model(std::shared_ptr<DecoderImpl>(&bare.decoder(), [](DecoderImpl*) {}), tokenizer,
                     at::kFloat),
               file("model"));
    std::string text;
    for (int i = 0; i < 400; ++i) text += "hello world " + std::to_string(i) + "\n";
    scratch_.write("text.txt", text);
  }

  fs::path file(const std::string& name) const { return scratch_.path() / name; }
  Outcome run(const std::vector<std::string>& arguments) const {
    return Child(scratch_.path(), arguments).wait();
  }
  Outcome slice(const std::string& out, const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {
        "slice_model", file("model"), "--calibration", file("text.txt"),
        "--out",       file(out),     "--context",     "32",
        "--samples",   "17",          "--device",      "cpu",
        "--quiet"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  Outcome check(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"slice_model", "--check", file("out")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }

 private:
  TemporaryDirectory scratch_;
};

/// Turns one bit of a file round.
void flip(const fs::path& path, size_t byte) {
  std::string bytes = detail::read_text_file(path);
  bytes.at(byte) ^= 1;
  detail::write_file(path, bytes);
}

TEST_CASE("--check finds a flipped bit in any file, and one that is missing") {
  const Shop shop;
  const Outcome sliced = shop.slice("out", {"--method", "slicegpt", "--slice", "0.25"});
  INFO(sliced.err);
  REQUIRE(sliced.code == 0);
  const Outcome good = shop.check({shop.file("model")});
  INFO(good.err);
  CHECK(good.code == 0);
  CHECK(good.out.starts_with("unchanged   "));
  for (const auto& [name, bytes] : contents(shop.file("out"))) {
    if (name == "slice_report.json") continue;
    CAPTURE(name);
    for (const size_t byte : {size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
      flip(shop.file("out") / name, byte);
      const DirectoryCheck check = check_directory(shop.file("out"));
      REQUIRE(check.problems.size() == 1);
      CHECK(check.problems[0].find(name + ": was changed") != std::string::npos);
      flip(shop.file("out") / name, byte);
    }
  }
  CHECK(check_directory(shop.file("out")).problems.empty());
  flip(shop.file("out") / "model.safetensors", 5000);
  const Outcome changed = shop.check({"--json"});
  CHECK(changed.code == 1);
  CHECK(changed.err.find("model.safetensors: was changed") != std::string::npos);
  CHECK(json::parse(changed.out)["problems"].size() == 1);
  flip(shop.file("out") / "model.safetensors", 5000);

  detail::write_file(shop.file("out") / "notes.txt", "mine");
  CHECK(check_directory(shop.file("out")).others == std::vector<std::string>{"notes.txt"});
  fs::remove(shop.file("out") / "tokenizer.json");
  const Outcome missing = shop.check({});
  CHECK(missing.code == 1);
  CHECK(missing.err.find("tokenizer.json") != std::string::npos);
}

TEST_CASE("--check tells a model that was sliced from another one") {
  const Shop shop;
  REQUIRE(shop.slice("out", {"--method", "slicegpt", "--slice", "0.25"}).code == 0);
  flip(shop.file("model") / "model.safetensors", 6000);
  const Outcome other = shop.check({shop.file("model")});
  CHECK(other.code == 1);
  CHECK(other.err.find("was sliced from another model") != std::string::npos);
}

TEST_CASE("--check refuses a directory without hashes, and names that lead elsewhere") {
  const TemporaryDirectory scratch;
  CHECK_THROWS_NAMING(check_directory(scratch.path()), FormatError, "slice_report.json");
  scratch.write("slice_report.json", "{}");
  CHECK_THROWS_NAMING(check_directory(scratch.path()), FormatError, "want hashes");
  for (const char* name : {"../passwd", "/etc/passwd", "..", "", "a/b"}) {
    scratch.write("slice_report.json", json{{"files", {{name, "00"}}}}.dump());
    CHECK_THROWS_NAMING(check_directory(scratch.path()), FormatError,
                        "names of files in its directory");
  }
  scratch.write("slice_report.json", json{{"files", {{"a", 1}}}}.dump());
  CHECK_THROWS_NAMING(check_directory(scratch.path()), FormatError, "want a SHA-256");
}

TEST_CASE("--verify compares what was written with the model and measures what it lost") {
  const Shop shop;
  for (const char* method : {"slicegpt", "refit"}) {
    for (const char* dtype : {"keep", "bf16"}) {
      CAPTURE(method, dtype);
      const Outcome sliced = shop.slice("out", {"--method", method, "--slice", "0.25", "--dtype",
                                                dtype, "--verify", "--json", "--force"});
      INFO(sliced.err);
      REQUIRE(sliced.code == 0);
      const json verified = json::parse(sliced.out)["verified"];
      CHECK(verified["windows"] == 1);
      CHECK(verified["loss"]["before"].get<double>() > 0);
      CHECK(verified["loss"]["after"].get<double>() > 0);
    }
  }
  const Outcome refused = shop.slice("layerwise", {"--layerwise", "--slice", "0.25", "--verify"});
  CHECK(refused.code == 2);
}

TEST_CASE("a saved model that differs in one bit, a name or a dtype is not the model's") {
  const TemporaryDirectory scratch;
  const fs::path saved = scratch.path() / "saved";
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  save_model(model, saved, {.shard_bytes = 4000});
  CHECK_NOTHROW(check_saved(model, saved));
  CHECK_NOTHROW(check_saved(load_model(saved), saved));
  CHECK_THROWS_NAMING(check_saved(model, saved, at::kBFloat16), FormatError, "want");
  for (const auto& entry : fs::directory_iterator(saved)) {
    if (entry.path().extension() != ".safetensors") continue;
    const size_t last = fs::file_size(entry.path()) - 1;
    flip(entry.path(), last);
    CHECK_THROWS_NAMING(check_saved(model, saved), FormatError, "values are not those");
    flip(entry.path(), last);
  }
  CHECK_THROWS_AS(check_saved(random_model(tiny_config(), 2, at::kFloat), saved), FormatError);
}

TEST_CASE("the same command writes the same files, run by run") {
  const Shop shop;
  for (const char* method : {"slicegpt", "refit"}) {
    for (const bool layerwise : {false, true}) {
      CAPTURE(method, layerwise);
      std::vector<Files> written;
      for (int run = 0; run < 2; ++run) {
        std::vector<std::string> more = {"--method",  method, "--slice", "0.25",
                                         "--threads", "2",    "--force"};
        if (layerwise) more.push_back("--layerwise");
        const Outcome outcome = shop.slice("out", more);
        INFO(outcome.err);
        REQUIRE(outcome.code == 0);
        written.push_back(contents(shop.file("out")));
        written.back().erase("slice_report.json");  // times and memory
        written.back().erase("slice_report.html");
      }
      CHECK(written[0].size() > 2);
      CHECK(written[0] == written[1]);
    }
  }
}

}  // namespace
}  // namespace slice::tests
