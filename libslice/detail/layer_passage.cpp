#include "libslice/detail/layer_passage.h"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cmath>
#include <optional>
#include <utility>

#include "libslice/detail/check.h"
#include "libslice/detail/finite.h"
#include "libslice/detail/stopwatch.h"
#include "libslice/detail/tensor_text.h"
#include "libslice/models/family.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// A placeholder that also says what will stand in its place.
Tensor absent(at::IntArrayRef shape, at::Device device, at::ScalarType dtype) {
  return at::zeros({1}, at::TensorOptions(device).dtype(dtype)).expand(shape);
}

std::vector<ShardWriter::Slot> slots_of(const ModelConfig& config) {
  std::vector<ShardWriter::Slot> slots;
  for (const auto& parameter : DecoderImpl(config).named_parameters())  // placeholders
    slots.push_back({parameter.key(), parameter.value().sizes().vec()});
  return slots;
}

}  // namespace

LayerPassage::LayerPassage(DecoderImpl& decoder, const Checkpoint& checkpoint,
                           const ModelConfig& sliced, const std::filesystem::path& directory,
                           at::Device device, at::ScalarType dtype, at::ScalarType written,
                           int64_t shard_bytes, SliceRecord* record)
    : decoder_(decoder),
      checkpoint_(checkpoint),
      device_(device),
      dtype_(dtype),
      parts_a_layer_(sliced.parallel_block ? 1 : 2),
      layers_(sliced.layers),
      writer_(directory, slots_of(sliced), written, shard_bytes),
      record_(record) {
  const models::Names& names = models::family(sliced.family).names;
  layers_prefix_ = names.layers + ".";
  embedding_ = names.embedding + ".weight";
  positions_ = names.positions + ".weight";
  head_ = names.head + ".weight";
  dense_.resize(layers_ + 2);
  written_.resize(layers_ + 2);
  for (auto& parameter : decoder.named_parameters()) {
    dense_[group_of(parameter.key())].push_back(parameter.key());
    parameter.value().set_data(absent(parameter.value().sizes(), device, dtype));
  }
  int64_t last = 0;
  for (const ShardWriter::Slot& slot : slots_of(sliced)) {
    const int64_t group = group_of(slot.name);
    SLICE_CHECK(group >= last, "passage: {} stands behind a later layer", slot.name);
    last = group;
    written_[group].push_back(slot.name);
  }
  if (record_ != nullptr) {
    int64_t on_disk = 0;  // tensors
    for (int64_t group = 0; group < record_->layers_done(); ++group)
      on_disk += std::ssize(written_[group]);
    writer_.go_on_behind(on_disk);
  }
  read_ahead(record_ == nullptr ? 0 : group_of(record_->first_part()));
}

Passage LayerPassage::passage() {
  return {.enter = [this](int64_t part) { enter(part); },
          .leave = [this](int64_t part) { leave(part); },
          .rest = [this](int64_t part, const Stream& x, const Tensor& P) { rest(part, x, P); },
          .record = record_};
}

int64_t LayerPassage::group_of(const std::string& name) const {
  if (name == embedding_ || name == positions_) return 0;
  if (!name.starts_with(layers_prefix_)) return layers_ + 1;
  return std::stoll(name.substr(layers_prefix_.size())) + 1;  // up to the next dot
}

int64_t LayerPassage::group_of(int64_t part) const {
  return (part + parts_a_layer_ - 1) / parts_a_layer_;  // the layers count from 1
}

/// The weights of a group as the checkpoint has them, in the dtype they are held in; on their way
/// to a GPU in memory that it can copy from by itself.
LayerPassage::Group LayerPassage::read(int64_t group) const {
  const at::NoGradGuard no_grad;
  const auto& stored = checkpoint_.tensors();
  Group weights;
  for (const std::string& name : dense_[group]) {
    Tensor value;
    if (name == head_ && checkpoint_.config().tied_head) {
      value = checkpoint_.read(embedding_);  // whatever else the file holds under the head's name
    } else if (stored.contains(name)) {
      value = checkpoint_.read(name);
    } else {  // a bias that the family's heads have none of
      value = at::zeros({decoder_.config().vocabulary_size}, at::kFloat);
    }
    value = value.to(dtype_);
    weights.emplace(name, device_.is_cuda() ? value.pin_memory() : value);
  }
  return weights;
}

void LayerPassage::read_ahead(int64_t group) {
  if (group > layers_ + 1) return;
  reading_ = std::async(std::launch::async, [this, group] { return read(group); });
}

void LayerPassage::enter(int64_t part) {
  const int64_t group = group_of(part);
  if (group == entered_) return;
  const Charge charge(enter_seconds_, device_);
  Group weights = reading_.get();
  entered_ = group;
  read_ahead(group + 1);
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

void LayerPassage::leave(int64_t part) {
  const int64_t group = group_of(part);
  if (group <= layers_ && group == group_of(part + 1)) return;  // its other sublayer comes
  const Charge charge(leave_seconds_);
  if (writing_.valid()) writing_.get();  // two layers on the device at most
  const bool on_disk = record_ != nullptr && group < record_->layers_done();
  const auto parameters = decoder_.named_parameters();
  std::vector<std::pair<std::string, Tensor>> weights;
  for (const std::string& name : written_[group]) {
    const Tensor* held = parameters.find(name);
    SLICE_CHECK(held != nullptr, "passage: {} is missing", name);
    weights.emplace_back(name, held->detach());
    Tensor parameter = *held;
    parameter.set_data(absent(held->sizes(), device_, dtype_));
  }
  if (on_disk) return;
  if (record_ == nullptr) {
    writing_ =
        std::async(std::launch::async, [this, weights = std::move(weights)] { write(weights); });
  } else {
    writing_ = std::async(std::launch::async, [this, group, weights = std::move(weights),
                                               found = record_->take_found()] {
      write_durably(group, weights, found);
    });
  }
}

/// Between two layers the signal is saved if it is time for that; then all before it is on the
/// disk.
void LayerPassage::rest(int64_t part, const Stream& x, const Tensor& P) {
  if (record_ == nullptr || group_of(part) == group_of(part - 1)) return;
  if (!record_->due(part, static_cast<int64_t>(x.signal().nbytes()))) return;
  {
    const Charge charge(leave_seconds_);
    if (writing_.valid()) writing_.get();
  }
  record_->save(part, x, P);
}

/// On a stream of its own, so that the copies do not queue behind the next layer's work. The loop
/// has waited for the device before it left.
void LayerPassage::write(const std::vector<std::pair<std::string, Tensor>>& weights) {
  const at::NoGradGuard no_grad;
  std::optional<c10::StreamGuard> aside;
  if (device_.is_cuda())
    aside.emplace(
        c10::impl::VirtualGuardImpl(device_.type()).getStreamFromGlobalPool(device_, false));
  for (const auto& [name, weight] : weights) writer_.write(name, weight);
}

void LayerPassage::write_durably(int64_t group,
                                 const std::vector<std::pair<std::string, Tensor>>& weights,
                                 const std::map<int64_t, FoundSite>& found) {
  const Stopwatch clock;
  int64_t bytes = 0;
  for (const auto& [name, weight] : weights) bytes += static_cast<int64_t>(weight.nbytes());
  write(weights);
  writer_.sync();
  record_->layer_done(group, found, bytes, clock.seconds());
}

void LayerPassage::finish() {
  const Charge charge(leave_seconds_);
  if (writing_.valid()) writing_.get();
  writer_.finish();
}

}  // namespace slice::detail
