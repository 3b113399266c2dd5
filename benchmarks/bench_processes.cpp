// Decoding over several GPUs, a process each, at published shapes with random weights: tensor
// parallel and the pipeline, by modules, beside one GPU of the same run, which carries the model both
// by its modules and as a captured graph. GPUs of one process are faster: bench_ranks.cpp.
//
//   torchrun --nproc-per-node 2 --no-python bench_processes [rows.csv] [model[:form] …]
//
// or with torchrun's variables set by hand. First the logits of small models in float32 are checked
// against one GPU's. Without names: llama2-7b. SLICE_COMMIT names the commit in the rows.

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <limits>
#include <string>
#include <vector>

#include "benchmarks/bench.h"
#include "benchmarks/models.h"
#include "examples/cli.h"
#include "libslice/decode/generator.h"
#include "libslice/decode/pipeline.h"
#include "libslice/decode/tensor_parallel.h"
#include "libslice/device/device.h"

namespace {

using namespace slice;  // NOLINT(google-build-using-namespace): a program, not a header
using at::Tensor;

constexpr int64_t kPrompt = 128;  // tokens before the first sample
constexpr int64_t kRun = 32;      // tokens a sample
constexpr int kSamples = 5;
constexpr int64_t kCapacity = kPrompt + (kSamples + 1) * kRun;

struct Decoded {
  Tensor logits;  // (1, V), after the prompt
  double ms = 0;  // a token; continue_greedy, the host's waits included
};

/// A Generator or a GroupDecoder.
template <typename Decoder>
Decoded decode(Decoder& decoder, const Tensor& prompt) {
  const auto wait = [](const Tensor& ids) { return ids.cpu(); };
  Decoded result{.logits = decoder.feed(prompt).cpu().to(at::kDouble)};
  wait(decoder.continue_greedy(kRun));
  std::vector<double> samples;
  for (int i = 0; i < kSamples; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    wait(decoder.continue_greedy(kRun));
    samples.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
            .count());
  }
  result.ms = bench::summarise(samples).median_us / kRun;
  return result;
}

