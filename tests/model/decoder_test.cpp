#include "libslice/model/decoder.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <set>

#include "libslice/base/error.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/published_models.h"
#include "tests/support/reference.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

std::set<std::string> names_of(const torch::nn::Module& module) {
  const auto keys = module.named_parameters().keys();
  return {keys.begin(), keys.end()};
}

TEST_CASE("registered names are the Hugging Face names of a LLaMA") {
  ModelConfig config = tiny_config();
  config.layers = 1;
  const std::set<std::string> want = {
      "model.embed_tokens.weight",
      "model.layers.0.input_layernorm.weight",
      "model.layers.0.self_attn.q_proj.weight",
      "model.layers.0.self_attn.k_proj.weight",
      "model.layers.0.self_attn.v_proj.weight",
      "model.layers.0.self_attn.o_proj.weight",
      "model.layers.0.post_attention_layernorm.weight",
      "model.layers.0.mlp.gate_proj.weight",
      "model.layers.0.mlp.up_proj.weight",
      "model.layers.0.mlp.down_proj.weight",
      "model.norm.weight",
      "lm_head.weight",
  };
  CHECK(names_of(DecoderImpl(config)) == want);

  config.tied_head = true;
  std::set<std::string> tied = want;
  tied.erase("lm_head.weight");
  CHECK(names_of(DecoderImpl(config)) == tied);

  config.tied_head = false;
  config.stream_sizes = {16, 8, 24};
  std::set<std::string> sliced = {"model.layers.0.attention_shortcut.weight",
                                  "model.layers.0.mlp_shortcut.weight"};
  for (const std::string& name : want) {
    if (name.find("norm") == std::string::npos) sliced.insert(name);
  }
  CHECK(names_of(DecoderImpl(config)) == sliced);
}

TEST_CASE("biases are where the configuration says") {
  ModelConfig config = tiny_config();
  config.layers = 1;
  config.qkv_bias = config.output_bias = true;
  const auto attention = names_of(DecoderImpl(config));
  for (const char* part : {"q", "k", "v", "o"}) {
    CHECK(attention.contains(std::string("model.layers.0.self_attn.") + part + "_proj.bias"));
  }
  CHECK_FALSE(attention.contains("model.layers.0.mlp.up_proj.bias"));
  config.qkv_bias = config.output_bias = false;
  config.mlp_bias = true;
  const auto mlp = names_of(DecoderImpl(config));
  for (const char* part : {"gate", "up", "down"}) {
    CHECK(mlp.contains(std::string("model.layers.0.mlp.") + part + "_proj.bias"));
  }
  CHECK_FALSE(mlp.contains("model.layers.0.self_attn.q_proj.bias"));
}

TEST_CASE("a 70B decoder is built without memory for its weights") {
  const DecoderImpl decoder(llama2_70b());
  size_t bytes = 0;
  int64_t parameters = 0;
  for (const auto& parameter : decoder.parameters()) {
    bytes += parameter.storage().nbytes();
    parameters += parameter.numel();
  }
  CHECK(parameters == 68976648192);
  CHECK(bytes < 6 << 20);  // the ones of 161 norms
}

TEST_CASE("logits equal the plain float64 network for every shape of LLaMA") {
  for (const ModelConfig& config : tiny_configs()) {
    INFO(describe(config));
    const auto decoder = random_decoder(config, 3);
    const Tensor tokens = random_tokens(config, 2, 17);
    const Tensor logits = decoder->forward(tokens);
    for (int64_t i = 0; i < 2; ++i) {
      CHECK(relative_difference(logits[i],
                                logits_reference(config, weights_of(*decoder), tokens[i])) <
            network_allowance(config, at::kDouble));
    }
  }
}

TEST_CASE("float32, bfloat16 and float16 decoders agree with float64 to their precision") {
  const ModelConfig config = tiny_config();
  const Tensor tokens = random_tokens(config, 1, 12);
  const Tensor exact = random_decoder(config, 3)->forward(tokens);
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    CAPTURE(c10::toString(dtype));
    const Tensor logits = random_decoder(config, 3, dtype)->forward(tokens);
    CHECK(logits.scalar_type() == dtype);
    CHECK(relative_difference(logits, exact) < network_allowance(config, dtype));
  }
}

TEST_CASE("a decoder fed in pieces through a cache equals one fed whole") {
  for (const ModelConfig& config : tiny_configs()) {
    INFO(describe(config));
    const auto decoder = random_decoder(config, 4);
    const Tensor tokens = random_tokens(config, 2, 12), whole = decoder->forward(tokens);
    KvCache cache(config, 2, 12, at::TensorOptions().dtype(at::kDouble));
    std::vector<Tensor> pieces;
    int64_t begin = 0;
    for (const int64_t T : {5, 1, 1, 3, 2}) {
      pieces.push_back(decoder->forward(tokens.slice(1, begin, begin + T), &cache));
      begin += T;
    }
    CHECK(relative_difference(at::cat(pieces, 1), whole) < network_allowance(config, at::kDouble));
    CHECK(cache.length() == 12);
  }
}

