// The programs as a person or a script meets them: exit codes, messages, and what is left on disk.

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <catch2/catch_all.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "libslice/base/detail/file.h"
#include "libslice/checkpoint/model.h"
#include "libslice/text/bpe.h"
#include "libslice/text/tokenizer.h"
#include "tests/support/child_process.h"
#include "tests/support/published_models.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_vocabulary.h"

namespace fs = std::filesystem;

namespace slice::tests {
namespace {

/// A small model with a tokenizer, and a text.
class Workshop {
 public:
  Workshop() {
    const auto tokenizer = make_bpe_tokenizer(tiny_definition());
    ModelConfig config = tiny_config();
    config.vocabulary_size = tokenizer->vocabulary_size();
    const Model bare = random_model(config, 1, at::kFloat);
    Model model(std::shared_ptr<DecoderImpl>(&bare.decoder(), [](DecoderImpl*) {}), tokenizer,
                at::kFloat);
    save_model(model, path("model"));
    std::string text;
    for (int i = 0; i < 400; ++i) text += "hello world " + std::to_string(i) + "\n";
    scratch_.write("text.txt", text);
    scratch_.write("short.txt", "hello");
    scratch_.write("latin1.txt", "caf\xe9 " + text);
    scratch_.write("empty.txt", "");
    scratch_.write("notes.json", "{\"instruction\": 1}");
    scratch_.write("bad.jsonl", "{\"text\": \"hello\"}\nnot json\n");
    scratch_.write("junk.gguf", "GGUF and nothing else");
    scratch_.write("junk.bin", "too short");
    scratch_.write("junk.txt", "no model");
    fs::create_directory(path("hollow"));
    fs::create_directory(path("exists"));
    fs::copy(path("model"), path("truncated"));
    fs::resize_file(file("truncated") / "model.safetensors",
                    fs::file_size(file("truncated") / "model.safetensors") - 4);
    for (const auto& [name, chat_template] :
         {std::pair("silent", ""), std::pair("strict", "{{ raise_exception('no') }}")}) {
      BpeDefinition definition = tiny_definition();
      definition.chat_template = chat_template;
      fs::copy(path("model"), path(name));
      for (const Tokenizer::File& part : make_bpe_tokenizer(definition)->files()) {
        detail::write_file(file(name) / part.name, part.bytes);
      }
    }
    fs::copy(path("model"), path("foreign"));
    detail::write_file(file("foreign") / "config.json", "{\"model_type\": \"mamba\"}");
  }

  fs::path file(const std::string& name) const { return scratch_.path() / name; }
  std::string path(const std::string& name) const { return (scratch_.path() / name).string(); }
  Outcome run(const std::vector<std::string>& arguments) const {
    return Child(scratch_.path(), arguments).wait();
  }
  /// Arguments that slice the model into `out`, calibrated on the text.
  std::vector<std::string> slicing(const std::string& out,
                                   const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"slice_model",    path("model"), "--calibration",
                                          path("text.txt"), "--out",       path(out)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  const TemporaryDirectory& scratch() const { return scratch_; }

  /// Files and directories, hidden ones too, but for the streams of the children.
  std::set<std::string> listing() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(scratch_.path()))
      names.insert(entry.path().filename().string());
    names.erase("stdout");
    names.erase("stderr");
    return names;
  }

 private:
  TemporaryDirectory scratch_;
};

}  // namespace

TEST_CASE("slice_model searches a plan for a budget and writes what was asked") {
  const Workshop shop;
  const Outcome sliced = shop.run(shop.slicing(
      "smaller", {"--calibration", shop.path("text.txt"), "--remove-blocks", "0.2", "--round", "2",
                  "--context", "32", "--samples", "17", "--calibration-weights", "2,1", "--tf32",
                  "off", "--device", "cpu", "--json"}));
  INFO(sliced.err);
  REQUIRE(sliced.code == 0);
  const auto report = nlohmann::json::parse(sliced.out);
  CHECK(report["method"] == "refit");
  CHECK(report["tf32"] == false);
  CHECK(report["form"]["stock"] == true);  // unless --layout free finds a better plan
  CHECK(report["plan"]["losses"]["free"] <= report["plan"]["losses"]["stock"]);
  CHECK(sliced.err.find("the result will be: ") != std::string::npos);
  CHECK(report["calibration"]["sequences"] == 17);
  REQUIRE(report["texts"].size() == 2);
  for (const auto& text : report["texts"]) {
    CHECK(text["text"] == shop.path("text.txt"));
    CHECK(text["held_out"] == 1);
    CHECK(text["held_out_before"].is_number());
    CHECK(text["held_out_after"].is_number());
  }
  CHECK(report["texts"][0]["weight"] == 2.0);
  CHECK(report["parameters"]["blocks_after"].get<double>() <=
        0.8 * report["parameters"]["blocks_before"].get<double>());
  CHECK(!report["plan"]["rejected"].empty());
  CHECK(
      shop.run({"generate", shop.path("smaller"), "--prompt", "hello", "--max-tokens", "2"}).code ==
      0);
  const Outcome inspected = shop.run({"inspect", shop.path("smaller"), "--json"});
  CHECK(nlohmann::json::parse(inspected.out)["parameters"] == report["parameters"]["after"]);
}

