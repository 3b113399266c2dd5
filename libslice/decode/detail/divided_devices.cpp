#include "libslice/decode/detail/divided_devices.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/device/detail/memory.h"
#include "libslice/model/decoder.h"

namespace slice::detail {

DividedDevices::DividedDevices(const DecoderImpl& whole, const std::vector<at::Device>& devices,
                               const MakeWeight& weight)
    : devices_(devices),
      memory_(make_peer_memory(devices)),
      parts_(devices.size()),
      threads_(devices, [this] { memory_->stop(); }) {
  run([&](int64_t number) {
    const at::NoGradGuard no_grad;
    Part& part = parts_[number];
    const at::Device device = devices_[number];
    const RankShare share(whole, parts(), number, /*divides_vocabulary=*/false);
    name_memory(formatted("part {} of {} of a model", number + 1, parts()), device, [&] {
      part.decoder = std::make_shared<DecoderImpl>(share.config());
      for (auto& parameter : part.decoder->named_parameters())
        parameter.value().set_data(weight(parameter.key(), share, device));
    });
    part.link = std::make_unique<RankLink>(memory_->of_rank(number));
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
