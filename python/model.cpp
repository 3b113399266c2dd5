#include "python/model.h"

#include <ATen/ATen.h>
#include <torch/csrc/utils/pybind.h>

#include <filesystem>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "libslice/checkpoint/stock.h"
#include "libslice/model/decoder.h"
#include "libslice/slice.h"
#include "python/held_model.h"
#include "python/python_call.h"

namespace slice::python {

namespace py = pybind11;
using Held = std::shared_ptr<HeldModel>;

namespace {

LoadOptions load_options(const std::string& device, const std::string& dtype) {
  return {.device = choose_device(parse_device(device)), .dtype = dtype_of(dtype)};
}

Held load(const std::string& path, const std::string& device, const std::string& dtype) {
  return PythonCall().run(
      [&] { return std::make_shared<HeldModel>(load_model(path, load_options(device, dtype))); });
}

Held load_tensors(const std::string& config, std::map<std::string, at::Tensor> tensors,
                  const std::optional<std::string>& tokenizer, const std::string& device,
                  const std::string& dtype) {
  return PythonCall().run([&] {
    const auto checkpoint = open_state_dict(config, std::move(tensors));
    return std::make_shared<HeldModel>(load_model(*checkpoint,
                                                  tokenizer ? load_tokenizer(*tokenizer) : nullptr,
                                                  load_options(device, dtype)));
  });
}

void save(const Held& held, const std::string& directory, const std::string& dtype, bool replace,
          const py::object& on_progress) {
  PythonCall call(on_progress);
  call.run([&] {
    save_model(*HeldModel::Reading(held), directory, {.dtype = dtype_of(dtype), .replace = replace},
               call.on_progress());
  });
}

void save_as_gguf(const Held& held, const std::string& path, const std::string& type,
                  bool replace) {
  static const std::map<std::string, GgufType> kTypes = {{"f32", GgufType::kFloat32},
                                                         {"f16", GgufType::kFloat16},
                                                         {"bf16", GgufType::kBFloat16},
                                                         {"q8_0", GgufType::kQ8_0}};
  const auto found = kTypes.find(type);
  if (found == kTypes.end() && type != "keep")
    throw ArgumentError("type: want keep, f32, f16, bf16 or q8_0, got " + type);
  GgufOptions options;
  if (found != kTypes.end()) options.type = found->second;
  options.replace = replace;
  PythonCall().run([&] { save_gguf(*HeldModel::Reading(held), path, options); });
}

std::pair<std::string, std::map<std::string, at::Tensor>> tensors_of(const Held& held,
                                                                     const std::string& dtype) {
  StateDict dict =
      PythonCall().run([&] { return state_dict(*HeldModel::Reading(held), dtype_of(dtype)); });
  return {std::move(dict.config), std::move(dict.tensors)};
}

/// Logits (B, T, V) of tokens (B, T), in one forward pass.
at::Tensor logits(const Held& held, const at::Tensor& tokens) {
  return PythonCall().run([&] {
    const at::NoGradGuard no_grad;
    const HeldModel::Reading model(held);
    if (tokens.dim() != 2 || tokens.size(1) < 1)
      throw ShapeError("tokens: want (B, T) with at least one token");
    if (tokens.scalar_type() != at::kLong) throw DtypeError("tokens: want int64");
    if (tokens.numel() > 0 && (tokens.min().item<int64_t>() < 0 ||
                               tokens.max().item<int64_t>() >= model->config().vocabulary_size))
      throw ArgumentError("tokens: an id is outside the vocabulary");
    if (tokens.size(1) > model->config().positions())
      throw ArgumentError("tokens: more than the model has positions");
    return model->decoder().forward(tokens.to(model->decoder().device()));
  });
}

std::vector<int64_t> encode(const Held& held, const std::string& text) {
  return PythonCall().run(
      [&] { return encode_prompt(HeldModel::Reading(held)->tokenizer(), text); });
}

std::vector<int64_t> encode_messages(const Held& held, const std::string& messages) {
  return PythonCall().run([&] {
    return encode_conversation(HeldModel::Reading(held)->tokenizer(), {.messages = messages});
  });
}

py::str decode(const Held& held, const std::vector<int64_t>& ids, bool special) {
  const std::string bytes =
      PythonCall().run([&] { return HeldModel::Reading(held)->tokenizer().decode(ids, special); });
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace"));
}

/// What of a model does not change but by slicing it.
py::dict description(const Held& held) {
  const HeldModel::Reading model(held);
  const ModelConfig& config = model->config();
  py::dict result;
  result["family"] = config.family;
  result["layers"] = config.layers;
  result["hidden_size"] = config.hidden_size;
  result["vocabulary_size"] = config.vocabulary_size;
  result["context_length"] = config.context_length;
  result["positions"] = config.positions();
  result["parameters"] = count_parameters(written_config(config)).total;
  result["sliced"] = config.sliced();
  result["stock"] = !config.sliced() || stock_config(config).has_value();
  result["device"] = model->decoder().device().str();
  result["dtype"] = py::cast(model->decoder().dtype());
  result["tokenizer"] = model->has_tokenizer();
  std::optional<int64_t> begin;  // the id that a text of its own begins with
  if (model->has_tokenizer()) {
    begin = model->tokenizer().bos_token();
    const std::vector<int64_t> ends = model->tokenizer().eos_tokens();
    if (!begin && !ends.empty()) begin = ends.front();
  }
  result["begin"] = begin;
  return result;
}

}  // namespace

std::optional<at::ScalarType> dtype_of(const std::string& name) {
  static const std::map<std::string, at::ScalarType> kTypes = {
      {"fp32", at::kFloat}, {"fp16", at::kHalf}, {"bf16", at::kBFloat16}};
  if (name == "keep") return std::nullopt;
  const auto found = kTypes.find(name);
  if (found == kTypes.end())
    throw ArgumentError("dtype: want keep, fp32, fp16 or bf16, got " + name);
  return found->second;
}

void bind_model(py::module_& module) {
  py::class_<HeldModel, Held>(module, "Model")
      .def_static("load", &load)
      .def_static("from_tensors", &load_tensors)
      .def("save", &save)
      .def("save_gguf", &save_as_gguf)
      .def("tensors", &tensors_of)
      .def("logits", &logits)
      .def("encode", &encode)
      .def("encode_messages", &encode_messages)
      .def("decode", &decode)
      .def("description", &description);
}

}  // namespace slice::python
