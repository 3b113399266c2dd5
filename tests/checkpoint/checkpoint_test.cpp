#include "libslice/checkpoint/checkpoint.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "libslice/base/error.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/heard_warnings.h"
#include "tests/support/matchers.h"
#include "tests/support/places.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tensor_file.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using nlohmann::json;
using namespace tests;
using W = GgufWriter;

std::string bytes_of(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), static_cast<size_t>(tensor.nbytes())};
}

// ---- Hugging Face directories

json tiny_json() {
  return {{"model_type", "llama"},    {"hidden_size", 4},       {"num_hidden_layers", 1},
          {"num_attention_heads", 2}, {"intermediate_size", 6}, {"vocab_size", 5}};
}

TEST_CASE("a directory of one file, and of shards, is one set of tensors") {
  const fs::path data = tests::data_directory();
  const auto whole = open_checkpoint(data / "tiny_llama_gqa");
  CHECK(whole->config().kv_heads == 2);
  CHECK(stored_dtype(*whole) == at::kFloat);
  CHECK(whole->path() == data / "tiny_llama_gqa");
  const auto sharded = open_checkpoint(data / "tiny_llama_sharded_bf16");
  CHECK(stored_dtype(*sharded) == at::kBFloat16);
  for (const auto& checkpoint : {whole.get(), sharded.get()}) {
    CHECK(checkpoint->tensors().contains("model.layers.1.mlp.down_proj.weight"));
    for (const auto& [name, entry] : checkpoint->tensors()) {
      const Tensor tensor = checkpoint->read(name);
      CHECK(tensor.sizes() == at::IntArrayRef(entry.shape));
      CHECK(tensor.scalar_type() == entry.dtype);
      CHECK_FALSE(entry.quantised);
    }
    CHECK_THROWS_NAMING(checkpoint->read("nothing.weight"), FormatError, "nothing.weight");
  }
}

TEST_CASE("shards that are links, as in the Hugging Face cache, are followed") {
  const TemporaryDirectory directory;
  write_tensors(directory.path() / "blob", {{"a", at::ones({2, 2})}});
  fs::create_directory(directory.path() / "snapshot");
  fs::create_symlink("../blob", directory.path() / "snapshot" / "model.safetensors");
  directory.write("snapshot/config.json", tiny_json().dump());
  CHECK(bit_difference(open_checkpoint(directory.path() / "snapshot")->read("a"),
                       at::ones({2, 2})) == "");
}

TEST_CASE("the stored dtype is that of the matrices, the embedding's where they differ") {
  const auto dtype_of = [](const std::map<std::string, Tensor>& tensors) {
    const TemporaryDirectory directory;
    write_tensors(directory.path() / "model.safetensors", tensors);
    directory.write("config.json", tiny_json().dump());
    return stored_dtype(*open_checkpoint(directory.path()));
  };
  const Tensor matrix = at::ones({5, 4}), norm = at::ones({4});
  CHECK(dtype_of({{"a.weight", matrix.to(at::kHalf)}, {"norm", norm}}) == at::kHalf);
  CHECK(dtype_of({{"lm_head.weight", matrix},
                  {"model.embed_tokens.weight", matrix.to(at::kBFloat16)},
                  {"z.weight", matrix}}) == at::kBFloat16);
  CHECK(dtype_of({{"a.mask", matrix.to(at::kBool)}, {"b.weight", matrix.to(at::kDouble)}}) ==
        at::kFloat);
  CHECK_FALSE(dtype_of({{"norm", norm}}));
}

