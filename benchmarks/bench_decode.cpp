// Decoding whole models of real shapes and random weights, float16: milliseconds a token of the
// captured graph, the floor (bytes read over the read bandwidth measured in the same run) and
// LibTorch's modules with a KV cache; and of the same graph with tokens sampled, beside the greedy
// one.
//
//   bench_decode [rows.csv] [model[:form] …]      SLICE_COMMIT names the commit in the rows
//
// Without a model those of kModels. Without a form: dense; slice25-dense, slice25-diagonal,
// slice25-none: k = 3/4 of D at every site; stock25: a dense checkpoint with 3/4 of a layer's
// weights. benchmarks/models.h has the others. The dense 7B is measured for 1 … 256 sequences.
//
// OPT-66B and 70B do not fit: four and twelve of their layers are measured, and all of them
// modelled, the first four and as often as there are more what one more takes.

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

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

constexpr int64_t kPrompt = 128;                 // tokens in the cache before the clock starts
constexpr int64_t kRun = 32;                     // tokens a sample
constexpr int64_t kLength = kPrompt + kRun / 2;  // of the context, in the middle of a sample
constexpr int kSamples = 9;
const SamplingOptions kSampled = {.temperature = 0.8, .top_p = 0.9};
constexpr int64_t kFewLayers = 4, kMoreLayers = 12;  // of a model that does not fit

constexpr const char* kModels[] = {"smollm2-135m", "llama2-7b", "llama2-13b", "llama2-70b"};
constexpr int64_t kMostLayers = 48;  // what a card of 80 GB holds of any of them
const std::vector<int64_t> kCurve = {1, 2, 4, 8, 16, 32, 64, 128, 256};
constexpr const char* kForms[] = {"dense", "slice25-dense", "slice25-diagonal", "slice25-none",
                                  "stock25"};

Model random_model(const ModelConfig& dense, const std::string& form) {
  return bench::random_model(bench::config_of_form(dense, form), at::kCUDA);
}

/// Bytes that one step must read: every weight but the embedding, of which it reads a row, and the
/// cache.
double bytes_read(const Model& model, int64_t batch, int64_t length) {
  const ModelConfig& c = model.config();
  double bytes = 0;
  for (const auto& parameter : model.decoder().named_parameters()) {
    const bool is_embedding = parameter.key().find("embed") != std::string::npos;
    if (!is_embedding || c.tied_head) bytes += static_cast<double>(parameter.value().nbytes());
  }
  return bytes + static_cast<double>(2 * c.layers * batch * c.kv_heads * c.head_size * length) * 2;
}

double modules_ms(const Model& model, const Tensor& prompt, cudaStream_t stream) {
  const DecoderImpl& decoder = model.decoder();
  constexpr int64_t kTokens = 8;
  const at::NoGradGuard no_grad;
  KvCache cache(model.config(), prompt.size(0), kPrompt + kTokens,
                at::TensorOptions(at::kCUDA).dtype(at::kHalf));
  decoder.stream(prompt, &cache);
  const double run = bench::median_ms(stream, 3, [&] {
    cache.truncate(kPrompt);
    Tensor token = prompt.slice(1, 0, 1);
    for (int64_t i = 0; i < kTokens; ++i)
      token = decoder.forward(token, &cache).select(1, -1).argmax(1, true);
  });
  return run / kTokens;
}

struct Figures {
  double ours, floor, theirs, sampled;  // ms a token
};

Figures measure(const Model& model, int64_t batch, double read_gbs) {
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream().stream();
  const Tensor prompt = at::randint(0, model.config().vocabulary_size, {batch, kPrompt},
                                    at::TensorOptions().dtype(at::kLong).device(at::kCUDA));
  const double theirs = modules_ms(model, prompt, stream);
  c10::cuda::CUDACachingAllocator::emptyCache();
  Generator generator(model, batch > 32 ? kPrompt + kRun : 512, batch);
  const auto token_ms = [&](const SamplingOptions& sampling) {
    const double run = bench::median_ms(stream, kSamples, [&] {
      generator.truncate(std::min(generator.length(), kPrompt - 1));
      if (generator.length() == 0) generator.feed(prompt.slice(1, 0, kPrompt - 1));
      generator.feed(prompt.slice(1, kPrompt - 1));
      generator.continue_sampled(kRun - 1, sampling, /*seed=*/1);
    });
    return run / kRun;
  };
  const double greedy = token_ms({});
  return {greedy, bytes_read(model, batch, kLength) / read_gbs * 1e-6, theirs, token_ms(kSampled)};
}

