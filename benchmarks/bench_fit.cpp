// Whether `--fit` is right: the plan that a memory budget gives for a shape, with random weights,
// is run at the context and batch it was asked for, and the device memory that is then in use is
// printed beside the prediction.
//
//   bench_fit CONFIG --name NAME --fit GIB [--context N] [--batch N] [rows.csv]
//
// In use is what the driver counts, the CUDA context and LibTorch's cache included, so nothing else
// may run on the card. SLICE_COMMIT names the commit in the rows.

#include <ATen/ATen.h>
#include <cuda_runtime_api.h>
#include <fmt/core.h>

#include <cmath>
#include <cstdio>

#include "benchmarks/bench.h"
#include "examples/cli.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/decode/generator.h"
#include "libslice/decode/memory.h"
#include "libslice/device/device.h"
#include "libslice/method/plan.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/search.h"

namespace {

using at::Tensor;

double used_gib() {
  size_t free = 0, total = 0;
  slice::bench::check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return static_cast<double>(total - free) / 0x1p30;
}

/// The configuration of the candidate that keeps the most, its channels spread evenly.
slice::ModelConfig fitting_config(const slice::ModelConfig& dense,
                                  const slice::SliceOptions& options) {
  return slice::planned_config(
      dense, slice::candidate_options(options, slice::candidates(dense, options).front()));
}

slice::Model random_model(const slice::ModelConfig& config, at::Device device) {
  auto decoder = std::make_shared<slice::DecoderImpl>(config);
  const auto options = at::TensorOptions(device).dtype(at::kHalf);
  for (auto& parameter : decoder->named_parameters()) {
    const auto shape = parameter.value().sizes().vec();
    Tensor value = at::empty(shape, options);
    value.normal_(0, 1 / std::sqrt(static_cast<double>(shape.back())));
    parameter.value().set_data(value);
  }
  return slice::Model(decoder, nullptr, at::kHalf);
}

}  // namespace

int main(int argc, char** argv) {
  std::string config_path, rows = "fit.csv", name;
  double gib = 0;
  slice::SliceOptions options;
  CLI::App app("Compares the memory that --fit predicts with what is used.", "bench_fit");
  app.add_option("CONFIG", config_path, "config.json, or a directory that holds one")->required();
  app.add_option("rows", rows, "CSV file the row is appended to");
  app.add_option("--fit", gib, "budget in GiB")->required();
  app.add_option("--name", name, "of the shape, in the row")->required();
  app.add_option("--context", options.fit_context, "tokens of a sequence");
  app.add_option("--batch", options.fit_batch, "sequences");
  return cli::run(app, argc, argv, [&] {
    const at::NoGradGuard no_grad;
    const at::Device device = slice::choose_device(at::kCUDA);
    options.fit_bytes = static_cast<int64_t>(gib * 0x1p30);
    const slice::ModelConfig dense = slice::read_config(config_path);
    const slice::ModelConfig config = fitting_config(dense, options);
    const double predicted =
        static_cast<double>(slice::inference_bytes(config, options.fit_weight_bytes,
                                                   options.fit_context, options.fit_batch)) /
        0x1p30;
    at::zeros({1}, device);
    const double context = used_gib();
    const slice::Model model = random_model(config, device);
    const double weights = used_gib();
    slice::Generator generator(model, options.fit_context, options.fit_batch);
    constexpr int64_t kWritten = 8;
    const auto ids = at::TensorOptions(at::kLong);
    Tensor logits = generator.feed(at::randint(
        config.vocabulary_size, {options.fit_batch, options.fit_context - kWritten}, ids));
    const double prefilled = used_gib();
    for (int i = 0; i < kWritten; ++i)
      logits = generator.feed(logits.argmax(-1, /*keepdim=*/true).cpu());
    const double used = used_gib();
    std::printf(
        "%s: budget %.2f GiB, k %lld, %lld channels a layer: predicted %.3f GiB, used %.3f GiB "
        "(%+.2f %%): context %.3f, with weights %.3f, after the prompt %.3f\n",
        name.c_str(), gib, static_cast<long long>(config.stream_size(0)),
        static_cast<long long>(config.ffn_width(0)), predicted, used, 100 * (predicted / used - 1),
        context, weights, prefilled);
    slice::bench::Row row;
    row.benchmark = "fit";
    row.model = name;
    row.form = fmt::format("fit{:.0f}GiB-k{}-f{}", gib, config.stream_size(0), config.ffn_width(0));
    row.dtype = "float16";
    row.batch = std::to_string(options.fit_batch);
    row.length = std::to_string(options.fit_context);
    row.metric = "peak_device_gib";
    row.value = used;
    row.unit = "GiB";
    row.baseline = "predicted";
    row.baseline_value = predicted;
    slice::bench::Csv(rows).write(row);
  });
}
