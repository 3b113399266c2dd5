// bench_slicing SHAPE [LAYERS [WINDOWS [CSV [METHOD [MIB]]]]]: slices a published shape by 25 %,
// random float16 weights made on the device, and appends the seconds of every phase, and the peak
// memory, to a CSV file; those of the paper's method (slicegpt, the default; else refit, or recover:
// refit and four epochs of training a sublayer) beside their floors. MIB: a ballast leaves so much of the card, 24564 as on one of 24 GB; a signal for
// which there is no room then lives elsewhere. A process a shape: peaks are the process's.

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <cublas_v2.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "benchmarks/ceilings.h"
#include "benchmarks/models.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/checkpoint/model.h"
#include "libslice/method/pca.h"
#include "libslice/model/config.h"
#include "libslice/model/decoder.h"
#include "libslice/slicing/slice_model.h"

namespace {

using at::Tensor;
using namespace slice;

constexpr int64_t kContext = 2048;

/// Values of the size that training gives: streams of the size of one, norms near one.
void fill(DecoderImpl& decoder, at::Device device) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : decoder.named_parameters()) {
    const auto shape = parameter.value().sizes().vec();
    Tensor value = at::empty(shape, at::TensorOptions(device).dtype(at::kHalf));
    if (shape.size() == 1) {
      value.normal_(parameter.key().ends_with("bias") ? 0.0 : 1.0, 0.02);
    } else {
      value.normal_(0, 1 / std::sqrt(static_cast<double>(shape.back())));
    }
    parameter.value().set_data(value);
  }
}

struct Floors {
  double calibrate = 0, eigen = 0, rewrite = 0;
  double total() const { return calibrate + eigen + rewrite; }
};

/// Work over what this card does at best.
///   calibrate  one pass of the sliced readers and writers, attention below the diagonal, the way
///              to the old basis and to the next, and a triangle a site, all on half types
///   eigen      one warm solve of a site's size each
///   rewrite    readers, writers, embedding and shortcuts in float64
Floors floors_of(const ModelConfig& dense, int64_t tokens, const bench::Ceilings& ceilings,
                 double solve_seconds) {
  const auto D = static_cast<double>(dense.hidden_size), n = static_cast<double>(tokens);
  const double k = std::floor(0.75 * D / 8) * 8;
  const auto L = static_cast<double>(dense.layers),
             sublayers = static_cast<double>(dense.sublayers()),
             heads = static_cast<double>(dense.heads * dense.head_size),
             kv = static_cast<double>(dense.kv_heads * dense.head_size),
             F = static_cast<double>(dense.ffn_size),
             V = static_cast<double>(dense.vocabulary_size);
  const double readers = heads + 2 * kv + (dense.gated_mlp ? 2 : 1) * F, writers = heads + F;
  const double attention = 2 * static_cast<double>(kContext) * heads;  // flop a token
  const double pass =
      L * (2 * (k * readers + D * writers) + attention) +
      sublayers * (2 * D * k /* back */ + 2 * D * k /* on */ + D * D /* triangle */);
  const double rewrite = 2 * D * k * (L * (readers + writers) + V + sublayers * k);
  return {pass * n / ceilings.bf16_tflops * 1e-12, (sublayers + 1) * solve_seconds,
          rewrite / ceilings.fp64_tflops * 1e-12};
}

/// Seconds of the second solve of an eigenproblem of this size: the first one loads the library.
double solve_seconds(int64_t D, at::Device device) {
  const Tensor z = at::randn({2 * D, D}, at::TensorOptions(device).dtype(at::kDouble));
  const Tensor C = z.t().mm(z);
  pca_basis(C);
  const slice::detail::Stopwatch clock;
  pca_basis(C);
  return clock.seconds();
}

bench::Ceilings ceilings_here() {
  const bench::Stream stream;
  cublasHandle_t cublas = nullptr;
  if (cublasCreate(&cublas) != CUBLAS_STATUS_SUCCESS ||
      cublasSetStream(cublas, stream.get()) != CUBLAS_STATUS_SUCCESS)
    throw std::runtime_error("cuBLAS does not start");
  bench::Timer timer(stream.get());
  const bench::Ceilings ceilings = bench::measure_ceilings(timer, cublas, stream.get());
  cublasDestroy(cublas);
  return ceilings;
}

