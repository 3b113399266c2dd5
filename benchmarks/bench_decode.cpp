// Decoding whole models of real shapes and random weights, float16: milliseconds a token of the
// captured graph, the floor (bytes read over the read bandwidth measured in the same run) and
// LibTorch's modules with a KV cache.
//
//   bench_decode [rows.csv] [model[:form] …]      SLICE_COMMIT names the commit in the rows
//
// Forms: dense; slice25-dense, slice25-diagonal, slice25-none: k = 3/4 of D at every site; stock25:
// a dense checkpoint with 3/4 of a layer's weights. The dense 7B is measured for 1 … 256 sequences.
//
// 70B does not fit: four and twelve of its layers are measured, and its 80 modelled, the first four
// and 76 times what one more takes.

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "benchmarks/bench.h"
#include "benchmarks/ceilings.h"
#include "libslice/decoder.h"
#include "libslice/generator.h"
#include "libslice/model.h"

namespace {

using namespace slice;  // NOLINT(google-build-using-namespace): a program, not a header
using at::Tensor;

constexpr int64_t kPrompt = 128;                 // tokens in the cache before the clock starts
constexpr int64_t kRun = 32;                     // tokens a sample
constexpr int64_t kLength = kPrompt + kRun / 2;  // of the context, in the middle of a sample
constexpr int kSamples = 9;
constexpr int64_t kFewLayers = 4, kMoreLayers = 12;  // of a model that does not fit

struct Shape {
  const char* name;
  int64_t hidden, layers, heads, kv_heads, head_size, ffn, vocabulary;
  bool tied;
};

constexpr Shape kShapes[] = {{"smollm2-135m", 576, 30, 9, 3, 64, 1536, 49152, true},
                             {"llama2-7b", 4096, 32, 32, 32, 128, 11008, 32000, false},
                             {"llama2-13b", 5120, 40, 40, 40, 128, 13824, 32000, false},
                             {"llama2-70b", 8192, 80, 64, 8, 128, 28672, 32000, false}};
constexpr int64_t kMostLayers = 48;  // what a card of 80 GB holds of any of them
const std::vector<int64_t> kCurve = {1, 2, 4, 8, 16, 32, 64, 128, 256};
constexpr const char* kForms[] = {"dense", "slice25-dense", "slice25-diagonal", "slice25-none",
                                  "stock25"};

ModelConfig dense_config(const Shape& s) {
  ModelConfig c;
  c.family = "llama";
  c.hidden_size = s.hidden;
  c.layers = s.layers;
  c.heads = s.heads;
  c.kv_heads = s.kv_heads;
  c.head_size = s.head_size;
  c.ffn_size = s.ffn;
  c.vocabulary_size = s.vocabulary;
  c.context_length = 4096;
  c.tied_head = s.tied;
  return c;
}

/// 7/8 of the hidden size, and FFN channels, in steps of 64, so that a layer has 3/4 of its
/// weights.
ModelConfig stock_config(const Shape& s) {
  ModelConfig c = dense_config(s);
  const int64_t attention = 2 * (s.heads + s.kv_heads) * s.head_size;  // rows and columns of D
  c.hidden_size = s.hidden / 8 * 7;
  const double kept = 0.75 * static_cast<double>(s.hidden * (attention + 3 * s.ffn)) /
                      static_cast<double>(c.hidden_size);
  c.ffn_size = std::llround((kept - static_cast<double>(attention)) / 3 / 64) * 64;
  return c;
}

ModelConfig config_of(const Shape& s, const std::string& form) {
  if (form == "dense") return dense_config(s);
  if (form == "stock25") return stock_config(s);
  const ModelConfig dense = dense_config(s);
  ModelConfig c = sliced_config(
      dense, std::vector<int64_t>(static_cast<size_t>(dense.sites()), s.hidden / 4 * 3));
  if (form == "slice25-diagonal") {
    c.shortcut = ShortcutForm::kDiagonal;
  } else if (form == "slice25-none") {
    c.shortcut = ShortcutForm::kNone;
  } else if (form != "slice25-dense") {
    throw std::runtime_error("no form " + form);
  }
  return c;
}

/// Random weights that keep the stream near unit size, so that nothing overflows.
Model random_model(const ModelConfig& config) {
  const auto decoder = std::make_shared<DecoderImpl>(config);
  const auto options = at::TensorOptions().device(at::kCUDA).dtype(at::kHalf);
  for (auto& parameter : decoder->named_parameters()) {
    const auto shape = parameter.value().sizes().vec();
    const bool is_embedding = parameter.key().find("embed") != std::string::npos;
    if (shape.size() == 1) {
      parameter.value().set_data(at::ones(shape, options));
    } else {
      const double scale = is_embedding ? 1 : 1 / std::sqrt(static_cast<double>(shape[1]));
      parameter.value().set_data(at::randn(shape, options).mul_(scale));
    }
  }
  return Model(decoder, nullptr, at::kHalf);
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

/// Milliseconds a token: the median of samples of `work`, which decodes `tokens`.
template <typename Work>
double milliseconds(cudaStream_t stream, int samples, int64_t tokens, Work&& work) {
  cudaEvent_t begin = nullptr, end = nullptr;
  bench::check_cuda(cudaEventCreate(&begin), "event");
  bench::check_cuda(cudaEventCreate(&end), "event");
  std::vector<double> times;
  for (int i = 0; i <= samples; ++i) {
    bench::check_cuda(cudaEventRecord(begin, stream), "record");
    work();
    bench::check_cuda(cudaEventRecord(end, stream), "record");
    bench::check_cuda(cudaEventSynchronize(end), "benchmark");
    float time = 0;
    bench::check_cuda(cudaEventElapsedTime(&time, begin, end), "elapsed time");
    if (i > 0) times.push_back(time / static_cast<double>(tokens));  // the first one warms up
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return bench::summarise(times).median_us;
}

double modules_ms(const Model& model, const Tensor& prompt, cudaStream_t stream) {
  const DecoderImpl& decoder = model.decoder();
  constexpr int64_t kTokens = 8;
  const at::NoGradGuard no_grad;
  KvCache cache(model.config(), prompt.size(0), kPrompt + kTokens,
                at::TensorOptions(at::kCUDA).dtype(at::kHalf));
  decoder.stream(prompt, &cache);
  return milliseconds(stream, 3, kTokens, [&] {
    cache.truncate(kPrompt);
    Tensor token = prompt.slice(1, 0, 1);
    for (int64_t i = 0; i < kTokens; ++i)
      token = decoder.forward(token, &cache).select(1, -1).argmax(1, true);
  });
}

struct Figures {
  double ours, floor, theirs;  // ms a token
};

Figures measure(const Model& model, int64_t batch, double read_gbs) {
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream().stream();
  const Tensor prompt = at::randint(0, model.config().vocabulary_size, {batch, kPrompt},
                                    at::TensorOptions().dtype(at::kLong).device(at::kCUDA));
  const double theirs = modules_ms(model, prompt, stream);
  c10::cuda::CUDACachingAllocator::emptyCache();
  Generator generator(model, batch > 32 ? kPrompt + kRun : 512, batch);
  const double ours = milliseconds(stream, kSamples, kRun, [&] {
    generator.truncate(std::min(generator.length(), kPrompt - 1));
    if (generator.length() == 0) generator.feed(prompt.slice(1, 0, kPrompt - 1));
    generator.feed(prompt.slice(1, kPrompt - 1));
    generator.continue_greedy(kRun - 1);
  });
  return {ours, bytes_read(model, batch, kLength) / read_gbs * 1e-6, theirs};
}

/// Of all layers from those of a few and of some more.
Figures modelled(const Shape& shape, const std::string& form, double read_gbs) {
  Shape part = shape;
  const auto measured = [&](int64_t layers) {
    part.layers = layers;
    const Figures figures = measure(random_model(config_of(part, form)), 1, read_gbs);
    c10::cuda::CUDACachingAllocator::emptyCache();
    return figures;
  };
  const Figures few = measured(kFewLayers), more = measured(kMoreLayers);
  const auto extended = [&](double Figures::*figure) {
    return few.*figure + (more.*figure - few.*figure) *
                             static_cast<double>(shape.layers - kFewLayers) /
                             static_cast<double>(kMoreLayers - kFewLayers);
  };
  return {extended(&Figures::ours), extended(&Figures::floor), extended(&Figures::theirs)};
}

void report(const Shape& shape, const std::string& form, int64_t batch, const Figures& figures,
            bench::Csv& csv) {
  const auto [ours, floor, theirs] = figures;
  bench::Row row;
  row.benchmark = "decode";
  row.model = shape.name;
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
  if (shape.layers > kMostLayers) row.kind = "modelled";
  csv.write(row);
  std::printf("%-13s %-14s B=%-3ld %8.4f ms  floor %8.4f (%5.1f%%)  libtorch %8.3f (%.1fx)\n",
              shape.name, form.c_str(), static_cast<long>(batch), ours, floor, 100 * floor / ours,
              theirs, theirs / ours);
  std::fflush(stdout);
}

bool is_wanted(const std::vector<std::string>& wanted, const Shape& shape,
               const std::string& form) {
  if (wanted.empty()) return form != "slice25-diagonal";
  return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& name) {
    return name == shape.name || name == std::string(shape.name) + ":" + form;
  });
}

}  // namespace

