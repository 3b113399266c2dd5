#include "libslice/decode/detail/divided_devices.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/device/detail/memory.h"
#include "libslice/device/process_group.h"
#include "libslice/model/decoder.h"

namespace slice::detail {

DividedDevices::DividedDevices(const DecoderImpl& whole, const std::vector<at::Device>& devices,
                               const MakeWeight& weight)
    : devices_(devices),
      memory_(make_peer_memory(devices)),
      parts_(devices.size()),
      threads_(devices, [this] { memory_->stop(); }) {
  make_parts(whole, parts(), 0, weight);
}

DividedDevices::DividedDevices(const DecoderImpl& whole, const ProcessGroup& group,
                               at::Device device, const MakeWeight& weight)
    : devices_({device}),
      memory_(make_peer_memory(device, group)),
      parts_(1),
      threads_(devices_, [] {}) {  // the other processes fail alike, or see that this one ends
  make_parts(whole, group.size(), group.rank(), weight);
}

void DividedDevices::make_parts(const DecoderImpl& whole, int64_t ranks, int64_t first_rank,
                                const MakeWeight& weight) {
  run([&](int64_t number) {
    const at::NoGradGuard no_grad;
    Part& part = parts_[number];
    const at::Device device = devices_[number];
    const int64_t rank = first_rank + number;
    const RankShare share(whole, ranks, rank, /*divides_vocabulary=*/false);
    name_memory(formatted("part {} of {} of a model", rank + 1, ranks), device, [&] {
      part.decoder = std::make_shared<DecoderImpl>(share.config());
      for (auto& parameter : part.decoder->named_parameters())
        parameter.value().set_data(weight(parameter.key(), share, device));
    });
    part.link = std::make_unique<RankLink>(memory_->of_rank(rank));
  });
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
  } catch (...) {
    memory_->reset();  // no part works any more
    throw;
  }
}

}  // namespace slice::detail
