// Decoding over several GPUs of one process (DividedModel) at published shapes, float16, with random
// weights that each GPU makes for itself: milliseconds a step of the captured graphs, greedy, the
// host's waits included, beside the floor: bytes that the GPU with most must read over the read
// bandwidth of this run. Beside each, what a step sends over the link.
//
//   bench_ranks [rows.csv] [model[:form[:gpus[:batch[+batch …]]]] …]
//
// Without models: 7B and 13B, dense and sliced, by one GPU and by two. One GPU runs the model as a
// Generator of a Model does. SLICE_COMMIT names the commit in the rows.

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <sstream>
#include <string>
#include <vector>

#include "benchmarks/bench.h"
#include "benchmarks/ceilings.h"
#include "benchmarks/models.h"
#include "libslice/decode/divided_model.h"
#include "libslice/decode/generator.h"
#include "libslice/model/decoder.h"

namespace {

using namespace slice;  // NOLINT(google-build-using-namespace): a program, not a header
using at::Tensor;

constexpr int64_t kPrompt = 128;  // tokens before the first sample
constexpr int64_t kRun = 32;      // tokens a sample
constexpr int kSamples = 7;
constexpr int64_t kCapacity = kPrompt + (kSamples + 1) * kRun;
constexpr int64_t kLength = (kPrompt + kRun + kCapacity) / 2;  // in the middle
constexpr int64_t kElement = 2;

struct Wanted {
  std::string model, form = "dense";
  int64_t gpus = 1;
  std::vector<int64_t> batches = {1, 8, 64};
};

std::vector<std::string> parts_of(const std::string& text, char between) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, between);) parts.push_back(part);
  return parts;
}

Wanted parsed(const std::string& text) {
  const std::vector<std::string> parts = parts_of(text, ':');
  Wanted wanted{.model = parts.at(0)};
  if (parts.size() > 1) wanted.form = parts[1];
  if (parts.size() > 2) wanted.gpus = std::stol(parts[2]);
  if (parts.size() > 3) {
    wanted.batches.clear();
    for (const std::string& batch : parts_of(parts[3], '+'))
      wanted.batches.push_back(std::stol(batch));
  }
  return wanted;
}

/// Milliseconds of a step of one token a sequence, each sample a chain that waits once.
template <typename AnyModel>
double step_ms(const AnyModel& model, const ModelConfig& config, int64_t batch) {
  Generator generator(model, kCapacity, batch);
  generator.feed(at::arange(batch * kPrompt, at::kLong)
                     .mul(7919)
                     .remainder(config.vocabulary_size)
                     .view({batch, kPrompt}));
  generator.continue_greedy(kRun).cpu();
  std::vector<double> samples;
  for (int i = 0; i < kSamples; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    generator.continue_greedy(kRun).cpu();
    samples.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
            .count());
  }
  return bench::summarise(samples).median_us / kRun;
}

/// Bytes of weights that a GPU reads in a step: without embeddings, and its share of the head.
double weight_bytes(const ModelConfig& c, int64_t parameters, int64_t gpus) {
  const int64_t words = c.vocabulary_size * c.stream_size(0),
                head = c.vocabulary_size * c.stream_size(c.sublayers());
  return static_cast<double>((parameters - words - (c.tied_head ? 0 : head) + head / gpus) *
                             kElement);
}

/// Bytes of keys and values that the GPU with most of them reads.
double cache_bytes(const ModelConfig& c, int64_t batch, int64_t gpus) {
  const int64_t heads = (c.kv_heads + gpus - 1) / gpus;
  return static_cast<double>(2 * c.layers * batch * heads * c.head_size * kLength * kElement);
}

/// Bytes that a GPU sends to each other one in a step: every number with its stamp.
double link_bytes(const ModelConfig& c, int64_t batch, int64_t gpus) {
  if (gpus == 1) return 0;
  int64_t numbers = c.vocabulary_size / gpus;
  for (int64_t site = 1; site <= c.sublayers(); ++site) numbers += c.stream_size(site);
  return static_cast<double>(2 * batch * numbers * kElement);
}

void report(const Wanted& wanted, int64_t batch, double ms, double floor, double link,
            bench::Csv& csv) {
  std::printf("%-12s %-12s %ld GPU  B=%-3ld %8.4f ms  floor %8.4f (%5.1f%%)  link %8.1f KB\n",
              wanted.model.c_str(), wanted.form.c_str(), static_cast<long>(wanted.gpus),
              static_cast<long>(batch), ms, floor, 100 * floor / ms, link / 1024);
  std::fflush(stdout);
  bench::Row row;
  row.benchmark = "ranks";
  row.model = wanted.model;
  row.form = wanted.form;
  row.dtype = "float16";
  row.batch = std::to_string(batch);
  row.length = std::to_string(kLength);
  row.metric = "captured_" + std::to_string(wanted.gpus) + "_ms";
  row.value = ms;
  row.unit = "ms";
  row.floor = floor;
  csv.write(row);
  if (link == 0) return;
  row.metric = "link_" + std::to_string(wanted.gpus) + "_bytes";
  row.value = link;
  row.unit = "bytes";
  row.floor = 0;
  csv.write(row);
}

void run(const Wanted& wanted, double read_gbs, bench::Csv& csv) {
  const ModelConfig config =
      bench::config_of_form(bench::published_config(wanted.model), wanted.form);
  const auto measure = [&](const auto& model, int64_t parameters) {
    for (const int64_t batch : wanted.batches) {
      const double floor = (weight_bytes(config, parameters, wanted.gpus) +
                            cache_bytes(config, batch, wanted.gpus)) /
                           read_gbs * 1e-6;
      report(wanted, batch, step_ms(model, config, batch), floor,
             link_bytes(config, batch, wanted.gpus), csv);
    }
  };
  if (wanted.gpus == 1) {
    const Model model = bench::random_model(config, at::Device(at::kCUDA, 0));
    int64_t parameters = 0;
    for (const auto& parameter : model.decoder().named_parameters())
      parameters += parameter.value().numel();
    measure(model, parameters);
  } else {
    std::vector<at::Device> devices;
    for (int64_t gpu = 0; gpu < wanted.gpus; ++gpu)
      devices.emplace_back(at::kCUDA, static_cast<at::DeviceIndex>(gpu));
    const DividedModel model(config, devices, bench::random_weight);
    measure(model, model.parameters(0));
  }
  c10::cuda::CUDACachingAllocator::emptyCache();
}

}  // namespace

int main(int argc, char** argv) try {
  if (!bench::has_gpu()) throw std::runtime_error("no CUDA device");
  bench::Csv csv(argc > 1 ? argv[1] : "ranks.csv");
  std::vector<std::string> wanted(argv + std::min(argc, 2), argv + argc);
  if (wanted.empty()) {
    for (const char* model : {"llama2-7b", "llama2-13b"})
      for (const char* form : {"dense", "slice25-none", "stock25"})
        for (const char* gpus : {"1", "2"})
          wanted.push_back(std::string(model) + ":" + form + ":" + gpus);
  }
  double read_gbs = 0;
  {
    const bench::Stream stream;
    bench::Timer timer(stream.get());
    read_gbs = bench::measure_read_gbs(timer, stream.get());
  }
  std::printf("read %.0f GB/s\n", read_gbs);
  for (const std::string& name : wanted) run(parsed(name), read_gbs, csv);
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_ranks: %s\n", error.what());
  return 1;
}