TEST_CASE("dry run, report and inspect count a stock model as its file is") {
  const Workshop shop;
  for (const bool layerwise : {false, true}) {
    const std::string out = layerwise ? "layerwise" : "whole";
    std::vector<std::string> more = {"--slice",   "0.3", "--round",   "2", "--head", "slice",
                                     "--context", "64",  "--samples", "8", "--json"};
    if (layerwise) more.insert(more.end(), {"--layerwise", "--dtype", "fp32"});
    const Outcome sliced = shop.run(shop.slicing(out, more));
    INFO(sliced.err);
    REQUIRE(sliced.code == 0);
    more.push_back("--dry-run");
    const auto planned = nlohmann::json::parse(shop.run(shop.slicing("planned", more)).out);
    const auto counted = nlohmann::json::parse(sliced.out)["parameters"];
    const auto inspected =
        nlohmann::json::parse(shop.run({"inspect", shop.path(out), "--json"}).out);
    CHECK(inspected["sliced"] == false);
    CHECK(inspected["parameters"] == counted["after"]);
    CHECK(inspected["block_parameters"] == counted["blocks_after"]);
    CHECK(planned["parameters"]["after"] == counted["after"]);
    const auto taken = nlohmann::json::parse(sliced.out)["inference"];
    for (const char* what : {"stored_bytes", "token_bytes", "token_flop"}) {
      CHECK(planned["inference"]["before"][what] == taken[what]["before"]);
      CHECK(planned["inference"]["after"][what] == taken[what]["after"]);
    }
  }
  CHECK(detail::read_text_file(shop.file("layerwise") / "config.json") ==
        detail::read_text_file(shop.file("whole") / "config.json"));
}

TEST_CASE("slice_model calibrates on what the model writes itself, alone and beside a text") {
  const Workshop shop;
  const Outcome mixed = shop.run(shop.slicing(
      "mixed", {"--calibration", "self", "--samples", "16", "--slice", "0.3", "--json"}));
  INFO(mixed.err);
  REQUIRE(mixed.code == 0);
  const nlohmann::json texts = nlohmann::json::parse(mixed.out)["texts"];
  REQUIRE(texts.size() == 2);
  CHECK(texts[1]["text"] == "self");
  CHECK(texts[1]["windows"] == 8);
  std::vector<std::string> files;
  for (const char* name : {"first", "second"}) {
    const Outcome alone = shop.run({"slice_model", shop.path("model"), "--out", shop.path(name),
                                    "--samples", "8", "--slice", "0.3", "--quiet"});
    INFO(alone.err);
    REQUIRE(alone.code == 0);
    files.push_back(detail::read_text_file(shop.file(name) / "model.safetensors"));
  }
  CHECK(files[0] == files[1]);
}

TEST_CASE("slice_model --layerwise writes the weights that slice_model writes") {
  const Workshop shop;
  const auto slice_to = [&](const std::string& out, std::vector<std::string> more) {
    more.insert(more.end(), {"--context", "64", "--samples", "8", "--json"});
    return shop.run(shop.slicing(out, more));
  };
  const auto bytes_of = [&](const std::string& out, const char* name) {
    return detail::read_text_file(fs::path(shop.path(out)) / name);
  };
  for (const std::string method : {"slicegpt", "refit"}) {
    CAPTURE(method);
    const std::vector<std::string> plan = {"--method", method, "--slice", "0.25"};
    REQUIRE(slice_to("whole-" + method, plan).code == 0);
    std::vector<std::string> by_layers = plan;
    by_layers.push_back("--layerwise");
    const Outcome layerwise = slice_to("layerwise-" + method, by_layers);
    INFO(layerwise.err);
    REQUIRE(layerwise.code == 0);
    CHECK(nlohmann::json::parse(layerwise.out)["parameters"]["after"] > 0);
    for (const char* name : {"model.safetensors", "config.json", "tokenizer.json"}) {
      CAPTURE(name);
      CHECK(bytes_of("layerwise-" + method, name) == bytes_of("whole-" + method, name));
    }
  }
  CHECK(slice_to("scored", {"--layerwise", "--perplexity", shop.path("text.txt")}).code == 2);
  const std::vector<std::string> budget = {"--remove-blocks", "0.2", "--round", "2"};
  REQUIRE(slice_to("searched-whole", budget).code == 0);
  REQUIRE(slice_to("searched", {"--layerwise", "--remove-blocks", "0.2", "--round", "2"}).code ==
          0);
  CHECK(bytes_of("searched", "model.safetensors") ==
        bytes_of("searched-whole", "model.safetensors"));
  CHECK(slice_to("resumed", {"--resume", "--slice", "0.25"}).code == 2);  // want --layerwise
  CHECK_FALSE(fs::exists(shop.path("resumed")));
}

TEST_CASE("a report goes to standard output, to a link's target and into the new directory") {
  const Workshop shop;
  const auto slice_to = [&](const std::string& out, const std::string& report) {
    const Outcome outcome =
        shop.run(shop.slicing(out, {"--method", "slicegpt", "--slice", "0.25", "--context", "64",
                                    "--samples", "4", "--quiet", "--report", report}));
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    return outcome.out;
  };
  const std::string printed = slice_to("first", "/dev/stdout");
  CHECK(printed.starts_with("{"));
  CHECK(printed.find("\n}\nparameters ") != std::string::npos);  // the summary comes after it
  CHECK(fs::exists("/dev/stdout"));
  fs::create_symlink("target.json", shop.file("link.json"));
  slice_to("second", shop.path("link.json"));
  CHECK(fs::is_symlink(shop.file("link.json")));
  CHECK(nlohmann::json::parse(detail::read_text_file(shop.file("target.json")))["method"] ==
        "slicegpt");
  slice_to("third", shop.path("third/report.json"));
  CHECK(fs::exists(shop.file("third") / "report.json"));
}

