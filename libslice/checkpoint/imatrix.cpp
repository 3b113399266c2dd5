#include "libslice/checkpoint/imatrix.h"

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/checkpoint/gguf_write.h"
#include "libslice/checkpoint/model.h"
#include "libslice/checkpoint/stock.h"
#include "libslice/format/gguf_header.h"
#include "libslice/format/write_tensor.h"
#include "libslice/model/decoder.h"
#include "libslice/model/families/gguf_names.h"
#include "libslice/model/input_moments.h"

namespace slice {

using at::Tensor;

namespace {

/// What runs in llama.cpp: coordinates and scales of a sliced stream are others there.
std::shared_ptr<const DecoderImpl> in_form(const Model& model, const ModelConfig& form) {
  const DecoderImpl& held = model.decoder();
  auto decoder = std::make_shared<DecoderImpl>(form);
  const WrittenWeights weights(held, form);
  for (auto& parameter : decoder->named_parameters())
    parameter.value().set_data(weights.read(parameter.key()).to(held.device(), held.dtype()));
  return decoder;
}

/// One tensor of the model's file: its slices, more than one of a stack of experts.
using Slices = std::vector<InputMoment>;

std::map<std::string, Slices> by_tensor(const InputMoments& moments, const ModelConfig& dense,
                                        const std::vector<WrittenForm::Entry>& order) {
  const auto& architecture = models::gguf_architecture_named(gguf_architecture(dense));
  std::map<std::string, Slices> tensors;
  for (const auto& [name, shape] : order) {
    const std::string suffix = ".weight";
    if (!name.ends_with(suffix)) continue;
    const auto found = moments.find(name.substr(0, name.size() - suffix.size()));
    if (found == moments.end()) continue;
    const models::StoredForm form = models::gguf_form(architecture, dense, name);
    Slices& slices = tensors[form.tensor];
    // What is one tensor otherwise reads one thing: q, k and v.
    if (slices.empty() || form.stacked) slices.push_back(found->second);
  }
  return tensors;
}

/// Tensors of float32, in the order in which they are written.
std::vector<std::pair<std::string, Tensor>> values_of(
    const std::map<std::string, Slices>& tensors) {
  std::vector<std::pair<std::string, Tensor>> values;
  for (const auto& [name, slices] : tensors) {
    std::vector<Tensor> squares;
    std::vector<double> counts;
    for (const InputMoment& slice : slices) {
      squares.push_back(slice.squares.cpu());
      counts.push_back(static_cast<double>(slice.tokens));
    }
    values.emplace_back(name + ".in_sum2", at::stack(squares));                           // (E, in)
    values.emplace_back(name + ".counts", at::tensor(counts, at::kDouble).unsqueeze(1));  // (E, 1)
  }
  return values;
}

}  // namespace

void save_imatrix(const Model& model, const Tensor& tokens, const std::filesystem::path& path,
                  const ImatrixOptions& options, const OnProgress& on_progress) {
  const std::optional<std::string> obstacle = gguf_obstacle(model.config());
  SLICE_FORMAT_CHECK(!obstacle, "{}: {}", path.string(), obstacle.value_or(""));
  check_whole(model);
  const ModelConfig form = *dense_config(model.config());
  detail::AtomicFile file(path, options.replace);

  const bool rewritten = model.config().sliced();
  const auto decoder = rewritten ? in_form(model, form) : nullptr;
  const DecoderImpl& runs = rewritten ? *decoder : model.decoder();
  const auto values = values_of(by_tensor(input_moments(runs.adapter(), tokens, on_progress), form,
                                          WrittenForm(form, form).entries()));
  detail::GgufHeader header;
  header.text("general.type", "imatrix");
  header.texts("imatrix.datasets", options.texts);
  header.number("imatrix.chunk_count", static_cast<uint32_t>(tokens.size(0)));
  header.number("imatrix.chunk_size", static_cast<uint32_t>(tokens.size(1)));
  constexpr int32_t kFloat32 = 0;
  const auto bytes_of = [](const Tensor& value) {
    return static_cast<uint64_t>(value.numel()) * sizeof(float);
  };
  for (const auto& [name, value] : values)
    header.tensor(name, value.sizes().vec(), kFloat32, bytes_of(value));
  const std::string begin = header.bytes();
  file.out().write(begin.data(), begin.size());
  for (const auto& [name, value] : values) {
    detail::write_tensor(file.out(), value, at::kFloat, path.string() + ": " + name);
    const std::string zeros(detail::GgufHeader::padding(bytes_of(value)), '\0');
    file.out().write(zeros.data(), zeros.size());
  }
  file.commit();
}

}  // namespace slice
