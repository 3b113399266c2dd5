// What holds for every family: fusing and rotating change nothing, slicing is what the mathematics
// says, and files come back as they went.

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <iterator>

#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/generator.h"
#include "libslice/device/device.h"
#include "libslice/format/safetensors.h"
#include "libslice/method/fuse.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/error_bounds.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/matchers.h"
#include "tests/support/places.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

constexpr HeadMode kHeadModes[] = {HeadMode::kKeep, HeadMode::kSlice};

/// Of all families that are sliced.
std::vector<ModelConfig> sliced_families() {
  std::vector<ModelConfig> all = tiny_families();
  std::ranges::copy(tiny_families_with_experts(), std::back_inserter(all));
  return all;
}

Tensor logits(const Model& model, const Tensor& tokens) { return model.decoder().forward(tokens); }

TEST_CASE("fusing the norms of every family keeps its function") {
  for (const ModelConfig& config : sliced_families()) {
    INFO(tests::describe(config));
    const auto decoder = random_decoder(config, 5);
    decoder->prepare_head();
    const Tensor tokens = random_tokens(config, 2, 15), dense = decoder->forward(tokens);
    ModelAdapter adapter = decoder->adapter();
    fuse_norms(adapter);
    for (const auto& parameter : decoder->named_parameters()) {
      if (parameter.key().find("self_attn") != std::string::npos) continue;  // norms of heads
      if (parameter.key().ends_with("norm.weight"))
        CHECK(parameter.value().eq(1).all().item<bool>());
      if (parameter.key().ends_with("norm.bias")) CHECK(parameter.value().eq(0).all().item<bool>());
    }
    CHECK(relative_difference(decoder->forward(tokens), dense) < kSameFunction);
  }
}

TEST_CASE("k = D is the identity for every family") {
  for (const ModelConfig& config : sliced_families()) {
    for (const HeadMode head : kHeadModes) {
      INFO(tests::describe(config));
      Model model = random_model(config);
      const Tensor tokens = random_tokens(config, 2, 19, 7), dense = logits(model, tokens);
      slice_model(model, random_tokens(config, 4, 16),
                  {.method = Method::kSliceGpt, .slice = 0.0, .head = head});
      CHECK(relative_difference(logits(model, tokens), dense) < kSameFunction);
      CHECK(model.config().sliced());
    }
  }
}

TEST_CASE("k = D - 1 loses nothing with LayerNorms, and something with RMSNorms") {
  for (const ModelConfig& config : sliced_families()) {
    for (const HeadMode head : kHeadModes) {
      INFO(tests::describe(config));
      Model model = random_model(config);
      const Tensor tokens = random_tokens(config, 2, 19, 7), dense = logits(model, tokens);
      const double one = 1.0 / static_cast<double>(config.hidden_size);
      const SliceReport report =
          slice_model(model, random_tokens(config, 4, 16),
                      {.method = Method::kSliceGpt, .slice = one, .round = 1, .head = head});
      REQUIRE(report.stream_sizes[0] == config.hidden_size - 1);
      const double damage = relative_difference(logits(model, tokens), dense);
      if (config.norm == NormKind::kLayer) {
        CHECK(damage < kSameFunction);
        for (const SiteReport& site : report.sites)
          CHECK(std::abs(site.kept_variance - 1) < eigen_bound(config.hidden_size));
      } else {
        CHECK(damage > 1e-3);
      }
    }
  }
}

/// Logits of `tokens` (1, T) by the dense model with projectors before every norm, found as
/// the book says on `calibration`: at each site the leading eigenvectors of the covariance of the
/// stream, centred where the norm is, of the network projected at all sites before it.
Tensor logits_by_the_book(const Model& model, const Tensor& calibration, const Tensor& tokens,
                          const std::vector<int64_t>& sizes) {
  model.decoder().prepare_head();
  const ModelAdapter adapter = model.decoder().adapter();
  const int64_t D = adapter.hidden_size;
  const bool centred = adapter.final_norm->kind() == NormKind::kLayer;
  const Tensor identity = at::eye(D, at::kDouble);
  const Tensor M = centred ? identity - at::ones({D, D}, at::kDouble) / D : identity;
  Tensor z = adapter.embed(calibration), x = adapter.embed(tokens);
  for (size_t site = 0; site < sizes.size(); ++site) {
    const int64_t k = sizes[site];
    const Tensor rows = z.reshape({-1, D}).mm(M);
    const Tensor P =
        std::get<1>(at::linalg_eigh(rows.t().mm(rows))).slice(1, D - k, D);  // ascending
    const Tensor projector = k == D ? M : P.mm(P.t());
    z = z.matmul(projector);
    x = x.matmul(projector);
    if (site + 1 == sizes.size()) break;
    z = adapter.sublayers[site].forward(z);
    x = adapter.sublayers[site].forward(x);
  }
  return model.decoder().logits(x);
}

