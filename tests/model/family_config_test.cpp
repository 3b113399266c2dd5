// config.json of the families other than LLaMA, which config_test.cpp covers.

#include <catch2/catch_all.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "libslice/base/error.h"
#include "libslice/model/config_json.h"
#include "tests/support/matchers.h"
#include "tests/support/published_models.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using nlohmann::json;
using namespace tests;

ModelConfig parse_with(json object, const json& changes = json::object()) {
  object.update(changes);
  return parse_config(object.dump(), "config.json");
}

/// The keys that a Mistral or Qwen2 has to have, and no other.
json smallest(const std::string& family) {
  return {{"model_type", family},      {"hidden_size", 64},       {"num_hidden_layers", 3},
          {"num_attention_heads", 32}, {"intermediate_size", 40}, {"vocab_size", 50}};
}

TEST_CASE("an OPT is LayerNorms, learned positions with an offset of 2, ReLU and biases") {
  const ModelConfig c = parse_with(opt_config(768, 12, 12));
  CHECK(c.family == "opt");
  CHECK(c.norm == NormKind::kLayer);
  CHECK(c.norm_eps == 1e-5);
  CHECK_FALSE(c.parallel_block);
  CHECK(c.learned_positions == 2050);
  CHECK(c.position_offset == 2);
  CHECK(c.context_length == 2048);
  CHECK(c.activation == Activation::kRelu);
  CHECK_FALSE(c.gated_mlp);
  CHECK(c.tied_head);
  CHECK(c.qkv_bias);
  CHECK(c.output_bias);
  CHECK(c.mlp_bias);
  CHECK_FALSE(c.head_bias);
  CHECK(c.sites() == 25);
  CHECK(c.bos_token == 2);
  CHECK(c.eos_tokens == std::vector<int64_t>{2});
  CHECK(
      sliced_config(c, std::vector<int64_t>(25, 608)).head_bias);  // what the last norm's β becomes
}

TEST_CASE("a Phi-2 is parallel blocks, partial rotary positions and biases in all layers") {
  const ModelConfig c = parse_with(phi2_config());
  CHECK(c.family == "phi");
  CHECK(c.norm == NormKind::kLayer);
  CHECK(c.parallel_block);
  CHECK(c.sites() == 33);
  CHECK(c.rotary_size == 32);
  CHECK(c.head_size == 80);
  CHECK(c.activation == Activation::kGeluTanh);
  CHECK_FALSE(c.gated_mlp);
  CHECK_FALSE(c.tied_head);
  CHECK(c.head_bias);
  CHECK(c.bos_token == 50256);
  json missing = phi2_config();
  for (const char* key : {"partial_rotary_factor", "layer_norm_eps", "bos_token_id", "eos_token_id",
                          "num_key_value_heads", "hidden_act"}) {
    missing.erase(key);
  }
  const ModelConfig defaults = parse_with(missing);
  CHECK(defaults.rotary_size == 40);
  CHECK(defaults.norm_eps == 1e-5);
  CHECK(defaults.bos_token == 1);
  CHECK(defaults.eos_tokens == std::vector<int64_t>{2});
  CHECK(defaults.kv_heads == 32);
  CHECK(defaults.activation == Activation::kGeluTanh);
}

TEST_CASE("a Mistral has a window unless its file says null") {
  const json small = smallest("mistral");
  CHECK(parse_with(small).sliding_window == 4096);
  CHECK(parse_with(small).kv_heads == 8);
  CHECK(parse_with(small).window_layers.empty());  // all
  CHECK_FALSE(parse_with(small, {{"sliding_window", nullptr}}).sliding_window);
  CHECK(parse_with(small, {{"sliding_window", 17}}).sliding_window == 17);
  CHECK_FALSE(parse_with(small).qkv_bias);
}

