#include "libslice/slicing/detail/layer_reader.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/base/detail/thread.h"
#include "libslice/model/families/family.h"

namespace slice::detail {

using at::Tensor;

LayerReader::LayerReader(DecoderImpl& decoder, const Checkpoint& checkpoint, at::Device device,
                         at::ScalarType dtype)
    : decoder_(decoder),
      checkpoint_(checkpoint),
      device_(device),
      dtype_(dtype),
      parts_a_layer_(decoder.config().parallel_block ? 1 : 2),
      layers_(decoder.config().layers) {
  const models::Names& names = models::family(decoder.config().family).names;
  embedding_ = names.embedding + ".weight";
  head_ = names.head + ".weight";
  names_.resize(groups());
  for (auto& parameter : decoder.named_parameters()) {
    names_[group_of(parameter.key())].push_back(parameter.key());
    own_head_ = own_head_ || parameter.key() == head_;
    if (!checkpoint.tensors().contains(parameter.key()))
      added_.emplace(parameter.key(), parameter.value().size(0));
    remove(parameter.value());
  }
}

int64_t LayerReader::group_of(const std::string& name) const {
  const models::Names& names = models::family(decoder_.config().family).names;
  if (models::is_embedding(names, name)) return 0;
  return models::layer_of(names, name).value_or(layers_) + 1;
}

int64_t LayerReader::group_of(int64_t part) const {
  return (part + parts_a_layer_ - 1) / parts_a_layer_;  // the layers count from 1
}

/// A placeholder that also says which dtype and device the weight will have.
void LayerReader::remove(Tensor parameter) const {
  const auto options = at::TensorOptions(device_).dtype(dtype_);
  parameter.set_data(at::zeros({}, options).expand(parameter.sizes()));
}

/// The weights of a group as the checkpoint has them, in the dtype they are held in; for a GPU in
/// page-locked memory, which it copies from by itself.
LayerReader::Group LayerReader::read(int64_t group) const {
  const at::NoGradGuard no_grad;
  const auto& stored = checkpoint_.tensors();
  Group weights;
  for (const std::string& name : names_[group]) {
    Tensor value;
    if (name == head_ && checkpoint_.config().tied_head) {
      value = checkpoint_.read(embedding_);  // even if the file holds a tensor of the head's name
    } else if (stored.contains(name)) {
      value = checkpoint_.read(name);
    } else {  // a bias that only a sliced model has
      value = at::zeros({added_.at(name)}, at::kFloat);
    }
    value = value.to(dtype_);
    weights.emplace(name, device_.is_cuda() ? value.pin_memory() : value);
  }
  return weights;
}

void LayerReader::read_ahead(int64_t group) {
  if (group < 0 || group >= groups() || group == ahead_ || held_.contains(group)) return;
  if (reading_.valid()) reading_.get();  // another group was read ahead
  ahead_ = group;
  reading_ = run_aside([this, group] { return read(group); });
}

void LayerReader::place(int64_t group) {
  const Charge charge(seconds_, device_);
  read_ahead(group);
  SLICE_CHECK_AS(Error, reading_.valid(), "layer by layer: group {} is held already", group);
  ahead_ = -1;
  Group weights = reading_.get();
  for (auto& parameter : decoder_.named_parameters()) {
    const auto found = weights.find(parameter.key());
    if (found == weights.end()) continue;
    const Tensor held = found->second.to(device_, /*non_blocking=*/true);
    SLICE_CHECK_AS(NumericError, std::isfinite(largest_magnitude(held)),
                   "{}: {}: holds a NaN or an Inf, or a value that does not fit into {}",
                   checkpoint_.path().string(), parameter.key(), dtype_name(dtype_));
    parameter.value().set_data(held);
  }
}

void LayerReader::hold(int64_t first_part, int64_t last_part) {
  const int64_t first = group_of(first_part), last = group_of(last_part);
  const bool backwards = first < first_held_ || last == groups() - 1;  // at the head it turns round
  std::vector<int64_t> wanted;  // in the order in which they are read
  for (int64_t i = 0; i <= last - first; ++i) wanted.push_back(backwards ? last - i : first + i);
  if (!own_head_ && first > 0 && last == groups() - 1) wanted.push_back(0);
  for (const int64_t group : std::set<int64_t>(held_))
    if (std::ranges::find(wanted, group) == wanted.end()) remove_group(group);
  std::erase_if(wanted, [this](int64_t group) { return held_.contains(group); });
  for (size_t i = 0; i < wanted.size(); ++i) {
    place(wanted[i]);
    held_.insert(wanted[i]);
    if (i + 1 < wanted.size()) read_ahead(wanted[i + 1]);
  }
  first_held_ = first;
  read_ahead(backwards ? first - 1 : last + 1);
}

void LayerReader::release() {
  for (const int64_t group : std::set<int64_t>(held_)) remove_group(group);
}

void LayerReader::remove_group(int64_t group) {
  const auto parameters = decoder_.named_parameters();
  for (const std::string& name : names_[group]) remove(*parameters.find(name));
  held_.erase(group);
}

}  // namespace slice::detail
