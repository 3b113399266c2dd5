#include "tests/support/tiny_model.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/core.h>

#include <cmath>

namespace slice::tests {

using at::Tensor;

Tensor gaussian(at::IntArrayRef shape, uint64_t seed, at::ScalarType dtype) {
  return at::randn(shape, at::detail::createCPUGenerator(seed),
                   at::TensorOptions().dtype(at::kDouble))
      .to(dtype);
}

Tensor orthonormal(int64_t rows, int64_t columns, uint64_t seed) {
  return std::get<0>(at::linalg_qr(gaussian({rows, columns}, seed)));
}

ModelConfig tiny_config() {
  ModelConfig c;
  c.family = "llama";
  c.hidden_size = 24;
  c.layers = 2;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_size = 6;
  c.ffn_size = 38;
  c.vocabulary_size = 53;
  c.context_length = 128;
  c.bos_token = 1;
  c.eos_tokens = {2};
  return c;
}

std::vector<ModelConfig> tiny_configs() {
  const ModelConfig base = tiny_config();
  ModelConfig tied = base, biased = base, wide_heads = base, one_key_head = base, odd = base;
  tied.tied_head = true;
  tied.rope_theta = 500000.0;
  biased.qkv_bias = biased.output_bias = biased.mlp_bias = true;
  biased.kv_heads = 4;
  wide_heads.head_size = 10;
  wide_heads.norm_eps = 1e-3;
  one_key_head.kv_heads = 1;
  one_key_head.layers = 1;
  odd.hidden_size = 23;
  odd.ffn_size = 7;
  odd.vocabulary_size = 29;
  odd.layers = 3;
  odd.mlp_bias = true;
  return {base, tied, biased, wide_heads, one_key_head, odd};
}

std::vector<ModelConfig> tiny_families() {
  ModelConfig mistral = tiny_config(), qwen2 = mistral, opt = mistral, phi = mistral;
  mistral.family = "mistral";
  mistral.sliding_window = 5;
  qwen2.family = "qwen2";
  qwen2.qkv_bias = true;
  qwen2.sliding_window = 4;
  qwen2.window_layers = {false, true};
  opt.family = "opt";
  opt.norm = NormKind::kLayer;
  opt.kv_heads = opt.heads;
  opt.learned_positions = opt.context_length + 2;
  opt.position_offset = 2;
  opt.activation = Activation::kRelu;
  opt.gated_mlp = false;
  opt.tied_head = true;
  opt.qkv_bias = opt.output_bias = opt.mlp_bias = true;
  phi.family = "phi";
  phi.norm = NormKind::kLayer;
  phi.parallel_block = true;
  phi.layers = 3;
  phi.rotary_size = 4;
  phi.activation = Activation::kGeluTanh;
  phi.gated_mlp = false;
  phi.qkv_bias = phi.output_bias = phi.mlp_bias = phi.head_bias = true;
  ModelConfig stablelm = tiny_config(), olmo = stablelm;
  stablelm.family = "stablelm";
  stablelm.norm = olmo.norm = NormKind::kLayer;
  stablelm.rotary_size = 4;
  olmo.family = "olmo";
  olmo.norm_weight = olmo.norm_bias = false;
  ModelConfig neox = phi;
  neox.family = "gpt_neox";
  neox.kv_heads = neox.heads;
  neox.branch_norms = true;
  neox.activation = Activation::kGelu;
  neox.head_bias = false;
  return {mistral, qwen2, opt, phi, stablelm, olmo, neox};
}

std::vector<ModelConfig> tiny_families_with_output_norms() {
  ModelConfig gemma2 = tiny_config(), olmo2 = gemma2, exaone4 = gemma2, glm4 = gemma2;
  gemma2.family = "gemma2";
  gemma2.norm_place = NormPlace::kBoth;
  gemma2.embedding_scale = std::sqrt(static_cast<double>(gemma2.hidden_size));
  gemma2.sliding_window = 5;
  gemma2.window_layers = {true, false};
  gemma2.activation = Activation::kGeluTanh;
  gemma2.tied_head = true;
  ModelConfig gemma3 = gemma2;
  gemma2.attention_scale = 1 / std::sqrt(20.0);
  gemma2.attention_softcap = 3;
  gemma2.logit_softcap = 5;
  gemma3.family = "gemma3";
  gemma3.head_norm = HeadNorm::kEach;
  gemma3.window_rope_theta = 100;
  olmo2.family = "olmo2";
  olmo2.norm_place = NormPlace::kAfter;
  olmo2.head_norm = HeadNorm::kAll;
  ModelConfig olmo3 = olmo2;
  olmo3.family = "olmo3";
  olmo3.sliding_window = 5;
  olmo3.window_layers = {true, false};
  exaone4 = olmo3;
  exaone4.family = "exaone4";
  exaone4.head_norm = HeadNorm::kEach;
  exaone4.rotary_layers = exaone4.window_layers;
  glm4.family = "glm4";
  glm4.norm_place = NormPlace::kBoth;
  glm4.rotary_size = 4;
  glm4.qkv_bias = true;
  return {gemma2, gemma3, olmo2, olmo3, exaone4, glm4};
}

std::vector<ModelConfig> tiny_families_with_experts() {
  ModelConfig mixtral = tiny_config(), qwen3 = mixtral, olmoe = mixtral;
  mixtral.family = "mixtral";
  mixtral.experts = {.count = 3, .per_token = 2, .normalised = true};
  mixtral.sliding_window = 5;
  qwen3.family = "qwen3_moe";
  qwen3.experts = {.count = 5, .per_token = 2, .normalised = false};
  qwen3.head_norm = HeadNorm::kEach;
  olmoe.family = "olmoe";
  olmoe.experts = {.count = 4, .per_token = 1, .normalised = false};
  olmoe.head_norm = HeadNorm::kAll;
  olmoe.layers = 3;
  return {mixtral, qwen3, olmoe};
}

std::string describe(const ModelConfig& c) {
  return fmt::format("{}: D {} L {} h {} kv {} d {} F {} V {}{}{}{}", c.family, c.hidden_size,
                     c.layers, c.heads, c.kv_heads, c.head_size, c.ffn_size, c.vocabulary_size,
                     c.tied_head ? " tied" : "", c.qkv_bias ? " qkv_bias" : "",
                     c.mlp_bias ? " mlp_bias" : "");
}

std::shared_ptr<DecoderImpl> random_decoder(const ModelConfig& config, uint64_t seed,
                                            at::ScalarType dtype) {
  auto decoder = std::make_shared<DecoderImpl>(config);
  for (auto& parameter : decoder->named_parameters()) {
    const std::string& name = parameter.key();
    Tensor value = gaussian(parameter.value().sizes(), ++seed * 7919);
    if (name.ends_with("norm.weight")) {
      value = 1 + 0.3 * value;
    } else if (name.ends_with("bias")) {
      value = 0.3 * value;
    } else if (value.dim() == 2 && name.find("embed_tokens") == std::string::npos &&
               name.find("embed_in") == std::string::npos) {
      value = value / std::sqrt(static_cast<double>(value.size(1)));
    }
    parameter.value().set_data(value.to(dtype));
  }
  return decoder;
}

Model random_model(const ModelConfig& config, uint64_t seed, at::ScalarType dtype) {
  return Model(random_decoder(config, seed, dtype), nullptr, dtype);
}

Model low_rank_model(const ModelConfig& config, int64_t rank, uint64_t seed) {
  auto decoder = random_decoder(config, seed);
  const Tensor B = orthonormal(config.hidden_size, rank, seed + 1);
  const Tensor projector = B.mm(B.t());  // (D, D)
  for (auto& parameter : decoder->named_parameters()) {
    const std::string& name = parameter.key();
    const Tensor& value = parameter.value();
    if (name.find("embed_tokens") != std::string::npos)
      parameter.value().set_data(value.mm(projector));
    if (name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight")) {
      parameter.value().set_data(projector.mm(value));
    }
    if (name.ends_with("o_proj.bias") || name.ends_with("down_proj.bias")) {
      parameter.value().set_data(projector.mv(value));
    }
  }
  return Model(decoder, nullptr, at::kDouble);
}

Tensor random_tokens(const ModelConfig& config, int64_t N, int64_t T, uint64_t seed) {
  return at::randint(0, config.vocabulary_size, {N, T}, at::detail::createCPUGenerator(seed),
                     at::TensorOptions().dtype(at::kLong));
}

}  // namespace slice::tests
