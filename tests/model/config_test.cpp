#include "libslice/model/config.h"

#include <catch2/catch_all.hpp>
#include <ctime>
#include <nlohmann/json.hpp>

#include "libslice/base/error.h"
#include "libslice/model/config_json.h"
#include "tests/support/heard_warnings.h"
#include "tests/support/matchers.h"

namespace slice {
namespace {

using nlohmann::json;

/// The keys that a LLaMA's config.json has to have, and no other.
json smallest_config() {
  return {{"model_type", "llama"},    {"hidden_size", 24},       {"num_hidden_layers", 2},
          {"num_attention_heads", 6}, {"intermediate_size", 40}, {"vocab_size", 50}};
}

ModelConfig parse(const json& object) { return parse_config(object.dump(), "config.json"); }
ModelConfig parse_with(const json& changes) {
  json object = smallest_config();
  object.update(changes);
  return parse(object);
}

void check_same(const ModelConfig& a, const ModelConfig& b) {
  CHECK(a.family == b.family);
  CHECK(a.hidden_size == b.hidden_size);
  CHECK(a.layers == b.layers);
  CHECK(a.heads == b.heads);
  CHECK(a.kv_heads == b.kv_heads);
  CHECK(a.head_size == b.head_size);
  CHECK(a.ffn_size == b.ffn_size);
  CHECK(a.vocabulary_size == b.vocabulary_size);
  CHECK(a.context_length == b.context_length);
  CHECK(a.norm_eps == b.norm_eps);
  CHECK(a.rope_theta == b.rope_theta);
  CHECK(a.rope_scaling == b.rope_scaling);
  CHECK(a.tied_head == b.tied_head);
  CHECK(a.qkv_bias == b.qkv_bias);
  CHECK(a.output_bias == b.output_bias);
  CHECK(a.mlp_bias == b.mlp_bias);
  CHECK(a.bos_token == b.bos_token);
  CHECK(a.eos_tokens == b.eos_tokens);
  CHECK(a.pad_token == b.pad_token);
  CHECK(a.stream_sizes == b.stream_sizes);
  CHECK(a.shortcut == b.shortcut);
  CHECK(a.shortcut_rank == b.shortcut_rank);
  CHECK(a.ffn_sizes == b.ffn_sizes);
}

TEST_CASE("keys that are missing or null take the values that Transformers gives them") {
  for (const json& changes : {json::object(), json{{"num_key_value_heads", nullptr},
                                                   {"head_dim", nullptr},
                                                   {"rope_scaling", nullptr},
                                                   {"sliding_window", nullptr},
                                                   {"bos_token_id", nullptr},
                                                   {"eos_token_id", nullptr},
                                                   {"quantization_config", nullptr}}}) {
    const ModelConfig c = parse_with(changes);
    CHECK(c.family == "llama");
    CHECK(c.kv_heads == 6);
    CHECK(c.head_size == 4);
    CHECK(c.context_length == 2048);
    CHECK(c.norm_eps == 1e-6);
    CHECK(c.rope_theta == 10000.0);
    CHECK_FALSE(c.tied_head);
    CHECK_FALSE(c.qkv_bias);
    CHECK_FALSE(c.output_bias);
    CHECK_FALSE(c.mlp_bias);
    CHECK_FALSE(c.bos_token);
    CHECK(c.eos_tokens.empty());
    CHECK_FALSE(c.sliced());
    CHECK(c.stream_size(3) == 24);
  }
}

TEST_CASE("every key of a LLaMA is read") {
  const ModelConfig c = parse_with({{"num_key_value_heads", 3},
                                    {"head_dim", 10},
                                    {"max_position_embeddings", 131072},
                                    {"rms_norm_eps", 1e-5},
                                    {"rope_theta", 500000},
                                    {"tie_word_embeddings", true},
                                    {"attention_bias", true},
                                    {"mlp_bias", true},
                                    {"hidden_act", "silu"},
                                    {"bos_token_id", 1},
                                    {"eos_token_id", {2, 7}}});
  CHECK(c.kv_heads == 3);
  CHECK(c.head_size == 10);
  CHECK(c.context_length == 131072);
  CHECK(c.norm_eps == 1e-5);
  CHECK(c.rope_theta == 500000.0);
  CHECK(c.tied_head);
  CHECK(c.qkv_bias);
  CHECK(c.output_bias);
  CHECK(c.mlp_bias);
  CHECK(c.bos_token == 1);
  CHECK(c.eos_tokens == std::vector<int64_t>{2, 7});
  CHECK(parse_with({{"eos_token_id", 2}}).eos_tokens == std::vector<int64_t>{2});
}

TEST_CASE("the rotary base is found in both of its places") {
  CHECK(parse_with({{"rope_parameters", {{"rope_theta", 5e5}, {"rope_type", "default"}}}})
            .rope_theta == 5e5);
  CHECK(parse_with({{"rope_theta", 5e5}, {"rope_scaling", {{"type", "default"}}}}).rope_theta ==
        5e5);
}

TEST_CASE("linear and Llama 3 rotary scalings are understood in both of their places") {
  const nlohmann::json llama3 = {{"rope_type", "llama3"},
                                 {"factor", 32.0},
                                 {"low_freq_factor", 1.0},
                                 {"high_freq_factor", 4},
                                 {"original_max_position_embeddings", 8192}};
  const RopeScaling want{RopeScaling::Kind::kLlama3, 32, 1, 4, 8192};
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    CHECK(parse_with({{key, llama3}}).rope_scaling == want);
    const auto linear = parse_with({{key, {{"type", "linear"}, {"factor", 2}}}}).rope_scaling;
    REQUIRE(linear);
    CHECK(linear->kind == RopeScaling::Kind::kLinear);
    CHECK(linear->factor == 2);
  }
  CHECK_FALSE(parse_with({{"rope_scaling", {{"type", "default"}}}}).rope_scaling);
}

TEST_CASE("rotary settings count as in Transformers: rope_scaling first, then the top level") {
  const json linear = {{"rope_type", "linear"}, {"factor", 2}, {"rope_theta", 300.0}},
             plain = {{"rope_type", "default"}, {"rope_theta", 400.0}, {"seen", {1, 2}}};
  const ModelConfig both =
      parse_with({{"rope_scaling", linear}, {"rope_parameters", plain}, {"rope_theta", 500.0}});
  CHECK(both.rope_theta == 300.0);
  CHECK(both.rope_scaling);
  const ModelConfig empty =
      parse_with({{"rope_scaling", json::object()}, {"rope_parameters", plain}});
  CHECK(empty.rope_theta == 400.0);
  CHECK_FALSE(empty.rope_scaling);
  json llama3 = {
      {"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}, {"high_freq_factor", 4}};
  const auto original = [&](const json& changes) {
    json all = {{"rope_parameters", llama3}, {"max_position_embeddings", 256}};
    all.update(changes);
    return parse_with(all).rope_scaling.value().original_context;
  };
  CHECK(original(json::object()) == 256);
  llama3["original_max_position_embeddings"] = 64;
  CHECK(original(json::object()) == 64);
  CHECK(original({{"original_max_position_embeddings", 32}}) == 32);
}

TEST_CASE("config.json is read as Python writes it") {
  std::string text = smallest_config().dump();
  text.pop_back();
  const std::string unread = R"(, "a": NaN, "b": [Infinity, {"c": -Infinity}], "NaN": "\"NaN")";
  const ModelConfig c = parse_config("\xEF\xBB\xBF" + text + unread + "}", "config.json");
  check_same(c, parse(smallest_config()));
  check_same(parse_with({{"hidden_size", 24.0}, {"vocab_size", 50.0}, {"rope_theta", 1e4}}), c);
  CHECK(parse_with({{"max_position_embeddings", 512.0}}).context_length == 512);
  for (const char* key : {"rope_theta", "hidden_size", "rms_norm_eps", "bos_token_id"}) {
    const std::string read = text + ", \"" + key + "\": Infinity}";
    CHECK_THROWS_NAMING(parse_config(read, "config.json"), FormatError, key);
  }
}

TEST_CASE("a LLaMA's sliding_window is not used, as in Transformers, and is warned of") {
  const tests::HeardWarnings heard;
  CHECK_FALSE(parse_with({{"sliding_window", 8}, {"use_sliding_window", false}}).sliding_window);
  CHECK(heard.text() == "");
  CHECK_FALSE(parse_with({{"sliding_window", 8}}).sliding_window);
  CHECK(heard.text() ==
        "config.json: sliding_window 8 is not used: a LLaMA attends to all positions\n");
}

TEST_CASE("special tokens outside the vocabulary are left out, with a warning") {
  const tests::HeardWarnings heard;
  const ModelConfig c = parse_with({{"bos_token_id", 50}, {"eos_token_id", {2, -1}}});
  CHECK_FALSE(c.bos_token);
  CHECK(c.eos_tokens == std::vector<int64_t>{2});
  CHECK(heard.text() ==
        "config.json: bos_token_id 50 is outside the vocabulary of 50 and is left out\n"
        "config.json: eos_token_id -1 is outside the vocabulary of 50 and is left out\n");
}

TEST_CASE("names that compute a supported activation are taken for it") {
  for (const auto& [name, want] :
       {std::pair("gelu_python", Activation::kGelu), std::pair("gelu_fast", Activation::kGeluTanh),
        std::pair("gelu_accurate", Activation::kGeluTanh), std::pair("swish", Activation::kSilu)}) {
    CHECK(parse_with({{"hidden_act", name}}).activation == want);
  }
}

TEST_CASE("a file that is written names a Transformers without warnings about old files") {
  ModelConfig c = parse(smallest_config());
  const json plain = json::parse(config_json(c, "float16"));
  CHECK(plain["transformers_version"] == "5.0.0");
  CHECK_FALSE(plain.contains("rope_scaling"));
  c.rope_scaling = RopeScaling{RopeScaling::Kind::kLinear, 4};
  CHECK(json::parse(config_json(c, "float16"))["rope_scaling"]["factor"] == 4);
}

TEST_CASE("a sliced model keeps the size of every site") {
  const ModelConfig c =
      parse_with({{"model_type", "sliced_llama"}, {"stream_sizes", {16, 17, 18, 19, 24}}});
  CHECK(c.sliced());
  CHECK(c.hidden_size == 24);
  CHECK(c.stream_size(0) == 16);
  CHECK(c.stream_size(4) == 24);
}

TEST_CASE("what is written is read again") {
  ModelConfig c = parse_with({{"num_key_value_heads", 3},
                              {"head_dim", 10},
                              {"rms_norm_eps", 9.999999747378752e-06},
                              {"rope_theta", 1e6},
                              {"attention_bias", true},
                              {"eos_token_id", {2, 3}}});
  check_same(parse_config(config_json(c, "float16"), "x"), c);
  c.rope_scaling = RopeScaling{RopeScaling::Kind::kLinear, 4};
  check_same(parse_config(config_json(c, "float16"), "x"), c);
  c.rope_scaling = RopeScaling{RopeScaling::Kind::kLlama3, 8, 1, 4, 4096};
  c.tied_head = true;
  c.eos_tokens = {4};
  c.bos_token = 0;
  check_same(parse_config(config_json(c, "float16"), "x"), c);
  c.tied_head = false;
  c.stream_sizes = {1, 2, 3, 4, 24};
  check_same(parse_config(config_json(c, "float16"), "x"), c);
}

TEST_CASE("forms of shortcuts and FFN widths are written and read again") {
  const ModelConfig dense = parse_with({{"tie_word_embeddings", true}});
  const auto check = [](const ModelConfig& c) {
    const std::string text = config_json(c, "float16");
    INFO(text);
    check_same(parse_config(text, "x"), c);
  };
  for (const ShortcutForm form : {ShortcutForm::kDense, ShortcutForm::kDiagonal,
                                  ShortcutForm::kLowRank, ShortcutForm::kNone}) {
    ModelConfig c = sliced_config(dense, {16, 16, 16, 16, 24});
    c.shortcut = form;
    if (form == ShortcutForm::kLowRank) c.shortcut_rank = 3;
    check(c);
    const json object = json::parse(config_json(c, "float16"));
    CHECK(object["shortcut"] == shortcut_name(form));
    CHECK(object.contains("shortcut_rank") == (form == ShortcutForm::kLowRank));
    CHECK_FALSE(object.contains("ffn_sizes"));
    c.stream_sizes.back() = 16;
    check(c);
    c.ffn_sizes = {40, 7};
    check(c);
    c.tied_head = true;  // after a map
    check(c);
  }
  ModelConfig narrow = dense;  // of whole streams: the head may stay tied
  narrow.ffn_sizes = {1, 40};
  check(narrow);
  const json object = json::parse(config_json(narrow, "float16"));
  CHECK(object["model_type"] == "sliced_llama");
  CHECK(object["architectures"] == json{"SlicedLlamaForCausalLM"});
  CHECK(object["ffn_sizes"] == narrow.ffn_sizes);
  CHECK(object["tie_word_embeddings"] == true);
  CHECK_FALSE(object.contains("stream_sizes"));
  CHECK_FALSE(object.contains("shortcut"));
  CHECK_FALSE(parse_config(object.dump(), "x").sliced());
}

TEST_CASE("shortcuts have names, and a file that names none has dense ones") {
  CHECK(shortcut_name(ShortcutForm::kDense) == "dense");
  CHECK(shortcut_name(ShortcutForm::kDiagonal) == "diagonal");
  CHECK(shortcut_name(ShortcutForm::kLowRank) == "lowrank");
  CHECK(shortcut_name(ShortcutForm::kNone) == "none");
  CHECK(
      parse_with({{"model_type", "sliced_llama"}, {"stream_sizes", {9, 10, 9, 8, 24}}}).shortcut ==
      ShortcutForm::kDense);
}

TEST_CASE("every sublayer has the shortcut that its form and its sites ask for") {
  using Form = ShortcutForm;
  struct Row {
    Form form;
    std::vector<int64_t> sizes;
    std::vector<Form> want;
  };
  const std::vector<int64_t> even(5, 16), wider = {16, 16, 16, 16, 24};
  const Form dense = Form::kDense, diagonal = Form::kDiagonal, rank = Form::kLowRank,
             none = Form::kNone;
  for (const Row& row : std::vector<Row>{{dense, {}, {none, none, none, none}},
                                         {dense, even, {dense, dense, dense, dense}},
                                         {dense, wider, {dense, dense, dense, dense}},
                                         {diagonal, even, {diagonal, dense, diagonal, dense}},
                                         {diagonal, wider, {diagonal, dense, diagonal, none}},
                                         {rank, even, {rank, rank, rank, rank}},
                                         {rank, wider, {rank, rank, rank, none}},
                                         {none, even, {none, none, none, none}},
                                         {none, wider, {none, none, none, none}}}) {
    ModelConfig c = parse(smallest_config());
    c.stream_sizes = row.sizes;
    c.shortcut = row.form;
    for (int64_t sublayer = 0; sublayer < c.sublayers(); ++sublayer) {
      CAPTURE(shortcut_name(row.form), c.stream_size(4), sublayer);
      CHECK(shortcut_name(c.shortcut_of(sublayer)) == shortcut_name(row.want[sublayer]));
    }
  }
}

TEST_CASE("FFN widths that are equal are a smaller FFN, others a list") {
  const ModelConfig c = parse(smallest_config());
  CHECK(c.ffn_width(1) == 40);
  const ModelConfig equal = narrowed_config(c, {12, 12});
  CHECK(equal.ffn_size == 12);
  CHECK(equal.ffn_sizes.empty());
  CHECK(equal.ffn_width(0) == 12);
  CHECK(json::parse(config_json(equal, "float16"))["model_type"] == "llama");
  const ModelConfig several = narrowed_config(c, {12, 13});
  CHECK(several.ffn_size == 40);
  CHECK(several.ffn_sizes == std::vector<int64_t>{12, 13});
  CHECK(several.ffn_width(1) == 13);
  CHECK(narrowed_config(c, {}).ffn_sizes.empty());
  CHECK(narrowed_config(c, {}).ffn_size == 40);
}

TEST_CASE("a dense model's file is a stock LLaMA's, a sliced model's is marked as sliced") {
  ModelConfig c = parse_with({{"bos_token_id", 1}});
  const json dense = json::parse(config_json(c, "bfloat16"));
  CHECK(dense["model_type"] == "llama");
  CHECK(dense["architectures"] == json{"LlamaForCausalLM"});
  CHECK(dense["torch_dtype"] == "bfloat16");
  CHECK(dense["dtype"] == "bfloat16");
  CHECK(dense["hidden_act"] == "silu");
  CHECK(dense["head_dim"] == 4);
  CHECK(dense["bos_token_id"] == 1);
  CHECK(dense.contains("eos_token_id"));  // or Transformers assumes 2
  CHECK(dense["eos_token_id"].is_null());
  CHECK_FALSE(dense.contains("stream_sizes"));
  c.stream_sizes = {8, 8, 8, 8, 24};
  const json sliced = json::parse(config_json(c, "bfloat16"));
  CHECK(sliced["model_type"] == "sliced_llama");
  CHECK(sliced["architectures"] == json{"SlicedLlamaForCausalLM"});
  CHECK(sliced["tie_word_embeddings"] == false);
  CHECK(sliced["hidden_size"] == 24);
  CHECK(sliced["stream_sizes"] == c.stream_sizes);
  c.eos_tokens = {2, 3};
  const json generation = json::parse(generation_config_json(c));
  CHECK(generation["bos_token_id"] == 1);
  CHECK(generation["eos_token_id"] == c.eos_tokens);
}

TEST_CASE("generation_config.json keeps its sampling defaults and gains what ends a text") {
  const std::string name = "generation_config.json",
                    source = R"({"do_sample": true, "eos_token_id": [3, 2, 100000],
                                 "pad_token_id": 4, "temperature": 0.6, "top_p": 0.9})";
  const ModelConfig c = parse_with({{"eos_token_id", 2}});
  const ModelConfig whole = with_generation_config(c, source, name);
  CHECK(whole.eos_tokens == std::vector<int64_t>{2, 3});
  CHECK(generation_config_json(whole) == source);
  const ModelConfig more = with_end_tokens(whole, {5, 3, 100000, -1});
  CHECK(more.eos_tokens == std::vector<int64_t>{2, 3, 5});
  json want = json::parse(source);
  want["eos_token_id"] = {3, 2, 100000, 5};
  CHECK(json::parse(generation_config_json(more)) == want);
  const ModelConfig silent = with_generation_config(c, R"({"top_k": 5})", name);
  CHECK(json::parse(generation_config_json(silent)) == json{{"top_k", 5}, {"eos_token_id", 2}});
  check_same(with_generation_config(c, "", name), c);
  for (const auto& [text, message] :
       {std::pair("[2]", "want an object"), std::pair("{", "generation_config.json"),
        std::pair(R"({"eos_token_id": "</s>"})", "want integers")}) {
    CHECK_THROWS_NAMING(with_generation_config(c, text, name), FormatError, message);
  }
}