TEST_CASE("slice_model makes a model that evaluate, generate and inspect read") {
  const Workshop shop;
  const Outcome sliced = shop.run(shop.slicing(
      "sliced", {"--method", "slicegpt", "--slice", "0.25", "--round", "1", "--context", "64",
                 "--samples", "8", "--perplexity", shop.path("text.txt"), "--windows", "2",
                 "--json", "--report", shop.path("report.json")}));
  INFO(sliced.err);
  REQUIRE(sliced.code == 0);
  const auto report = nlohmann::json::parse(sliced.out);
  CHECK(report["method"] == "slicegpt");
  CHECK(report["calibration"]["tokens"] == 8 * 64);
  CHECK(report["perplexity"]["before"].get<double>() > 1);
  CHECK(report == nlohmann::json::parse(detail::read_text_file(shop.path("report.json"))));
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json",
                           "slice_report.json", "slice_report.html"}) {
    CHECK(fs::exists(fs::path(shop.path("sliced")) / name));
  }

  const Outcome scored =
      shop.run({"evaluate", shop.path("sliced"), "--perplexity", shop.path("text.txt"), "--context",
                "64", "--windows", "2", "--json"});
  INFO(scored.err);
  REQUIRE(scored.code == 0);
  const auto score = nlohmann::json::parse(scored.out);
  CHECK(score["tokens_scored"] == 2 * 63);
  CHECK(score["perplexity"].get<double>() ==
        Catch::Approx(report["perplexity"]["after"].get<double>()).epsilon(1e-6));

  const Outcome written =
      shop.run({"generate", shop.path("sliced"), "--prompt", "hello", "--max-tokens", "4"});
  CHECK(written.code == 0);
  CHECK(written.out.starts_with("hello"));
  const Outcome inspected = shop.run({"inspect", shop.path("sliced"), "--json"});
  CHECK(inspected.code == 0);
  CHECK(nlohmann::json::parse(inspected.out)["parameters"] == report["parameters"]["after"]);
}

TEST_CASE("inspect counts the parameters of published models from their config.json alone") {
  const Workshop shop;
  fs::create_directory(shop.file("published"));
  for (const PublishedModel& model : published_models()) {
    INFO(model.name);
    shop.scratch().write("published/config.json", model.config.dump());
    const Outcome inspected = shop.run({"inspect", shop.path("published"), "--json"});
    INFO(inspected.err);
    REQUIRE(inspected.code == 0);
    const auto object = nlohmann::json::parse(inspected.out);
    CHECK(object["parameters"] == model.dense);
    for (size_t i = 0; i < model.sliced.size(); ++i)  // the first row is 10 %
      CHECK(object["slices"][i + 1]["parameters"] == model.sliced[i]);
  }
  CHECK(shop.run({"inspect", shop.path("published/config.json")}).code == 0);
}

TEST_CASE("generate ends a text at the last learned position and says so") {
  const Workshop shop;
  BpeDefinition definition = tiny_definition();
  definition.eos.clear();  // nothing else ends the text
  const auto tokenizer = make_bpe_tokenizer(definition);
  ModelConfig config = tiny_families()[2];
  config.vocabulary_size = tokenizer->vocabulary_size();
  config.eos_tokens.clear();
  const Model model(random_decoder(config, 1, at::kFloat), tokenizer, at::kFloat);
  save_model(model, shop.path("learned"));
  const std::string prompt(120, '7');  // a token a digit
  const auto run = [&](const char* max_tokens) {
    return shop.run({"generate", shop.path("learned"), "--prompt", prompt, "--max-tokens",
                     max_tokens, "--quiet"});
  };
  const Outcome past = run("400"), within = run("2");
  INFO(past.err);
  CHECK(past.code == 0);
  CHECK(past.out.starts_with(prompt));
  CHECK(past.err.find("ends at position 128, the model's last") != std::string::npos);
  CHECK(within.code == 0);
  CHECK(within.err.find("position") == std::string::npos);
}

TEST_CASE("generate --chat prints the answer alone") {
  const Workshop shop;
  const Outcome answer = shop.run({"generate", shop.path("model"), "--prompt", "hello", "--chat",
                                   "--system", "be brief", "--max-tokens", "4"});
  INFO(answer.err);
  CHECK(answer.code == 0);
  CHECK_FALSE(answer.out.starts_with("hello"));
  CHECK(answer.out.find("role") == std::string::npos);  // the tiny template prints its messages
}

TEST_CASE("tokenize prints ids, counts them and decodes them") {
  const Workshop shop;
  const Outcome ids = shop.run({"tokenize", shop.path("model"), "hello world"});
  REQUIRE(ids.code == 0);
  const Outcome text = shop.run({"tokenize", shop.path("model"), "--decode", ids.out});
  CHECK(text.code == 0);
  CHECK(text.out == "hello world\n");
  const auto count = static_cast<size_t>(std::ranges::count(ids.out, ' ')) + 1;
  CHECK(shop.run({"tokenize", shop.path("model"), "--count", "hello world"}).out ==
        std::to_string(count) + "\n");
}

