#pragma once

#include <string>

#include "libslice/model/config.h"

namespace slice {

/// What runs a model once it is saved; known from its configuration, before any work.
struct OutputForm {
  /// Whether unmodified Transformers loads the directory; else it wants trust_remote_code=True, for
  /// the Python module that save_model() writes beside the weights.
  bool stock = false;
  /// Whether vLLM loads it, by what its models read of config.json: Qwen2 and Phi there have heads
  /// of hidden size / heads.
  bool vllm = false;
  std::string model_type;  ///< of its config.json: "llama", "sliced_llama"
  /// llama.cpp's architecture of its GGUF file: "llama", "qwen2", "phi2", "deci"; empty where it has
  /// none.
  std::string gguf;
  std::string gguf_obstacle;  ///< why it has none; else empty
};

/// The form in which save_model() and save_gguf() write a model of this configuration: what
/// stock_config() (stock.h) and gguf_obstacle() (gguf_write.h) decide. For a plan ask with
/// planned_config().
OutputForm output_form(const ModelConfig& config);

/// Whether unmodified Transformers loads a form, and so does everything else that loads `dense`.
bool loads_like(const OutputForm& form, const OutputForm& dense);

/// In one line: "stock Transformers, vLLM; GGUF (llama)", "custom code (trust_remote_code); no GGUF".
std::string describe(const OutputForm& form);

}  // namespace slice