TEST_CASE("a directory that is not a model is refused, naming the file at fault") {
  struct Row {
    std::string message;
    std::function<void(const TemporaryDirectory&, json& index)> make;
  };
  const std::string shard = "model-00001-of-00001.safetensors";
  const std::vector<Row> rows = {
      {"config.json: No such file", [](auto& d, json&) { fs::remove(d.path() / "config.json"); }},
      {"config.json: not JSON", [](auto& d, json&) { d.write("config.json", "{"); }},
      {"config.json: not a regular file",
       [](auto& d, json&) {
         fs::remove(d.path() / "config.json"), fs::create_directory(d.path() / "config.json");
       }},
      {"index.json: weight_map is missing", [](auto&, json& i) { i.erase("weight_map"); }},
      {"index.json: weight_map is missing", [](auto&, json& i) { i = json::array(); }},
      {"index.json: weight_map is missing", [](auto&, json& i) { i["weight_map"] = "a"; }},
      {"index.json: weight_map is empty", [](auto&, json& i) { i["weight_map"] = json::object(); }},
      {"index.json: a: want a file name", [](auto&, json& i) { i["weight_map"]["a"] = 1; }},
      {"index.json: a: shard '' is not a plain", [](auto&, json& i) { i["weight_map"]["a"] = ""; }},
      {"index.json: a: shard '..' is not a plain",
       [](auto&, json& i) { i["weight_map"]["a"] = ".."; }},
      {"shard '../model.safetensors' is not a plain",
       [](auto&, json& i) { i["weight_map"]["a"] = "../model.safetensors"; }},
      {"shard '/etc/passwd' is not a plain",
       [](auto&, json& i) { i["weight_map"]["a"] = "/etc/passwd"; }},
      {"shard 'x/y' is not a plain", [](auto&, json& i) { i["weight_map"]["a"] = "x/y"; }},
      {"missing.safetensors: No such file",
       [](auto&, json& i) { i["weight_map"]["a"] = "missing.safetensors"; }},
      {"index.json: model.norm.weight is not in " + shard,
       [&](auto&, json& i) { i["weight_map"]["model.norm.weight"] = shard; }},
      {shard + ": 5 bytes, too short", [&](auto& d, json&) { d.write(shard, "short"); }},
  };
  for (const Row& row : rows) {
    INFO(row.message);
    const TemporaryDirectory directory;
    write_tensors(directory.path() / shard, {{"a", at::ones({2})}});
    directory.write("config.json", tiny_json().dump());
    json index = {{"weight_map", {{"a", shard}}}};
    row.make(directory, index);
    directory.write("model.safetensors.index.json", index.dump());
    CHECK_THROWS_NAMING(open_checkpoint(directory.path()), FormatError, row.message);
  }
}

TEST_CASE("a path that is no model is refused by name") {
  const TemporaryDirectory directory;
  CHECK_THROWS_NAMING(open_checkpoint(directory.path() / "none"), FormatError, "none: ");
  CHECK_THROWS_NAMING(open_checkpoint(directory.write("notes.txt", "text")), FormatError,
                      "notes.txt: want a");
  CHECK_THROWS_NAMING(
      open_checkpoint(directory.write("model.bin", "PK\3\4 and a pickle, 28 bytes at least")),
      FormatError, "model.bin");
  CHECK_THROWS_NAMING(open_checkpoint("/dev/null"), FormatError, "/dev/null");
  directory.write("config.json", tiny_json().dump());
  CHECK_THROWS_NAMING(open_checkpoint(directory.path()), FormatError,
                      "model.safetensors: No such file");
}

// ---- GGUF

/// A one-layer LLaMA as llama.cpp would write it: 4 heads of 8, 2 key heads.
struct TinyGguf {
  int64_t D = 32, heads = 4, kv = 2, d = 8, V = 11, F = 10;
  std::map<std::string, Tensor> tensors;
  W metadata;