TEST_CASE("dry-run prints a plan and writes nothing") {
  const Workshop shop;
  const auto before = shop.listing();
  const Outcome plan = shop.run({"slice_model", shop.path("model"), "--dry-run", "--json"});
  INFO(plan.err);
  CHECK(plan.code == 0);
  const auto planned = nlohmann::json::parse(plan.out);
  CHECK(planned["expected"]["host_bytes"].get<int64_t>() > 0);
  const auto inspected =
      nlohmann::json::parse(shop.run({"inspect", shop.path("model"), "--json"}).out);
  CHECK(planned["inference"]["before"]["stored_bytes"] ==
        inspected["parameters"].get<int64_t>() * 4);  // as the model is stored
  // Where no size is given a quarter of the block weights goes.
  const Outcome quarter = shop.run(
      {"slice_model", shop.path("model"), "--dry-run", "--json", "--remove-blocks", "0.25"});
  CHECK(planned["candidates"] == nlohmann::json::parse(quarter.out)["candidates"]);
  CHECK(planned["candidates"][0]["stock"] == true);
  CHECK(planned["candidates"][0]["k"] == inspected["plans"][2]["k"]);
  CHECK(planned["candidates"][0]["parameters"] == inspected["plans"][2]["parameters"]);
  const Outcome layerwise =
      shop.run({"slice_model", shop.path("model"), "--dry-run", "--layerwise", "--method",
                "slicegpt", "--slice", "0.25", "--device", "cpu", "--json"});
  INFO(layerwise.err);
  CHECK(layerwise.code == 0);
  const nlohmann::json expected = nlohmann::json::parse(layerwise.out)["expected"];
  CHECK(expected["journal_bytes"].get<int64_t>() > expected["layer_bytes"].get<int64_t>());
  CHECK(expected["host_bytes"].get<int64_t>() > 0);
  const auto costs = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"slice_model", shop.path("model"), "--dry-run", "--json", "--slice",
                               "0.25", "--device", "cpu"});
    return nlohmann::json::parse(shop.run(more).out)["expected"];
  };
  for (const std::vector<std::string>& how : {std::vector<std::string>{}, {"--layerwise"}}) {
    std::vector<std::string> trained = how;
    trained.insert(trained.end(), {"--recover", "2"});
    const nlohmann::json without = costs(how), with = costs(trained);
    CHECK(without["training_bytes"] == 0);
    CHECK(with["training_bytes"].get<int64_t>() > 0);
    CHECK(with["host_bytes"].get<int64_t>() >=
          without["host_bytes"].get<int64_t>() + with["training_bytes"].get<int64_t>());
    CHECK(with["flop"].get<double>() > without["flop"].get<double>());
  }
  const std::vector<std::string> former = {
      "slice_model", shop.path("model"), "--dry-run", "--stream", "--device",
      "cpu",         "--slice",          "0.25"};
  CHECK(shop.run(former).code == 0);  // accepted until 0.2, and not in --help
  CHECK(shop.run({"slice_model", "--help"}).out.find("--stream") == std::string::npos);
  const Outcome choice = shop.run({"slice_model", shop.path("model"), "--dry-run", "--json",
                                   "--remove", "0.1", "--round", "2"});
  INFO(choice.err);
  CHECK(choice.code == 0);
  CHECK(!nlohmann::json::parse(choice.out)["candidates"].empty());
  CHECK(shop.listing() == before);
}

TEST_CASE("dry-run and inspect showed every layer of a model of uneven widths as its widest") {
  const Workshop shop;
  const std::vector<int64_t> widths = {30, 21};
  save_model(random_model(narrowed_config(tiny_config(), widths), 1, at::kFloat),
             shop.path("uneven"));
  const auto dry_run = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"slice_model", shop.path("uneven"), "--dry-run", "--json"});
    return shop.run(more);
  };
  const Outcome plan = dry_run({"--method", "slicegpt", "--slice", "0.25"});
  INFO(plan.err);
  REQUIRE(plan.code == 0);
  CHECK(nlohmann::json::parse(plan.out)["plan"]["ffn"] == widths);
  const Outcome choice = dry_run({"--remove", "0.1", "--round", "2"});
  INFO(choice.err);
  REQUIRE(choice.code == 0);
  const auto found = nlohmann::json::parse(choice.out);
  REQUIRE(!found["candidates"].empty());
  for (const auto& candidate : found["candidates"])
    CHECK(candidate["ffn_channels"].get<int64_t>() <= 51);
  const Outcome wide = dry_run({"--slice", "0", "--ffn", "22"});
  CHECK(wide.code == 1);
  CHECK(wide.err.find("in layer 1, got 22") != std::string::npos);
  const Outcome inspected = shop.run({"inspect", shop.path("uneven"), "--json"});
  CHECK(nlohmann::json::parse(inspected.out)["ffn_sizes"] == widths);
  CHECK(shop.run({"inspect", shop.path("uneven")}).out.find("FFN 21 to 30") != std::string::npos);
}