TEST_CASE("tokens outside the vocabulary, empty batches and other dtypes are refused") {
  const ModelConfig config = tiny_config();
  const auto decoder = random_decoder(config, 1);
  const auto ids = [](std::vector<int64_t> values) {
    return at::tensor(values, at::kLong).unsqueeze(0);
  };
  CHECK_THROWS_NAMING(decoder->forward(ids({0, config.vocabulary_size})), ArgumentError, "[0, 53)");
  CHECK_THROWS_NAMING(decoder->forward(ids({-1, 3})), ArgumentError, "-1");
  CHECK_THROWS_AS(decoder->forward(at::empty({0, 4}, at::kLong)), ShapeError);
  CHECK_THROWS_AS(decoder->forward(at::empty({2, 0}, at::kLong)), ShapeError);
  CHECK_THROWS_NAMING(decoder->forward(at::zeros({4}, at::kLong)), ShapeError, "(B, T)");
  CHECK_THROWS_NAMING(decoder->forward(at::zeros({1, 4})), ShapeError, "float32");
}

TEST_CASE("untying gives the head a copy of the embedding and changes no logit") {
  ModelConfig config = tiny_config();
  config.tied_head = true;
  const auto decoder = random_decoder(config, 2);
  const Tensor tokens = random_tokens(config, 1, 9), before = decoder->forward(tokens);
  const ModelAdapter tied = decoder->adapter();  // its head is the embedding
  CHECK_THROWS_NAMING(check_adapter(tied), ArgumentError, "untie it first");
  CHECK_NOTHROW(check_adapter(tied, /*rotates=*/false));
  decoder->prepare_head();
  decoder->prepare_head();  // harmless the second time
  CHECK_FALSE(decoder->config().tied_head);
  CHECK(bit_difference(decoder->forward(tokens), before) == "");
  const ModelAdapter adapter = decoder->adapter();
  CHECK_FALSE(adapter.head.weight.is_alias_of(adapter.embeddings[0].weight));
  CHECK_NOTHROW(check_adapter(adapter));
}

TEST_CASE(
    "what reads a norm with a bias gets one of zeros, in another decoder with the same weights") {
  const ModelConfig config = tiny_families()[4];  // StableLM
  const auto decoder = random_decoder(config, 2);
  const Tensor tokens = random_tokens(config, 1, 9), before = decoder->forward(tokens);
  CHECK_THROWS_NAMING(check_adapter(decoder->adapter()), ArgumentError, "its norm has a bias");
  const auto other = decoder->with_prepared_readers();
  CHECK_FALSE(decoder->config().qkv_bias);
  CHECK(other->config().qkv_bias);
  CHECK(other->config().mlp_bias);
  CHECK(bit_difference(other->forward(tokens), before) == "");
  const auto parameters = other->named_parameters();
  CHECK(parameters["model.layers.0.self_attn.q_proj.weight"].is_alias_of(
      decoder->named_parameters()["model.layers.0.self_attn.q_proj.weight"]));
  CHECK(parameters["model.layers.1.mlp.gate_proj.bias"].eq(0).all().item<bool>());
  other->prepare_head();
  CHECK_NOTHROW(check_adapter(other->adapter()));
}

TEST_CASE("the adapter sees the decoder's own weights in the order of the stream") {
  const auto decoder = random_decoder(tiny_config(), 2);
  const ModelAdapter adapter = decoder->adapter();
  const auto parameters = decoder->named_parameters();
  REQUIRE(adapter.sublayers.size() == 4);
  CHECK(adapter.sublayers[2].name == "model.layers.1.attention");
  CHECK(adapter.sublayers[3].name == "model.layers.1.mlp");
  CHECK(adapter.sublayers[2].branches[0].writer.weight.is_same(
      parameters["model.layers.1.self_attn.o_proj.weight"]));
  CHECK(adapter.sublayers[3].branches[0].readers[1].weight.is_same(
      parameters["model.layers.1.mlp.up_proj.weight"]));
  CHECK(adapter.head.weight.is_same(parameters["lm_head.weight"]));
}

TEST_CASE("stream sizes of another count than the sites are refused") {
  const auto decoder = random_decoder(tiny_config(), 2);
  CHECK_THROWS_NAMING(decoder->set_sliced({8, 8}), ArgumentError, "want 5, got 2");
}

}  // namespace
}  // namespace slice
