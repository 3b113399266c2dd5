#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "libslice/format/gguf.h"
#include "libslice/model/config.h"

namespace slice::models {

/// Module paths of the parts of a model, as the family's checkpoints name them.
struct Names {
  std::string embedding;                   ///< from the root
  std::string positions;                   ///< from the root; empty without learned positions
  std::string layers, final_norm, head;    ///< from the root
  std::string attention_norm, q, k, v, o;  ///< within a layer; a parallel block has this norm only
  std::string mlp_norm, gate, up, down;    ///< within a layer; gate is empty without one
  std::string q_norm = {}, k_norm = {};    ///< within a layer; empty without norms of heads
  /// Within a layer, of a mixture of experts: the router, and the path before the experts' numbers,
  /// within which gate, up and down are. Empty without such.
  std::string router = {}, experts = {};
  std::string xielu = {};  ///< within a layer, the constants of that activation; empty without it
  /// Within a layer, the norms on what attention and feed-forward write; empty without such.
  std::string attention_out_norm = {}, mlp_out_norm = {};
};

/// The layer of a parameter; nothing for parameters of the embeddings and the head.
std::optional<int64_t> layer_of(const Names& names, const std::string& parameter);
/// Whether the parameter is the token embedding or the position table.
bool is_embedding(const Names& names, const std::string& parameter);

struct StoredForm;  // stored_form.h

/// The description of a family. Every family has a file in this folder.
struct Family {
  std::string name;               ///< ModelConfig::family
  std::string model_type;         ///< config.json
  std::string architecture;       ///< config.json, architectures[0]
  std::string gguf_architecture;  ///< general.architecture; empty: shared with another family
  Names names;
  /// Suffixes of checkpoint keys without information, which are ignored.
  std::vector<std::string> ignored_suffixes;
  /// Sizes from the family's config.json. @throws FormatError
  ModelConfig (*parse)(const nlohmann::json& config, const std::string& origin);
  /// The family's config.json of a dense model.
  nlohmann::json (*write)(const ModelConfig& config);
  /// Sizes from GGUF metadata. @throws FormatError
  ModelConfig (*parse_gguf)(const GgufFile& file);
  /// Transformers lets a head have another size than hidden size / heads.
  bool free_head_size = true;
  /// The head of a dense model has a bias.
  bool head_bias = false;
  /// Changes the form in which a Hugging Face file keeps a parameter, from the parameter itself to
  /// the family's (stored_form.h); nullptr: every parameter is a tensor of its own.
  void (*describe_stored)(const ModelConfig& config, const std::string& parameter,
                          StoredForm& form) = nullptr;
  /// The eps of its norms is a constant of Transformers' code, so that no other hidden size gives
  /// the same network.
  bool fixed_eps = false;
  /// Transformers wants a hidden size that is a multiple of the number of heads, whatever their
  /// size.
  bool whole_heads = false;
  /// The embedding scale is √(hidden size), not a number of config.json.
  bool root_embedding_scale = false;
  /// Whether Transformers takes this dense configuration; nullptr: every one.
  bool (*stock_takes)(const ModelConfig& dense) = nullptr;
};

/// All families, and the one of this name.
const std::vector<const Family*>& families();
const Family& family(const std::string& name);

/// Name of the Python module through which Transformers loads a sliced model of this family: the
/// auto_map of its config.json points there.
std::string modeling_module(const Family& family);
/// model_type of that config.json.
std::string sliced_model_type(const Family& family);

const Family& apertus();
const Family& arcee();
const Family& cohere();
const Family& cohere2();
const Family& ernie4_5();
const Family& exaone4();
const Family& falcon();
const Family& gemma();
const Family& gemma2();
const Family& gemma3();
const Family& glm4();
const Family& gpt2();
const Family& gpt_neox();
const Family& gptj();
const Family& granite();
const Family& helium();
const Family& hunyuan_dense();
const Family& llama();
const Family& ministral();
const Family& ministral3();
const Family& mistral();
const Family& mixtral();
const Family& nemotron();
const Family& olmo();
const Family& olmo2();
const Family& olmo3();
const Family& olmoe();
const Family& opt();
const Family& phi();
const Family& phi3();
const Family& qwen2();
const Family& qwen3();
const Family& qwen3_moe();
const Family& seed_oss();
const Family& smollm3();
const Family& stablelm();
const Family& starcoder2();

/// Module paths that LLaMA and its relatives share.
const Names& llama_names();

}  // namespace slice::models