TEST_CASE("a dry run looks at the calibration text and says what runs the candidates") {
  const Workshop shop;
  const auto dry_run = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"slice_model", shop.path("model"), "--dry-run"});
    return shop.run(more);
  };
  const Outcome plan = dry_run({"--slice", "0.25", "--calibration", shop.path("text.txt"),
                                "--samples", "100000000000", "--context", "64", "--json"});
  INFO(plan.err);
  REQUIRE(plan.code == 0);
  const auto json = nlohmann::json::parse(plan.out);
  CHECK(json["calibration"]["windows"].get<int64_t>() > 10);
  CHECK(json["calibration"]["windows"].get<int64_t>() < 1000);
  CHECK(json["form"]["stock"] == false);
  CHECK(dry_run({"--calibration", shop.path("short.txt")}).code == 1);
  CHECK(dry_run({"--samples", "100000000000"}).code == 0);
  const std::vector<std::string> budget = {"--remove", "0.1", "--round", "2"};
  const Outcome table = dry_run(budget);
  CHECK(table.out.find("custom code (trust_remote_code); no GGUF") != std::string::npos);
  std::vector<std::string> writable = budget;
  writable.insert(writable.end(), {"--gguf", shop.path("a.gguf"), "--json"});
  const Outcome kept = dry_run(writable);
  INFO(kept.err);
  REQUIRE(kept.code == 0);
  const auto uneven = nlohmann::json::parse(kept.out);
  for (const auto& candidate : uneven["candidates"])
    CHECK(candidate["form"]["gguf"] == (candidate["stock"] == true ? "llama" : "deci"));
  writable.insert(writable.end(), {"--head", "slice"});
  const Outcome sliced = dry_run(writable);
  REQUIRE(sliced.code == 0);
  const auto stock = nlohmann::json::parse(sliced.out);
  CHECK(stock["candidates"].size() > 1);
  for (const auto& candidate : stock["candidates"])
    CHECK(candidate["form"] ==
          nlohmann::json({{"stock", true}, {"vllm", true}, {"gguf", "llama"}}));
}

TEST_CASE("a search with --gguf finds a plan that is written, as write_gguf writes it again") {
  const Workshop shop;
  const Outcome sliced = shop.run(shop.slicing(
      "small", {"--remove", "0.1", "--round", "2", "--context", "32", "--samples", "9", "--gguf",
                shop.path("small.gguf"), "--report", shop.path("small/again.json")}));
  INFO(sliced.err);
  REQUIRE(sliced.code == 0);
  CHECK(sliced.out.find("stock Transformers, vLLM; GGUF (llama)") != std::string::npos);
  CHECK(sliced.out.find("held out    loss ") != std::string::npos);
  const Outcome again =
      shop.run({"write_gguf", shop.path("small"), shop.path("again.gguf"), "--quiet"});
  INFO(again.err);
  REQUIRE(again.code == 0);
  const auto perplexity = [&](const std::string& name) {
    return shop
        .run({"evaluate", shop.path(name), "--perplexity", shop.path("text.txt"), "--context", "64",
              "--windows", "2", "--json", "--quiet"})
        .out;
  };
  CHECK(nlohmann::json::parse(perplexity("again.gguf"))["perplexity"] ==
        nlohmann::json::parse(perplexity("small.gguf"))["perplexity"]);
}

TEST_CASE("with a stride every token but the first is scored, also of an odd number") {
  const Workshop shop;
  int64_t totals = 0;
  for (const char* text : {"some words", "some words 7"}) {
    const std::string path = shop.scratch().write("words.txt", text).string();
    const Outcome outcome = shop.run({"evaluate", shop.path("model"), "--perplexity", path,
                                      "--stride", "32", "--json", "--quiet"});
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    const auto result = nlohmann::json::parse(outcome.out);
    const int64_t total = result["tokens_total"];
    CHECK(result["tokens_scored"] == total - 1);
    totals += total % 2;
  }
  CHECK(totals >= 1);  // one of them is odd
}

TEST_CASE("windows are no longer than the model's context unless that is asked for") {
  const Workshop shop;
  const auto evaluate = [&](const std::string& model, std::vector<std::string> more) {
    more.insert(more.begin(), {"evaluate", shop.path(model), "--perplexity", shop.path("text.txt"),
                               "--windows", "1", "--json", "--quiet"});
    return shop.run(more);
  };
  const Outcome plain = evaluate("model", {}), longer = evaluate("model", {"--context", "200"});
  INFO(plain.err << longer.err);
  REQUIRE(plain.code == 0);
  REQUIRE(longer.code == 0);
  CHECK(nlohmann::json::parse(plain.out)["context"] == 128);
  CHECK(plain.err == "");
  CHECK(nlohmann::json::parse(longer.out)["context"] == 200);
  CHECK(longer.err.starts_with("evaluate: warning: --context 200 is longer than the 128 tokens"));
  const auto tokenizer = make_bpe_tokenizer(tiny_definition());
  ModelConfig config = tiny_families()[2];  // learned positions
  config.vocabulary_size = tokenizer->vocabulary_size();
  save_model(Model(random_decoder(config, 1, at::kFloat), tokenizer, at::kFloat),
             shop.path("learned"));
  CHECK(nlohmann::json::parse(evaluate("learned", {}).out)["context"] == 128);
  const Outcome refused = evaluate("learned", {"--context", "200"});
  CHECK(refused.code == 2);
  CHECK(refused.err.find("--context: the model has 128 positions, got 200") != std::string::npos);
}

