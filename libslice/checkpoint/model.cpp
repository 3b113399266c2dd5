#include "libslice/checkpoint/model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "libslice/base/atomic_directory.h"
#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/base/detail/warn.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/detail/modeling_sliced.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/checkpoint/stored_tensors.h"
#include "libslice/device/detail/memory.h"
#include "libslice/device/device.h"
#include "libslice/model/config_json.h"
#include "libslice/model/decoder.h"
#include "libslice/model/families/family.h"

namespace slice {

using at::Tensor;

Model::Model(std::shared_ptr<DecoderImpl> decoder, std::shared_ptr<const Tokenizer> tokenizer,
             std::optional<at::ScalarType> stored_dtype)
    : decoder_(std::move(decoder)), tokenizer_(std::move(tokenizer)), stored_dtype_(stored_dtype) {}

const ModelConfig& Model::config() const { return decoder_->config(); }

const Tokenizer& Model::tokenizer() const {
  SLICE_FORMAT_CHECK(tokenizer_ != nullptr, "{}", tokenizer_problem);
  return *tokenizer_;
}

at::ScalarType Model::stored_dtype() const {
  if (stored_dtype_) return *stored_dtype_;
  constexpr double kLargestHalf = 65504.0;
  for (const auto& parameter : decoder_->named_parameters()) {
    if (detail::largest_magnitude(parameter.value()) > kLargestHalf) return at::kBFloat16;
  }
  return at::kHalf;
}

namespace {

/// A weight is too large for the dtype that it is to be held in.
class Overflow : public NumericError {
 public:
  using NumericError::NumericError;
};

// Elements that are on a device as they were read, beside what is held of them.
constexpr int64_t kReadElements = int64_t{1} << 24;

/// A weight as it was read, (n) → (n) of `dtype` on the device, where its values are looked at.
Tensor checked_part(const Tensor& read, at::Device device, at::ScalarType dtype,
                    const std::string& name) {
  const Tensor part = read.to(device);
  detail::check_finite(part, name);
  Tensor held = part.to(dtype);
  SLICE_CHECK_AS(Overflow,
                 part.scalar_type() == dtype || std::isfinite(detail::largest_magnitude(held)),
                 "{}: a value does not fit into {}", name, detail::dtype_name(dtype));
  return held;
}

/// The same of a weight of any shape. On a GPU piece by piece, so that little of it is there twice.
Tensor held_weight(const Tensor& read, at::Device device, at::ScalarType dtype,
                   const std::string& name) {
  if (device.is_cpu() || read.numel() <= kReadElements)
    return checked_part(read, device, dtype, name);
  Tensor held = at::empty(read.sizes(), at::TensorOptions(device).dtype(dtype));
  const Tensor flat = held.flatten(), from = read.contiguous().flatten();
  for (int64_t begin = 0; begin < flat.size(0); begin += kReadElements) {
    const int64_t end = std::min(begin + kReadElements, flat.size(0));
    flat.slice(0, begin, end).copy_(checked_part(from.slice(0, begin, end), device, dtype, name));
  }
  return held;
}

}  // namespace

void check_entries(const torch::nn::Module& module, const Checkpoint& checkpoint) {
  const std::string file = checkpoint.path().string();
  for (const auto& parameter : module.named_parameters()) {
    const auto found = checkpoint.tensors().find(parameter.key());
    SLICE_FORMAT_CHECK(found != checkpoint.tensors().end(), "{}: tensor {} is missing, want {}",
                       file, parameter.key(), detail::describe(parameter.value().sizes()));
    const at::ScalarType dtype = found->second.dtype;
    SLICE_FORMAT_CHECK(
        dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16 || dtype == at::kDouble,
        "{}: {}: want a weight in floating point of 16 bits or more, got {}: is this "
        "a quantised model?",
        file, parameter.key(), detail::dtype_name(dtype));
    SLICE_FORMAT_CHECK(at::IntArrayRef(found->second.shape) == parameter.value().sizes(),
                       "{}: {}: want {}, got {}", file, parameter.key(),
                       detail::describe(parameter.value().sizes()),
                       detail::describe(found->second.shape));
  }
}

void load_parameters(torch::nn::Module& module, const Checkpoint& checkpoint, at::Device device,
                     at::ScalarType dtype) {
  const at::NoGradGuard no_grad;
  const std::string file = checkpoint.path().string();
  check_entries(module, checkpoint);
  for (auto& parameter : module.named_parameters()) {
    const Tensor read = checkpoint.read(parameter.key());
    parameter.value().set_data(held_weight(read, device, dtype, file + ": " + parameter.key()));
  }
}

void warn_of_tokens_without_row(const Tokenizer& tokenizer, int64_t rows, const std::string& file) {
  if (tokenizer.vocabulary_size() <= rows) return;
  std::vector<std::string> names;
  for (int64_t id = rows; id < tokenizer.vocabulary_size(); ++id) {
    const std::string name = tokenizer.decode(std::span(&id, 1), /*special=*/true);
    if (!name.empty()) names.push_back(detail::formatted("'{}' ({})", name, id));
  }
  detail::warn("{}: the tokenizer has {} tokens, the embedding {} rows; the model cannot read {}",
               file, tokenizer.vocabulary_size(), rows, detail::shortened(names));
}

namespace {

Model without_weights(const Checkpoint& checkpoint, std::shared_ptr<const Tokenizer> tokenizer) {
  ModelConfig config = checkpoint.config();
  if (tokenizer) {
    warn_of_tokens_without_row(*tokenizer, config.vocabulary_size, checkpoint.path().string());
    config = with_end_tokens(std::move(config), tokenizer->eos_tokens());
  }
  return Model(std::make_shared<DecoderImpl>(config), std::move(tokenizer),
               stored_dtype(checkpoint));
}

struct FoundTokenizer {
  std::shared_ptr<const Tokenizer> tokenizer;  // null: none
  std::string problem;
};

FoundTokenizer tokenizer_of(const Checkpoint& checkpoint) {
  try {
    return {load_tokenizer(checkpoint.path()), {}};
  } catch (const FormatError& error) {  // a model without a tokenizer still works on token ids
    return {nullptr, error.what()};
  }
}

}  // namespace

Model model_without_weights(const Checkpoint& checkpoint) {
  FoundTokenizer found = tokenizer_of(checkpoint);
  Model model = without_weights(checkpoint, std::move(found.tokenizer));
  if (!found.problem.empty()) model.tokenizer_problem = found.problem;
  return model;
}

Model load_model(const Checkpoint& checkpoint, std::shared_ptr<const Tokenizer> tokenizer,
                 const LoadOptions& options) {
  const at::Device device = choose_device(options.device);
  const std::string file = checkpoint.path().string();
  const std::optional<at::ScalarType> stored = stored_dtype(checkpoint);
  const at::ScalarType dtype =
      options.dtype.value_or(options.device.is_cpu() ? at::kFloat : stored.value_or(at::kHalf));
  Model model = without_weights(checkpoint, std::move(tokenizer));
  const auto load = [&](at::ScalarType held) {
    detail::name_memory(file, device,
                        [&] { load_parameters(model.decoder(), checkpoint, device, held); });
  };
  try {
    load(dtype);
  } catch (const Overflow&) {
    if (options.dtype || stored) throw;
    load(at::kBFloat16);  // a quantised file's values may be wider than float16
  }
  return model;
}

Model load_model(const std::filesystem::path& path, const LoadOptions& options) {
  choose_device(options.device);  // refuses before anything is opened
  const auto checkpoint = open_checkpoint(path);
  FoundTokenizer found = tokenizer_of(*checkpoint);
  Model model = load_model(*checkpoint, std::move(found.tokenizer), options);
  if (!found.problem.empty()) model.tokenizer_problem = found.problem;
  return model;
}

void check_whole(const Model& model) {
  const auto parameters = model.decoder().named_parameters();
  for (const auto& want : DecoderImpl(model.config()).named_parameters()) {  // placeholders
    const Tensor* got = parameters.find(want.key());
    SLICE_CHECK(got != nullptr && got->sizes() == want.value().sizes(),
                "saving: {}: want {}, got {}: was slicing this model interrupted?", want.key(),
                detail::describe(want.value().sizes()),
                got ? detail::describe(got->sizes()) : "nothing");
  }
}

void write_description(const ModelConfig& form, at::ScalarType dtype, const Tokenizer* tokenizer,
                       const std::filesystem::path& directory) {
  const ModelConfig told =
      tokenizer == nullptr ? form : with_end_tokens(form, tokenizer->eos_tokens());
  detail::write_file(directory / "config.json", config_json(told, detail::dtype_name(dtype)));
  detail::write_file(directory / "generation_config.json", generation_config_json(told));
  if (!stock_config(form)) {
    const std::string module = models::modeling_module(models::family(form.family));
    detail::write_file(directory / (module + ".py"), detail::modeling_sliced());
  }
  if (tokenizer == nullptr) return;
  for (const Tokenizer::File& file : tokenizer->files())
    detail::write_file(directory / file.name, file.bytes);
}

void write_model(const Model& model, const std::filesystem::path& directory,
                 const SaveOptions& options, const OnProgress& on_progress) {
  const at::ScalarType dtype = options.dtype.value_or(model.stored_dtype());
  check_whole(model);
  const ModelConfig form = written_config(model.config());
  const WrittenWeights weights(model.decoder(), form);
  StoredTensors stored(weights.entries(), form);

  const detail::Stopwatch clock;
  ShardWriter writer(directory, stored.slots(), dtype, options.shard_bytes);
  const auto count = std::ssize(weights.entries());
  for (int64_t i = 0; i < count; ++i) {
    const std::string& name = weights.entries()[i].name;
    if (const auto tensor = stored.add(name, weights.read(name)))
      writer.write(tensor->first, tensor->second);
    if (on_progress)
      on_progress({.phase = "save", .step = i + 1, .steps = count, .seconds = clock.seconds()});
  }
  writer.finish();
  write_description(form, dtype, model.has_tokenizer() ? &model.tokenizer() : nullptr, directory);
}

void save_model(const Model& model, const std::filesystem::path& directory,
                const SaveOptions& options, const OnProgress& on_progress) {
  AtomicDirectory output(directory, options.replace);
  write_model(model, output.path(), options, on_progress);
  output.commit();
}

}  // namespace slice
