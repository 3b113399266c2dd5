#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <cmath>
#include <cstring>

#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/model.h"
#include "libslice/model/families/family.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/heard_warnings.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tensor_file.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using namespace tests;
using W = GgufWriter;

// ---- Hugging Face directories

struct Tied {
  ModelConfig config = tiny_config();
  NamedTensors tensors;
  Tied() {
    config.tied_head = true;
    tensors = tensors_of(*random_decoder(config, 1, at::kFloat));
  }
  Tensor& embedding() { return tensors.at("model.embed_tokens.weight"); }
  fs::path write(const TemporaryDirectory& directory) const {
    write_directory(directory.path() / "m", config, tensors);
    return directory.path() / "m";
  }
};

TEST_CASE("a head of its own is used, whatever the configuration says of a tie") {
  for (const ModelConfig& family : tiny_families()) {
    if (family.head_bias) continue;  // a Phi is never tied
    CAPTURE(tests::describe(family));
    const std::string head = models::family(family.family).names.head;
    ModelConfig untied = family, tied = family;
    untied.tied_head = false, tied.tied_head = true;
    const auto decoder = random_decoder(untied, 1, at::kFloat);
    const TemporaryDirectory directory;
    const HeardWarnings heard;
    write_directory(directory.path() / "m", tied, tensors_of(*decoder));
    const Model model = load_model(directory.path() / "m");
    CHECK_FALSE(model.config().tied_head);
    CHECK_FALSE(read_config(directory.path() / "m").tied_head);
    const Tensor tokens = random_tokens(family, 1, 9);
    CHECK(bit_difference(model.decoder().forward(tokens), decoder->forward(tokens)) == "");
    CHECK(heard.text().find(head + ".weight is not") != std::string::npos);
    save_model(model, directory.path() / "saved");
    CHECK_FALSE(load_model(directory.path() / "saved").config().tied_head);
  }
}

TEST_CASE("a head that is the embedding once more stays tied, in a wider dtype too") {
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const TemporaryDirectory directory;
    Tied model;
    model.tensors["lm_head.weight"] = model.embedding().clone();
    model.embedding() = model.embedding().to(dtype);
    const HeardWarnings heard;
    const auto checkpoint = open_checkpoint(model.write(directory));
    CHECK(checkpoint->config().tied_head);
    CHECK_FALSE(checkpoint->tensors().contains("lm_head.weight"));
    CHECK(heard.text() == "");
  }
}

TEST_CASE("one changed number makes a head its own") {
  const TemporaryDirectory directory;
  Tied model;
  model.tensors["lm_head.weight"] = model.embedding().clone();
  Tensor last = model.tensors["lm_head.weight"].view(-1)[-1];
  last.fill_(std::nextafter(last.item<float>(), 10.0f));
  CHECK_FALSE(open_checkpoint(model.write(directory))->config().tied_head);
}

TEST_CASE("of a tied pair the head alone may have been saved") {
  const TemporaryDirectory directory;
  Tied model;
  const Tensor embedding = model.embedding().clone();
  model.tensors["lm_head.weight"] = embedding;
  model.tensors.erase("model.embed_tokens.weight");
  const Model loaded = load_model(model.write(directory));
  CHECK(loaded.config().tied_head);
  CHECK(bit_difference(loaded.decoder().named_parameters()["model.embed_tokens.weight"].detach(),
                       embedding) == "");
}

TEST_CASE("an untied model without a head is refused, as it has none") {
  const TemporaryDirectory directory;
  Tied model;
  model.config.tied_head = false;
  CHECK_THROWS_NAMING(load_model(model.write(directory)), FormatError, "lm_head.weight is missing");
}

// ---- GGUF

std::string half(float value) {
  const at::Half narrow(value);
  return W::packed(narrow.x);
}

/// Blocks of 32 as ggml's reference quantiser makes them: d = largest / 127.
std::string quantised_q8_0(const Tensor& values) {
  std::string bytes;
  const float* x = values.const_data_ptr<float>();
  for (int64_t block = 0; block < values.numel() / 32; ++block, x += 32) {
    float largest = 0;
    for (int i = 0; i < 32; ++i) largest = std::max(largest, std::abs(x[i]));
    const float d = largest / 127;
    bytes += half(d);
    for (int i = 0; i < 32; ++i)
      bytes += static_cast<char>(static_cast<int8_t>(d > 0 ? std::lround(x[i] / d) : 0));
  }
  return bytes;
}