  explicit TinyGguf(bool tied = false, bool with_metadata = true, float rope_base = 500) {
    const auto add = [&](const std::string& name, at::IntArrayRef shape) {
      tensors[name] = at::randn(shape);
    };
    add("token_embd.weight", {V, D}), add("output_norm.weight", {D});
    if (!tied) add("output.weight", {V, D});
    add("blk.0.attn_norm.weight", {D}), add("blk.0.ffn_norm.weight", {D});
    add("blk.0.attn_q.weight", {heads * d, D}), add("blk.0.attn_q.bias", {heads * d});
    add("blk.0.attn_k.weight", {kv * d, D}), add("blk.0.attn_k.bias", {kv * d});
    add("blk.0.attn_v.weight", {kv * d, D}), add("blk.0.attn_output.weight", {D, heads * d});
    add("blk.0.ffn_gate.weight", {F, D}), add("blk.0.ffn_up.weight", {F, D}),
        add("blk.0.ffn_down.weight", {D, F});
    if (!with_metadata) return;
    metadata.text("general.architecture", "llama");
    metadata.number("llama.block_count", 1);
    metadata.number("llama.embedding_length", 32);
    metadata.number("llama.feed_forward_length", 10);
    metadata.number("llama.attention.head_count", 4);
    metadata.number("llama.attention.head_count_kv", 2);
    metadata.number("llama.context_length", 77);
    metadata.real("llama.attention.layer_norm_rms_epsilon", 0.03125f);
    metadata.real("llama.rope.freq_base", rope_base);
    metadata.number("llama.rope.dimension_count", 8);
    metadata.number("tokenizer.ggml.bos_token_id", 1);
    metadata.number("tokenizer.ggml.eos_token_id", 2);
  }
  fs::path write(const TemporaryDirectory& directory) const {
    W file = metadata;
    for (const auto& [name, tensor] : tensors)
      file.tensor(name, tensor.sizes().vec(), W::kTypeF32, bytes_of(tensor));
    return directory.write("x.gguf", file.bytes());
  }
};

TEST_CASE("a GGUF's sizes come from its metadata and its tensors have Hugging Face names") {
  for (const bool tied : {false, true}) {
    const TemporaryDirectory directory;
    TinyGguf gguf(tied);
    gguf.metadata.number("tokenizer.ggml.eot_token_id", 5);
    gguf.metadata.number("tokenizer.ggml.eom_token_id", 7);
    const auto checkpoint = open_checkpoint(gguf.write(directory));
    const ModelConfig& c = checkpoint->config();
    CHECK(c.family == "llama");
    CHECK(c.hidden_size == 32);
    CHECK(c.layers == 1);
    CHECK(c.heads == 4);
    CHECK(c.kv_heads == 2);
    CHECK(c.head_size == 8);
    CHECK(c.ffn_size == 10);
    CHECK(c.vocabulary_size == 11);
    CHECK(c.context_length == 77);
    CHECK(c.norm_eps == 0.03125);
    CHECK(c.rope_theta == 500.0);
    CHECK(c.tied_head == tied);
    CHECK(c.qkv_bias);
    CHECK(c.output_bias);
    CHECK_FALSE(c.mlp_bias);
    CHECK(c.bos_token == 1);
    CHECK(c.eos_tokens == std::vector<int64_t>{2, 5, 7});
    CHECK(checkpoint->tensors().contains("lm_head.weight") == !tied);
    const std::map<std::string, std::string> as_they_are = {
        {"model.embed_tokens.weight", "token_embd.weight"},
        {"model.norm.weight", "output_norm.weight"},
        {"model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"},
        {"model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight"},
        {"model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight"},
        {"model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight"},
        {"model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight"},
        {"model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight"},
        {"model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"}};
    for (const auto& [name, stored] : as_they_are) {
      CAPTURE(name);
      CHECK(checkpoint->tensors().at(name).shape == gguf.tensors.at(stored).sizes().vec());
      CHECK(bit_difference(checkpoint->read(name), gguf.tensors.at(stored)) == "");
    }
    CHECK(checkpoint->tensors().size() == gguf.tensors.size());
    CHECK_THROWS_NAMING(checkpoint->read("blk.0.attn_v.weight"), FormatError,
                        "blk.0.attn_v.weight");
    CHECK(stored_dtype(*checkpoint) == at::kFloat);
  }
}

