// Of cli.h: the device and the type of a model, and loading it.

#include <map>

#include "cli.h"
#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/decode/pipeline.h"
#include "libslice/decode/tensor_parallel.h"
#include "libslice/device/device.h"

namespace cli {

void add_device_option(CLI::App& app, std::optional<at::Device>& device) {
  const auto parse = [&device](const std::string& name) {
    try {
      device = slice::parse_device(name);
    } catch (const slice::DeviceError& error) {
      throw CLI::ValidationError("--device", error.what());
    }
  };
  app.add_option_function<std::string>("--device", parse,
                                       "auto (a GPU where there is one), cpu, cuda, cuda:1 …")
      ->default_str("auto");
}

void add_devices_option(CLI::App& app, std::vector<at::Device>& devices) {
  const auto parse = [&devices](const std::vector<std::string>& numbers) {
    for (const std::string& number : numbers) {
      try {
        devices.push_back(slice::parse_device("cuda:" + number).value());
      } catch (const slice::DeviceError&) {
        throw CLI::ValidationError("--devices", "want numbers of GPUs, got " + number);
      }
    }
  };
  app.add_option_function<std::vector<std::string>>(
         "--devices", parse, "GPUs of this host to divide the model among: 0,1 …")
      ->delimiter(',')
      ->excludes(app.get_option("--device"));
}

void add_dtype_option(CLI::App& app, std::string& dtype, const std::string& help) {
  app.add_option("--dtype", dtype, help)
      ->check(CLI::IsMember({"keep", "bf16", "fp16", "fp32"}))
      ->capture_default_str();
}

slice::Model load(const std::string& path, std::optional<at::Device> device,
                  const std::string& dtype) {
  return slice::load_model(path,
                           {.device = slice::choose_device(device), .dtype = dtype_option(dtype)});
}

std::optional<slice::DividedModel> load_divided(const std::string& path,
                                                const std::vector<at::Device>& devices,
                                                const slice::ProcessGroup& group,
                                                std::optional<at::Device> device,
                                                const std::string& dtype) {
  if (!devices.empty()) return slice::DividedModel(path, devices, dtype_option(dtype));
  if (group.alone()) return std::nullopt;
  return slice::DividedModel(path, group, slice::choose_device(device), dtype_option(dtype));
}

void add_parallel_option(CLI::App& app, std::optional<Division>& division, const char* otherwise) {
  static const std::map<std::string, std::optional<Division>> kDivisions = {
      {"auto", std::nullopt}, {"tensor", Division::kTensor}, {"pipeline", Division::kPipeline}};
  app.add_option_function<std::string>(
         "--parallel", [&division](const std::string& name) { division = kDivisions.at(name); },
         std::string("what each of torchrun's processes has of the model: tensor (a part of every "
                     "layer), pipeline (a run of layers), both on any number of hosts; auto: ") +
             otherwise)
      ->check(CLI::IsMember({"auto", "tensor", "pipeline"}))
      ->default_str("auto");
}

std::optional<Division> division_of(std::optional<Division> asked, const slice::ProcessGroup& group,
                                    std::optional<at::Device> device) {
  if (group.alone()) return std::nullopt;
  if (asked) return asked;
  return slice::choose_device(device).is_cuda() ? Division::kCaptured : Division::kTensor;
}

std::unique_ptr<slice::GroupDecoder> load_part(const std::string& path, Division division,
                                               const slice::ProcessGroup& group,
                                               const slice::GroupDecoderOptions& options) {
  const auto checkpoint = slice::open_checkpoint(path);
  if (division == Division::kPipeline)
    return std::make_unique<slice::Pipeline>(*checkpoint, group, options);
  return std::make_unique<slice::TensorParallel>(*checkpoint, group, options);
}

slice::ProcessGroup join_group(std::optional<at::Device>& device) {
  const auto meeting = slice::rendezvous_from_environment();
  if (!meeting || meeting->size == 1) return {};
  if (slice::choose_device(device).is_cuda() && !(device && device->has_index()))
    device = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(meeting->local_rank));
  return slice::ProcessGroup(*meeting, slice::choose_device(device));
}

std::optional<at::ScalarType> dtype_option(const std::string& text) {
  static const std::map<std::string, at::ScalarType> kTypes = {
      {"fp32", at::kFloat}, {"fp16", at::kHalf}, {"bf16", at::kBFloat16}};
  const auto found = kTypes.find(text);
  if (found == kTypes.end()) return std::nullopt;
  return found->second;
}

}  // namespace cli
