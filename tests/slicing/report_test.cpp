#include "libslice/slicing/report.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_all.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "libslice/base/error.h"
#include "libslice/base/output_file.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

using nlohmann::json;
using namespace tests;

SliceReport example() {
  SliceReport report;
  report.model = "tiny";
  report.family = "llama";
  report.dtype = "float32";
  report.device = "cpu";
  report.chunk_tokens = 40;
  report.hidden_size = 24;
  report.layers = 1;
  report.stream_sizes = {16, 16, 24};
  report.dense_ffn_sizes = {64};
  report.ffn_sizes = {38};
  report.head_counts = {4};
  report.calibration_tokens = 60;
  report.calibration_sequences = 3;
  report.calibration_context = 20;
  report.calibration_sha256 = "abc";
  report.texts = {{.name = "prose.txt",
                   .windows = 2,
                   .held_out = 1,
                   .held_out_before = 3.5,
                   .held_out_after = 3.75},
                  {.name = "code.txt", .weight = 2, .windows = 1}};
  report.sites = {
      {0, "attention", 16, 0.75, 0.5}, {1, "mlp", 16, 0.5, 0.25}, {2, "head", 24, 1, 0}};
  report.sites[1].recovered = 0.875;
  report.sites[0].spectrum = {0.5, 0.25};
  report.sites[0].directions = 24;
  report.before = {.total = 1000, .blocks = 800, .embeddings = 120, .attention = 300};
  report.after = {.total = 900,
                  .blocks = 650,
                  .shortcuts = 50,
                  .embeddings = 120,
                  .attention = 250,
                  .head = 60};
  report.load_seconds = 1;
  report.peak_host_bytes = 12345;
  return report;
}

std::set<std::string> keys(const json& object) {
  std::set<std::string> names;
  for (const auto& [name, value] : object.items()) names.insert(name);
  return names;
}

TEST_CASE("a report has the keys that scripts rely on") {
  const json report = json::parse(report_json(example()));
  CHECK(keys(report) == std::set<std::string>{"model", "asked", "plan", "seed", "dtype", "device",
                                              "signal", "tf32", "recover_epochs", "method",
                                              "shortcut", "calibration", "texts", "sites",
                                              "parameters", "seconds", "peak_bytes", "versions"});
  CHECK(report["model"] == json{{"name", "tiny"},
                                {"family", "llama"},
                                {"hidden_size", 24},
                                {"layers", 1},
                                {"ffn", {64}}});
  CHECK(report["asked"] == json{{"slice", 0.25}, {"head", "keep"}});
  CHECK(report["plan"] == json{{"k", {16, 16, 24}},
                               {"ffn", {38}},
                               {"heads", {4}},
                               {"tied", false},
                               {"rejected", json::array()}});
  CHECK(report["signal"] == "device");
  CHECK(report["tf32"] == false);
  CHECK(report["method"] == "slicegpt");
  CHECK(report["shortcut"] == "dense");
  CHECK(report["calibration"] == json{{"tokens", 60},
                                      {"sequences", 3},
                                      {"context", 20},
                                      {"chunk_tokens", 40},
                                      {"sha256", "abc"}});
  CHECK(report["texts"] == json::array({{{"text", "prose.txt"},
                                         {"weight", nullptr},
                                         {"windows", 2},
                                         {"held_out", 1},
                                         {"held_out_before", 3.5},
                                         {"held_out_after", 3.75}},
                                        {{"text", "code.txt"},
                                         {"weight", 2.0},
                                         {"windows", 1},
                                         {"held_out", 0},
                                         {"held_out_before", nullptr},
                                         {"held_out_after", nullptr}}}));
  REQUIRE(report["sites"].size() == 3);
  CHECK(report["sites"][0] == json{{"index", 0},
                                   {"name", "attention"},
                                   {"hidden_size", 16},
                                   {"kept_variance", 0.75},
                                   {"seconds", 0.5},
                                   {"recovered", nullptr},
                                   {"directions", 24},
                                   {"spectrum", {0.5, 0.25}}});
  CHECK_FALSE(report["sites"][1].contains("spectrum"));
  CHECK(report["sites"][1]["recovered"] == 0.875);
  CHECK(report["recover_epochs"] == 0);
  CHECK(report["parameters"] == json{{"before", 1000},
                                     {"after", 900},
                                     {"removed", 100},
                                     {"blocks_before", 800},
                                     {"blocks_after", 650},
                                     {"blocks_removed", 150},
                                     {"parts",
                                      {{"before",
                                        {{"embeddings", 120},
                                         {"attention", 300},
                                         {"ffn", 500},
                                         {"shortcuts", 0},
                                         {"head", 0},
                                         {"others", 80}}},
                                       {"after",
                                        {{"embeddings", 120},
                                         {"attention", 250},
                                         {"ffn", 350},
                                         {"shortcuts", 50},
                                         {"head", 60},
                                         {"others", 70}}}}}});
  CHECK(keys(report["seconds"]) == std::set<std::string>{"load", "search", "gradients", "calibrate",
                                                         "eigen", "rewrite", "refit", "recover",
                                                         "save", "total"});
  CHECK(report["peak_bytes"] == json{{"host", 12345}, {"device", 0}});
  CHECK(keys(report["versions"]) == std::set<std::string>{"libslice", "libtorch", "cuda"});
  CHECK(report["versions"]["libslice"] == version());
}

