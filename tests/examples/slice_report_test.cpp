// What slice_model writes and prints about a run.

#include <catch2/catch_all.hpp>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "libslice/base/detail/file.h"
#include "libslice/checkpoint/model.h"
#include "libslice/text/bpe.h"
#include "tests/support/child_process.h"
#include "tests/support/directory_contents.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_vocabulary.h"

namespace fs = std::filesystem;

namespace slice::tests {
namespace {

using Catch::Matchers::ContainsSubstring;

/// A small model and a text in `directory`; slices it into `out`.
Outcome slice_tiny(const TemporaryDirectory& directory, const std::string& out,
                   const std::vector<std::string>& more) {
  const fs::path model = directory.path() / "tiny <b>model&";
  if (!fs::exists(model)) {
    const auto tokenizer = make_bpe_tokenizer(tiny_definition());
    ModelConfig config = tiny_config();
    config.vocabulary_size = tokenizer->vocabulary_size();
    const Model bare = random_model(config, 1, at::kFloat);
    save_model(Model(std::shared_ptr<DecoderImpl>(&bare.decoder(), [](DecoderImpl*) {}), tokenizer,
                     at::kFloat),
               model);
    std::string text;
    for (int i = 0; i < 400; ++i) text += "hello world " + std::to_string(i) + "\n";
    directory.write("text.txt", text);
  }
  std::vector<std::string> arguments = {
      "slice_model", model, "--calibration", directory.path() / "text.txt", "--context", "64",
      "--samples",   "17",  "--out",         directory.path() / out};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return Child(directory.path(), arguments).wait();
}

TEST_CASE("slice_model writes a page beside the report unless it is told not to") {
  const TemporaryDirectory directory;
  const Outcome sliced = slice_tiny(
      directory, "it's",
      {"--remove-blocks", "0.2", "--round", "2", "--perplexity", directory.path() / "text.txt"});
  INFO(sliced.err);
  REQUIRE(sliced.code == 0);
  const std::string html = detail::read_text_file(directory.path() / "it's/slice_report.html");
  CHECK_THAT(html, ContainsSubstring("<h1>tiny &lt;b&gt;model&amp;</h1>"));
  CHECK_THAT(html, ContainsSubstring("Plans that were tried"));
  CHECK(html.size() < 400'000);
  const std::string text = detail::read_text_file(directory.path() / "it's/slice_report.json");
  const auto report = nlohmann::json::parse(text);
  CHECK(report["model"]["name"] == "tiny <b>model&");
  CHECK(report["asked"]["remove_blocks"] == 0.2);
  CHECK(report["peak_bytes"]["phases"].size() == 4);  // load, search, slice, save
  CHECK(report["samples"].size() == 2);
  for (const auto& sample : report["samples"])
    for (const char* part : {"prompt", "before", "after"}) CHECK(sample[part] != "");
  CHECK_THAT(html, ContainsSubstring("What it writes"));
  for (const auto& [name, hash] : report["files"].items())
    if (name != "slice_report.html") CHECK_THAT(html, ContainsSubstring(hash.get<std::string>()));
  const std::string list = nlohmann::json(report["plan"]["k"]).dump();
  CHECK_THAT(text, ContainsSubstring(std::regex_replace(list, std::regex(","), ", ")));
  // What comes next, for a shell and for Python.
  CHECK_THAT(sliced.out,
             ContainsSubstring("\nwritten     " + (directory.path() / "it's").string()));
  CHECK_THAT(sliced.out, ContainsSubstring("evaluate '" + directory.path().string() +
                                           "/it'\\''s' --perplexity TEXT\n"));
  CHECK_THAT(sliced.out, ContainsSubstring("generate '"));
  CHECK_THAT(sliced.out,
             ContainsSubstring("from_pretrained('" + directory.path().string() + "/it\\'s')\n"));

  const Outcome asked = slice_tiny(
      directory, "asked", {"--slice", "0.25", "--prompt", "hello world", "--prompt", "world 7"});
  INFO(asked.err);
  REQUIRE(asked.code == 0);
  const auto samples = nlohmann::json::parse(
      detail::read_text_file(directory.path() / "asked/slice_report.json"))["samples"];
  REQUIRE(samples.size() == 2);
  CHECK(samples[0]["prompt"] == "hello world");
  CHECK(samples[1]["prompt"] == "world 7");

  for (const std::string method : {"slicegpt", "refit"}) {
    const Outcome bare =
        slice_tiny(directory, method,
                   {"--slice", "0.25", "--method", method, "--layerwise", "--no-report-html"});
    INFO(bare.err);
    REQUIRE(bare.code == 0);
    CHECK(names_in(directory.path() / method).contains("slice_report.json"));
    CHECK_FALSE(names_in(directory.path() / method).contains("slice_report.html"));
    CHECK_THAT(bare.out, !ContainsSubstring("slice_report.html"));
    const auto sites = nlohmann::json::parse(
        detail::read_text_file(directory.path() / method / "slice_report.json"))["sites"];
    double kept = 0;
    for (const double share : sites[0]["spectrum"]) kept += share;
    const int64_t k = sites[0]["hidden_size"], shown = sites[0]["directions"];
    CHECK(shown == (method == "refit" ? k : tiny_config().hidden_size));
    CHECK(kept == Catch::Approx(method == "refit" ? sites[0]["kept_variance"].get<double>() : 1.0)
                      .epsilon(1e-3));  // all are shown, of so few
  }
}

TEST_CASE("inspect compares models and reports, and refuses what is neither") {
  const TemporaryDirectory directory;
  REQUIRE(slice_tiny(directory, "out", {"--slice", "0.25", "--head", "slice"}).code == 0);
  const std::string model = directory.path() / "tiny <b>model&", out = directory.path() / "out",
                    report = out + "/slice_report.json";
  const auto inspect = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"inspect"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Child(directory.path(), arguments).wait();
  };
  const Outcome table = inspect({"--compare", model, out});
  CHECK(table.code == 0);
  CHECK_THAT(table.out, ContainsSubstring("parameters as stored"));
  CHECK_THAT(table.out, ContainsSubstring("B against A"));
  const Outcome numbers = inspect({"--compare", out, report, "--json"});
  INFO(numbers.err);
  REQUIRE(numbers.code == 0);
  const auto json = nlohmann::json::parse(numbers.out);
  for (const auto& [key, value] : json[0]["numbers"].items()) {
    CAPTURE(key);
    CHECK(json[1]["numbers"][key] == value);  // the report is of this model
  }
  CHECK(json[0]["numbers"].contains("held_out_loss"));
  directory.write("list.json", "[1]");
  directory.write("torn.json", "{\"plan\": ");
  for (const char* wrong : {"list.json", "torn.json", "missing.json", "text.txt"}) {
    const Outcome refused = inspect({"--compare", model, directory.path() / wrong});
    CHECK(refused.code == 1);
    CHECK_THAT(refused.err, ContainsSubstring(wrong));
  }
  CHECK(inspect({}).code == 2);
  CHECK(inspect({model, "--compare", model, out}).code == 2);
}

TEST_CASE("slice_model that is no terminal's says a line every ten seconds") {
  const TemporaryDirectory directory;
  const auto begin = std::chrono::steady_clock::now();
  const Outcome sliced = slice_tiny(directory, "out", {"--slice", "0.25", "--head", "slice"});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  CHECK(sliced.code == 0);
  std::istringstream lines(sliced.err);
  double shares = 0;  // of the run, a line each; others are warnings
  for (std::string line; std::getline(lines, line);) shares += line.find(" %  ") != line.npos;
  INFO(sliced.err);
  CHECK(shares <= seconds.count() / 10);
}

}  // namespace
}  // namespace slice::tests
