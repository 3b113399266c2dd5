#include "libslice/checkpoint/llama2c.h"

#include <ATen/ATen.h>

#include <array>
#include <catch2/catch_all.hpp>
#include <functional>
#include <limits>

#include "libslice/base/error.h"
#include "tests/support/matchers.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// D 12, F 10, 2 layers, 3 heads of 4, 1 key head, 7 words, 5 positions, tied.
struct Header {
  int32_t dim = 12, hidden = 10, layers = 2, heads = 3, kv_heads = 1, vocabulary = 7, context = 5;
};

/// A file of this header in which every float is its own index, with `extra` floats more or less
/// than needed.
std::string file_bytes(const Header& h, int64_t extra = 0) {
  const int64_t kv = h.dim / h.heads * h.kv_heads, V = std::abs(h.vocabulary);
  const int64_t layer = 2 * h.dim + 2 * h.dim * h.dim + 2 * kv * h.dim + 3 * h.hidden * h.dim;
  int64_t floats = V * h.dim + h.layers * layer + h.dim + h.context * (h.dim / h.heads);
  if (h.vocabulary < 0) floats += V * h.dim;
  std::string bytes(reinterpret_cast<const char*>(&h), sizeof h);
  for (int64_t i = 0; i < floats + extra; ++i) {
    const auto value = static_cast<float>(i);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return bytes;
}

Tensor counted(int64_t from, at::IntArrayRef shape) {
  return at::arange(from, from + c10::multiply_integers(shape), at::kFloat).reshape(shape);
}

TEST_CASE("a llama2.c file's tensors are where export.py puts them, under Hugging Face names") {
  for (const int32_t vocabulary : {7, -7}) {
    const TemporaryDirectory directory;
    const Llama2cFile file(directory.write("x.bin", file_bytes({.vocabulary = vocabulary})));
    const ModelConfig& c = file.config();
    CHECK(c.family == "llama");
    CHECK(c.hidden_size == 12);
    CHECK(c.ffn_size == 10);
    CHECK(c.layers == 2);
    CHECK(c.heads == 3);
    CHECK(c.kv_heads == 1);
    CHECK(c.head_size == 4);
    CHECK(c.vocabulary_size == 7);
    CHECK(c.context_length == 5);
    CHECK(c.tied_head == (vocabulary > 0));
    CHECK(c.norm_eps == 1e-5);

    int64_t at = 0;
    const auto expect = [&](const std::string& name, std::vector<int64_t> shape,
                            bool rotated = false) {
      CAPTURE(name);
      REQUIRE(file.tensors().contains(name));
      CHECK(file.tensors().at(name) == shape);
      Tensor want = counted(at, shape);
      if (rotated) {  // rows 0 1 2 3 of a head come in the order 0 2 1 3
        std::vector<int64_t> order;
        for (int64_t head = 0; head < shape[0]; head += 4) {
          for (const int64_t row : {0, 2, 1, 3}) order.push_back(head + row);
        }
        want = want.index_select(0, at::tensor(order));
      }
      CHECK(bit_difference(file.read(name), want) == "");
      at += c10::multiply_integers(shape);
    };
    const auto layers = [&](const std::string& name, const std::vector<int64_t>& shape,
                            bool rotated = false) {
      for (int layer = 0; layer < 2; ++layer) {
        expect("model.layers." + std::to_string(layer) + "." + name + ".weight", shape, rotated);
      }
    };
    expect("model.embed_tokens.weight", {7, 12});
    layers("input_layernorm", {12});
    layers("self_attn.q_proj", {12, 12}, true);
    layers("self_attn.k_proj", {4, 12}, true);
    layers("self_attn.v_proj", {4, 12});
    layers("self_attn.o_proj", {12, 12});
    layers("post_attention_layernorm", {12});
    layers("mlp.gate_proj", {10, 12});
    layers("mlp.down_proj", {12, 10});
    layers("mlp.up_proj", {10, 12});
    expect("model.norm.weight", {12});
    at += 5 * 4;  // the rotary tables
    if (vocabulary < 0) expect("lm_head.weight", {7, 12});
    CHECK(file.tensors().size() == (vocabulary < 0 ? 21u : 20u));
    CHECK_THROWS_NAMING(file.read("lm_head.bias"), FormatError, "no tensor is called lm_head.bias");
  }
}

TEST_CASE("malformed llama2.c files are refused by name") {
  struct Row {
    std::string message;
    std::function<void(Header&)> make;
  };
  const std::vector<Row> rows = {
      {"hidden_size: want 1", [](Header& h) { h.dim = 0; }},
      {"hidden_size: want 1", [](Header& h) { h.dim = -12; }},
      {"hidden_size 13 is not a multiple of 3 heads", [](Header& h) { h.dim = 13; }},
      {"hidden_size: want 1", [](Header& h) { h.dim = 3 << 28; }},
      {"hidden_size 12 is not a multiple of 0 heads", [](Header& h) { h.heads = 0; }},
      {"intermediate_size: want 1", [](Header& h) { h.hidden = -1; }},
      {"num_hidden_layers: want 1", [](Header& h) { h.layers = 100000; }},
      {"num_hidden_layers: want 1",
       [](Header& h) { h.layers = std::numeric_limits<int32_t>::min(); }},
      {"num_key_value_heads 2 does not divide", [](Header& h) { h.kv_heads = 2; }},
      {"num_key_value_heads: want 1", [](Header& h) { h.kv_heads = 0; }},
      {"head_dim 1 is odd", [](Header& h) { h.heads = 12; }},
      {"vocab_size: want 1", [](Header& h) { h.vocabulary = 0; }},
      {"vocab_size: want 1", [](Header& h) { h.vocabulary = std::numeric_limits<int32_t>::min(); }},
      {"max_position_embeddings: want 1", [](Header& h) { h.context = -1; }},
      {"its header says",
       [](Header& h) {
         h.dim = 3 << 22, h.hidden = 1 << 24, h.layers = 1000, h.vocabulary = 1 << 24;
       }},
      {"its header says", [](Header& h) { h.vocabulary = -7; }},
      {"versioned llama2.c file", [](Header& h) { h.dim = 0x616b3432; }},
  };
  const TemporaryDirectory directory;
  const std::string good = file_bytes({});
  for (const Row& row : rows) {
    INFO(row.message);
    Header header;
    row.make(header);
    const std::string bytes = std::string(reinterpret_cast<const char*>(&header), sizeof header) +
                              good.substr(sizeof header);
    const auto path = directory.write("bad.bin", bytes);
    CHECK_THROWS_NAMING(Llama2cFile(path), FormatError, row.message);
    CHECK_THROWS_NAMING(Llama2cFile(path), FormatError, "bad.bin");
  }
  CHECK_THROWS_NAMING(Llama2cFile(directory.write("x", "")), FormatError, "too short");
  CHECK_THROWS_NAMING(Llama2cFile(directory.write("x", good.substr(0, 27))), FormatError,
                      "too short");
  CHECK_THROWS_NAMING(Llama2cFile(directory.write("x", file_bytes({}, -1))), FormatError,
                      "its header says");
  CHECK_THROWS_NAMING(Llama2cFile(directory.write("x", file_bytes({}, 1))), FormatError,
                      "its header says");
  CHECK_THROWS_NAMING(Llama2cFile(directory.path() / "none.bin"), FormatError, "none.bin");
}

TEST_CASE("published llama2.c models are read") {
  const auto path = shared_data("models/stories260K/stories260K.bin");
  if (!path) SKIP("no shared data");
  const Llama2cFile file(*path);
  CHECK(file.config().tied_head);
  CHECK(file.config().kv_heads == 4);
  int64_t parameters = 0;
  for (const auto& [name, shape] : file.tensors()) {
    CHECK(at::isfinite(file.read(name)).all().item<bool>());
    parameters += c10::multiply_integers(shape);
  }
  CHECK(parameters == 260032);
}

}  // namespace
}  // namespace slice
