#include "libslice/checkpoint/gguf_write.h"

#include <ATen/ATen.h>
#include <sys/stat.h>

#include <catch2/catch_all.hpp>
#include <cmath>
#include <filesystem>

#include "libslice/base/detail/file.h"
#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/format/gguf.h"
#include "libslice/model/decoder.h"
#include "libslice/text/bpe.h"
#include "libslice/text/detail/pre_tokenizer.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/places.h"
#include "tests/support/sliced_layouts.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_vocabulary.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using namespace tests;

/// A StarCoder2 with biases in all layers and a tied head.
ModelConfig starcoder2_config() {
  ModelConfig c = tiny_config();
  c.family = "starcoder2";
  c.norm = NormKind::kLayer;
  c.activation = Activation::kGeluTanh;
  c.gated_mlp = false;
  c.qkv_bias = c.output_bias = c.mlp_bias = true;
  c.tied_head = true;
  return c;
}

/// Models that llama.cpp runs, dense and sliced, and what it calls them.
std::vector<std::pair<ModelConfig, std::string>> runnable() {
  std::vector<std::pair<ModelConfig, std::string>> all;
  for (const ModelConfig& config : tiny_configs()) {
    all.emplace_back(config, "llama");
    all.emplace_back(without_shortcuts(config, 15), "llama");
  }
  const auto families = tiny_families();
  ModelConfig qwen2 = families[1];
  qwen2.sliding_window.reset();
  qwen2.window_layers.clear();
  const ModelConfig& phi = families[3];
  all.emplace_back(families[0], "llama");
  all.emplace_back(qwen2, "qwen2");
  all.emplace_back(without_shortcuts(qwen2, 16), "llama");
  all.emplace_back(phi, "phi2");
  all.emplace_back(without_shortcuts(phi, phi.hidden_size - 1), "phi2");
  all.emplace_back(narrowed_config(phi, {30, 30, 30}), "phi2");
  for (const ModelConfig& config : {starcoder2_config(), families[4], families[5]})
    all.emplace_back(config, config.family);
  ModelConfig parallel = families[4];
  parallel.parallel_block = parallel.qkv_bias = true;
  all.emplace_back(narrowed_config(parallel, {30, 30}), "stablelm");
  ModelConfig nemotron = families[4], cohere = families[5];
  nemotron.family = "nemotron";
  nemotron.gated_mlp = false;
  nemotron.activation = Activation::kRelu2;
  all.emplace_back(nemotron, "nemotron");
  cohere.family = "cohere";
  cohere.norm_weight = cohere.parallel_block = cohere.tied_head = true;
  cohere.logit_scale = 0.5;
  all.emplace_back(cohere, "command-r");
  all.emplace_back(narrowed_config(qwen2, {12, 38}), "deci");
  all.emplace_back(narrowed_config(tiny_configs()[1], {12, 38}), "deci");
  all.emplace_back(narrowed_config(without_shortcuts(tiny_config(), 10), {12, 38}), "deci");
  return all;
}

TEST_CASE("a GGUF of every model that llama.cpp runs is read back to the bit") {
  for (const auto& [config, architecture] : runnable()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
      INFO(tests::describe(config) << (config.sliced() ? " sliced " : " ") << c10::toString(dtype));
      const Model model = random_model(config, 1, dtype);
      const TemporaryDirectory directory;
      const fs::path path = directory.path() / "m.gguf";
      REQUIRE_FALSE(gguf_obstacle(config));
      save_gguf(model, path);
      const GgufFile file(path);
      CHECK(file.get<std::string>("general.architecture") == architecture);
      CHECK(file.get<std::string>("general.name") == "m");
      const ModelConfig form = *dense_config(config);
      const WrittenWeights weights(model.decoder(), form);
      const auto checkpoint = open_checkpoint(path);
      CHECK(stored_dtype(*checkpoint) == dtype);
      CHECK(checkpoint->tensors().size() == weights.entries().size());
      for (const auto& [name, shape] : weights.entries()) {
        INFO(name);
        const Tensor want = weights.read(name).to(dtype);
        CHECK(bit_difference(checkpoint->read(name),
                             shape.size() == 1 ? weights.read(name).to(at::kFloat) : want) == "");
      }
      const Model again = load_model(path, {.dtype = at::kDouble});
      CHECK(again.config().ffn_sizes == config.ffn_sizes);
      CHECK(again.config().head_size == config.head_size);
      CHECK(again.config().hidden_size == form.hidden_size);
      if (dtype != at::kFloat) continue;
      Model exact = random_model(config, 1, at::kFloat);
      exact.decoder().to(at::kDouble);
      const Tensor tokens = random_tokens(config, 2, 19, 7);
      CHECK(relative_difference(again.decoder().forward(tokens), exact.decoder().forward(tokens)) <
            network_allowance(config, at::kFloat));  // of weights rounded to float32
    }
  }
}