TEST_CASE("a report says what the model takes before and after, in bytes and FLOP") {
  SliceReport report = example();
  report.before.read = 700;
  report.before.multiplied = 650;
  report.after.read = 600;
  report.after.multiplied = 550;
  CHECK_FALSE(json::parse(report_json(report)).contains("inference"));
  report.weight_bytes = 2;
  CHECK(json::parse(report_json(report))["inference"] ==
        json{{"weight_bytes", 2},
             {"stored_bytes", {{"before", 2000}, {"after", 1800}}},
             {"token_bytes", {{"before", 1400}, {"after", 1200}}},
             {"token_flop", {{"before", 1300}, {"after", 1100}}}});
}

TEST_CASE("lists of a report are one line, and what it measured beside is there when it was") {
  SliceReport report = example();
  report.speed_before = SpeedReport{400, 20};
  report.speed_after = SpeedReport{500, 25};
  report.samples = {{"a \"prompt\"", "\xff", "after"}};
  report.peaks = {{"load", 10, 0}, {"slice", 20, 5}};
  const std::string text = report_json(report);
  CHECK(text.find("    \"k\": [16, 16, 24],\n") != text.npos);
  CHECK(text.find("\"spectrum\": [0.5, 0.25]}") != text.npos);
  CHECK(text.find("\n    {\"prompt\": \"a \\\"prompt\\\"\", \"before\": \"\ufffd\", ") !=
        text.npos);
  CHECK(text.find("\"rejected\": []") != text.npos);
  for (size_t begin = 0, end = 0; (end = text.find('\n', begin)) != text.npos; begin = end + 1)
    CHECK(text.substr(begin, end - begin).find_first_not_of(" 0123456789.,") < text.npos);
  const json parsed = json::parse(text);
  CHECK(parsed["tokens_per_second"] == json{{"prefill", {{"before", 400.0}, {"after", 500.0}}},
                                            {"decode", {{"before", 20.0}, {"after", 25.0}}}});
  CHECK(parsed["samples"] ==
        json::array({{{"prompt", "a \"prompt\""}, {"before", "\ufffd"}, {"after", "after"}}}));
  CHECK(parsed["peak_bytes"]["phases"] ==
        json::array({{{"phase", "load"}, {"host", 10}, {"device", 0}},
                     {{"phase", "slice"}, {"host", 20}, {"device", 5}}}));
  CHECK(json::parse(parsed.dump()) == parsed);
}

TEST_CASE("a report says what was asked for, as slice_model's options are called") {
  SliceReport report = example();
  report.asked = {.head = HeadMode::kSlice, .ffn_sizes = {38}, .gradient_samples = 4};
  CHECK(json::parse(report_json(report))["asked"] ==
        json{{"slice", 0.25}, {"ffn", {38}}, {"head", "slice"}, {"samples_gradient", 4}});
  report.asked = {.round = 16, .keep_tie = true, .fit_bytes = 1000, .layout = Layout::kFree};
  CHECK(json::parse(report_json(report))["asked"] == json{{"fit", 1000},
                                                          {"fit_context", 2048},
                                                          {"fit_batch", 1},
                                                          {"layout", "free"},
                                                          {"head", "keep"},
                                                          {"keep_tie", true},
                                                          {"round", 16}});
}