/// Of all layers from those of a few and of some more.
Figures modelled(const ModelConfig& dense, const std::string& form, double read_gbs) {
  ModelConfig part = dense;
  const auto measured = [&](int64_t layers) {
    part.layers = layers;
    const Figures figures = measure(random_model(part, form), 1, read_gbs);
    c10::cuda::CUDACachingAllocator::emptyCache();
    return figures;
  };
  const Figures few = measured(kFewLayers), more = measured(kMoreLayers);
  const auto extended = [&](double Figures::*figure) {
    return few.*figure + (more.*figure - few.*figure) *
                             static_cast<double>(dense.layers - kFewLayers) /
                             static_cast<double>(kMoreLayers - kFewLayers);
  };
  return {extended(&Figures::ours), extended(&Figures::floor), extended(&Figures::theirs),
          extended(&Figures::sampled)};
}

void report(const std::string& model, const std::string& form, int64_t batch,
            const Figures& figures, const char* kind, bench::Csv& csv) {
  const auto [ours, floor, theirs, sampled] = figures;
  bench::Row row;
  row.benchmark = "decode";
  row.model = model;
  row.form = form;
  row.dtype = "float16";
  row.batch = std::to_string(batch);
  row.length = std::to_string(kLength);
  row.metric = "decode_ms";
  row.value = ours;
  row.unit = "ms";
  row.floor = floor;
  row.baseline = "libtorch";
  row.baseline_value = theirs;
  row.kind = kind;
  csv.write(row);
  row.metric = "drawn_ms";  // as the published rows have it
  row.value = sampled;
  row.baseline = "greedy";
  row.baseline_value = ours;
  csv.write(row);
  std::printf(
      "%-13s %-14s B=%-3ld %8.4f ms  floor %8.4f (%5.1f%%)  libtorch %8.3f (%.1fx)  sampled "
      "%8.4f\n",
      model.c_str(), form.c_str(), static_cast<long>(batch), ours, floor, 100 * floor / ours,
      theirs, theirs / ours, sampled);
  std::fflush(stdout);
}

void run(const std::string& model, const std::string& form, double read_gbs, bench::Csv& csv) {
  const ModelConfig dense = bench::published_config(model);
  if (dense.layers > kMostLayers) {
    report(model, form, 1, modelled(dense, form, read_gbs), "modelled", csv);
  } else {
    const Model weights = random_model(dense, form);
    const bool curve = model == "llama2-7b" && form == "dense";
    for (const int64_t batch : curve ? kCurve : std::vector<int64_t>{1})
      report(model, form, batch, measure(weights, batch, read_gbs), "measured", csv);
  }
  c10::cuda::CUDACachingAllocator::emptyCache();
}

}  // namespace

int main(int argc, char** argv) try {
  if (!bench::has_gpu()) throw std::runtime_error("no CUDA device");
  bench::Csv csv(argc > 1 ? argv[1] : "decode.csv");
  std::vector<std::string> wanted(argv + std::min(argc, 2), argv + argc);
  if (wanted.empty()) wanted.assign(std::begin(kModels), std::end(kModels));
  const c10::cuda::CUDAStreamGuard guard(c10::cuda::getStreamFromPool());
  double read_gbs = 0;
  {
    const bench::Stream stream;
    bench::Timer timer(stream.get());
    read_gbs = bench::measure_read_gbs(timer, stream.get());
  }
  std::printf("read %.0f GB/s\n", read_gbs);
  for (const std::string& name : wanted) {
    const size_t colon = name.find(':');
    const std::string model = name.substr(0, colon);
    if (colon != name.npos) {
      run(model, name.substr(colon + 1), read_gbs, csv);
      continue;
    }
    for (const char* form : kForms) run(model, form, read_gbs, csv);
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_decode: %s\n", error.what());
  return 1;
}
