#include "libslice/checkpoint/output_form.h"

#include "libslice/checkpoint/gguf_write.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/model/families/family.h"

namespace slice {

namespace {

/// Of a stock configuration. LLaMA and Mistral have a head_dim of their own there.
bool vllm_loads(const ModelConfig& stock) {
  return stock.family == "llama" || stock.family == "mistral" ||
         stock.heads * stock.head_size == stock.hidden_size;
}

}  // namespace

OutputForm output_form(const ModelConfig& config) {
  const auto stock = stock_config(config);
  const models::Family& family = models::family(stock ? stock->family : config.family);
  return {.stock = stock.has_value(),
          .vllm = stock && vllm_loads(*stock),
          .model_type = stock ? family.model_type : models::sliced_model_type(family),
          .gguf = gguf_architecture(config),
          .gguf_obstacle = gguf_obstacle(config).value_or("")};
}

bool loads_like(const OutputForm& form, const OutputForm& dense) {
  return form.stock && (form.vllm || !dense.vllm) && (!form.gguf.empty() || dense.gguf.empty());
}

std::string describe(const OutputForm& form) {
  return std::string(form.stock ? "stock Transformers" : "custom code (trust_remote_code)") +
         (form.vllm ? ", vLLM; " : "; ") +
         (form.gguf.empty() ? "no GGUF" : "GGUF (" + form.gguf + ")");
}

}  // namespace slice
