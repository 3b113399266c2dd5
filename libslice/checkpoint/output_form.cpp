#include "libslice/checkpoint/output_form.h"

#include "libslice/checkpoint/gguf_write.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/model/families/family.h"

namespace slice {

OutputForm output_form(const ModelConfig& config) {
  const auto stock = stock_config(config);
  const models::Family& family = models::family(stock ? stock->family : config.family);
  return {.stock = stock.has_value(),
          .model_type = stock ? family.model_type : models::sliced_model_type(family),
          .gguf = gguf_architecture(config),
          .gguf_obstacle = gguf_obstacle(config).value_or("")};
}

std::string describe(const OutputForm& form) {
  return std::string(form.stock ? "stock Transformers" : "custom code (trust_remote_code)") + "; " +
         (form.gguf.empty() ? "no GGUF" : "GGUF (" + form.gguf + ")");
}

}  // namespace slice
