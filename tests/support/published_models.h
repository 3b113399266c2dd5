#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libslice/model/config_json.h"

namespace slice::tests {

/// A published model: its config.json, and its parameters dense (as Transformers counts them, a
/// tied head once) and sliced by 20, 25 and 30 % (docs/method.md, "Counting": dense
/// shortcuts, the head unsliced and its own, biases but no norms).
struct PublishedModel {
  std::string name;
  nlohmann::json config;
  int64_t dense;
  std::vector<int64_t> sliced;  ///< 20, 25, 30 %
};

inline nlohmann::json opt_config(int64_t D, int64_t L, int64_t heads) {
  return {{"model_type", "opt"},
          {"architectures", {"OPTForCausalLM"}},
          {"activation_function", "relu"},
          {"bos_token_id", 2},
          {"do_layer_norm_before", true},
          {"eos_token_id", 2},
          {"ffn_dim", 4 * D},
          {"hidden_size", D},
          {"max_position_embeddings", 2048},
          {"num_attention_heads", heads},
          {"num_hidden_layers", L},
          {"pad_token_id", 1},
          {"prefix", "</s>"},
          {"torch_dtype", "float16"},
          {"vocab_size", 50272},
          {"word_embed_proj_dim", D}};
}

inline nlohmann::json llama2_config(int64_t D, int64_t L, int64_t heads, int64_t kv_heads,
                                    int64_t F) {
  return {{"model_type", "llama"},
          {"architectures", {"LlamaForCausalLM"}},
          {"bos_token_id", 1},
          {"eos_token_id", 2},
          {"hidden_act", "silu"},
          {"hidden_size", D},
          {"intermediate_size", F},
          {"max_position_embeddings", 4096},
          {"num_attention_heads", heads},
          {"num_hidden_layers", L},
          {"num_key_value_heads", kv_heads},
          {"pretraining_tp", 1},
          {"rms_norm_eps", 1e-5},
          {"rope_scaling", nullptr},
          {"tie_word_embeddings", false},
          {"torch_dtype", "float16"},
          {"vocab_size", 32000}};
}

inline nlohmann::json phi2_config() {
  return {{"model_type", "phi"},
          {"architectures", {"PhiForCausalLM"}},
          {"bos_token_id", 50256},
          {"eos_token_id", 50256},
          {"embd_pdrop", 0.0},
          {"hidden_act", "gelu_new"},
          {"hidden_size", 2560},
          {"intermediate_size", 10240},
          {"layer_norm_eps", 1e-5},
          {"max_position_embeddings", 2048},
          {"num_attention_heads", 32},
          {"num_hidden_layers", 32},
          {"num_key_value_heads", 32},
          {"partial_rotary_factor", 0.4},
          {"qk_layernorm", false},
          {"resid_pdrop", 0.1},
          {"rope_scaling", nullptr},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", false},
          {"torch_dtype", "float16"},
          {"vocab_size", 51200}};
}

inline std::vector<PublishedModel> published_models() {
  return {
      {"OPT 125M", opt_config(768, 12, 12), 125239296, {147250880, 141239200, 133790840}},
      {"OPT 1.3B", opt_config(2048, 24, 32), 1315758080, {1283343552, 1207988832, 1127332152}},
      {"OPT 2.7B", opt_config(2560, 32, 32), 2651596800, {2524599904, 2361050592, 2199565664}},
      {"OPT 6.7B", opt_config(4096, 32, 32), 6658473984, {6226080232, 5823553632, 5410272400}},
      {"OPT 13B", opt_config(5120, 40, 40), 12853473280, {11907188832, 11108063072, 10319292000}},
      {"OPT 30B", opt_config(7168, 48, 56), 29974540288, {27511937728, 25676412256, 23823520696}},
      {"OPT 66B", opt_config(9216, 64, 72), 65719701504, {60034349032, 55968539488, 51885613712}},
      {"LLaMA-2 7B",
       llama2_config(4096, 32, 32, 32, 11008),
       6738415616,
       {6105940928, 5704777728, 5292914432}},
      {"LLaMA-2 13B",
       llama2_config(5120, 40, 40, 40, 13824),
       13015864320,
       {11805655040, 11004805120, 10214309888}},
      {"LLaMA-2 70B",
       llama2_config(8192, 80, 64, 8, 28672),
       68976648192,
       {62145631680, 57908133888, 53642050560}},
      {"Phi-2", phi2_config(), 2779683840, {2391772160, 2244947200, 2099138048}},
  };
}

inline ModelConfig llama2_7b() {
  return parse_config(llama2_config(4096, 32, 32, 32, 11008).dump(), "LLaMA-2 7B");
}

inline ModelConfig llama2_70b() {
  return parse_config(llama2_config(8192, 80, 64, 8, 28672).dump(), "LLaMA-2 70B");
}

/// The sizes of SmolLM2-135M.
inline ModelConfig smollm2_135m() {
  ModelConfig c;
  c.family = "llama";
  c.hidden_size = 576;
  c.layers = 30;
  c.heads = 9;
  c.kv_heads = 3;
  c.head_size = 64;
  c.ffn_size = 1536;
  c.vocabulary_size = 49152;
  c.tied_head = true;
  return c;
}

}  // namespace slice::tests