TEST_CASE("a Qwen2 has biases on q, k and v, and a window in the layers that its file names") {
  const json small = smallest("qwen2");
  const ModelConfig plain = parse_with(small, {{"sliding_window", 4096}});
  CHECK(plain.qkv_bias);
  CHECK_FALSE(plain.output_bias);
  CHECK_FALSE(plain.mlp_bias);
  CHECK_FALSE(plain.sliding_window);
  const json window = {
      {"use_sliding_window", true}, {"sliding_window", 9}, {"max_window_layers", 2}};
  const ModelConfig c = parse_with(small, window);
  CHECK(c.sliding_window == 9);
  CHECK(c.window_layers == std::vector<bool>{false, false, true});
  json typed = window;
  typed["layer_types"] = {"full_attention", "full_attention", "sliding_attention"};
  CHECK(parse_with(small, typed).window_layers == std::vector<bool>{false, false, true});
  typed["layer_types"][1] = "sliding_attention";
  CHECK(parse_with(small, typed).window_layers == std::vector<bool>{false, true, true});
  typed["layer_types"] = {"full_attention", "full_attention", "full_attention"};
  CHECK_FALSE(parse_with(small, typed).sliding_window);
  typed["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention"};
  const ModelConfig mixed = parse_with(small, typed);
  CHECK(mixed.window_layers == std::vector<bool>{true, false, true});
  CHECK(parse_config(config_json(mixed, "float32"), "again").window_layers == mixed.window_layers);
  typed["layer_types"][1] = "chunked_attention";
  CHECK_THROWS_NAMING(parse_with(small, typed), FormatError, "layer_types[1]");
  const json above = {{"use_sliding_window", true}, {"max_window_layers", 3}};
  CHECK_FALSE(parse_with(small, above).sliding_window);  // in no layer
}

TEST_CASE("a StarCoder2 is LayerNorms, rotary positions, biases in all layers or in none") {
  const json small = smallest("starcoder2");
  const ModelConfig c = parse_with(small);
  CHECK(c.norm == NormKind::kLayer);
  CHECK(c.shifts());
  CHECK(c.kv_heads == 2);
  CHECK(c.activation == Activation::kGeluTanh);
  CHECK_FALSE(c.gated_mlp);
  CHECK(c.tied_head);
  CHECK_FALSE(c.sliding_window);
  CHECK_FALSE(c.bos_token);  // 50256 is outside this vocabulary
  for (const bool bias : {c.qkv_bias, c.output_bias, c.mlp_bias}) CHECK(bias);
  const ModelConfig bare = parse_with(small, {{"use_bias", false}, {"sliding_window", 9}});
  for (const bool bias : {bare.qkv_bias, bare.output_bias, bare.mlp_bias}) CHECK_FALSE(bias);
  CHECK(bare.sliding_window == 9);
  const ModelConfig sliced = sliced_config(bare, std::vector<int64_t>(bare.sites(), 32));
  CHECK(sliced.qkv_bias);  // what the norms' β become
  CHECK(sliced.mlp_bias);
  CHECK_FALSE(sliced.output_bias);
}

TEST_CASE("a StableLM turns a quarter of each head, and its blocks may be parallel") {
  const json small = smallest("stablelm");
  const ModelConfig c = parse_with(small, {{"num_attention_heads", 8}, {"num_key_value_heads", 8}});
  CHECK(c.shifts());
  CHECK(c.rotary_size == 2);
  CHECK_FALSE(c.parallel_block);
  CHECK_FALSE(c.qkv_bias);
  CHECK(c.gated_mlp);
  const json changes = {{"num_attention_heads", 8},
                        {"num_key_value_heads", 4},
                        {"partial_rotary_factor", 0.5},
                        {"use_parallel_residual", true},
                        {"use_qkv_bias", true}};
  const ModelConfig parallel = parse_with(small, changes);
  CHECK(parallel.parallel_block);
  CHECK_FALSE(parallel.branch_norms);
  CHECK(parallel.qkv_bias);
  CHECK(parallel.rotary_size == 4);
  CHECK(parallel.kv_heads == 4);
}

TEST_CASE("an OLMo has LayerNorms without weights and one eps for all models") {
  const ModelConfig c = parse_with(smallest("olmo"), {{"layer_norm_eps", 1e-3}});
  CHECK(c.norm == NormKind::kLayer);
  CHECK_FALSE(c.norm_weight);
  CHECK_FALSE(c.shifts());
  CHECK(c.norm_eps == 1e-5);
  CHECK(c.eos_tokens.empty());  // 50279 is outside this vocabulary
  const ModelConfig sliced = sliced_config(c, std::vector<int64_t>(c.sites(), 32));
  CHECK_FALSE(sliced.head_bias);
  CHECK_FALSE(sliced.qkv_bias);
}

/// The keys that a GPT-2 or GPT-J has to have, and no other.
json smallest_gpt(const std::string& family) {
  return {{"model_type", family}, {"n_embd", 64},  {"n_layer", 3},
          {"n_head", 4},          {"n_inner", 40}, {"vocab_size", 50}};
}