/// Turns one head's vector by `position`: pairs (first + i·step, first + i·step + distance).
std::vector<double> rotated(std::vector<double> x, int64_t position, bool interleaved) {
  const size_t half = x.size() / 2;
  for (size_t i = 0; i < half; ++i) {
    const size_t u = interleaved ? 2 * i : i, v = interleaved ? 2 * i + 1 : i + half;
    const double angle = static_cast<double>(position) *
                         std::pow(500.0, -static_cast<double>(i) / static_cast<double>(half));
    const double a = x[u], b = x[v];
    x[u] = a * std::cos(angle) - b * std::sin(angle);
    x[v] = a * std::sin(angle) + b * std::cos(angle);
  }
  return x;
}

/// Attention scores of two positions, head by head.
std::vector<double> scores(const Tensor& q_rows, const Tensor& q_bias, const Tensor& k_rows,
                           const Tensor& k_bias, const Tensor& x, bool interleaved) {
  const auto project = [&](const Tensor& rows, const Tensor& bias, int64_t position) {
    return rows.to(at::kDouble).mv(x.select(0, position)) + bias.to(at::kDouble);
  };
  const auto head = [](const Tensor& all, int64_t index) {
    const double* from = all.const_data_ptr<double>() + 8 * index;
    return std::vector<double>(from, from + 8);
  };
  std::vector<double> result;
  for (int64_t query = 0; query < 3; ++query) {
    for (int64_t key = 0; key < 3; ++key) {
      const Tensor q = project(q_rows, q_bias, query), k = project(k_rows, k_bias, key);
      for (int64_t h = 0; h < 4; ++h) {
        const auto a = rotated(head(q, h), query, interleaved),
                   b = rotated(head(k, h / 2), key, interleaved);
        double sum = 0;
        for (size_t i = 0; i < 8; ++i) sum += a[i] * b[i];
        result.push_back(sum);
      }
    }
  }
  return result;
}

TEST_CASE(
    "q and k of a GGUF, interleaved there, give the same attention scores in the split-half form") {
  const TemporaryDirectory directory;
  const TinyGguf gguf;
  const auto checkpoint = open_checkpoint(gguf.write(directory));
  const std::string prefix = "model.layers.0.self_attn.";
  const Tensor q = checkpoint->read(prefix + "q_proj.weight"),
               q_bias = checkpoint->read(prefix + "q_proj.bias");
  const Tensor k = checkpoint->read(prefix + "k_proj.weight"),
               k_bias = checkpoint->read(prefix + "k_proj.bias");
  CHECK(q.sizes() == at::IntArrayRef({32, 32}));
  CHECK(k_bias.sizes() == at::IntArrayRef({16}));
  const Tensor x = at::randn({3, 32}, at::kDouble);
  const auto& t = gguf.tensors;
  const auto want = scores(t.at("blk.0.attn_q.weight"), t.at("blk.0.attn_q.bias"),
                           t.at("blk.0.attn_k.weight"), t.at("blk.0.attn_k.bias"), x, true);
  const auto got = scores(q, q_bias, k, k_bias, x, false);
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < want.size(); ++i)
    CHECK(std::abs(got[i] - want[i]) < 1e-9);  // of sums of order 100
  CHECK(bit_difference(q[4], t.at("blk.0.attn_q.weight")[1]) ==
        "");  // the second half of head 0 begins with row 1
}