TEST_CASE("a result that is larger than the model is said before the work") {
  const Workshop shop;
  const Outcome grown = shop.run(
      {"slice_model", shop.path("model"), "--dry-run", "--method", "slicegpt", "--slice", "0"});
  INFO(grown.err);
  CHECK(grown.code == 0);
  CHECK(grown.err.find("slice_model: warning: the result is larger than the model") !=
        std::string::npos);
}

TEST_CASE("bad arguments and files end with the right code, name the culprit and write nothing") {
  const Workshop shop;
  const std::string model = shop.path("model"), text = shop.path("text.txt"),
                    out = shop.path("out");
  const auto slice = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--context", "64"});
    return shop.slicing("out", more);
  };
  const auto slice_model = [&](const std::string& which, const std::string& calibration) {
    return std::vector<std::string>{"slice_model", which, "--calibration", calibration,
                                    "--out",       out,   "--context",     "64"};
  };
  struct Row {
    std::vector<std::string> arguments;
    int code;
    std::string culprit;
  };
  const auto asked = [&](std::vector<std::string> more) {  // a task without its file
    more.insert(more.begin(),
                {"evaluate", model, "--tasks", "piqa", "--task-dir", shop.path("no")});
    return more;
  };
  const std::vector<Row> rows = {
      {{"slice_model"}, 2, "MODEL"},
      {{"slice_model", model, "--out", out, "--layerwise", "--slice", "0.3"}, 2, "--calibration"},
      {{"slice_model", model, "--out", out, "--layerwise", "--slice", "0.3", "--calibration",
        "self"},
       2,
       "excludes --calibration self"},
      {slice({"--layerwise", "--slice", "0.3", "--prompt", "a"}), 2, "--prompt"},
      {slice({"--slice", "0.3", "--prompt", ""}), 2, "--prompt"},
      {{"slice_model", model, "--calibration", text}, 2, "--out"},
      {slice({"--slice", "1"}), 2, "--slice"},
      {slice({"--slice", "0.1", "--remove", "0.1"}), 2, "--remove"},
      {slice({"--remove", "0.1", "--fit", "1GiB"}), 2, "--fit"},
      {slice({"--fit", "plenty"}), 2, "--fit"},
      {slice({"--fit", "24"}), 2, "want a size, e.g. 24GiB or 22000MiB, got 24"},
      {slice({"--fit", "1024kib"}), 1, "no plan"},
      {slice({"--fit", "1MiB"}), 1, "no plan"},
      {slice({"--calibration-weights", "1,2"}), 2, "--calibration-weights: want one a text"},
      {slice({"--calibration-weights", "0"}), 2, "--calibration-weights"},
      {slice({"--calibration-weights", "1", "--method", "slicegpt", "--slice", "0.1"}), 2,
       "--calibration-weights"},
      {slice({"--remove", "1.5"}), 2, "--remove: want a fraction in (0, 1)"},
      {slice({"--remove", "0.1", "--ffn", "20"}), 2, "--ffn"},
      {slice({"--fit-context", "64"}), 2, "--fit"},
      {slice({"--fit", "2GiB", "--fit-batch", "0"}), 2, "want at least 1, got 0"},
      {slice({"--windows", "4"}), 2, "--perplexity"},
      {slice({"--method", "slicegpt", "--keep-tie"}), 2, "--keep-tie"},
      {slice({"--method", "slicegpt", "--ffn", "20"}), 2, "--ffn"},
      {slice({"--method", "slicegpt", "--remove", "0.1"}), 2, "--remove"},
      {slice({"--method", "slicegpt", "--recover", "1"}), 2, "--recover"},
      {slice({"--recover", "-1"}), 2, "--recover"},
      {slice({"--method", "slicegpt", "--samples-gradient", "4"}), 2, "--samples-gradient"},
      {slice({"--ffn", "0"}), 2, "--ffn: want at least 1, got 0"},
      {slice({"--remove", "0.1", "--round", "2", "--samples", "4"}), 1, "more --samples"},
      {slice({"--shortcut", "lowrank"}), 2, "lowrank"},
      {slice({"--shortcut", "wide"}), 2, "wide"},
      {slice({"--method", "slicegpt", "--shortcut", "none"}), 2, "slicegpt"},
      {slice({"--ffn", "1,2,3,4,5"}), 1, "ffn sizes"},
      {slice({"--method", "slicegpt", "--gguf", shop.path("out.gguf")}), 1, "shortcuts"},
      {slice({"--slice", "0", "--gguf", shop.path("text.txt")}), 1, "exists already"},
      {slice({"--slice", "0", "--gguf", shop.path("nowhere/a.gguf")}), 1, "nowhere"},
      {slice({"--slice", "0", "--gguf", out}), 1, "is the directory of --out"},
      {slice({"--slice", "0", "--gguf", shop.path("a"), "--report", shop.path("a")}), 2,
       "name the same file"},
      {slice({"--report", shop.path("exists")}), 1, "exists: is a directory"},
      {slice({"--report", out}), 1, "is the directory of --out"},
      {slice({"--report", shop.path("nowhere/report.json")}), 1, "nowhere/report.json"},
      {slice({"--layerwise", "--slice", "0.25", "--report", shop.path("exists")}), 1,
       "exists: is a directory"},
      {slice({"--slice", "0.25", "--layout", "free"}), 2, "--layout"},
      {slice({"--layout", "any"}), 2, "--layout: want stock|free, got any"},
      {slice({"--calibration", "self", "--calibration", "self"}), 2,
       "self is given more than once"},
      {slice({"--slice", "-0.1"}), 2, "--slice"},
      {slice({"--slice", "nan"}), 2, "--slice"},
      {slice({"--slice", "much"}), 2, "--slice"},
      {slice({"--round", "0"}), 2, "--round"},
      {slice({"--method", "magic"}), 2, "--method: want refit|slicegpt, got magic"},
      {slice({"--dtype", "int4"}), 2, "--dtype"},
      {slice({"--head", "off"}), 2, "--head"},
      {slice({"--tf32", "half"}), 2, "--tf32"},
      {slice({"--save-every", "3"}), 2, "--save-every"},
      {slice({"--layerwise", "--gguf", shop.path("out.gguf")}), 2, "--layerwise"},
      {slice({"--threads", "0"}), 2, "--threads"},
      {slice({"--nonsense"}), 2, "--nonsense"},
      {slice({"--slice", "0.99", "--round", "64"}), 1, "0.99"},
      {slice({"--context", "1"}), 2, "--context"},  // given twice
      {slice({"--samples", "0"}), 2, "--samples: want at least 1, got 0"},
      {{"slice_model", model, "--dry-run", "--context", "0"}, 2, "--context: want at least 2"},
      {{"slice_model", model, "--dry-run", "--device", "cuda:99"}, 1, "cuda:99: no such device"},
      {{"slice_model", model, "--dry-run", "--out", shop.path("no/such")}, 1, "--out"},
      {{"slice_model", model, "--dry-run", "--method", "slicegpt", "--gguf", shop.path("a.gguf")},
       1,
       "shortcuts"},
      {slice({"--bos", "maybe"}), 2, "--bos"},
      {slice_model(shop.path("nothing"), text), 1, "nothing"},
      {slice_model(shop.path("hollow"), text), 1, "hollow"},
      {slice_model(shop.path("junk.gguf"), text), 1, "junk.gguf"},
      {slice_model(shop.path("junk.bin"), text), 1, "junk.bin"},
      {slice_model(shop.path("junk.txt"), text), 1, "junk.txt"},
      {slice_model(shop.path("truncated"), text), 1, "model.safetensors"},
      {slice_model(shop.path("foreign"), text), 1, "mamba"},
      {slice_model(model, shop.path("missing.txt")), 1, "missing.txt"},
      {slice_model(model, shop.path("empty.txt")), 1, "empty.txt"},
      {slice_model(model, shop.path("short.txt")), 1, "one context of 64"},
      {slice_model(model, shop.path("latin1.txt")), 1, "latin1.txt"},
      {slice_model(model, shop.path("notes.json")), 1, "notes.json"},
      {slice_model(model, shop.path("bad.jsonl")), 1, "bad.jsonl"},
      {slice_model(model, shop.path("hollow")), 1, "hollow"},
      {{"slice_model", model, "--calibration", text, "--out", shop.path("exists")}, 1, "exists"},
      {{"slice_model", model, "--calibration", text, "--out", shop.path("no/such/place")},
       1,
       "no/such/place: there is no directory"},
      {{"slice_model", model, "--calibration", text, "--out", shop.path("text.txt"), "--force"},
       1,
       "text.txt"},
      {slice({"--device", "cuda:99"}), 1, "cuda:99: no such device"},
      {slice({"--device", "gpu"}), 2, "--device"},
      {{"evaluate", model, "--perplexity", text, "--dtype", "fp8"}, 2, "--dtype"},
      {{"evaluate", model}, 2, "--perplexity"},
      {{"evaluate", model, "--perplexity", shop.path("short.txt")},
       1,
       "one context of 128 (--context)"},
      {{"evaluate", model, "--perplexity", text, "--windows", "0"}, 2, "--windows"},
      {{"evaluate", model, "--perplexity", text, "--stride", "200"}, 2, "--stride"},
      {asked({}), 1, "no: no such directory"},
      {asked({"--num-fewshot", "5"}), 2, "--num-fewshot"},
      {asked({"--limit", "0"}), 2, "--limit"},
      {asked({"--output", shop.path("no/results.json")}), 1, "no/results.json: cannot create it"},
      {asked({"--log-samples"}), 2, "--output"},
      {{"evaluate", model, "--tasks", "piqa"}, 2, "--task-dir"},
      {{"evaluate", model, "--tasks", "trivia", "--task-dir", "."}, 2, "trivia"},
      {{"write_gguf", model, shop.path("text.txt")}, 1, "text.txt"},
      {{"write_gguf", shop.path("hollow"), shop.path("a.gguf")}, 1, "hollow"},
      {{"write_torchscript", model, shop.path("text.txt")}, 1, "text.txt"},
      {{"write_torchscript", shop.path("hollow"), shop.path("a.pt")}, 1, "hollow"},
      {{"write_torchscript", model, shop.path("a.pt"), "--dtype", "q8_0"}, 2, "--dtype"},
      {{"generate", model}, 2, "--prompt"},
      {{"generate", model, "--prompt", ""}, 1, "prompt"},
      {{"generate", model, "--prompt", "a", "--system", "b"}, 2, "--chat"},
      {{"generate", shop.path("silent"), "--prompt", "a", "--chat"}, 1, "no chat template"},
      {{"generate", shop.path("strict"), "--prompt", "a", "--chat"},
       1,
       "line 1: the template refuses"},
      {{"generate", model, "--prompt", "a", "--temperature", "-1"}, 2, "--temperature"},
      {{"generate", model, "--prompt", "a", "--top-p", "2"}, 2, "--top-p"},
      {{"generate", model, "--prompt", "a", "--max-tokens", "-5"}, 2, "--max-tokens"},
      {{"generate", model, "--prompt", "\xff"}, 1, "UTF-8"},
      {{"tokenize", model, "--decode", "1 two"}, 1, "two"},
      {{"tokenize", shop.path("hollow"), "a"}, 1, "hollow"},
      {{"inspect", shop.path("junk.gguf")}, 1, "junk.gguf"},
      {{"inspect"}, 2, "MODEL"},
  };
  const auto before = shop.listing();
  for (const Row& row : rows) {
    const Outcome outcome = shop.run(row.arguments);
    INFO(fmt::format("{}\nstdout: {}\nstderr: {}", fmt::join(row.arguments, " "), outcome.out,
                     outcome.err));
    CHECK(outcome.code == row.code);
    CHECK((outcome.out + outcome.err).find(row.culprit) != std::string::npos);
    CHECK(shop.listing() == before);
  }
}