double relative_difference(const Tensor& a, const Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

Tensor some_tokens(const ModelConfig& config, int64_t T) {
  return at::arange(T, at::kLong).mul(7919).remainder(config.vocabulary_size).unsqueeze(0);
}

/// @throws std::runtime_error  logits of the ranks are not those of one
void check(const std::string& model, const std::string& form, const ProcessGroup& group,
           at::Device device) {
  ModelConfig dense = bench::published_config(model);
  dense.layers = 2;
  const ModelConfig config = bench::config_of_form(dense, form);
  const auto checkpoint = bench::random_checkpoint(config, device);
  const GroupDecoderOptions options{.device = device, .dtype = at::kFloat, .capacity = 64};
  const Tensor tokens = some_tokens(config, 40);
  const auto logits_of = [&](auto&& decoder) {  // of a prompt, and of a token after it
    return at::cat({decoder.feed(tokens.slice(1, 0, 39)), decoder.feed(tokens.slice(1, 39))})
        .cpu()
        .to(at::kDouble);
  };
  const Tensor want = logits_of(TensorParallel(*checkpoint, ProcessGroup(), options));
  // Every sum of a sublayer, of n products at most, ends within n roundings of the exact one.
  const int64_t n = std::max(config.hidden_size, config.ffn_size);
  const double bound =
      static_cast<double>(n * (config.sublayers() + 2)) * std::numeric_limits<float>::epsilon();
  const double tensor = relative_difference(logits_of(TensorParallel(*checkpoint, group, options)),
                                            want),
               pipeline =
                   relative_difference(logits_of(Pipeline(*checkpoint, group, options)), want);
  if (group.rank() == 0) {
    std::printf("%-13s %-16s float32: logits differ by %.1e (tensor parallel), %.1e (pipeline)\n",
                model.c_str(), form.c_str(), tensor, pipeline);
  }
  if (!(tensor < bound && pipeline < bound))
    throw std::runtime_error(fmt::format("{} {}: want less than {:.1e}", model, form, bound));
}

void measure(const std::string& model, const std::string& form, const ProcessGroup& group,
             at::Device device, const std::string& csv) {
  const ModelConfig config = bench::config_of_form(bench::published_config(model), form);
  const auto checkpoint = bench::random_checkpoint(config, device);
  const GroupDecoderOptions options{.device = device, .dtype = at::kHalf, .capacity = kCapacity};
  const Tensor prompt = some_tokens(config, kPrompt);
  Decoded modules, captured;  // of one GPU
  if (group.rank() == 0) {
    Generator generator(bench::random_model(config, device), kCapacity);
    captured = decode(generator, prompt);
  }
  c10::cuda::CUDACachingAllocator::emptyCache();
  if (group.rank() == 0) {
    TensorParallel alone(*checkpoint, ProcessGroup(), options);
    modules = decode(alone, prompt);
    std::printf(
        "%-13s %-16s one GPU: %.3f ms captured, %.3f ms by its modules, logits differ by %.1e\n",
        model.c_str(), form.c_str(), captured.ms, modules.ms,
        relative_difference(captured.logits, modules.logits));
  }
  c10::cuda::CUDACachingAllocator::emptyCache();
  group.sum(0);  // the others' reading would take the CPU from what was timed
  const auto report = [&](const char* metric, const Decoded& ranks, int64_t parameters) {
    if (group.rank() != 0) return;
    std::printf(
        "%-13s %-16s %ld ranks, %-15s %7.3f ms, %.2f G parameters here, logits differ by %.1e\n",
        model.c_str(), form.c_str(), static_cast<long>(group.size()), metric, ranks.ms,
        static_cast<double>(parameters) * 1e-9, relative_difference(ranks.logits, modules.logits));
    bench::Row row;
    row.benchmark = "ranks";
    row.model = model;
    row.form = form;
    row.dtype = "float16";
    row.batch = "1";
    row.length = std::to_string((kPrompt + kRun + kCapacity) / 2);  // in the middle
    row.metric = fmt::format("{}_{}_ms", metric, group.size());
    row.value = ranks.ms;
    row.unit = "ms";
    row.baseline = "one GPU by its modules";
    row.baseline_value = modules.ms;
    bench::Csv(csv).write(row);
  };
  {
    TensorParallel tensor(*checkpoint, group, options);
    report("tensor", decode(tensor, prompt), tensor.parameters());
  }
  Pipeline pipeline(*checkpoint, group, options);
  report("pipeline", decode(pipeline, prompt), pipeline.parameters());
}

}  // namespace

int main(int argc, char** argv) try {
  if (!bench::has_gpu()) throw std::runtime_error("no CUDA device");
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // line by line into a file too
  std::optional<at::Device> wanted_device = at::kCUDA;
  const ProcessGroup group = cli::join_group(wanted_device);
  const at::Device device = choose_device(wanted_device);
  const c10::cuda::CUDAGuard guard(device);
  const std::string csv = argc > 1 ? argv[1] : "ranks.csv";
  std::vector<std::string> wanted(argv + std::min(argc, 2), argv + argc);
  if (wanted.empty()) wanted = {"llama2-7b"};
  for (const auto& [model, form] :
       {std::pair("smollm2-135m", "dense"), std::pair("smollm2-135m", "slice25-dense"),
        std::pair("smollm2-135m", "slice25-none"), std::pair("opt-6.7b", "dense"),
        std::pair("phi-2", "dense")})
    check(model, form, group, device);
  for (const std::string& name : wanted) {
    const size_t colon = name.find(':');
    measure(name.substr(0, colon), colon == std::string::npos ? "dense" : name.substr(colon + 1),
            group, device, csv);
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_processes: %s\n", error.what());
  return 1;
}