TEST_CASE("a GPT-NeoX has a norm for each branch of a parallel block, and its own rotary keys") {
  const json small = smallest("gpt_neox"),
             quarter = {{"num_attention_heads", 4}, {"rotary_pct", 0.5}, {"rotary_emb_base", 500}};
  const ModelConfig c = parse_with(small, quarter);
  CHECK(c.parallel_block);
  CHECK(c.branch_norms);
  CHECK(c.rotary_size == 8);
  CHECK(c.rope_theta == 500);
  CHECK(c.activation == Activation::kGelu);
  CHECK(c.sites() == 4);
  json usual = quarter;  // keys that it does not read
  usual["rope_theta"] = 7;
  usual["partial_rotary_factor"] = 1.0;
  CHECK(parse_with(small, usual).rope_theta == 500);
  CHECK(parse_with(small, usual).rotary_size == 8);
  json sequential = quarter;
  sequential["use_parallel_residual"] = false;
  CHECK_FALSE(parse_with(small, sequential).branch_norms);
  CHECK(parse_with(small, sequential).sites() == 7);
}

TEST_CASE("a GPT-2 has learned positions without an offset, a GPT-J turns a part of each head") {
  const ModelConfig two = parse_with(smallest_gpt("gpt2"), {{"n_positions", 77}});
  CHECK(two.learned_positions == 77);
  CHECK(two.position_offset == 0);
  CHECK(two.ffn_size == 40);
  CHECK(two.tied_head);
  CHECK_FALSE(two.attention_scale);
  CHECK(parse_with(smallest_gpt("gpt2"), {{"scale_attn_weights", false}}).attention_scale == 1);
  CHECK(parse_with(smallest_gpt("gpt2"), {{"n_inner", nullptr}}).ffn_size == 256);
  const ModelConfig j = parse_with(smallest_gpt("gptj"), {{"rotary_dim", 8}});
  CHECK(j.rotary_size == 8);
  CHECK(j.parallel_block);
  CHECK_FALSE(j.branch_norms);
  CHECK(j.head_bias);
  CHECK(j.mlp_bias);
  CHECK_FALSE(j.qkv_bias);
}

TEST_CASE("a Cohere has LayerNorms without biases, a Cohere2 windows where its heads turn") {
  const ModelConfig c = parse_with(smallest("cohere"));
  CHECK(c.norm_weight);
  CHECK_FALSE(c.shifts());
  CHECK(c.parallel_block);
  CHECK(c.logit_scale == 0.0625);
  CHECK(c.rope_theta == 500000);
  CHECK(c.tied_head);
  const ModelConfig two = parse_with(smallest("cohere2"), {{"num_hidden_layers", 5}});
  CHECK(two.sliding_window == 4096);
  const std::vector<bool> pattern = {true, true, true, false, true};
  CHECK(two.window_layers == pattern);
  CHECK(two.rotary_layers == pattern);
  const json full = {{"layer_types", {"full_attention", "full_attention", "full_attention"}}};
  const ModelConfig none = parse_with(smallest("cohere2"), full);
  CHECK_FALSE(none.sliding_window);
  CHECK(none.rotary_layers == std::vector<bool>(3, false));
}

TEST_CASE("a Falcon's key heads and norms are those of its architecture") {
  const json small = smallest("falcon");
  const ModelConfig first = parse_with(small);
  CHECK(first.kv_heads == 1);
  CHECK(first.parallel_block);
  CHECK_FALSE(first.branch_norms);
  const ModelConfig grouped =
      parse_with(small, {{"new_decoder_architecture", true}, {"num_kv_heads", 8}});
  CHECK(grouped.kv_heads == 8);
  CHECK(grouped.branch_norms);
  const ModelConfig sequential =
      parse_with(small, {{"parallel_attn", false}, {"multi_query", false}});
  CHECK(sequential.kv_heads == 32);
  CHECK_FALSE(sequential.parallel_block);
  for (const ModelConfig& c : {first, grouped, sequential}) {
    const ModelConfig again = parse_config(config_json(c, "float32"), "again");
    CHECK(again.kv_heads == c.kv_heads);
    CHECK(again.parallel_block == c.parallel_block);
    CHECK(again.branch_norms == c.branch_norms);
  }
}