TEST_CASE("a generation_config.json of many end tokens took time that grew with their square") {
  constexpr int64_t kIds = 400'000;
  ModelConfig config;
  config.vocabulary_size = kIds;
  std::string ids;
  for (int64_t id = 0; id < kIds; ++id) ids += (id ? "," : "") + std::to_string(id);
  const std::clock_t begin = std::clock();
  const ModelConfig read =
      with_generation_config(config, "{\"eos_token_id\": [" + ids + "]}", "generation_config.json");
  CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < 10);
  CHECK(std::ssize(read.eos_tokens) == kIds);
}

TEST_CASE("pad_token_id is kept where it is a token") {
  CHECK(parse_with({{"pad_token_id", 3}}).pad_token == 3);
  for (const json& id : {json(-1), json(100000), json(nullptr), json("<pad>")})
    CHECK_FALSE(parse_with({{"pad_token_id", id}}).pad_token);
  const ModelConfig c = parse_with({{"pad_token_id", 3}});
  CHECK(json::parse(config_json(c, "float16"))["pad_token_id"] == 3);
}

TEST_CASE("a configuration that cannot be run is refused, naming the file and the key") {
  struct Row {
    json changes;
    std::string message;
  };
  const int64_t large = (int64_t{1} << 24) + 1;
  const json sizes = {24, 24, 24, 24, 24};
  const std::vector<Row> rows = {
      {{{"model_type", "mamba"}}, "model_type 'mamba' is not supported"},
      {{{"model_type", "sliced_mamba"}}, "model_type 'mamba'"},
      {{{"model_type", 3}}, "'model_type': want a string"},
      {{{"model_type", nullptr}}, "'model_type' is missing"},
      {{{"hidden_size", nullptr}}, "'hidden_size' is missing"},
      {{{"hidden_size", "24"}}, "'hidden_size': want an integer"},
      {{{"hidden_size", 24.5}}, "'hidden_size': want an integer"},
      {{{"hidden_size", 0}}, "hidden_size: want 1"},
      {{{"hidden_size", -24}}, "hidden_size: want 1"},
      {{{"hidden_size", 6 * large}}, "hidden_size: want 1"},
      {{{"hidden_size", ~uint64_t{0} - 3}}, "hidden_size"},
      {{{"hidden_size", 25}}, "hidden_size 25 is not a multiple of 6 heads"},
      {{{"num_hidden_layers", 0}}, "num_hidden_layers: want 1 … 1000"},
      {{{"num_hidden_layers", 1001}}, "num_hidden_layers: want 1 … 1000"},
      {{{"num_attention_heads", 0}}, "num_attention_heads"},
      {{{"num_attention_heads", -6}}, "num_attention_heads"},
      {{{"num_key_value_heads", 4}}, "num_key_value_heads 4 does not divide"},
      {{{"num_key_value_heads", 0}}, "num_key_value_heads: want 1"},
      {{{"num_key_value_heads", 12}}, "num_key_value_heads 12"},
      {{{"head_dim", 3}}, "head_dim 3 is odd"},
      {{{"head_dim", -2}}, "head_dim: want 1"},
      {{{"head_dim", 1 << 23}}, "6 heads of 8388608"},
      {{{"intermediate_size", 0}}, "intermediate_size: want 1"},
      {{{"vocab_size", large}}, "vocab_size: want 1"},
      {{{"max_position_embeddings", 0}}, "max_position_embeddings"},
      {{{"rms_norm_eps", "tiny"}}, "'rms_norm_eps': want a number"},
      {{{"rms_norm_eps", -1.0}}, "norm epsilon"},
      {{{"rope_theta", 0}}, "rope_theta"},
      {{{"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}}},
       "rope_scaling: 'low_freq_factor' is missing"},
      {{{"rope_scaling", {{"type", "linear"}}}}, "'factor' is missing"},
      {{{"rope_scaling", {{"type", "linear"}, {"factor", "two"}}}}, "want a number, got string"},
      {{{"rope_scaling", {{"type", "linear"}, {"factor", 0.0}}}}, "rope scaling factor"},
      {{{"rope_scaling",
         {{"type", "llama3"},
          {"factor", 8.0},
          {"low_freq_factor", 4},
          {"high_freq_factor", 1},
          {"original_max_position_embeddings", 8192}}}},
       "low_freq_factor < high_freq_factor"},
      {{{"rope_scaling", {{"type", "ntk"}, {"factor", 2.0}}}}, "rope_scaling 'ntk'"},
      {{{"rope_scaling", 2}}, "'rope_scaling': want an object"},
      {{{"rope_parameters", {{"rope_type", "ntk"}}}}, "rope_parameters 'ntk'"},
      {{{"rope_parameters", {{"full_attention", {{"rope_type", "yarn"}}}}}},
       "rope_parameters: 'full_attention'"},
      {{{"partial_rotary_factor", 0.5}}, "partial_rotary_factor is not supported"},
      {{{"hidden_act", "mish"}}, "activation 'mish' is not supported"},
      {{{"quantization_config", {{"bits", 4}}}}, "quantization_config is not supported"},
      {{{"per_layer_config", {{"0", {{"intermediate_size", 8}}}}}},
       "per_layer_config is not supported"},
      {{{"is_causal", false}}, "is_causal false is not supported"},
      {{{"attention_bias", "yes"}}, "'attention_bias': want a boolean"},
      {{{"eos_token_id", "</s>"}}, "'eos_token_id': want integers"},
      {{{"model_type", "sliced_llama"}}, "'stream_sizes' is missing"},
      {{{"model_type", "sliced_llama"}, {"stream_sizes", 24}}, "'stream_sizes': want an array"},
      {{{"model_type", "sliced_llama"}, {"stream_sizes", {24, 24}}},
       "stream_sizes: want 5 sizes, got 2"},
      {{{"model_type", "sliced_llama"}, {"stream_sizes", {24, 24, 25, 24, 24}}},
       "stream_sizes: want 1 … 24, got 25"},
      {{{"model_type", "sliced_llama"}, {"stream_sizes", {24, 24, 0, 24, 24}}},
       "stream_sizes: want 1 … 24, got 0"},
      {{{"model_type", "sliced_llama"}, {"stream_sizes", {24, 24, 1.5, 24, 24}}},
       "stream_sizes: want integers"},
      {{{"model_type", "sliced_llama"}, {"stream_sizes", sizes}, {"shortcut", "folded"}},
       "shortcut 'folded' is not supported"},
      {{{"model_type", "sliced_llama"}, {"stream_sizes", sizes}, {"shortcut", 3}},
       "'shortcut': want a string"},
      {{{"model_type", "sliced_llama"}, {"stream_sizes", sizes}, {"shortcut", "lowrank"}},
       "shortcut_rank: want 1 … 24, got 0"},
      {{{"model_type", "sliced_llama"},
        {"stream_sizes", sizes},
        {"shortcut", "lowrank"},
        {"shortcut_rank", 25}},
       "shortcut_rank: want 1 … 24, got 25"},
      {{{"model_type", "sliced_llama"},
        {"stream_sizes", sizes},
        {"shortcut", "lowrank"},
        {"shortcut_rank", -1}},
       "shortcut_rank: want 1 … 24, got -1"},
      {{{"model_type", "sliced_llama"},
        {"stream_sizes", {16, 17, 16, 16, 24}},
        {"shortcut", "none"}},
       "none shortcuts want one size at all sites, got 16 and 17"},
      {{{"model_type", "sliced_llama"},
        {"stream_sizes", {16, 16, 16, 16, 15}},
        {"shortcut", "lowrank"},
        {"shortcut_rank", 2}},
       "lowrank shortcuts want one size at all sites, got 16 and 15"},
      {{{"model_type", "sliced_llama"},
        {"stream_sizes", {17, 16, 16, 16, 24}},
        {"shortcut", "diagonal"}},
       "diagonal shortcuts want one size at all sites, got 17 and 16"},
      {{{"model_type", "sliced_llama"}, {"ffn_sizes", {40}}}, "ffn_sizes: want 2 sizes, got 1"},
      {{{"model_type", "sliced_llama"}, {"ffn_sizes", {40, 41}}}, "ffn_sizes: want 1 … 40, got 41"},
      {{{"model_type", "sliced_llama"}, {"ffn_sizes", {0, 40}}}, "ffn_sizes: want 1 … 40, got 0"},
      {{{"model_type", "sliced_llama"}, {"ffn_sizes", {1.5, 40}}}, "ffn_sizes: want integers"},
      {{{"model_type", "sliced_llama"}, {"ffn_sizes", 40}}, "'ffn_sizes': want an array"},
      {{{"model_type", "sliced_llama"}, {"stream_sizes", sizes}, {"ffn_sizes", {1, 2, 3}}},
       "ffn_sizes: want 2 sizes, got 3"},
  };
  for (const Row& row : rows) {
    INFO(row.changes.dump());
    CHECK_THROWS_NAMING(parse_with(row.changes), FormatError, row.message);
    CHECK_THROWS_NAMING(parse_with(row.changes), FormatError, "config.json");
  }
  CHECK_NOTHROW(parse_with({{"sliding_window", 4096}, {"use_sliding_window", false}}));
}

TEST_CASE("a configuration that is not a JSON object is refused by name") {
  const std::string deep(100000, '[');
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("\xff"), deep}) {
    CHECK_THROWS_NAMING(parse_config(text, "some/config.json"), FormatError, "some/config.json");
  }
}

}  // namespace
}  // namespace slice