/// The same of Q4_0: the value of largest magnitude becomes −8, that of the other sign may be
/// clipped to 7.
std::string quantised_q4_0(const Tensor& values) {
  std::string bytes;
  const float* x = values.const_data_ptr<float>();
  for (int64_t block = 0; block < values.numel() / 32; ++block, x += 32) {
    float extreme = 0;
    for (int i = 0; i < 32; ++i)
      if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
    const float d = extreme / -8, inverse = d == 0 ? 0 : 1 / d;
    bytes += half(d);
    const auto code = [&](int i) { return std::min(15, static_cast<int>(x[i] * inverse + 8.5f)); };
    for (int i = 0; i < 16; ++i) bytes += static_cast<char>(code(i) | code(i + 16) << 4);
  }
  return bytes;
}

struct Matrix {
  uint32_t type;
  std::string bytes;
};

Matrix plain(const Tensor& values, uint32_t type = W::kTypeF32) {
  const Tensor stored = type == W::kTypeF16 ? values.to(at::kHalf) : values;
  return {type, {static_cast<const char*>(stored.const_data_ptr()), stored.nbytes()}};
}
Matrix q8_0(const Tensor& values) { return {W::kTypeQ8_0, quantised_q8_0(values)}; }
Matrix q4_0(const Tensor& values) { return {W::kTypeQ4_0, quantised_q4_0(values)}; }

constexpr int64_t kWords = 40, kWidth = 96;

/// A one-layer LLaMA with this embedding and head.
fs::path write_gguf(const TemporaryDirectory& directory, const Matrix& embedding,
                    const Matrix& head) {
  W file;
  file.text("general.architecture", "llama");
  file.number("llama.block_count", 1);
  file.number("llama.embedding_length", kWidth);
  file.number("llama.feed_forward_length", 32);
  file.number("llama.attention.head_count", 4);
  file.number("llama.context_length", 64);
  file.real("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  file.tensor("token_embd.weight", {kWords, kWidth}, embedding.type, embedding.bytes);
  file.tensor("output.weight", {kWords, kWidth}, head.type, head.bytes);
  return directory.write("x.gguf", file.bytes());
}

TEST_CASE("a GGUF that holds its tied head twice, in two precisions, is tied to the finer one") {
  const Tensor x = gaussian({kWords, kWidth}, 1, at::kFloat);
  x[3].fill_(0);  // a padding row
  x[4].mul_(1e-6);
  x[5][7].fill_(50);  // one value that takes all of its neighbours' precision
  struct Row {
    Matrix embedding, head;
    bool warns;
  };
  const std::vector<Row> rows = {{q4_0(x), q8_0(x), true},
                                 {q8_0(x), q4_0(x), true},
                                 {q8_0(x), plain(x), true},
                                 {plain(x, W::kTypeF16), q8_0(x), true},
                                 {q8_0(x), q8_0(x), false},
                                 {plain(x), plain(x), false},
                                 {plain(x, W::kTypeF16), plain(x), true}};
  for (const Row& row : rows) {
    CAPTURE(row.embedding.type, row.head.type);
    const TemporaryDirectory directory;
    const HeardWarnings heard;
    const auto checkpoint = open_checkpoint(write_gguf(directory, row.embedding, row.head));
    CHECK(checkpoint->config().tied_head);
    CHECK_FALSE(checkpoint->tensors().contains("lm_head.weight"));
    CHECK((heard.text().find("in two precisions") != std::string::npos) == row.warns);
    const bool head_is_finer = row.head.bytes.size() > row.embedding.bytes.size();
    const Matrix& finer = head_is_finer ? row.head : row.embedding;
    const TemporaryDirectory beside;
    const auto again = open_checkpoint(write_gguf(beside, finer, finer));
    CHECK(bit_difference(checkpoint->read("model.embed_tokens.weight"),
                         again->read("model.embed_tokens.weight")) == "");
  }
}

TEST_CASE("a GGUF whose head differs in one row is not tied") {
  const Tensor x = gaussian({kWords, kWidth}, 1, at::kFloat);
  Tensor y = x.clone();
  y[kWords - 1] = gaussian({kWidth}, 2, at::kFloat);
  using Pair = std::pair<Matrix, Matrix>;
  for (const auto& [embedding, head] :
       {Pair{q4_0(x), q8_0(y)}, Pair{q8_0(x), q4_0(y)}, Pair{q4_0(x), q4_0(y)},
        Pair{plain(x), plain(y)}, Pair{plain(x, W::kTypeF16), q8_0(y)}}) {
    const TemporaryDirectory directory;
    const HeardWarnings heard;
    const auto checkpoint = open_checkpoint(write_gguf(directory, embedding, head));
    CHECK_FALSE(checkpoint->config().tied_head);
    CHECK(checkpoint->tensors().contains("lm_head.weight"));
    CHECK(heard.text() == "");
  }
}

}  // namespace
}  // namespace slice
