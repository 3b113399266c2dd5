#include "benchmarks/models.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string_view>

#include "libslice/decode/memory.h"
#include "libslice/model/decoder.h"

namespace slice::bench {

using at::Tensor;

namespace {

constexpr int64_t kWeightBytes = 2;

ModelConfig llama(int64_t D, int64_t heads, int64_t kv_heads, int64_t F, int64_t layers,
                  int64_t V) {
  ModelConfig config;
  config.family = "llama";
  config.hidden_size = D;
  config.layers = layers;
  config.heads = heads;
  config.kv_heads = kv_heads;
  config.head_size = D / heads;
  config.ffn_size = F;
  config.vocabulary_size = V;
  config.context_length = 4096;
  return config;
}

/// What OPT and Phi-2 have in common.
ModelConfig with_layer_norms(ModelConfig config) {
  config.norm = NormKind::kLayer;
  config.gated_mlp = false;
  config.qkv_bias = config.output_bias = config.mlp_bias = true;
  config.context_length = 2048;
  return config;
}

ModelConfig opt(int64_t D, int64_t heads, int64_t layers) {
  ModelConfig config = with_layer_norms(llama(D, heads, heads, 4 * D, layers, 50272));
  config.family = "opt";
  config.learned_positions = 2050;
  config.position_offset = 2;
  config.activation = Activation::kRelu;
  config.tied_head = true;
  return config;
}

ModelConfig phi2() {
  ModelConfig config = with_layer_norms(llama(2560, 32, 32, 10240, 32, 51200));
  config.family = "phi";
  config.parallel_block = true;
  config.rotary_size = 32;
  config.activation = Activation::kGeluTanh;
  config.head_bias = true;
  return config;
}

ModelConfig tied(ModelConfig config) {
  config.tied_head = true;
  return config;
}

/// Heads of another size than the hidden size over their number, with norms.
ModelConfig with_normed_heads(ModelConfig config, HeadNorm norm, int64_t head_size) {
  config.head_norm = norm;
  config.head_size = head_size;
  return config;
}

ModelConfig olmo2() {
  ModelConfig config =
      with_normed_heads(llama(4096, 32, 32, 11008, 32, 100352), HeadNorm::kAll, 128);
  config.family = "olmo2";
  config.norm_place = NormPlace::kAfter;
  return config;
}

ModelConfig gemma3() {
  ModelConfig config =
      with_normed_heads(tied(llama(1152, 4, 1, 6912, 26, 262144)), HeadNorm::kEach, 256);
  config.family = "gemma3";
  config.norm_place = NormPlace::kBoth;
  config.activation = Activation::kGeluTanh;
  config.embedding_scale = std::sqrt(1152.0);
  config.rope_theta = 1e6;
  config.window_rope_theta = 1e4;
  config.sliding_window = 512;
  for (int64_t layer = 1; layer <= config.layers; ++layer)
    config.window_layers.push_back(layer % 6 != 0);
  return config;
}

ModelConfig stock_config(ModelConfig config) {
  const int64_t D = config.hidden_size;
  const int64_t attention = 2 * (config.heads + config.kv_heads) * config.head_size;
  const int64_t matrices = config.gated_mlp ? 3 : 2;
  config.hidden_size = D / 8 * 7;
  const double kept = 0.75 * static_cast<double>(D * (attention + matrices * config.ffn_size)) /
                      static_cast<double>(config.hidden_size);  // rows and columns of its D
  config.ffn_size =
      std::llround((kept - static_cast<double>(attention)) / static_cast<double>(matrices) / 64) *
      64;
  return config;
}

/// FFN channels of a layer by which, at k = D, 3/4 of its weights stay: a multiple of 32.
int64_t narrowed_width(const ModelConfig& c) {
  const int64_t attention = 2 * (c.heads + c.kv_heads) * c.head_size;
  const int64_t matrices = c.gated_mlp ? 3 : 2;
  const double kept = 0.75 * static_cast<double>(attention + matrices * c.ffn_size);
  return std::llround((kept - static_cast<double>(attention)) / static_cast<double>(matrices) /
                      32) *
         32;
}

/// FFN widths of the same sum, multiples of 32 as a planner gives them: from half of `width` in
/// the first layer to one and a half of it in the last.
std::vector<int64_t> rising_widths(int64_t width, int64_t layers) {
  std::vector<int64_t> widths;
  for (int64_t layer = 0; layer < layers; ++layer) {
    const double place = static_cast<double>(2 * layer - layers + 1) /
                         static_cast<double>(std::max<int64_t>(1, layers - 1));  // −1 … 1
    widths.push_back(width + 32 * std::llround(place * static_cast<double>(width) / 64));
  }
  return widths;
}

bool is_embedding(const std::string& key) { return key.find("embed") != std::string::npos; }

/// The layer that a parameter belongs to, −1 for one outside of the layers.
int64_t layer_of(const std::string& key) {
  constexpr std::string_view kLayers = "layers.";
  const size_t at = key.find(kLayers);
  return at == std::string::npos ? -1 : std::stol(key.substr(at + kLayers.size()));
}

class RandomCheckpoint : public Checkpoint {
 public:
  RandomCheckpoint(const ModelConfig& config, at::Device device) : device_(device) {
    path_ = "random";
    config_ = config;
    for (const auto& parameter : DecoderImpl(config).named_parameters())  // placeholders
      entries_[parameter.key()] = {.shape = parameter.value().sizes().vec(), .dtype = at::kHalf};
  }
  Tensor read(const std::string& name) const override {
    return random_weight(name, entries_.at(name).shape, device_).cpu();
  }

