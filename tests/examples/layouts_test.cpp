// The layouts that inspect shows are those that slice_model plans with the flags beside them.

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/places.h"
#include "tests/support/temporary_directory.h"

namespace slice::tests {
namespace {

using nlohmann::json;

TEST_CASE("every layout of inspect is what slice_model plans with its flags") {
  const TemporaryDirectory scratch;
  const auto run = [&](const std::vector<std::string>& arguments) {
    const Outcome outcome = Child(scratch.path(), arguments).wait();
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return outcome.out;
  };
  for (const char* name : {"/trained_phi", "/tiny_llama_tied_biased", "/tiny_gemma3"}) {
    const std::string model = tests::data_directory().string() + name;
    INFO(model);
    const json layouts = json::parse(run({"inspect", model, "--json"}))["layouts"];
    const std::string shown = run({"inspect", model});
    REQUIRE(!layouts.empty());
    for (const json& layout : layouts) {
      const std::string flags = layout["flags"];
      INFO(flags);
      CHECK(shown.find(flags + ' ') != std::string::npos);
      std::vector<std::string> arguments = {"slice_model", model,     "--dry-run",
                                            "--json",      "--dtype", "bf16"};
      std::istringstream words(flags);
      for (std::string word; words >> word;) arguments.push_back(word);
      const json planned = json::parse(run(arguments));
      if (planned.contains("plan")) {
        CHECK(layout["k"] == planned["plan"]["k"][0]);
        CHECK(layout["ffn"] == planned["plan"]["ffn"]);
        CHECK(layout["parameters"] == planned["parameters"]["after"]);
        CHECK(layout["stored_bytes"] == planned["inference"]["after"]["stored_bytes"]);
        CHECK(layout["token_flop"] == planned["inference"]["after"]["token_flop"]);
        CHECK(layout["stock"] == planned["form"]["stock"]);
        continue;
      }
      const auto is_it = [&](const json& candidate) {
        return candidate["k"] == layout["k"] && candidate["parameters"] == layout["parameters"] &&
               candidate["inference"]["token_bytes"] == layout["token_bytes"] &&
               candidate["form"]["stock"] == layout["stock"];
      };
      CHECK(std::ranges::any_of(planned["candidates"], is_it));
    }
  }
}

}  // namespace
}  // namespace slice::tests
