// Rotary scaling of config.json against the numbers of Transformers 5.24's ROPE_INIT_FUNCTIONS, for
// heads of 16 coordinates and a context of 128 positions.

#include <catch2/catch_all.hpp>
#include <nlohmann/json.hpp>

#include "libslice/model/config_json.h"
#include "libslice/model/rotary.h"

namespace slice {
namespace {

using nlohmann::json;

struct Case {
  json rope;
  int64_t length;  ///< tokens of the text
  double magnitude;
  std::vector<double> frequencies;
};

std::vector<Case> cases() {
  const json yarn = {
      {"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}};
  json own_betas = yarn, own_magnitude = yarn;
  own_betas.update({{"beta_fast", 8.0},
                    {"beta_slow", 0.5},
                    {"mscale", 0.7},
                    {"mscale_all_dim", 1.2},
                    {"truncate", false}});
  own_magnitude["attention_factor"] = 1.5;
  const json longrope = {{"rope_type", "longrope"},
                         {"short_factor", {1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7}},
                         {"long_factor", {1, 2, 3, 4, 5, 6, 7, 8}},
                         {"original_max_position_embeddings", 32}};
  json own_factor = longrope;
  own_factor["factor"] = 8.0;
  const json dynamic = {{"rope_type", "dynamic"}, {"factor", 2.0}};
  const std::vector<double> usual_yarn =
                                {1.0,           0.237170815,    0.049999997,    0.00790569466,
                                 0.00249999994, 0.000790569466, 0.000250000012, 7.90569466e-05},
                            past = {1.0,           0.158113882,   0.0333333351,   0.00790569466,
                                    0.00200000009, 0.00052704633, 0.000142857141, 3.95284733e-05};
  return {
      {yarn, 20, 1.138629436111989, usual_yarn},
      {own_betas,
       20,
       0.9405715251010841,
       {1.0, 0.238408461, 0.0442483015, 0.00790569466, 0.00249999994, 0.000790569466,
        0.000250000012, 7.90569466e-05}},
      {own_magnitude, 20, 1.5, usual_yarn},
      {longrope,
       20,
       1.1832159566199232,
       {1.0, 0.287479758, 0.0833333358, 0.0243252143, 0.00714285718, 0.00210818532, 0.000624999986,
        0.000186016332}},
      {longrope, 33, 1.1832159566199232, past},
      {own_factor, 33, 1.2649110640673518, past},
      {dynamic,
       100,
       1,
       {1.0, 0.316227764, 0.100000001, 0.0316227786, 0.00999999978, 0.00316227786, 0.00100000005,
        0.000316227786}},
      {dynamic,
       200,
       1,
       {1.0, 0.283945143, 0.0806248412, 0.0228930302, 0.00650036521, 0.001845747, 0.000524090894,
        0.000148813066}},
  };
}

TEST_CASE("scaled frequencies are those of Transformers, read and written") {
  for (const Case& c : cases()) {
    INFO(c.rope.dump() << " length " << c.length);
    json rope = c.rope;
    rope["rope_theta"] = 10000.0;
    const json object = {{"model_type", "llama"},
                         {"hidden_size", 32},
                         {"num_attention_heads", 2},
                         {"max_position_embeddings", 128},
                         {"rope_parameters", rope}};
    const ModelConfig config = parse_config(object.dump(), "x");
    const Rotary rotary(16, config.rope_theta, config.rope_scaling);
    CHECK(rotary.magnitude() == Catch::Approx(c.magnitude).epsilon(1e-12));
    const std::vector<double> got = rotary.frequencies(c.length);
    REQUIRE(got.size() == c.frequencies.size());
    // Transformers computes in float32: some roundings of an exponent that ln θ magnifies.
    for (size_t i = 0; i < got.size(); ++i)
      CHECK(got[i] == Catch::Approx(c.frequencies[i]).epsilon(20 * 0x1p-24));
    const ModelConfig again = parse_config(config_json(config, "float32"), "x");
    CHECK(again.rope_scaling == config.rope_scaling);
  }
}

}  // namespace
}  // namespace slice