 private:
  at::Device device_;
};

}  // namespace

Tensor random_weight(const std::string& name, at::IntArrayRef shape, at::Device device) {
  at::Generator generator = at::globalContext().defaultGenerator(device);  // threads have their own
  generator.set_current_seed(std::hash<std::string>()(name));
  Tensor value = at::empty(shape, at::TensorOptions(device).dtype(at::kHalf));
  if (shape.size() == 1) return value.fill_(name.ends_with("bias") ? 0 : 1);
  double deviation = is_embedding(name) ? 1 : 1 / std::sqrt(static_cast<double>(shape.back()));
  // A low-rank shortcut is added to the identity, and would double the stream at every sublayer.
  if (name.ends_with("shortcut.up")) deviation /= 10;
  return value.normal_(0, deviation, generator);
}

ModelConfig published_config(const std::string& name) {
  if (name == "llama2-7b") return llama(4096, 32, 32, 11008, 32, 32000);
  if (name == "llama2-13b") return llama(5120, 40, 40, 13824, 40, 32000);
  if (name == "llama2-70b") return llama(8192, 64, 8, 28672, 80, 32000);
  if (name == "opt-6.7b") return opt(4096, 32, 32);
  if (name == "opt-13b") return opt(5120, 40, 40);
  if (name == "opt-30b") return opt(7168, 56, 48);
  if (name == "opt-66b") return opt(9216, 72, 64);
  if (name == "phi-2") return phi2();
  if (name == "smollm2-135m") return tied(llama(576, 9, 3, 1536, 30, 49152));
  if (name == "llama3.2-1b") return tied(llama(2048, 32, 8, 8192, 16, 128256));
  if (name == "qwen3-0.6b") {
    ModelConfig config =
        with_normed_heads(tied(llama(1024, 16, 8, 3072, 28, 151936)), HeadNorm::kEach, 128);
    config.family = "qwen3";
    return config;
  }
  if (name == "olmo2-7b") return olmo2();
  if (name == "gemma3-1b") return gemma3();
  throw std::runtime_error(name + ": no such shape");
}

ModelConfig config_of_form(const ModelConfig& dense, const std::string& form) {
  if (form == "dense") return dense;
  if (form == "stock25") return stock_config(dense);
  if (form == "equal25" || form == "uneven25") {
    const int64_t width = narrowed_width(dense);
    const std::vector<int64_t> equal(static_cast<size_t>(dense.layers), width);
    return narrowed_config(dense, form == "equal25" ? equal : rising_widths(width, dense.layers));
  }
  int percent = 0;
  char shortcut[16] = "";
  int64_t rank = 0;
  if (std::sscanf(form.c_str(), "slice%2d-%15[a-z]%" SCNd64, &percent, shortcut, &rank) >= 2 &&
      percent > 0) {
    const int64_t kept = dense.hidden_size * (100 - percent) / 100 / 8 * 8;
    for (const ShortcutForm wanted : {ShortcutForm::kDense, ShortcutForm::kDiagonal,
                                      ShortcutForm::kLowRank, ShortcutForm::kNone}) {
      if (shortcut_name(wanted) != std::string_view(shortcut)) continue;
      ModelConfig config =
          sliced_config(dense, std::vector<int64_t>(static_cast<size_t>(dense.sites()), kept));
      config.shortcut = wanted;
      config.shortcut_rank = rank;
      return config;
    }
  }
  throw std::runtime_error(form + ": no such form");
}

Model random_model(const ModelConfig& config, at::Device device) {
  const at::NoGradGuard no_grad;
  const auto decoder = std::make_shared<DecoderImpl>(config);
  for (auto& parameter : decoder->named_parameters())
    parameter.value().set_data(random_weight(parameter.key(), parameter.value().sizes(), device));
  return Model(decoder, nullptr, at::kHalf);
}

std::unique_ptr<Checkpoint> random_checkpoint(const ModelConfig& config, at::Device device) {
  return std::make_unique<RandomCheckpoint>(config, device);
}

PlacedBytes placed_bytes(const ModelConfig& config, int64_t tokens) {
  const DecoderImpl decoder(config);  // without memory
  PlacedBytes bytes;
  bytes.layers.assign(static_cast<size_t>(config.layers),
                      2 * config.kv_heads * config.head_size * tokens * kWeightBytes);
  for (const auto& parameter : decoder.named_parameters()) {
    const int64_t size = parameter.value().numel() * kWeightBytes,
                  layer = layer_of(parameter.key());
    (layer >= 0                      ? bytes.layers[static_cast<size_t>(layer)]
     : is_embedding(parameter.key()) ? bytes.front
                                     : bytes.back) += size;
  }
  if (config.tied_head) {
    bytes.shared = config.vocabulary_size * config.stream_size(0) * kWeightBytes;
    bytes.back += bytes.shared;
  }
  return bytes;
}

int64_t card_room(const ModelConfig& config, int64_t card_bytes, int64_t batch) {
  constexpr int64_t kGraphs = 2;  // for a given token and for a chosen one: memory of its own each
  const int64_t qkv = (config.heads + 2 * config.kv_heads) * config.head_size;
  const int64_t joint = config.gated_mlp ? 2 * config.ffn_size : 0;  // a single reader stays
  const int64_t layout = std::max(qkv, joint) * config.stream_size(0);
  const int64_t D = config.hidden_size, F = config.ffn_size, V = config.vocabulary_size;
  const int64_t step = kGraphs * (qkv + 5 * F + 6 * D + V) + 2 * V;  // a sequence
  return card_bytes - kCudaContextBytes - kWeightBytes * (layout + batch * step);
}

}  // namespace slice::bench
