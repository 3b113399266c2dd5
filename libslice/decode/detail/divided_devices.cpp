#include "libslice/decode/detail/divided_devices.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/device/detail/memory.h"
#include "libslice/device/process_group.h"
#include "libslice/model/decoder.h"

namespace slice::detail {

namespace {

/// What comes of the caller's arguments or of logits, before any rank does anything or after all
/// have done it.
bool all_ranks_have(const std::exception& error) {
  return dynamic_cast<const ArgumentError*>(&error) != nullptr ||
         dynamic_cast<const NumericError*>(&error) != nullptr;
}

}  // namespace

DividedDevices::DividedDevices(const DecoderImpl& whole, const std::vector<at::Device>& devices,
                               const MakeWeight& weight)
    : devices_(devices),
      ranks_(parts()),
      memory_(make_peer_memory(devices)),
      parts_(devices.size()),
      threads_(devices, [this] { memory_->stop(); }) {
  make_parts(whole, 0, weight);
}

DividedDevices::DividedDevices(const DecoderImpl& whole, const ProcessGroup& group,
                               at::Device device, const MakeWeight& weight)
    : devices_({device}),
      ranks_(group.size()),
      memory_(make_peer_memory(device, group)),
      parts_(1),
      threads_(devices_, [] {}) {
  make_parts(whole, group.rank(), weight);
}

void DividedDevices::make_parts(const DecoderImpl& whole, int64_t first_rank,
                                const MakeWeight& weight) {
  const auto make = [&](int64_t number) {
    const at::NoGradGuard no_grad;
    Part& part = parts_[number];
    const at::Device device = devices_[number];
    const int64_t rank = first_rank + number;
    const RankShare share(whole, ranks_, rank, /*divides_vocabulary=*/false);
    name_memory(formatted("part {} of {} of a model", rank + 1, ranks_), device, [&] {
      part.decoder = std::make_shared<DecoderImpl>(share.config());
      for (auto& parameter : part.decoder->named_parameters())
        parameter.value().set_data(weight(parameter.key(), share, device));
    });
    part.link = std::make_unique<RankLink>(memory_->of_rank(rank));
  };
  try {
    run(make);
  } catch (...) {
    memory_->hang_up();  // whatever it is, the others may not have it
    throw;
  }
}

DividedDevices::~DividedDevices() {
  try {
    run([&](int64_t part) { parts_[part] = {}; });
  } catch (const std::exception&) {  // of a device that has failed
  }
}

void DividedDevices::run(const std::function<void(int64_t)>& task) {
  const std::lock_guard turn(turn_);
  try {
    threads_.run(task);
    memory_->check_contact();
  } catch (const std::exception& error) {
    if (!all_ranks_have(error)) memory_->hang_up();
    memory_->reset();  // no part works any more
    throw;
  }
}

}  // namespace slice::detail