TEST_CASE("a sliced model of every family is the dense one with projectors before its norms") {
  for (const ModelConfig& config : sliced_families()) {
    for (const HeadMode head : kHeadModes) {
      INFO(tests::describe(config));
      const Tensor calibration = random_tokens(config, 6, 20, 3),
                   tokens = random_tokens(config, 1, 18, 4);
      const SliceOptions options{
          .method = Method::kSliceGpt, .slice = 0.3, .round = 2, .head = head};
      Model sliced = random_model(config);
      const SliceReport report = slice_model(sliced, calibration, options);
      const Tensor want =
          logits_by_the_book(random_model(config), calibration, tokens, report.stream_sizes);
      CHECK(relative_difference(logits(sliced, tokens), want) < kSameSlicing);
      CHECK(static_cast<int64_t>(report.stream_sizes.size()) == config.sites());
    }
  }
}

TEST_CASE("a GPU slices and runs every family as the CPU does", "[cuda]") {
  if (choose_device().is_cpu()) SKIP("no CUDA device");
  const at::Device gpu(at::kCUDA, 0);
  for (const ModelConfig& config : sliced_families()) {
    for (const double slice : {0.0, 0.3}) {
      INFO(tests::describe(config) << " slice " << slice);
      const Tensor calibration = random_tokens(config, 6, 20, 3),
                   tokens = random_tokens(config, 2, 18, 4);
      Model on_cpu = random_model(config), on_gpu = random_model(config);
      const Tensor dense = logits(on_cpu, tokens);
      on_gpu.decoder().to(gpu);
      slice_model(on_cpu, calibration, {.method = Method::kSliceGpt, .slice = slice, .round = 2});
      slice_model(on_gpu, calibration, {.method = Method::kSliceGpt, .slice = slice, .round = 2});
      CHECK(relative_difference(logits(on_gpu, tokens).cpu(), logits(on_cpu, tokens)) <
            kSameSlicing);
      if (slice == 0)
        CHECK(relative_difference(logits(on_gpu, tokens).cpu(), dense) < kSameFunction);
    }
  }
}

TEST_CASE("models of every family, dense and sliced, are read back bit by bit") {
  for (const ModelConfig& config : sliced_families()) {
    for (const bool slicing : {false, true}) {
      INFO(tests::describe(config) << (slicing ? " sliced" : ""));
      Model model = random_model(config, 1, at::kFloat);
      if (slicing)
        slice_model(model, random_tokens(config, 4, 16),
                    {.method = Method::kSliceGpt, .slice = 0.3, .round = 1});
      const TemporaryDirectory directory;
      save_model(model, directory.path() / "m");
      const Model again = load_model(directory.path() / "m");
      const Tensor tokens = random_tokens(config, 2, 19, 7);
      CHECK(bit_difference(logits(again, tokens), logits(model, tokens)) == "");
      CHECK(again.config().stream_sizes == model.config().stream_sizes);
      CHECK(again.config().window_layers == config.window_layers);
      CHECK(again.config().rotary_size == config.rotary_size);
      CHECK(count_parameters(again.config()).total == [&] {
        int64_t total = 0;
        for (const auto& parameter : again.decoder().named_parameters())
          total += parameter.value().numel();
        return total;
      }());
    }
  }
}

TEST_CASE("decoding through the cache gives what the whole text gives, in every family") {
  for (const ModelConfig& config : sliced_families()) {
    for (const bool slicing : {false, true}) {
      INFO(tests::describe(config) << (slicing ? " sliced" : ""));
      Model model = random_model(config);
      if (slicing)
        slice_model(model, random_tokens(config, 4, 16),
                    {.method = Method::kSliceGpt, .slice = 0.3, .round = 1});
      const Tensor tokens = random_tokens(config, 2, 20, 7), whole = logits(model, tokens);
      Generator generator(model, 20, 2);
      int64_t end = 0;
      for (const int64_t T : {6, 1, 1, 9, 3}) {
        end += T;
        const Tensor last = generator.feed(tokens.slice(1, end - T, end));
        CHECK(relative_difference(last, whole.select(1, end - 1)) < kSameFunction);
      }
    }
  }
}