TEST_CASE("a Nemotron squares its ReLU and turns half of each head") {
  const ModelConfig c = parse_with(smallest("nemotron"), {{"head_dim", 12}});
  CHECK(c.activation == Activation::kRelu2);
  CHECK(c.rotary_size == 6);
  CHECK(c.shifts());
  CHECK_FALSE(c.gated_mlp);
}

TEST_CASE("families with experts say how many there are, and how many a token goes through") {
  const ModelConfig mixtral = parse_with({{"model_type", "mixtral"}});
  CHECK(mixtral.experts == ExpertSizes{8, 2, true});
  CHECK(mixtral.ffn_size == 14336);
  CHECK_FALSE(mixtral.sliding_window);
  const ModelConfig qwen3 = parse_with({{"model_type", "qwen3_moe"},
                                        {"num_local_experts", 16},
                                        {"moe_intermediate_size", 40},
                                        {"norm_topk_prob", true}});
  CHECK(qwen3.experts == ExpertSizes{16, 8, true});
  CHECK(qwen3.ffn_size == 40);
  CHECK_FALSE(qwen3.sliding_window);
  const ModelConfig older = parse_with({{"model_type", "qwen3_moe"}, {"num_experts", 12}});
  CHECK(older.experts == ExpertSizes{12, 8, false});
  CHECK(parse_with({{"model_type", "olmoe"}}).experts == ExpertSizes{64, 8, false});
  const std::pair<json, const char*> refused[] = {
      {{{"model_type", "mixtral"}, {"num_local_experts", 0}}, "num_experts: want at least 1"},
      {{{"model_type", "mixtral"}, {"num_experts_per_tok", 9}}, "num_experts_per_tok: want 1 … 8"},
      {{{"model_type", "mixtral"}, {"num_experts", 4}, {"num_local_experts", 8}}, "num_experts 4"},
      {{{"model_type", "qwen3_moe"}, {"decoder_sparse_step", 2}}, "decoder_sparse_step 2"},
      {{{"model_type", "qwen3_moe"}, {"mlp_only_layers", {0}}}, "mlp_only_layers [0]"},
      {{{"model_type", "olmoe"}, {"clip_qkv", 8.0}}, "clip_qkv is not supported"}};
  for (const auto& [changes, words] : refused)
    CHECK_THROWS_NAMING(parse_with(changes), FormatError, words);
}

TEST_CASE("a Ministral 3's queries grow, a Hunyuan's heads turn first, an Apertus has xIELU") {
  const json rope = {{"rope_type", "yarn"},
                     {"factor", 4.0},
                     {"rope_theta", 500.0},
                     {"original_max_position_embeddings", 64},
                     {"llama_4_scaling_beta", 0.25}};
  const ModelConfig ministral =
      parse_with({{"model_type", "ministral3"}, {"rope_parameters", rope}});
  CHECK(ministral.query_growth == QueryGrowth{0.25, 64});
  CHECK(ministral.rope_theta == 500);
  CHECK(parse_config(config_json(ministral, "float16"), "x").query_growth ==
        ministral.query_growth);
  json without = rope;
  without.erase("llama_4_scaling_beta");
  CHECK_THROWS_NAMING(parse_with({{"model_type", "ministral3"}, {"rope_parameters", without}}),
                      FormatError, "want llama_4_scaling_beta");

  const json dynamic = {
      {"type", "dynamic"}, {"alpha", 1000.0}, {"factor", 1.0}, {"rope_theta", 10000.0}};
  const ModelConfig hunyuan = parse_with(
      {{"model_type", "hunyuan_v1_dense"}, {"head_dim", 128}, {"rope_scaling", dynamic}});
  CHECK(hunyuan.norms_turned_heads);
  CHECK_FALSE(hunyuan.rope_scaling);
  CHECK_THAT(hunyuan.rope_theta,
             Catch::Matchers::WithinRel(10000 * std::pow(1000.0, 128.0 / 126), 1e-12));
  CHECK(parse_config(config_json(hunyuan, "float16"), "x").rope_theta == hunyuan.rope_theta);

  const ModelConfig apertus = parse_with({{"model_type", "apertus"}});
  CHECK(apertus.activation == Activation::kXielu);
  CHECK_FALSE(apertus.gated_mlp);
  REQUIRE(apertus.rope_scaling);
  CHECK(apertus.rope_scaling->kind == RopeScaling::Kind::kLlama3);
  CHECK(parse_config(config_json(apertus, "float16"), "x").activation == Activation::kXielu);
  CHECK_THROWS_NAMING(parse_with({{"model_type", "apertus"}, {"hidden_act", "silu"}}), FormatError,
                      "hidden_act 'silu'");
  CHECK_THROWS_NAMING(parse_with({{"model_type", "llama"}, {"hidden_act", "xielu"}}), FormatError,
                      "activation 'xielu' is not supported");
}

