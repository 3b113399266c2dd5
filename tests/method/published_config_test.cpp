#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "libslice/base/detail/file.h"
#include "libslice/method/plan.h"
#include "libslice/model/config_json.h"
#include "tests/support/places.h"

namespace slice {
namespace {

TEST_CASE("published models have the parameters that Transformers counts") {
  const std::string file = tests::data_directory() / "published_configs.json";
  const auto published = nlohmann::json::parse(detail::read_text_file(file, 1 << 20));
  CHECK(published.size() >= 25);
  for (const auto& model : published) {
    const auto name = model["name"].get<std::string>();
    INFO(name);
    const ModelConfig config = parse_config(model["config"].dump(), name);
    CHECK(count_parameters(config).total == model["parameters"].get<int64_t>());
  }
}

}  // namespace
}  // namespace slice