TEST_CASE("a user-defined transformer is sliced in place, and k = D is its identity") {
  const Workshop shop;
  const Outcome outcome = shop.run({"own_transformer", "--slice", "0.25"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.code == 0);  // the program checks the identity
  CHECK(outcome.out.find("k = 144") != std::string::npos);
  CHECK(outcome.out.find("its text:") != std::string::npos);
}

TEST_CASE("an interrupted slicing exits with 130 and leaves nothing") {
  const Workshop shop;
  const auto before = shop.listing();
  const Child child(shop.scratch().path(),
                    shop.slicing("out", {"--context", "8", "--samples", "1000", "--perplexity",
                                         shop.path("text.txt"), "--windows", "100000"}));
  while (detail::read_text_file(child.err()).find("using those") == std::string::npos) {
    // What it says of its text comes right before its work.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  child.interrupt();
  const Outcome outcome = child.wait();
  INFO(outcome.err);
  CHECK(outcome.code == 130);
  CHECK(shop.listing() == before);
}

/// What torchrun would put into the environment of one of two processes.
std::vector<std::string> of_two(int64_t rank, int64_t port) {
  return {"WORLD_SIZE=2", fmt::format("RANK={}", rank), fmt::format("LOCAL_RANK={}", rank),
          "MASTER_ADDR=127.0.0.1", fmt::format("MASTER_PORT={}", port)};
}

TEST_CASE("two processes slice one model, and the first one writes it") {
  const Workshop shop;
  const TemporaryDirectory others;
  const int64_t port = free_port();
  const std::vector<std::string> arguments = shop.slicing(
      "small",
      {"--slice", "0.25", "--round", "2", "--context", "32", "--samples", "17", "--device", "cpu"});
  const Child second(others.path(), arguments, 0, of_two(1, port));
  const Outcome first = Child(shop.scratch().path(), arguments, 0, of_two(0, port)).wait(),
                silent = second.wait();
  INFO(first.err << silent.err);
  CHECK(first.code == 0);
  CHECK(silent.code == 0);
  CHECK(silent.out + silent.err == "");
  CHECK(first.out.find("\nperplexity") == std::string::npos);
  CHECK(first.out.find("\nheld out") != std::string::npos);
  const auto report =
      nlohmann::json::parse(detail::read_text_file(shop.file("small") / "slice_report.json"));
  CHECK(report["calibration"]["sequences"] == 17);
  CHECK(shop.run({"inspect", shop.path("small")}).code == 0);

  std::vector<std::string> layerwise = arguments;
  layerwise.insert(layerwise.end(), {"--layerwise", "--method", "slicegpt"});
  CHECK(Child(shop.scratch().path(), layerwise, 0, of_two(0, port)).wait().code == 2);
}

TEST_CASE("a process whose other one is killed says so and leaves nothing") {
  const Workshop shop;
  const TemporaryDirectory others;
  const auto before = shop.listing();
  const int64_t port = free_port();
  const std::vector<std::string> arguments =
      shop.slicing("out", {"--context", "8", "--samples", "1000", "--device", "cpu"});
  const Child second(others.path(), arguments, 0, of_two(1, port)),
      first(shop.scratch().path(), arguments, 0, of_two(0, port));
  while (detail::read_text_file(first.err()).find("using those") == std::string::npos) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  second.kill_at_once();
  second.wait();
  const Outcome outcome = first.wait();
  INFO(outcome.err);
  CHECK(outcome.code == 1);
  CHECK(outcome.err.find("rank 0 of 2") != std::string::npos);
  CHECK(outcome.err.find("lost contact with another rank") != std::string::npos);
  CHECK(shop.listing() == before);
}

TEST_CASE("help and version are no errors") {
  const Workshop shop;
  for (const char* program : {"slice_model", "evaluate", "generate", "tokenize", "inspect",
                              "write_gguf", "write_torchscript", "own_transformer"}) {
    CHECK(shop.run({program, "--help"}).code == 0);
    CHECK(shop.run({program, "--version"}).out.starts_with("libslice "));
  }
}

}  // namespace slice::tests