TEST_CASE("an OPT has no heads of another size and no groups, whatever its file says") {
  const ModelConfig c =
      parse_with(opt_config(768, 12, 12), {{"head_dim", 8}, {"num_key_value_heads", 1}});
  CHECK(c.head_size == 64);
  CHECK(c.kv_heads == 12);
}

TEST_CASE("sizes that a file lacks are those of Transformers") {
  struct Row {
    const char* family;
    std::vector<int64_t> sizes;  // D, L, h, key/value heads, F, V, context
  };
  for (const auto& [family, sizes] :
       std::vector<Row>{{"llama", {4096, 32, 32, 32, 11008, 32000, 2048}},
                        {"mistral", {4096, 32, 32, 8, 14336, 32000, 131072}},
                        {"cohere", {8192, 40, 64, 64, 22528, 256000, 8192}},
                        {"cohere2", {8192, 40, 64, 64, 22528, 256000, 8192}},
                        {"falcon", {4544, 32, 71, 1, 18176, 65024, 2048}},
                        {"gpt2", {768, 12, 12, 12, 3072, 50257, 1024}},
                        {"gpt_neox", {6144, 44, 64, 64, 24576, 50432, 2048}},
                        {"gptj", {4096, 28, 16, 16, 16384, 50400, 2048}},
                        {"nemotron", {6144, 32, 48, 48, 24576, 256000, 4096}},
                        {"olmo", {4096, 32, 32, 32, 11008, 50304, 2048}},
                        {"opt", {768, 12, 12, 12, 3072, 50272, 2048}},
                        {"phi", {2048, 24, 32, 32, 8192, 51200, 2048}},
                        {"qwen2", {4096, 32, 32, 32, 22016, 151936, 32768}},
                        {"stablelm", {2560, 32, 32, 32, 6912, 50304, 4096}},
                        {"starcoder2", {3072, 30, 24, 2, 12288, 49152, 4096}}}) {
    const ModelConfig c = parse_with({{"model_type", family}});
    CAPTURE(family);
    CHECK(std::vector{c.hidden_size, c.layers, c.heads, c.kv_heads, c.ffn_size, c.vocabulary_size,
                      c.context_length} == sizes);
  }
}

TEST_CASE("what is written of every family is read again, dense and sliced") {
  std::vector<ModelConfig> all = tiny_families();
  for (const ModelConfig& family : tiny_families_with_experts()) all.push_back(family);
  for (const ModelConfig& dense : all) {
    const std::vector<int64_t> sizes(dense.sites(), 12);
    for (const ModelConfig& config : {dense, sliced_config(dense, sizes)}) {
      INFO(tests::describe(config) << (config.sliced() ? " sliced" : ""));
      const std::string text = config_json(config, "float16");
      const ModelConfig again = parse_config(text, "x");
      CHECK(config_json(again, "float16") == text);
      CHECK(again.norm == config.norm);
      CHECK(again.parallel_block == config.parallel_block);
      CHECK(again.rotary_size == config.rotary_size);
      CHECK(again.learned_positions == config.learned_positions);
      CHECK(again.sliding_window == config.sliding_window);
      CHECK(again.window_layers == config.window_layers);
      CHECK(again.activation == config.activation);
      CHECK(again.gated_mlp == config.gated_mlp);
      CHECK(again.experts == config.experts);
      CHECK(again.tied_head == config.tied_head);
      CHECK(again.head_bias == config.head_bias);
      CHECK(again.stream_sizes == config.stream_sizes);
    }
  }
}