TEST_CASE("rotary scaling and special tokens survive a GGUF") {
  ModelConfig linear = tiny_config(), llama3 = linear;
  linear.rope_scaling = RopeScaling{RopeScaling::Kind::kLinear, 4};
  llama3.rope_scaling = RopeScaling{RopeScaling::Kind::kLlama3, 8};
  llama3.rope_theta = 5e6;
  llama3.eos_tokens = {2, 7};
  ModelConfig yarn = tiny_config(), longrope = yarn;
  yarn.rope_scaling = RopeScaling{.kind = RopeScaling::Kind::kYarn,
                                  .factor = 4,
                                  .low_frequency_factor = 1,
                                  .high_frequency_factor = 32,
                                  .original_context = 64,
                                  .attention_factor = 0.1 * std::log(4.0) + 1};
  longrope.rope_scaling = RopeScaling{.kind = RopeScaling::Kind::kLongRope,
                                      .factor = 2,
                                      .original_context = 64,
                                      .attention_factor = 1.25,
                                      .short_factors = {1, 1.5, 2},
                                      .long_factors = {1, 2, 4}};
  for (const ModelConfig& config : {linear, llama3, yarn, longrope}) {
    const TemporaryDirectory directory;
    save_gguf(random_model(config), directory.path() / "m.gguf", {.type = GgufType::kFloat32});
    const ModelConfig again = read_config(directory.path() / "m.gguf");
    CHECK(again.rope_scaling == config.rope_scaling);
    CHECK(again.rope_theta == config.rope_theta);
    CHECK(again.bos_token == config.bos_token);
    CHECK(again.eos_tokens == config.eos_tokens);
    CHECK(again.context_length == config.context_length);
  }
}

TEST_CASE("a GGUF holds three end tokens, the first ones, and the padding token") {
  ModelConfig config = tiny_config();
  config.eos_tokens = {2, 7, 9, 11};
  config.pad_token = 4;
  const TemporaryDirectory directory;
  save_gguf(random_model(config), directory.path() / "m.gguf", {.type = GgufType::kFloat32});
  const ModelConfig again = read_config(directory.path() / "m.gguf");
  CHECK(again.eos_tokens == std::vector<int64_t>{2, 7, 9});
  CHECK(again.pad_token == 4);
}

TEST_CASE("a GGUF of Q8_0 has matrices near the model's, and float16 where 32 divides no row") {
  ModelConfig config = tiny_config();  // 24 wide: rows of the hidden size are no blocks
  config.ffn_size = 64;
  const Model model = random_model(config);
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "m.gguf";
  save_gguf(model, path, {.type = GgufType::kQ8_0});
  const GgufFile file(path);
  const auto type = [&](const char* name) {
    return GgufFile::type_name(file.tensors().at(name).type);
  };
  CHECK(type("blk.0.ffn_down.weight") == "Q8_0");
  CHECK(type("blk.0.ffn_up.weight") == "F16");
  CHECK(type("blk.0.attn_norm.weight") == "F32");
  CHECK(file.get<int64_t>("general.file_type") == 7);
  const Tensor before = model.decoder().named_parameters()["model.layers.0.mlp.down_proj.weight"];
  const Tensor after =
      load_model(path).decoder().named_parameters()["model.layers.0.mlp.down_proj.weight"];
  // Half a step of the scale, which is rounded to float16: 127 of it are 2⁻¹¹ off at most.
  const Tensor blocks = before.to(at::kDouble).view({-1, 32});
  const Tensor bound = std::get<0>(blocks.abs().max(1, true)) * (0.5 / 127 + 0x1p-11);
  CHECK(((after.to(at::kDouble).view({-1, 32}) - blocks).abs() <= bound).all().item<bool>());
}