TEST_CASE("perplexity appears once both values were measured") {
  SliceReport report = example();
  report.perplexity_before = 18.5;
  CHECK_FALSE(json::parse(report_json(report)).contains("perplexity"));
  report.perplexity_after = 23.25;
  CHECK(json::parse(report_json(report))["perplexity"] == json{{"before", 18.5}, {"after", 23.25}});
}

TEST_CASE("a saved report is its JSON text") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "slice_report.json";
  save_report(example(), path);
  std::ifstream file(path);
  CHECK(json::parse(file) == json::parse(report_json(example())));
}

TEST_CASE("a report that cannot be written names the path") {
  const TemporaryDirectory directory;
  CHECK_THROWS_NAMING(save_report(example(), directory.path() / "missing" / "report.json"), Error,
                      "report.json");
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_CASE("a report took the place of the symbolic link to where it was wanted") {
  namespace fs = std::filesystem;
  const std::string want = report_json(example()) + "\n";
  const TemporaryDirectory directory;
  fs::create_directory(directory.path() / "elsewhere");
  const fs::path target = directory.path() / "elsewhere" / "report.json",
                 first = directory.path() / "link.json", second = directory.path() / "second.json";
  fs::create_symlink("elsewhere/report.json", first);
  fs::create_symlink(first, second);
  for (const char* before : {"", "an older report"}) {  // "": the link leads to nothing
    if (*before != '\0') std::ofstream(target) << before;
    check_output(second);
    save_report(example(), second);
    CHECK(fs::read_symlink(second).string() == first.string());
    CHECK(fs::read_symlink(first).string() == "elsewhere/report.json");
    CHECK(fs::is_regular_file(fs::symlink_status(target)));
    CHECK(text_of(target) == want);
  }
  const auto entries = [](const fs::path& path) {
    return std::distance(fs::directory_iterator(path), fs::directory_iterator());
  };
  CHECK(entries(directory.path()) == 3);
  CHECK(entries(target.parent_path()) == 1);  // nothing temporary is left
  fs::create_symlink("circle", directory.path() / "circle");
  CHECK_THROWS_NAMING(check_output(directory.path() / "circle"), Error, "symbolic links");
}

TEST_CASE("a report took the place of an empty directory") {
  namespace fs = std::filesystem;
  const TemporaryDirectory directory;
  fs::create_directory(directory.path() / "reports");
  fs::create_symlink("reports", directory.path() / "link");
  for (const char* name : {"reports", "link", "reports/", "absent/"}) {
    CAPTURE(name);
    CHECK_THROWS_NAMING(check_output(directory.path() / name), Error, "is a directory");
    CHECK_THROWS_NAMING(save_report(example(), directory.path() / name), Error, "is a directory");
  }
  CHECK(fs::is_directory(fs::symlink_status(directory.path() / "reports")));
  CHECK(fs::is_symlink(directory.path() / "link"));
  CHECK(fs::is_empty(directory.path() / "reports"));
}

TEST_CASE("a report took the place of a pipe, as it did of a device") {
  namespace fs = std::filesystem;
  const TemporaryDirectory directory;
  const fs::path fifo = directory.path() / "fifo";
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  const int reader = ::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  check_output(fifo);
  save_report(example(), fifo);  // a pipe holds more than a report
  CHECK(fs::is_fifo(fs::symlink_status(fifo)));
  std::string got(1 << 16, '\0');
  const ssize_t size = ::read(reader, got.data(), got.size());
  ::close(reader);
  REQUIRE(size > 0);
  got.resize(static_cast<size_t>(size));
  CHECK(got == report_json(example()) + "\n");
}

TEST_CASE("a report that cannot be written was refused after the work") {
  const TemporaryDirectory directory;
  directory.write("file", "text");
  CHECK_THROWS_NAMING(check_output(directory.path() / "missing" / "report.json"), Error,
                      "missing/report.json: cannot create it");
  CHECK_THROWS_NAMING(check_output(directory.path() / "file" / "report.json"), Error,
                      "file/report.json: cannot create it");
  CHECK_NOTHROW(check_output(directory.path() / "report.json"));
  CHECK_NOTHROW(check_output(directory.path() / "file"));
  CHECK_FALSE(std::filesystem::exists(directory.path() / "report.json"));
  CHECK(text_of(directory.path() / "file") == "text");
}

TEST_CASE("the version is three numbers and peak memory is positive") {
  CHECK(std::regex_match(version(), std::regex(R"(\d+\.\d+\.\d+)")));
  CHECK(peak_host_bytes() > 1 << 20);
}

}  // namespace
}  // namespace slice