TEST_CASE("what is written of every family with norms on outputs is read again") {
  for (const ModelConfig& config : tiny_families_with_output_norms()) {
    INFO(tests::describe(config));
    const std::string text = config_json(config, "float16");
    const ModelConfig again = parse_config(text, "x");
    CHECK(config_json(again, "float16") == text);
    CHECK(again.norm_place == config.norm_place);
    CHECK(again.head_norm == config.head_norm);
    CHECK(again.head_size == config.head_size);
    CHECK(again.rotary_size == config.rotary_size);
    CHECK(again.rotary_layers == config.rotary_layers);
    CHECK(again.sliding_window == config.sliding_window);
    CHECK(again.window_layers == config.window_layers);
    CHECK(again.window_rope_theta == config.window_rope_theta);
    CHECK(again.attention_softcap == config.attention_softcap);
    CHECK(again.logit_softcap == config.logit_softcap);
    CHECK(again.embedding_scale == config.embedding_scale);
    CHECK(again.activation == config.activation);
    CHECK(again.tied_head == config.tied_head);
    CHECK(again.qkv_bias == config.qkv_bias);
    if (config.attention_scale)
      CHECK(std::abs(*again.attention_scale / *config.attention_scale - 1) < 1e-15);
    CHECK(again.attention_scale.has_value() == config.attention_scale.has_value());
  }
}

