// Prompts through whole models of real shapes and random weights, float16: milliseconds until the
// logits after the last token are there, the floor (FLOP over the largest float16 product measured
// in the same run) and LibTorch's modules with a KV cache.
//
//   bench_prefill [rows.csv] [model[:form] …]      SLICE_COMMIT names the commit in the rows
//
// Without a model all forms of llama2-7b: dense; slice25-dense, slice25-diagonal, slice25-none:
// k = 3/4 of D at every site; stock25: a dense checkpoint with 3/4 of a layer's weights. One prompt
// of 2048 tokens and eight.
//
// Shares of two forms divide like their speeds over their FLOP: a sliced model that reaches the
// dense one's share is as much faster as its arithmetic is less.

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cublas_v2.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "benchmarks/bench.h"
#include "benchmarks/ceilings.h"
#include "benchmarks/models.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/generator.h"
#include "libslice/model/decoder.h"

namespace {

using namespace slice;  // NOLINT(google-build-using-namespace): a program, not a header
using at::Tensor;

constexpr int64_t kLength = 2048;
constexpr int64_t kBatches[] = {1, 8};
constexpr const char* kModels[] = {"llama2-7b", "llama2-13b"};
constexpr const char* kForms[] = {"dense", "slice25-dense", "slice25-diagonal", "slice25-none",
                                  "stock25"};

int samples_of(int64_t batch) { return batch == 1 ? 11 : 5; }

/// Of the layers' products, causal attention, and the head on the last token of each sequence.
double flop(const Model& model, int64_t batch) {
  const ModelConfig& c = model.config();
  double weights = 0;
  for (const auto& parameter : model.decoder().named_parameters()) {
    const bool of_layer = parameter.key().find("layers.") != std::string::npos;
    if (of_layer && parameter.value().dim() == 2)
      weights += static_cast<double>(parameter.value().numel());
  }
  const double seen = static_cast<double>(kLength) / 2;  // keys a query, causality counted
  const double attention = static_cast<double>(2 * c.layers * c.heads * c.head_size) * seen;
  const auto head = static_cast<double>(c.vocabulary_size * c.stream_size(c.sites() - 1));
  return 2 * static_cast<double>(batch) *
         (static_cast<double>(kLength) * (weights + attention) + head);
}

Tensor random_prompt(const Model& model, int64_t batch) {
  return at::randint(0, model.config().vocabulary_size, {batch, kLength},
                     at::TensorOptions().dtype(at::kLong).device(at::kCUDA));
}

double modules_ms(const Model& model, int64_t batch, cudaStream_t stream) {
  const at::NoGradGuard no_grad;
  const DecoderImpl& decoder = model.decoder();
  const Tensor prompt = random_prompt(model, batch);
  KvCache cache(model.config(), batch, kLength, at::TensorOptions(at::kCUDA).dtype(at::kHalf));
  Tensor logits;
  return bench::median_ms(stream, samples_of(batch), [&] {
    cache.truncate(0);
    logits = decoder.logits(decoder.stream(prompt, &cache).select(1, -1));
  });
}

double generator_ms(const Model& model, int64_t batch, cudaStream_t stream) {
  const Tensor prompt = random_prompt(model, batch);
  Generator generator(model, kLength, batch);
  return bench::median_ms(stream, samples_of(batch), [&] {
    generator.truncate(0);
    generator.feed(prompt);
  });
}

/// Milliseconds for each batch. The modules come first: decoding lays the weights out anew.
std::vector<double> measured(const Model& model,
                             double (*measure)(const Model&, int64_t, cudaStream_t)) {
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream().stream();
  std::vector<double> times;
  for (const int64_t batch : kBatches) {
    times.push_back(measure(model, batch, stream));
    c10::cuda::CUDACachingAllocator::emptyCache();
  }
  return times;
}

void report(const std::string& model, const std::string& form, int64_t batch, double ours,
            double floor, double theirs, double dense_share, bench::Csv& csv) {
  bench::Row row;
  row.benchmark = "prefill";
  row.model = model;
  row.form = form;
  row.dtype = "float16";
  row.batch = std::to_string(batch);
  row.length = std::to_string(kLength);
  row.metric = "prefill_ms";
  row.value = ours;
  row.unit = "ms";
  row.floor = floor;
  row.baseline = "libtorch";
  row.baseline_value = theirs;
  csv.write(row);
  std::printf("%-10s %-16s B=%ld %8.2f ms  floor %8.2f (%5.1f%%)  libtorch %8.2f (%.2fx)",
              model.c_str(), form.c_str(), static_cast<long>(batch), ours, floor,
              100 * floor / ours, theirs, theirs / ours);
  if (dense_share > 0) {
    std::printf("  of the FLOP ratio to dense %5.1f%%", 100 * floor / ours / dense_share);
  }
  std::printf("\n");
  std::fflush(stdout);
}

double measure_ceiling() {
  const bench::Stream stream;
  bench::Timer timer(stream.get());
  cublasHandle_t cublas = nullptr;
  if (cublasCreate(&cublas) != CUBLAS_STATUS_SUCCESS ||
      cublasSetStream(cublas, stream.get()) != CUBLAS_STATUS_SUCCESS)
    throw std::runtime_error("cuBLAS does not start");
  const double tflops = bench::measure_half_tflops(timer, cublas, stream.get());
  cublasDestroy(cublas);
  return tflops;
}

void run(const std::string& name, const std::vector<std::string>& wanted, double tflops,
         bench::Csv& csv) {
  const ModelConfig dense = bench::published_config(name);
  std::vector<double> dense_shares(std::size(kBatches), 0.0);
  for (const std::string form : kForms) {
    const bool is_wanted =
        wanted.empty() ? name == kModels[0]
                       : std::any_of(wanted.begin(), wanted.end(), [&](const std::string& text) {
                           return text == name || text == name + ":" + form;
                         });
    if (!is_wanted) continue;
    const Model model = bench::random_model(bench::config_of_form(dense, form), at::kCUDA);
    const std::vector<double> theirs = measured(model, modules_ms),
                              ours = measured(model, generator_ms);
    for (size_t i = 0; i < ours.size(); ++i) {
      const double floor = flop(model, kBatches[i]) / tflops * 1e-9;
      report(name, form, kBatches[i], ours[i], floor, theirs[i], dense_shares[i], csv);
      if (form == "dense") dense_shares[i] = floor / ours[i];
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (!bench::has_gpu()) throw std::runtime_error("no CUDA device");
  bench::Csv csv(argc > 1 ? argv[1] : "prefill.csv");
  const std::vector<std::string> wanted(argv + std::min(argc, 2), argv + argc);
  const double tflops = measure_ceiling();
  std::printf("float16 product of 8192^3: %.0f TFLOP/s\n", tflops);
  const c10::cuda::CUDAStreamGuard guard(c10::cuda::getStreamFromPool());
  for (const char* model : kModels) run(model, wanted, tflops, csv);
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_prefill: %s\n", error.what());
  return 1;
}
