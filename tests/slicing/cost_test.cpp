#include "libslice/slicing/cost.h"

#include <catch2/catch_all.hpp>

#include "libslice/checkpoint/model.h"
#include "tests/support/published_models.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using namespace tests;

LayerwiseCost cost_of(int64_t layers, const LayerwiseOptions& layerwise = {}, int64_t tokens = 4096,
                      Method method = Method::kSliceGpt,
                      std::optional<FreeMemory> free = std::nullopt) {
  ModelConfig config = tiny_config();
  config.layers = layers;
  const TemporaryDirectory scratch;
  save_model(random_model(config, 1, at::kHalf), scratch.path() / "model");
  const auto checkpoint = open_checkpoint(scratch.path() / "model");
  const ModelConfig sliced = planned_config(config, {.method = method, .slice = 0.3, .round = 1});
  return free ? expected_layerwise_cost(*checkpoint, sliced, method, tokens, 64, layerwise, *free)
              : expected_layerwise_cost(*checkpoint, sliced, method, tokens, 64, layerwise);
}

TEST_CASE("expected costs cover the weights and grow with the calibration") {
  const ModelConfig dense = smollm2_135m();
  const std::vector<int64_t> sizes(61, 432);
  const ModelConfig sliced = sliced_config(dense, sizes);
  const ExpectedCost few = expected_cost(dense, sliced, Method::kSliceGpt, 2048, 2048, 2),
                     many = expected_cost(dense, sliced, Method::kSliceGpt, 128 * 2048, 2048, 2);
  const int64_t untied = count_parameters(dense).total + dense.vocabulary_size * dense.hidden_size;
  CHECK(few.host_bytes > 4 * untied);
  CHECK(few.disk_bytes == 2 * count_parameters(sliced).total);
  CHECK(many.disk_bytes == few.disk_bytes);
  CHECK(many.host_bytes - few.host_bytes == 4 * 127 * 2048 * dense.hidden_size);  // the signal
  CHECK(many.flop > few.flop);
  CHECK(few.gradient_flop == 0);
  const ExpectedCost refit = expected_cost(dense, sliced, Method::kRefit, 2048, 2048, 2);
  CHECK(refit.host_bytes > few.host_bytes);  // a second signal, moments
  CHECK(refit.flop > few.flop);
  CHECK(refit.gradient_flop > 0);
  CHECK(refit.gradient_flop < refit.flop);
  CHECK(refit.disk_bytes == few.disk_bytes);
}

TEST_CASE("costs of a model of uneven widths are those of its own layers") {
  const ModelConfig even = smollm2_135m();
  std::vector<int64_t> widths(30, 512);
  widths[7] = 1536;
  ModelConfig uneven = narrowed_config(even, widths), overstated = uneven;
  overstated.ffn_size = 6000;  // no layer has it
  const int64_t less = count_parameters(even).total - count_parameters(uneven).total;
  for (const Method method : {Method::kSliceGpt, Method::kRefit}) {
    const auto cost = [&](const ModelConfig& dense) {
      return expected_cost(dense, dense, method, 2048, 2048, 2);
    };
    CHECK(cost(uneven).host_bytes == cost(even).host_bytes - 4 * less);  // the widest's peak
    CHECK(cost(uneven).flop < cost(even).flop);
    CHECK(cost(overstated).host_bytes == cost(uneven).host_bytes);
    CHECK(cost(overstated).flop == cost(uneven).flop);
  }
}

TEST_CASE("memory does not grow with depth, disk and arithmetic do") {
  const LayerwiseCost shallow = cost_of(2), deep = cost_of(10);
  CHECK(shallow.host_bytes == deep.host_bytes);
  CHECK(shallow.device_bytes == 0);
  CHECK(deep.disk_bytes > 3 * shallow.disk_bytes);
  CHECK(deep.flop > 3 * shallow.flop);
  const LayerwiseOptions gpu{.device = at::Device(at::kCUDA, 0)};
  CHECK(cost_of(2, gpu).device_bytes == cost_of(10, gpu).device_bytes);
  CHECK(cost_of(2, gpu).host_bytes == cost_of(10, gpu).host_bytes);
  CHECK(cost_of(2, gpu).device_bytes > 0);
}

TEST_CASE("the signal is counted where it lives") {
  const int64_t D = 24, tokens = 4096, signal = tokens * D * 2, plenty = int64_t{1} << 40;
  const LayerwiseOptions gpu{.device = at::Device(at::kCUDA, 0)};
  const auto cost = [&](FreeMemory free) {
    return cost_of(3, gpu, tokens, Method::kSliceGpt, free);
  };
  const LayerwiseCost device = cost({plenty, plenty}), host = cost({0, plenty}),
                      disk = cost({0, 0});
  CHECK(device.signal == SignalPlace::kDevice);
  CHECK(host.signal == SignalPlace::kHost);
  CHECK(disk.signal == SignalPlace::kDisk);
  CHECK(device.device_bytes - host.device_bytes == signal);
  CHECK(host.host_bytes - device.host_bytes == signal);
  CHECK(disk.scratch_bytes == signal);
  CHECK(disk.host_bytes == device.host_bytes);
  CHECK(disk.device_bytes == host.device_bytes);
  CHECK(device.scratch_bytes == 0);
  // Just what it takes, and a byte less.
  CHECK(cost({device.device_bytes, 0}).signal == SignalPlace::kDevice);
  CHECK(cost({device.device_bytes - 1, 0}).signal == SignalPlace::kDisk);
}

TEST_CASE("a journal holds two signals and the bases of the layers between them") {
  const int64_t D = 24, k = 16, tokens = 4096, signal = tokens * k * 4, layer = 2 * D * k * 8;
  const LayerwiseCost all = cost_of(10), few = cost_of(10, {.save_every = 3});
  CHECK(all.signal_bytes == signal);
  CHECK(all.layer_bytes == layer);
  CHECK(all.journal_bytes == 2 * signal + 11 * layer);
  CHECK(few.journal_bytes == 2 * signal + 4 * layer);
  CHECK(cost_of(10, {.device = at::Device(at::kCUDA, 0)}).signal_bytes == signal / 2);
}

TEST_CASE("refit takes more memory, some of it with depth; its journal holds both signals and Γ") {
  const int64_t D = 24, tokens = 4096;
  const LayerwiseCost paper = cost_of(9), refit = cost_of(9, {}, tokens, Method::kRefit),
                      deeper = cost_of(16, {}, tokens, Method::kRefit);
  CHECK(refit.host_bytes > paper.host_bytes + tokens * D * 4);
  // One run of layers more, and Γ of fourteen sites.
  CHECK(deeper.host_bytes - refit.host_bytes == tokens * D * 4 + 14 * D * D * 8);
  const int64_t k = 16, sites = 2 * 9 + 1;
  CHECK(refit.signal_bytes == tokens * (k + D) * 4);
  CHECK(refit.gradient_bytes == sites * D * D * 8);
  CHECK(refit.layer_bytes == 0);
  CHECK(refit.journal_bytes == 2 * (refit.signal_bytes + D * k * 8) + refit.gradient_bytes);
  CHECK(paper.gradient_bytes == 0);
}

}  // namespace
}  // namespace slice