TEST_CASE("a text longer than a learned position table is refused by length") {
  const ModelConfig config = tiny_families()[2];
  const Model model = random_model(config);
  CHECK_NOTHROW(logits(model, random_tokens(config, 1, config.context_length)));
  CHECK_THROWS_NAMING(logits(model, random_tokens(config, 1, config.context_length + 1)),
                      ArgumentError, "this model has 128, asked for 129");
}

TEST_CASE("keys without their first step, as OPT's first files have them, are found") {
  const ModelConfig config = tiny_families()[2];
  const Model model = random_model(config, 1, at::kFloat);
  const TemporaryDirectory directory;
  save_model(model, directory.path() / "m");
  const SafetensorsFile file(directory.path() / "m/model.safetensors");
  std::vector<SafetensorsWriter::Slot> slots;
  for (const auto& [name, entry] : file.tensors())
    slots.push_back({name.substr(std::string("model.").size()), entry.dtype, entry.shape});
  {
    SafetensorsWriter writer(directory.path() / "bare", slots);
    for (const auto& slot : slots) writer.write(slot.name, file.read("model." + slot.name));
    writer.finish();
  }
  std::filesystem::rename(directory.path() / "bare", directory.path() / "m/model.safetensors");
  const Tensor tokens = random_tokens(config, 2, 19, 7);
  CHECK(bit_difference(logits(load_model(directory.path() / "m"), tokens), logits(model, tokens)) ==
        "");
}

// ---- trained weights: tests/data/train_tiny_models.py

const std::filesystem::path kData = tests::data_directory();
constexpr const char* kTrained[] = {"trained_opt", "trained_phi"};

TEST_CASE("trained models give the logits and the 64 greedy tokens of Transformers") {
  for (const char* name : kTrained) {
    INFO(name);
    const SafetensorsFile golden(kData / name / "golden.safetensors");
    const Model model = load_model(kData / name);
    CHECK(model.stored_dtype() == at::kHalf);
    CHECK(relative_difference(logits(model, golden.read("tokens")), golden.read("logits")) < 1e-4);
    const Tensor prompt = golden.read("prompt"), greedy = golden.read("greedy");
    const auto ids = [](const Tensor& t) {
      return std::vector<int64_t>(t.const_data_ptr<int64_t>(),
                                  t.const_data_ptr<int64_t>() + t.numel());
    };
    REQUIRE(greedy.numel() == 64);
    CHECK(generate(model, ids(prompt), {.max_tokens = 64}) == ids(greedy));
  }
}

TEST_CASE("trained LayerNorm models lose nothing at k = D and k = D - 1") {
  for (const char* name : kTrained) {
    const Tensor tokens = SafetensorsFile(kData / name / "golden.safetensors").read("tokens");
    const Tensor dense = logits(load_model(kData / name, {.dtype = at::kDouble}), tokens);
    double last = 0;
    for (const double slice : {0.0, 1.0 / 128, 0.1, 0.3}) {
      INFO(name << " slice " << slice);
      Model model = load_model(kData / name, {.dtype = at::kDouble});
      slice_model(model, random_tokens(model.config(), 8, 64),
                  {.method = Method::kSliceGpt, .slice = slice, .round = 1});
      const double damage = relative_difference(logits(model, tokens), dense);
      if (slice < 0.01) {
        CHECK(damage < kSameFunction);
      } else {
        CHECK(damage > last);
        last = damage;
      }
    }
  }
}

// ---- GGUF, as llama.cpp writes it

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

/// "model.layers.1.mlp.fc1.bias" → "blk.1.ffn_up.bias"
std::string gguf_name(std::string name) {
  const std::pair<const char*, const char*> parts[] = {{"model.embed_tokens", "token_embd"},
                                                       {"model.norm", "output_norm"},
                                                       {"model.final_layernorm", "output_norm"},
                                                       {"lm_head", "output"},
                                                       {"model.layers", "blk"},
                                                       {"input_layernorm", "attn_norm"},
                                                       {"post_attention_layernorm", "ffn_norm"},
                                                       {"self_attn.q_proj", "attn_q"},
                                                       {"self_attn.k_proj", "attn_k"},
                                                       {"self_attn.v_proj", "attn_v"},
                                                       {"self_attn.o_proj", "attn_output"},
                                                       {"self_attn.dense", "attn_output"},
                                                       {"mlp.gate_proj", "ffn_gate"},
                                                       {"mlp.up_proj", "ffn_up"},
                                                       {"mlp.down_proj", "ffn_down"},
                                                       {"mlp.fc1", "ffn_up"},
                                                       {"mlp.fc2", "ffn_down"}};
  for (const auto& [from, to] : parts) name = replaced(name, from, to);
  return name;
}