int main(int argc, char** argv) try {
  if (!bench::has_gpu()) throw std::runtime_error("no CUDA device");
  bench::Csv csv(argc > 1 ? argv[1] : "decode.csv");
  const std::vector<std::string> wanted(argv + std::min(argc, 2), argv + argc);
  const c10::cuda::CUDAStreamGuard guard(c10::cuda::getStreamFromPool());
  double read_gbs = 0;
  {
    const bench::Stream stream;
    bench::Timer timer(stream.get());
    read_gbs = bench::measure_read_gbs(timer, stream.get());
  }
  std::printf("read %.0f GB/s\n", read_gbs);
  for (const Shape& shape : kShapes) {
    for (const char* form : kForms) {
      if (!is_wanted(wanted, shape, form)) continue;
      if (shape.layers > kMostLayers) {
        report(shape, form, 1, modelled(shape, form, read_gbs), csv);
        continue;
      }
      const Model model = random_model(config_of(shape, form));
      const bool curve = std::string(shape.name) == "llama2-7b" && std::string(form) == "dense";
      for (const int64_t batch : curve ? kCurve : std::vector<int64_t>{1})
        report(shape, form, batch, measure(model, batch, read_gbs), csv);
    }
    c10::cuda::CUDACachingAllocator::emptyCache();
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_decode: %s\n", error.what());
  return 1;
}