TEST_CASE("Gemma 3's rotary bases are read from either form, and scaling is that of full layers") {
  const json old = {{"model_type", "gemma3_text"},
                    {"num_hidden_layers", 3},
                    {"rope_theta", 5e5},
                    {"rope_local_base_freq", 2e3},
                    {"sliding_window_pattern", 3},
                    {"sliding_window", 9},
                    {"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}}};
  const json kinds = {
      {"model_type", "gemma3_text"},
      {"num_hidden_layers", 3},
      {"layer_types", {"sliding_attention", "sliding_attention", "full_attention"}},
      {"sliding_window", 9},
      {"rope_parameters",
       {{"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 5e5}}},
        {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 2e3}}}}}};
  for (const json& object : {old, kinds}) {
    const ModelConfig c = parse_with(object);
    CHECK(c.rope_theta == 5e5);
    CHECK(c.window_rope_theta == 2e3);
    REQUIRE(c.rope_scaling);
    CHECK(c.rope_scaling->factor == 8);
    CHECK(c.window_layers == std::vector<bool>{true, true, false});
    CHECK(c.head_size == 256);
    CHECK(c.embedding_scale == std::sqrt(2304.0));
  }
  const ModelConfig plain = parse_with({{"model_type", "gemma3_text"}});
  CHECK(plain.rope_theta == 1e6);
  CHECK(plain.window_rope_theta == 1e4);
  CHECK(plain.sliding_window == 4096);
  json windows = kinds;
  windows["rope_parameters"]["sliding_attention"]["rope_type"] = "linear";
  CHECK_THROWS_NAMING(parse_with(windows), FormatError, "scaling of sliding_attention");
  json flat = kinds;
  flat["rope_parameters"] = {{"rope_theta", 1e5}};
  CHECK_THROWS_NAMING(parse_with(flat), FormatError, "want 'full_attention'");
}

TEST_CASE("families with norms on outputs refuse what they do not run, by name") {
  const auto refused = [](const json& object, const char* message) {
    CHECK_THROWS_NAMING(parse_with(object), FormatError, message);
  };
  refused({{"model_type", "gemma2"}, {"use_bidirectional_attention", true}},
          "use_bidirectional_attention true");
  refused({{"model_type", "gemma2"}, {"attn_logit_softcapping", 0.0}}, "attn_logit_softcapping");
  refused({{"model_type", "gemma3_text"}, {"attn_logit_softcapping", 50.0}},
          "attn_logit_softcapping is not supported in a Gemma 3");
  refused({{"model_type", "gemma2"}, {"query_pre_attn_scalar", 0}}, "query_pre_attn_scalar");
  refused({{"model_type", "olmo2"}, {"partial_rotary_factor", 0.5}}, "partial_rotary_factor");
  refused({{"model_type", "exaone4"},
           {"num_hidden_layers", 2},
           {"layer_types", {"full_attention", "full_attention"}}},
          "sliding_window: no layer has it");
  refused({{"model_type", "sliced_olmo2"}, {"num_hidden_layers", 1}, {"stream_sizes", {8, 8, 8}}},
          "norms on outputs keep the stream as it is");
  refused({{"model_type", "exaone4"}, {"sliding_window_pattern", "LLLG"}},
          "sliding_window_pattern");
}

TEST_CASE("a fraction of a head survives being written as a decimal") {
  ModelConfig c = tiny_families()[3];
  c.heads = c.kv_heads = 2;
  c.head_size = 100;
  c.hidden_size = 200;
  for (int64_t turning = 2; turning < 100; turning += 2) {
    c.rotary_size = turning;
    CHECK(parse_config(config_json(c, "float16"), "x").rotary_size == turning);
  }
}

TEST_CASE("relatives that compute something else are refused, naming the difference") {
  struct Row {
    json config, changes;
    std::string message;
  };
  const json opt = opt_config(768, 12, 12), phi = phi2_config(), qwen2 = smallest("qwen2");
  const std::vector<Row> rows = {
      {opt, {{"do_layer_norm_before", false}}, "norms after the blocks, as in OPT-350m"},
      {opt, {{"word_embed_proj_dim", 512}}, "word_embed_proj_dim 512"},
      {opt, {{"enable_bias", false}}, "enable_bias false is not supported"},
      {opt, {{"layer_norm_elementwise_affine", false}}, "layer_norm_elementwise_affine false"},
      {opt, {{"_remove_final_layer_norm", true}}, "_remove_final_layer_norm true"},
      {opt, {{"activation_function", "mish"}}, "activation 'mish'"},
      {opt, {{"ffn_dim", nullptr}}, "'ffn_dim' is missing"},
      {opt, {{"max_position_embeddings", 1 << 24}}, "position table: want 1"},
      {smallest("cohere"), {{"use_qk_norm", true}}, "use_qk_norm true is not supported"},
      {smallest("cohere2"), {{"sliding_window", nullptr}}, "sliding_window null"},
      {smallest("falcon"), {{"alibi", true}}, "alibi true is not supported"},
      {smallest("falcon"), {{"num_ln_in_parallel_attn", 2}}, "num_ln_in_parallel_attn 2"},
      {smallest_gpt("gpt2"), {{"add_cross_attention", true}}, "add_cross_attention true"},
      {smallest_gpt("gpt2"),
       {{"scale_attn_by_inverse_layer_idx", true}},
       "scale_attn_by_inverse_layer_idx true"},
      {smallest_gpt("gptj"), {{"tie_word_embeddings", true}}, "tie_word_embeddings true"},
      {smallest_gpt("gptj"), {{"rotary_dim", nullptr}}, "'rotary_dim' is missing"},
      {smallest("olmo"), {{"clip_qkv", 8.0}}, "clip_qkv 8 is not supported"},
      {smallest("olmo"), {{"partial_rotary_factor", 0.5}}, "partial_rotary_factor"},
      {smallest("starcoder2"), {{"partial_rotary_factor", 0.5}}, "partial_rotary_factor"},
      {smallest("stablelm"), {{"qk_layernorm", true}}, "qk_layernorm true is not supported"},
      {smallest("stablelm"), {{"head_dim", 8}}, "head_dim 8 is not supported"},
      {phi, {{"qk_layernorm", true}}, "qk_layernorm true is not supported"},
      {phi, {{"tie_word_embeddings", true}}, "tie_word_embeddings true is not supported"},
      {phi, {{"partial_rotary_factor", 1.5}}, "partial_rotary_factor: want a fraction"},
      {phi, {{"partial_rotary_factor", 0.0}}, "partial_rotary_factor: want a fraction"},
      {phi, {{"partial_rotary_factor", 0.39}}, "head_dim 31 is odd"},
      {phi, {{"partial_rotary_factor", 0.01}}, "rotary embeddings of 0 coordinates in heads of 80"},
      {phi, {{"partial_rotary_factor", "half"}}, "want a number"},
      {smallest("mistral"), {{"sliding_window", 0}}, "sliding_window: want 1"},
      {smallest("mistral"), {{"sliding_window", "all"}}, "'sliding_window': want an integer"},
      {smallest("mistral"), {{"num_key_value_heads", 5}}, "num_key_value_heads 5"},
      {qwen2, {{"use_sliding_window", true}, {"max_window_layers", -1}}, "max_window_layers"},
      {qwen2, {{"layer_types", {"sliding_attention"}}}, "layer_types[0]"},
      {qwen2, {{"layer_types", {"full_attention"}}}, "layer_types: want 3 entries, got 1"},
      {qwen2, {{"layer_types", {"chunked_attention"}}}, "layer_types[0]: \"chunked_attention\""},
      {qwen2, {{"layer_types", "all"}}, "'layer_types': want an array"},
  };
  for (const Row& row : rows) {
    INFO(row.changes.dump());
    CHECK_THROWS_NAMING(parse_with(row.config, row.changes), FormatError, row.message);
    CHECK_THROWS_NAMING(parse_with(row.config, row.changes), FormatError, "config.json");
  }
}

}  // namespace
}  // namespace slice
