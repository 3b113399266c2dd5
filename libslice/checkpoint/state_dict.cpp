#include "libslice/checkpoint/state_dict.h"

#include <ATen/ATen.h>

#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/checkpoint/detail/foreign_model.h"
#include "libslice/checkpoint/detail/hugging_face_checkpoint.h"
#include "libslice/checkpoint/detail/unused_tensors.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/checkpoint/stored_tensors.h"
#include "libslice/model/config_json.h"

namespace slice {

using at::Tensor;

namespace {

class StateDictCheckpoint : public detail::HuggingFaceCheckpoint {
 public:
  StateDictCheckpoint(std::string_view config, std::map<std::string, Tensor> tensors,
                      const std::string& name)
      : tensors_(std::move(tensors)) {
    path_ = name;
    detail::refuse_quantised(std::string(config), name + ": config");
    config_ = parse_config(config, name + ": config");
    std::map<std::string, Entry> entries;
    for (const auto& [tensor, value] : tensors_) {
      SLICE_FORMAT_CHECK(value.defined() && value.layout() == at::kStrided && !value.is_meta() &&
                             !value.is_quantized(),
                         "{}: {}: want a dense tensor with values", name, tensor);
      entries[tensor] = {.shape = value.sizes().vec(), .dtype = value.scalar_type()};
    }
    place_parameters(entries);
    detail::check_unused(*this);
  }

 private:
  Tensor stored(const std::string& tensor) const override { return copied(tensors_.at(tensor)); }
  Tensor stored_rows(const std::string& tensor, int64_t begin, int64_t end) const override {
    return copied(tensors_.at(tensor).detach().slice(0, begin, end));
  }
  static Tensor copied(const Tensor& tensor) {
    const at::NoGradGuard no_grad;
    return at::empty(tensor.sizes(), tensor.scalar_type()).copy_(tensor.detach());
  }

  std::map<std::string, Tensor> tensors_;
};

/// A tensor in the dtype that it is given out in, contiguous.
Tensor given(const Tensor& tensor, at::ScalarType dtype, const std::string& name) {
  const Tensor converted = tensor.to(dtype).contiguous();
  if (tensor.scalar_type() == dtype) return converted;
  const Tensor overflow = at::isinf(converted).logical_and(at::isinf(tensor).logical_not());
  SLICE_CHECK_AS(NumericError, !overflow.any().item<bool>(), "{} overflows {}", name,
                 detail::dtype_name(dtype));
  return converted;
}

}  // namespace

std::unique_ptr<Checkpoint> open_state_dict(std::string_view config,
                                            std::map<std::string, Tensor> tensors,
                                            const std::string& name) {
  return std::make_unique<StateDictCheckpoint>(config, std::move(tensors), name);
}

StateDict state_dict(const Model& model, std::optional<at::ScalarType> dtype) {
  const at::NoGradGuard no_grad;
  check_whole(model);
  const at::ScalarType type = dtype.value_or(model.stored_dtype());
  const ModelConfig form = written_config(model.config());
  const WrittenWeights weights(model.decoder(), form);
  StoredTensors stored(weights.entries(), form);
  StateDict result{.config = config_json(form, detail::dtype_name(type)), .tensors = {}};
  for (const WrittenWeights::Entry& entry : weights.entries())
    if (const auto tensor = stored.add(entry.name, weights.read(entry.name)))
      result.tensors[tensor->first] = given(tensor->second, type, tensor->first);
  return result;
}

}  // namespace slice