TEST_CASE("a GGUF without a word on head counts and rotary sizes takes the usual ones") {
  const TemporaryDirectory directory;
  TinyGguf gguf(true, false);
  W& m = gguf.metadata;
  m.text("general.architecture", "llama");
  m.number("llama.block_count", 1);
  m.number("llama.embedding_length", 32);
  m.number("llama.feed_forward_length", 10);
  m.number("llama.attention.head_count", 4);
  m.number("llama.attention.key_length", 8);
  m.number("llama.context_length", 77);
  m.real("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  gguf.tensors["blk.0.attn_k.weight"] = at::randn({32, 32});
  gguf.tensors["blk.0.attn_k.bias"] = at::randn({32});
  gguf.tensors["rope_freqs.weight"] = at::ones({4});  // divides nothing
  const auto checkpoint = open_checkpoint(gguf.write(directory));
  CHECK(checkpoint->config().kv_heads == 4);
  CHECK(checkpoint->config().rope_theta == 10000.0);
  CHECK_FALSE(checkpoint->config().bos_token);
  CHECK_FALSE(checkpoint->tensors().contains("rope_freqs.weight"));
}

TEST_CASE("a GGUF may list a size for each layer, and give numbers in any width") {
  const auto with_heads = [](const std::vector<int32_t>& heads, const std::vector<int32_t>& kv) {
    const TemporaryDirectory directory;
    TinyGguf gguf(true, false);
    W& m = gguf.metadata;
    m.text("general.architecture", "llama");
    m.value("llama.block_count", W::kU64, uint64_t{1});
    m.value("llama.embedding_length", W::kU64, uint64_t{32});
    m.numbers("llama.feed_forward_length", {10});
    m.numbers("llama.attention.head_count", heads);
    m.numbers("llama.attention.head_count_kv", kv);
    m.value("llama.context_length", W::kU64, uint64_t{77});
    constexpr uint32_t kF64 = 12;
    m.value("llama.attention.layer_norm_rms_epsilon", kF64, 0.03125);
    m.value("llama.rope.freq_base", kF64, 500.0);
    return open_checkpoint(gguf.write(directory))->config();
  };
  const ModelConfig c = with_heads({4}, {2, 2, 2});
  CHECK(c.heads == 4);
  CHECK(c.kv_heads == 2);
  CHECK(c.ffn_size == 10);
  CHECK(c.hidden_size == 32);
  CHECK(c.norm_eps == 0.03125);
  CHECK(c.rope_theta == 500.0);
  CHECK_THROWS_NAMING(with_heads({4}, {2, 1}), FormatError,
                      "llama.attention.head_count_kv: 2 in one layer and 1 in another");
  CHECK_THROWS_NAMING(with_heads({}, {2}), FormatError,
                      "llama.attention.head_count: want a number");
}

TEST_CASE("a GGUF may list an FFN width for each layer") {
  const TemporaryDirectory directory;
  const auto open = [&](const std::vector<int32_t>& sizes) {
    TinyGguf gguf(true, false);
    W& m = gguf.metadata;
    m.text("general.architecture", "llama");
    m.number("llama.block_count", 1);
    m.number("llama.embedding_length", 32);
    m.numbers("llama.feed_forward_length", sizes);
    m.number("llama.attention.head_count", 4);
    m.number("llama.attention.head_count_kv", 2);
    m.number("llama.context_length", 77);
    m.real("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    return open_checkpoint(gguf.write(directory))->config();
  };
  CHECK(open({10}).ffn_size == 10);
  CHECK(open({10}).ffn_sizes.empty());
  CHECK_THROWS_NAMING(open({}), FormatError, "want 1 sizes, got 0");
  CHECK_THROWS_NAMING(open({10, 10}), FormatError, "want 1 sizes, got 2");
  CHECK_THROWS_NAMING(open({-1}), FormatError, "intermediate_size: want 1");
}

TEST_CASE("rotary scaling of a GGUF is found in its metadata and in its divisors") {
  const TemporaryDirectory directory;
  TinyGguf linear;
  linear.metadata.text("llama.rope.scaling.type", "linear");
  linear.metadata.real("llama.rope.scaling.factor", 4);
  const auto stretched = open_checkpoint(linear.write(directory));
  CHECK(stretched->config().rope_scaling == RopeScaling{RopeScaling::Kind::kLinear, 4});

  // Base 500, heads of 8: frequencies 1, 0.21, 0.045, 0.0095 turn 1304, 276, 58 and 12 times in
  // 8192 positions: all are high. A base of 1e8 gives 1, 0.01, 0.0001, 0.000001: the last two are
  // low.
  TinyGguf llama3(false, true, 1e8f);
  llama3.tensors["rope_freqs.weight"] = at::tensor({1.0f, 1.0f, 32.0f, 32.0f});
  const auto scaled = open_checkpoint(llama3.write(directory));
  CHECK(scaled->config().rope_scaling == RopeScaling{RopeScaling::Kind::kLlama3, 32, 1, 4, 8192});
}

TEST_CASE("a GGUF that cannot be run is refused, naming the key or the tensor") {
  struct Row {
    std::string message;
    std::function<void(TinyGguf&)> make;
  };
  const std::vector<Row> rows = {
      {"'gptj' is not supported: libslice reads apertus, ",
       [](TinyGguf& g) { g.metadata = W(), g.metadata.text("general.architecture", "gptj"); }},
      {"general.architecture is missing", [](TinyGguf& g) { g.metadata = W(); }},
      {"llama.embedding_length is missing",
       [](TinyGguf& g) { g.metadata = W(), g.metadata.text("general.architecture", "llama"); }},
      {"one of 3 files (split.count), number 1: want them side by side",
       [](TinyGguf& g) {
         g.metadata.value("split.count", 2, uint16_t{3}),
             g.metadata.value("split.no", 2, uint16_t{0});
       }},
      {"llama.rope.scaling.factor is missing",
       [](TinyGguf& g) { g.metadata.text("llama.rope.scaling.type", "linear"); }},
      {"rope scaling 'ntk' is not supported",
       [](TinyGguf& g) { g.metadata.text("llama.rope.scaling.type", "ntk"); }},
      {"llama.rope.scaling.factor is missing",
       [](TinyGguf& g) { g.metadata.text("llama.rope.scaling.type", "yarn"); }},
      {"no tensor is called rope_factors_long.weight",
       [](TinyGguf& g) { g.tensors["rope_factors_short.weight"] = at::ones({4}); }},
      {"rope scaling of several kinds together",
       [](TinyGguf& g) {
         g.tensors["rope_factors_short.weight"] = g.tensors["rope_freqs.weight"] = at::ones({4});
       }},
      {"rope_factors_long.weight: want 4 divisors, got (5) float32",
       [](TinyGguf& g) {
         g.tensors["rope_factors_short.weight"] = at::ones({4});
         g.tensors["rope_factors_long.weight"] = at::ones({5});
       }},
      {"rope scaling factor: want 1 … 1e6, got 0.5",
       [](TinyGguf& g) { g.metadata.real("llama.rope.scale_linear", 0.5f); }},
      {"rope_freqs.weight: want 4 divisors, got (5) float32",
       [](TinyGguf& g) { g.tensors["rope_freqs.weight"] = at::full({5}, 8.0f); }},
      {"rope_freqs.weight: divisor 0 is 8, not Llama 3's 1",
       [](TinyGguf& g) { g.tensors["rope_freqs.weight"] = at::full({4}, 8.0f); }},
      {"want no biases in a mixtral",
       [](TinyGguf& g) { g.metadata.number("llama.expert_count", 8); }},
      {"llama.attention.value_length: want the head size 8, got 16",
       [](TinyGguf& g) { g.metadata.number("llama.attention.value_length", 16); }},
      {"llama.rope.dimension_count: want the head size 16, got 8",
       [](TinyGguf& g) { g.metadata.number("llama.attention.key_length", 16); }},
      {"token_embd.weight is missing", [](TinyGguf& g) { g.tensors.erase("token_embd.weight"); }},
      {"blk.0.attn_q.weight: want 32 rows, got (30, 32)",
       [](TinyGguf& g) {
         g.tensors["blk.0.attn_q.weight"] = at::randn({30, 32});
       }},
      {"blk.0.attn_k.bias: want 16 rows, got (1)",
       [](TinyGguf& g) { g.tensors["blk.0.attn_k.bias"] = at::randn({1}); }},
      {"unexpected tensor blk.0.ssm_in.weight",
       [](TinyGguf& g) { g.tensors["blk.0.ssm_in.weight"] = at::randn({4}); }},
      {"unexpected tensor blk.x.attn_q.weight",
       [](TinyGguf& g) { g.tensors["blk.x.attn_q.weight"] = at::randn({4}); }},
      {"unexpected tensor blk.-1.attn_v.weight",
       [](TinyGguf& g) { g.tensors["blk.-1.attn_v.weight"] = at::randn({4}); }},
      {"unexpected tensor blk.99999999999999999999.attn_v.weight",
       [](TinyGguf& g) { g.tensors["blk.99999999999999999999.attn_v.weight"] = at::randn({4}); }},
      {"blk.00.attn_v.weight and blk.0.attn_v.weight are the same tensor",
       [](TinyGguf& g) {
         g.tensors["blk.00.attn_v.weight"] = at::randn({16, 32});
       }},
  };
  for (const Row& row : rows) {
    INFO(row.message);
    const TemporaryDirectory directory;
    TinyGguf gguf;
    row.make(gguf);
    const fs::path path = gguf.write(directory);
    CHECK_THROWS_NAMING(open_checkpoint(path), FormatError, row.message);
  }
}

TEST_CASE("a GGUF file's end tokens outside its vocabulary are left out") {
  const TemporaryDirectory directory;
  TinyGguf gguf;
  gguf.metadata.number("tokenizer.ggml.eot_token_id", 11);
  const auto checkpoint = open_checkpoint(gguf.write(directory));
  for (const int64_t id : checkpoint->config().eos_tokens) CHECK(id < 11);
}

TEST_CASE("a quantised file has no stored dtype, and says so tensor by tensor") {
  const TemporaryDirectory directory;
  const TinyGguf gguf(true);
  W file = gguf.metadata;
  for (const auto& [name, tensor] : gguf.tensors) {
    if (name == "blk.0.attn_q.weight") {
      file.tensor(name, {32, 32}, W::kTypeQ8_0, std::string(32 * 34, '\1'));
    } else {
      file.tensor(name, tensor.sizes().vec(), W::kTypeF32, bytes_of(tensor));
    }
  }
  const auto checkpoint = open_checkpoint(directory.write("x.gguf", file.bytes()));
  CHECK_FALSE(stored_dtype(*checkpoint));
  CHECK(checkpoint->tensors().at("model.layers.0.self_attn.q_proj.weight").quantised);
  CHECK_FALSE(checkpoint->tensors().at("model.norm.weight").quantised);
}

TEST_CASE("the demo model is read whole") {
  const auto path = demo_model();
  if (!path) SKIP("the demo model was not set up");
  const auto checkpoint = open_checkpoint(*path);
  CHECK(checkpoint->config().hidden_size == 576);
  CHECK(checkpoint->config().layers == 30);
  CHECK(checkpoint->config().tied_head);
  int64_t parameters = 0;
  for (const auto& [name, entry] : checkpoint->tensors()) {
    const Tensor tensor = checkpoint->read(name);
    if (tensor.sizes() != at::IntArrayRef(entry.shape)) FAIL(name);
    parameters += tensor.numel();
  }
  CHECK(parameters == 134515008);
}

TEST_CASE("a llama2.c file is a checkpoint like any other") {
  const TemporaryDirectory directory;
  const int32_t header[7] = {4, 6, 1, 2, 1, 5, 3};
  const size_t floats = 20 + 8 + 16 + 8 + 8 + 16 + 3 * 24 + 4 + 6;
  std::string bytes(reinterpret_cast<const char*>(header), sizeof header);
  bytes.resize(bytes.size() + 4 * floats);
  const auto checkpoint = open_checkpoint(directory.write("x.bin", bytes));
  CHECK(checkpoint->config().tied_head);
  CHECK(stored_dtype(*checkpoint) == at::kFloat);
  CHECK(bit_difference(checkpoint->read("model.embed_tokens.weight"), at::zeros({5, 4})) == "");
}

}  // namespace
}  // namespace slice