/// @param fused  q, k and v in one tensor, as older Phi-2 files have them
std::string gguf_of(const Model& model, const std::string& architecture, bool fused) {
  const ModelConfig& c = model.config();
  GgufWriter file;
  const auto key = [&](const std::string& name) { return architecture + "." + name; };
  const auto size = [](int64_t value) { return static_cast<uint32_t>(value); };
  file.text("general.architecture", architecture);
  file.number(key("block_count"), size(c.layers));
  file.number(key("embedding_length"), size(c.hidden_size));
  file.number(key("feed_forward_length"), size(c.ffn_size));
  file.number(key("attention.head_count"), size(c.heads));
  file.number(key("attention.head_count_kv"), size(c.kv_heads));
  file.number(key("context_length"), size(c.context_length));
  file.real(key(c.norm == NormKind::kLayer ? "attention.layer_norm_epsilon"
                                           : "attention.layer_norm_rms_epsilon"),
            static_cast<float>(c.norm_eps));
  if (c.rotary_size) file.number(key("rope.dimension_count"), size(*c.rotary_size));
  const auto add = [&](const std::string& name, const Tensor& value) {
    const Tensor bytes = value.contiguous();
    file.tensor(name, bytes.sizes().vec(), GgufWriter::kTypeF32,
                {static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes()});
  };
  const auto parameters = model.decoder().named_parameters();
  for (const auto& parameter : parameters) {
    const std::string& name = parameter.key();
    const bool q = name.find("q_proj") != std::string::npos;
    const bool k_or_v =
        name.find("k_proj") != std::string::npos || name.find("v_proj") != std::string::npos;
    if (fused && k_or_v) continue;
    if (fused && q) {
      add(replaced(gguf_name(name), "attn_q", "attn_qkv"),
          at::cat({parameter.value(), parameters[replaced(name, "q_proj", "k_proj")],
                   parameters[replaced(name, "q_proj", "v_proj")]}));
    } else {
      add(gguf_name(name), parameter.value());
    }
  }
  return file.bytes();
}

TEST_CASE("Qwen2 and Phi-2 are read from GGUF, q, k and v fused or apart") {
  std::vector<ModelConfig> configs = tiny_families();
  ModelConfig qwen2 = configs[1], tied = qwen2;
  qwen2.sliding_window.reset();  // GGUF does not know it
  qwen2.window_layers.clear();
  tied = qwen2;
  tied.tied_head = true;
  for (const ModelConfig& config : {qwen2, tied, configs[3]}) {
    for (const bool fused : {false, true}) {
      INFO(tests::describe(config) << (fused ? " fused" : ""));
      ModelConfig rounded = config;
      rounded.norm_eps = static_cast<float>(config.norm_eps);  // as the file holds it
      const Model model = random_model(rounded, 1, at::kFloat);
      const TemporaryDirectory directory;
      const std::string architecture = config.family == "phi" ? "phi2" : config.family;
      const Model read = load_model(directory.write("x.gguf", gguf_of(model, architecture, fused)));
      CHECK(read.config().family == config.family);
      CHECK(read.config().tied_head == config.tied_head);
      const Tensor tokens = random_tokens(config, 2, 19, 7);
      CHECK(bit_difference(logits(read, tokens), logits(model, tokens)) == "");
    }
  }
}

TEST_CASE("a GGUF that is no Phi-2 or Qwen2 although it says so is refused by what it lacks") {
  const Model llama = random_model(tiny_config(), 1, at::kFloat);
  const TemporaryDirectory directory;
  CHECK_THROWS_NAMING(load_model(directory.write("a.gguf", gguf_of(llama, "qwen2", false))),
                      FormatError, "biases on q, k and v");
  CHECK_THROWS_NAMING(load_model(directory.write("b.gguf", gguf_of(llama, "phi2", false))),
                      FormatError, "biases in all layers");
  const Model phi = random_model(tiny_families()[3], 1, at::kFloat);
  CHECK_THROWS_NAMING(load_model(directory.write("c.gguf", gguf_of(phi, "gptj", false))),
                      FormatError, "architecture 'gptj' is not supported");
}

}  // namespace
}  // namespace slice