/// Holds all of the card but so many MiB.
bench::DeviceBuffer ballast_beside(int64_t mebibytes) {
  c10::cuda::CUDACachingAllocator::emptyCache();
  size_t free = 0, total = 0;
  bench::check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return bench::DeviceBuffer(std::max<int64_t>(0, static_cast<int64_t>(total) - (mebibytes << 20)));
}

void run(const std::string& name, int64_t layers, int64_t windows, const std::string& path,
         const std::string& method, int64_t mebibytes) {
  const at::Device device(at::kCUDA, 0);
  ModelConfig config = bench::published_config(name);
  const bool whole = layers <= 0 || layers == config.layers;
  if (!whole) config.layers = layers;
  check_config(config, name);
  bench::Csv csv(path);
  const bench::Ceilings ceilings = ceilings_here();
  const bool refit = method != "slicegpt", recover = method == "recover";
  const Floors floors = refit ? Floors()
                              : floors_of(config, windows * kContext, ceilings,
                                          solve_seconds(config.hidden_size, device));

  std::optional<bench::DeviceBuffer> ballast;
  if (mebibytes > 0) ballast.emplace(ballast_beside(mebibytes));
  auto decoder = std::make_shared<DecoderImpl>(config);
  fill(*decoder, device);
  Model model(std::move(decoder), nullptr, at::kHalf);
  const Tensor tokens = at::randint(config.vocabulary_size, {windows, kContext}, at::kLong);
  const SliceReport report = slice_model(model, tokens,
                                         {.method = refit ? Method::kRefit : Method::kSliceGpt,
                                          .slice = 0.25,
                                          .recover = recover ? 4 : 0});

  std::string kind = "measured";
  if (ballast) kind += ": a ballast leaves " + std::to_string(mebibytes) + " MiB";
  if (report.signal != "device")
    kind += (ballast ? "; " : ": ") + ("signal on the " + report.signal);
  const std::string label = whole ? name : name + "-" + std::to_string(layers) + "-layers";
  const auto write = [&](const char* metric, double value, const char* unit, double floor) {
    csv.write({"slicing", label, method + "25", "float16", std::to_string(windows),
               std::to_string(kContext), metric, value, unit, floor, "", 0, kind});
    std::printf("%-26s %-18s %9.3f %-4s", label.c_str(), metric, value, unit);
    if (floor > 0) std::printf("  floor %8.3f  %3.0f %%", floor, 100 * floor / value);
    std::printf("\n");
  };
  write("slicing_s", report.total_seconds, "s", floors.total());
  write("calibrate_s", report.calibrate_seconds, "s", floors.calibrate);
  write("eigen_s", report.eigen_seconds, "s", floors.eigen);
  write("rewrite_s", report.rewrite_seconds, "s", floors.rewrite);
  if (refit) {
    write("gradients_s", report.gradient_seconds, "s", 0);
    write("refit_s", report.refit_seconds, "s", 0);
    if (recover) write("recover_s", report.recover_seconds, "s", 0);
  }
  write("peak_device_gib", static_cast<double>(report.peak_device_bytes) / 0x1p30, "GiB", 0);
  if (report.signal != "device")
    write("peak_host_gib", static_cast<double>(report.peak_host_bytes) / 0x1p30, "GiB", 0);
  std::printf("%-26s %s, chunks of %ld tokens\n", label.c_str(), kind.c_str(), report.chunk_tokens);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string method = argc > 5 ? argv[5] : "slicegpt";
  if (argc < 2 || argc > 7 || (method != "slicegpt" && method != "refit" && method != "recover")) {
    std::fprintf(
        stderr,
        "usage: bench_slicing SHAPE [LAYERS [WINDOWS [CSV [slicegpt|refit|recover [MIB]]]]]\n");
    return 2;
  }
  try {
    if (!slice::bench::has_gpu()) {
      std::fprintf(stderr, "bench_slicing: no CUDA device\n");
      return 4;
    }
    run(argv[1], argc > 2 ? std::atol(argv[2]) : 0, argc > 3 ? std::atol(argv[3]) : 128,
        argc > 4 ? argv[4] : "slicing.csv", method, argc > 6 ? std::atol(argv[6]) : 0);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_slicing: %s\n", error.what());
    return 1;
  }
}