/// A model with this tokenizer, saved and loaded.
std::shared_ptr<const Tokenizer> through_gguf(const std::shared_ptr<const Tokenizer>& tokenizer,
                                              int64_t extra_rows) {
  ModelConfig config = tiny_config();
  config.vocabulary_size = tokenizer->vocabulary_size() + extra_rows;
  config.bos_token.reset();
  config.eos_tokens.clear();
  const Model model(random_decoder(config, 1, at::kHalf), tokenizer, at::kHalf);
  const TemporaryDirectory directory;
  save_gguf(model, directory.path() / "m.gguf");
  const Model again = load_model(directory.path() / "m.gguf");
  CHECK(again.tokenizer().vocabulary_size() == config.vocabulary_size);
  return load_tokenizer(directory.path() / "m.gguf");
}

void check_same(const Tokenizer& got, const Tokenizer& want) {
  for (const std::string& text : awkward_texts()) {
    CAPTURE(text);
    CHECK(got.encode(text) == want.encode(text));
    CHECK(got.encode("<|begin|>" + text, true) == want.encode("<|begin|>" + text, true));
  }
  CHECK(got.bos_token() == want.bos_token());
  CHECK(got.eos_tokens() == want.eos_tokens());
  CHECK(got.adds_bos() == want.adds_bos());
  CHECK(got.chat_template() == want.chat_template());
}

TEST_CASE("a byte-level tokenizer gives the same ids from a GGUF") {
  for (const char* words : {"default", "gpt-2", "smollm", "llama-bpe", "qwen2"}) {
    INFO(words);
    BpeDefinition definition = tiny_definition();
    definition.splits.clear();
    REQUIRE(detail::add_pre_tokenizer(words, definition));
    CHECK(detail::pre_tokenizer_name(definition) == words);
    definition.eos = {0, 1};
    const auto tokenizer = make_bpe_tokenizer(definition);
    check_same(*through_gguf(tokenizer, 0), *tokenizer);
    check_same(*through_gguf(tokenizer, 5), *tokenizer);
  }
}

TEST_CASE("a GGUF whose chat template is not UTF-8 did not load, even as a model of ids alone") {
  BpeDefinition definition = tiny_definition();
  definition.splits.clear();
  REQUIRE(detail::add_pre_tokenizer("smollm", definition));
  ModelConfig config = tiny_config();
  config.vocabulary_size = std::ssize(definition.tokens);
  const Model model(random_decoder(config, 1, at::kHalf), make_bpe_tokenizer(definition),
                    at::kHalf);
  const TemporaryDirectory directory;
  save_gguf(model, directory.path() / "good.gguf");
  std::string bytes = detail::read_text_file(directory.path() / "good.gguf");
  const size_t place = bytes.find(definition.chat_template);
  REQUIRE(place != std::string::npos);
  bytes[place + 3] = '\xFF';
  const Model broken = load_model(directory.write("broken.gguf", bytes));
  CHECK_FALSE(broken.has_tokenizer());
  CHECK_THROWS_NAMING(broken.tokenizer(), FormatError,
                      "broken.gguf: tokenizer.chat_template: not UTF-8 at byte 3");
  CHECK(broken.config().vocabulary_size == config.vocabulary_size);
}

TEST_CASE("SentencePiece's tokenizer gives the same ids from a GGUF") {
  const TemporaryDirectory source;
  fs::copy_file(tests::data_directory() / "tiny_tokenizers/bytes.model",
                source.path() / "tokenizer.model");
  const auto tokenizer = load_tokenizer(source.path());
  REQUIRE(bpe_definition(*tokenizer) != nullptr);
  const auto again = through_gguf(tokenizer, 0);
  for (const char* text : {"hello world", "Once upon a time", "x é 漢", "a", "two  spaces "})
    CHECK(again->encode(text) == tokenizer->encode(text));
  CHECK(again->bos_token() == tokenizer->bos_token());
  CHECK(again->eos_tokens() == tokenizer->eos_tokens());
}

