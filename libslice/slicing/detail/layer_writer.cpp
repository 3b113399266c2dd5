#include "libslice/slicing/detail/layer_writer.h"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/detail/thread.h"

namespace slice::detail {

using at::Tensor;

LayerWriter::LayerWriter(DecoderImpl& decoder, LayerReader& reader, const ModelConfig& sliced,
                         const std::filesystem::path& directory, at::Device device,
                         at::ScalarType written, int64_t shard_bytes, ResumeJournal* journal)
    : decoder_(decoder),
      reader_(reader),
      device_(device),
      form_(sliced, written_config(sliced)),
      stored_(form_.entries(), written_config(sliced)),
      written_(reader.groups()),
      writer_(directory, stored_.slots(), written, shard_bytes),
      journal_(journal) {
  int64_t last = 0;
  for (const auto& [name, shape] : form_.entries()) {
    const int64_t group = reader.group_of(name);
    SLICE_CHECK_AS(Error, group >= last, "layer by layer: {} comes after a later layer", name);
    last = group;
    written_[group].push_back(name);
  }
  if (journal_ != nullptr) {
    for (int64_t group = 0; group < journal_->layers_done(); ++group) {
      SLICE_FORMAT_CHECK(hash(group) == journal_->weights_hash(group),
                         "{}: damaged: the tensors from {} on are not those that the run wrote; it "
                         "cannot be resumed",
                         directory.string(), written_[group].front());
    }
    writer_.resume_after(tensors_before(journal_->layers_done()));
  }
  reader_.read_ahead(journal_ == nullptr ? 0 : reader_.group_of(journal_->first_part()));
}

LayerHooks LayerWriter::hooks() {
  return {.enter = [this](int64_t part) { enter(part); },
          .leave = [this](int64_t part) { leave(part); },
          .save = [this](int64_t part, const LoopState& state) { return save(part, state); },
          .journal = journal_};
}

int64_t LayerWriter::tensors_before(int64_t group) const {
  int64_t tensors = 0;
  for (int64_t before = 0; before < group; ++before) {
    tensors += std::ranges::count_if(
        written_[before], [this](const std::string& name) { return stored_.completes(name); });
  }
  return tensors;
}

std::string LayerWriter::hash(int64_t group) const {
  return writer_.sha256(tensors_before(group), tensors_before(group + 1));
}

void LayerWriter::enter(int64_t part) {
  const int64_t group = reader_.group_of(part);
  if (group == entered_) return;
  entered_ = group;
  reader_.place(group);
  const bool last = group + 1 == reader_.groups();
  if (last && !reader_.own_head()) reader_.place(0);  // the head is the embedding, gone by now
  reader_.read_ahead(group + 1);
}

void LayerWriter::leave(int64_t part) {
  const int64_t group = reader_.group_of(part);
  if (group + 1 < reader_.groups() && group == reader_.group_of(part + 1))
    return;  // the layer's other sublayer comes next
  const Charge charge(leave_seconds_);
  if (writing_.valid()) writing_.get();  // two layers on the device at most
  const bool on_disk = journal_ != nullptr && group < journal_->layers_done();
  const auto parameters = decoder_.named_parameters();
  std::vector<std::pair<std::string, Tensor>> weights;
  for (const std::string& name : written_[group]) {
    if (!form_.held(name)) {
      weights.emplace_back(name, Tensor());
      continue;
    }
    const Tensor* held = parameters.find(name);
    SLICE_CHECK_AS(Error, held != nullptr, "layer by layer: {} is missing", name);
    weights.emplace_back(name, held->detach());
    reader_.remove(*held);
  }
  if (on_disk) return;
  if (journal_ == nullptr) {
    writing_ = run_aside([this, weights = std::move(weights)] { write(weights); });
  } else {
    writing_ =
        run_aside([this, group, weights = std::move(weights), found = journal_->take_found()] {
          write_durably(group, weights, found);
        });
  }
}

/// Between two layers the state is saved when it is due; every layer before it is then on the disk.
std::string LayerWriter::save(int64_t part, const LoopState& state) {
  if (journal_ == nullptr || reader_.group_of(part) == reader_.group_of(part - 1)) return {};
  if (!journal_->due(part, state.signal_bytes())) return {};
  {
    const Charge charge(leave_seconds_);
    if (writing_.valid()) writing_.get();
  }
  const std::string reason = journal_->save(part, state);
  if (reason.empty()) return {};
  return formatted("no room to save the signal, so none is saved from now on: {}", reason);
}

/// On a CUDA stream of its own, so that the copies do not wait for the next layer's work. The loop
/// has waited for the device before it left the layer.
void LayerWriter::write(const std::vector<std::pair<std::string, Tensor>>& weights) {
  const at::NoGradGuard no_grad;
  std::optional<c10::StreamGuard> aside;
  if (device_.is_cuda())
    aside.emplace(
        c10::impl::VirtualGuardImpl(device_.type()).getStreamFromGlobalPool(device_, false));
  for (const auto& [name, weight] : weights) {
    if (const auto tensor = stored_.add(name, form_.written(name, weight)))
      writer_.write(tensor->first, tensor->second);
  }
}

void LayerWriter::write_durably(int64_t group,
                                const std::vector<std::pair<std::string, Tensor>>& weights,
                                const std::map<int64_t, FoundSite>& found) {
  const Stopwatch clock;
  int64_t bytes = 0;
  for (const auto& [name, weight] : weights)
    bytes += weight.defined() ? static_cast<int64_t>(weight.nbytes()) : 0;
  write(weights);
  writer_.sync();
  journal_->layer_done(group, found, hash(group), bytes, clock.seconds());
}

void LayerWriter::finish() {
  const Charge charge(leave_seconds_);
  if (writing_.valid()) writing_.get();
  writer_.finish();
}

}  // namespace slice::detail
