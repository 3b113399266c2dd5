#include "libslice/checkpoint/torchscript.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/export.h>

#include <exception>
#include <map>
#include <memory>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/checkpoint/detail/script_layer.h"
#include "libslice/checkpoint/detail/script_model.h"
#include "libslice/checkpoint/model.h"
#include "libslice/model/config_json.h"
#include "libslice/model/decoder.h"
#include "libslice/model/families/family.h"

namespace slice {

using at::Tensor;

namespace {

using Script = torch::jit::Module;

/// A tree of modules, each of a type of its own, since their parameters differ.
class ScriptTree {
 public:
  ScriptTree() : modules_{{"", made()}} {}

  /// The module of a dotted path, made with those above it when it is asked for first.
  Script& at(const std::string& path) {
    const auto found = modules_.find(path);
    if (found != modules_.end()) return found->second;
    const auto [parent, name] = divided(path);
    Script module = made();
    at(parent).register_module(name, module);
    return modules_.emplace(path, std::move(module)).first->second;
  }
  void add_parameter(const std::string& path, const Tensor& value) {
    const auto [parent, name] = divided(path);
    at(parent).register_parameter(name, value, /*is_buffer=*/false);
  }

 private:
  static std::pair<std::string, std::string> divided(const std::string& path) {
    const size_t dot = path.rfind('.');
    return dot == path.npos ? std::pair(std::string(), path)
                            : std::pair(path.substr(0, dot), path.substr(dot + 1));
  }
  Script made() const {
    Script module(c10::QualifiedName("__torch__.libslice.Module"), unit_, /*shouldMangle=*/true);
    module.register_attribute("training", c10::BoolType::get(), false);  // eval() sets it
    return module;
  }

  std::shared_ptr<torch::jit::CompilationUnit> unit_ =
      std::make_shared<torch::jit::CompilationUnit>();
  std::map<std::string, Script> modules_;
};

/// A parameter on the CPU, alone in its memory: a file holds the memory of a tensor whole.
Tensor stored(const Tensor& parameter, at::ScalarType dtype, const std::string& name) {
  Tensor value = parameter.detach().to(at::kCPU, dtype).contiguous();
  const bool converts = parameter.scalar_type() != dtype;
  SLICE_CHECK_AS(
      NumericError,
      !converts || !at::isinf(value).any().item<bool>() || at::isinf(parameter).any().item<bool>(),
      "{} overflows {}", name, detail::dtype_name(dtype));
  if (value.storage().nbytes() != value.nbytes()) value = value.clone();
  return value;
}

Script script_of(const DecoderImpl& decoder, at::ScalarType dtype, const OnProgress& on_progress) {
  const detail::Stopwatch clock;
  const ModelConfig& config = decoder.config();
  const auto parameters = decoder.named_parameters();
  const auto count = static_cast<int64_t>(parameters.size());
  ScriptTree tree;
  detail::ScriptScope::Shapes shapes;
  for (const auto& parameter : parameters) {
    const std::string& name = parameter.key();
    shapes[name] = parameter.value().sizes().vec();
    tree.add_parameter(name, stored(parameter.value(), dtype, name));
    const auto step = static_cast<int64_t>(shapes.size());
    if (on_progress)
      on_progress({.phase = "save", .step = step, .steps = count, .seconds = clock.seconds()});
  }
  const std::string& layers = models::family(config.family).names.layers;
  for (int64_t layer = 0; layer < config.layers; ++layer)
    tree.at(detail::formatted("{}.{}", layers, layer))
        .define(detail::script_layer(config, shapes, layer));
  Script root = tree.at("");
  // Neither parameters nor buffers, which to(dtype) would round; a list is rounded when it is read.
  for (const auto& [name, values] : detail::script_constants(config))
    root.register_attribute(name, c10::TensorType::get(), at::tensor(values, at::kDouble));
  root.define(detail::script_model(config, shapes));
  return root;
}

/// LibTorch ends the program where a write throws, or fails, within it: that is told afterwards.
void write_script(const Script& script, const torch::jit::ExtraFilesMap& extra,
                  detail::OutputFile& out) {
  std::exception_ptr failure;
  const auto write = [&](const void* bytes, size_t size) {
    try {
      if (!failure) out.write(bytes, size);
    } catch (...) {
      failure = std::current_exception();
    }
    return size;
  };
  torch::jit::ExportModule(script, write, extra);
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

std::optional<std::string> torchscript_obstacle(const ModelConfig& config) {
  if (!config.routed()) return std::nullopt;
  return detail::formatted("libslice writes no {} as TorchScript: it has experts", config.family);
}

void check_torchscript_path(const std::filesystem::path& path, bool replace) {
  detail::AtomicFile(path, replace);
}

void save_torchscript(const Model& model, const std::filesystem::path& path,
                      const TorchScriptOptions& options, const OnProgress& on_progress) {
  const std::optional<std::string> obstacle = torchscript_obstacle(model.config());
  SLICE_FORMAT_CHECK(!obstacle, "{}: {}", path.string(), obstacle.value_or(""));
  check_whole(model);
  const at::ScalarType dtype = options.dtype.value_or(model.stored_dtype());
  detail::AtomicFile file(path, options.replace);
  const Script script = script_of(model.decoder(), dtype, on_progress);
  write_script(script, {{"config.json", config_json(model.config(), detail::dtype_name(dtype))}},
               file.out());
  file.commit();
}

}  // namespace slice