TEST_CASE("words that llama.cpp has no name for are refused") {
  BpeDefinition definition = tiny_definition();
  definition.splits = {{"x+", Split::Matches::kIsolated, false}};
  CHECK(detail::pre_tokenizer_name(definition) == "");
  CHECK_THROWS_NAMING(through_gguf(make_bpe_tokenizer(definition), 0), FormatError,
                      "no known pre-tokenizer");
}

TEST_CASE("a model that llama.cpp cannot run is refused, saying why") {
  const auto families = tiny_families();
  ModelConfig gelu = tiny_config(), scaled = families[3];
  gelu.activation = Activation::kGelu;
  scaled.rope_scaling = RopeScaling{RopeScaling::Kind::kLlama3, 8};
  ModelConfig window = starcoder2_config(), biased = families[5];
  window.sliding_window = 5;
  biased.qkv_bias = biased.output_bias = true;
  const std::pair<ModelConfig, const char*> refused[] = {
      {window, "no sliding window in a starcoder2"},
      {biased, "no biases in an olmo"},
      {without_shortcuts(families[4], 16), "without shortcuts"},
      {families[2], "no opt"},
      {families[1], "no sliding window in a qwen2"},
      {without_shortcuts(families[3], 16), "in a phi: got heads of 6 in 17"},
      {narrowed_config(families[3], {30, 31, 32}), "one FFN width"},
      {gelu, "activation"},
      {scaled, "rope scaling"},
      {custom_layouts(tiny_config())[0].second, "without shortcuts"},
      {custom_layouts(tiny_config())[5].second, "without shortcuts"}};
  for (const auto& [config, why] : refused) {
    INFO(tests::describe(config) << why);
    REQUIRE(gguf_obstacle(config));
    const TemporaryDirectory directory;
    CHECK_THROWS_NAMING(save_gguf(random_model(config), directory.path() / "m.gguf"), FormatError,
                        why);
    CHECK(fs::is_empty(directory.path()));
  }
}

TEST_CASE("a GGUF appears whole or not at all") {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "m.gguf";
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  const auto stop = [](const Progress& p) {
    if (p.step == 3) throw Interrupted("enough");
  };
  CHECK_THROWS_AS(save_gguf(model, path, {}, stop), Interrupted);
  CHECK(fs::is_empty(directory.path()));
  Model large = random_model(tiny_config(), 1, at::kFloat);
  large.decoder().named_parameters()["lm_head.weight"].mul_(1e6);
  CHECK_THROWS_NAMING(save_gguf(large, path, {.type = GgufType::kFloat16}), NumericError,
                      "lm_head.weight overflows float16");
  CHECK(fs::is_empty(directory.path()));
  save_gguf(model, path);
  CHECK_THROWS_NAMING(save_gguf(model, path), Error, "exists already");
  CHECK_NOTHROW(save_gguf(model, path, {.replace = true}));
  CHECK_THROWS_NAMING(save_gguf(model, directory.path(), {.replace = true}), Error, "directory");
  CHECK_THROWS_AS(save_gguf(model, directory.path() / "none" / "m.gguf"), Error);
}

TEST_CASE("a GGUF took the place of a symbolic link or a pipe") {
  const TemporaryDirectory directory;
  const fs::path target = directory.path() / "m.gguf", first = directory.path() / "link.gguf",
                 fifo = directory.path() / "fifo";
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  fs::create_symlink("m.gguf", first);
  save_gguf(model, first);
  CHECK(fs::is_symlink(first));
  CHECK(fs::is_regular_file(fs::symlink_status(target)));
  CHECK_THROWS_NAMING(save_gguf(model, first), Error, "exists already");
  CHECK_NOTHROW(save_gguf(model, first, {.replace = true}));
  CHECK(fs::is_symlink(first));
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  CHECK_THROWS_NAMING(save_gguf(model, fifo, {.replace = true}), Error, "no regular file");
  CHECK(fs::is_fifo(fs::symlink_status(fifo)));
}

}  // namespace
}  // namespace slice
