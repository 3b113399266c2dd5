#include "libslice/decode/divided_model.h"

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/finite.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/decode/detail/divided_devices.h"
#include "libslice/decode/generator.h"
#include "libslice/device/device.h"
#include "libslice/device/process_group.h"
#include "libslice/model/decoder.h"

namespace slice {

using at::Tensor;

namespace {

std::vector<at::Device> chosen(const std::vector<at::Device>& devices) {
  std::vector<at::Device> result;
  for (const at::Device& device : devices) result.push_back(choose_device(device));
  return result;
}

void check_captured(const ModelConfig& config, at::ScalarType dtype) {
  SLICE_ARGUMENT_CHECK(decodes_captured(config) && dtype != at::kDouble,
                       "several GPUs: want a model of parts that the kernels have, in float32 or a "
                       "16-bit type; others run as a pipeline of processes");
}

}  // namespace

template <typename Make>
void DividedModel::read(const std::filesystem::path& path, std::optional<at::ScalarType> dtype,
                        const Make& make) {
  const auto checkpoint = open_checkpoint(path);
  whole_ = std::make_shared<Model>(model_without_weights(*checkpoint));
  const at::ScalarType held = dtype ? *dtype : stored_dtype(*checkpoint).value_or(at::kHalf);
  check_captured(config(), held);
  check_entries(whole_->decoder(), *checkpoint);
  parts_ = make([&](const std::string& name, const detail::RankShare& share, at::Device device) {
    const Tensor part = share.of(name, checkpoint->read(name)).to(device, held);
    detail::check_finite(part, path.string() + ": " + name);
    return part;
  });
}

DividedModel::DividedModel(const std::filesystem::path& path,
                           const std::vector<at::Device>& devices,
                           std::optional<at::ScalarType> dtype) {
  read(path, dtype, [&](const detail::DividedDevices::MakeWeight& weight) {
    return std::make_shared<detail::DividedDevices>(whole_->decoder(), chosen(devices), weight);
  });
}

DividedModel::DividedModel(const std::filesystem::path& path, const ProcessGroup& group,
                           at::Device device, std::optional<at::ScalarType> dtype) {
  read(path, dtype, [&](const detail::DividedDevices::MakeWeight& weight) {
    return std::make_shared<detail::DividedDevices>(whole_->decoder(), group, choose_device(device),
                                                    weight);
  });
}

DividedModel::DividedModel(const ModelConfig& config, const std::vector<at::Device>& devices,
                           const MakeWeight& weight)
    : whole_(std::make_shared<Model>(std::make_shared<DecoderImpl>(config), nullptr, at::kHalf)) {
  check_captured(config, at::kHalf);
  const auto shapes = whole_->decoder().named_parameters();
  parts_ = std::make_shared<detail::DividedDevices>(
      whole_->decoder(), chosen(devices),
      [&](const std::string& name, const detail::RankShare& share, at::Device device) {
        return weight(name, share.shape(name, shapes[name].sizes().vec()), device);
      });
}

const std::vector<at::Device>& DividedModel::devices() const { return parts_->devices(); }
bool DividedModel::spans_processes() const { return parts_->ranks() > parts_->parts(); }

int64_t DividedModel::parameters(int64_t number) const {
  int64_t count = 0;
  for (const auto& parameter : parts_->decoder(number).named_parameters())
    count += parameter.value().numel();
  return count;
}

}  // namespace slice
