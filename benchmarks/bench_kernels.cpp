// The kernels of cuda/ beside cuBLAS, in one run with the card's measured ceilings.
//
//   bench_kernels [rows.csv] [rms_norm | covariance | norm_heads | gated_activation]
//   SLICE_COMMIT names the commit in the rows

#include <cublas_v2.h>
#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "benchmarks/bench.h"
#include "benchmarks/ceilings.h"
#include "benchmarks/device.h"
#include "benchmarks/passes.h"
#include "benchmarks/shapes.h"
#include "cuda/covariance.h"
#include "cuda/gated_activation.h"
#include "cuda/norm_heads.h"
#include "cuda/rms_norm.h"

namespace {

using namespace slice;  // NOLINT(google-build-using-namespace): a program, not a header
using bench::check_cuda;
using bench::DeviceBuffer;
using bench::Timing;
using kernels::DataType;

struct Context {
  cudaStream_t stream;
  cublasHandle_t cublas;
  bench::Timer& timer;
  bench::Csv& csv;
  bench::Ceilings ceilings;
};

void check_cublas(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw std::runtime_error(std::string(what) + ": " + cublasGetStatusString(status));
  }
}

const char* name_of(DataType type) { return type == DataType::kBFloat16 ? "bfloat16" : "float32"; }
cudaDataType cuda_type(DataType type) {
  return type == DataType::kBFloat16 ? CUDA_R_16BF : CUDA_R_32F;
}

DeviceBuffer random_buffer(DataType type, int64_t count, uint64_t seed, const Context& context) {
  DeviceBuffer buffer(count * kernels::size_of(type));
  check_cuda(bench::fill_uniform(buffer.data(), type, count, seed, context.stream), "fill");
  return buffer;
}

std::vector<double> values_of(const DeviceBuffer& buffer, DataType type) {
  std::vector<double> values;
  if (type == DataType::kFloat64) return buffer.read<double>();
  if (type == DataType::kFloat32) {
    for (float value : buffer.read<float>()) values.push_back(value);
  } else {
    for (__nv_bfloat16 value : buffer.read<__nv_bfloat16>())
      values.push_back(__bfloat162float(value));
  }
  return values;
}

// ‖a − b‖ / ‖b‖; NaN never passes.
void require_agreement(const std::vector<double>& a, const std::vector<double>& b, double tolerance,
                       const std::string& what) {
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  if (!(std::sqrt(difference) <= tolerance * std::sqrt(norm))) {
    throw std::runtime_error(what + ": differs from the baseline by " +
                             std::to_string(std::sqrt(difference / norm)));
  }
}

struct Figure {
  std::string benchmark, shape, dtype, length, temperature;
  double floor_us, bytes, flops;
};

void report(const Context& context, const Figure& figure, const Timing& ours, const char* baseline,
            const Timing& theirs) {
  bench::Row row;
  row.benchmark = figure.benchmark;
  row.model = figure.shape;
  row.form = figure.temperature;
  row.dtype = figure.dtype;
  row.length = figure.length;
  row.metric = figure.benchmark + "_us";
  row.value = ours.median_us;
  row.unit = "us";
  row.floor = figure.floor_us;
  row.baseline = baseline;
  row.baseline_value = theirs.median_us;
  context.csv.write(row);
  std::printf(
      "%-12s %-14s %-9s n=%-5s %-4s %9.2f us +-%4.1f%%  %7.0f GB/s %7.1f TF/s  floor %5.1f%%",
      figure.benchmark.c_str(), figure.shape.c_str(), figure.dtype.c_str(), figure.length.c_str(),
      figure.temperature.c_str(), ours.median_us, 50 * ours.spread(),
      figure.bytes / ours.median_us * 1e-3, figure.flops / ours.median_us * 1e-6,
      100 * figure.floor_us / ours.median_us);
  if (theirs.median_us > 0) {
    std::printf("  %s %9.2f us (%.2fx)", baseline, theirs.median_us,
                theirs.median_us / ours.median_us);
  }
  std::printf("\n");
  std::fflush(stdout);
}

template <typename Ours, typename Theirs>
void time_pair(const Context& context, Figure figure, const char* baseline, Ours&& ours,
               Theirs&& theirs) {
  figure.temperature = "cold";
  report(context, figure, context.timer.cold(ours), baseline, context.timer.cold(theirs));
  figure.temperature = "hot";
  report(context, figure, context.timer.hot(ours), baseline, context.timer.hot(theirs));
}

// Baseline: a copy of the same bytes, which is also the floor of anything that reads and writes
// them.
void bench_rms_norm(const Context& context, const shapes::ModelShape& model, DataType type,
                    int64_t rows) {
  const int64_t columns = model.kept;
  const int64_t count = rows * columns;
  const DeviceBuffer x = random_buffer(type, count, 1, context);
  const DeviceBuffer y(x.bytes());
  const double bytes = 2.0 * static_cast<double>(x.bytes());
  time_pair(
      context,
      {"rms_norm", "k" + std::to_string(columns), name_of(type), std::to_string(rows), "",
       bytes / context.ceilings.copy_gbs * 1e-3, bytes, 0},
      "copy",
      [&] {
        return kernels::rms_norm(y.data(), x.data(), nullptr, nullptr, type, rows, columns, columns,
                                 model.hidden, 1e-5, context.stream) == cudaSuccess;
      },
      [&] {
        return cudaMemcpyAsync(y.data(), x.data(), static_cast<size_t>(x.bytes()),
                               cudaMemcpyDeviceToDevice, context.stream) == cudaSuccess;
      });
}

// Baseline: a copy of what it norms.
void bench_norm_heads(const Context& context, int64_t heads, int64_t kv_heads, bool together,
                      int64_t rows) {
  constexpr int64_t kHeadSize = 128;
  const DataType type = DataType::kBFloat16;
  const int64_t normed = rows * (heads + kv_heads) * kHeadSize;
  const DeviceBuffer qkv =
      random_buffer(type, rows * (heads + 2 * kv_heads) * kHeadSize, 1, context);
  const DeviceBuffer weight = random_buffer(type, heads * kHeadSize, 2, context);
  const DeviceBuffer copied(normed * kernels::size_of(type));
  const kernels::NormHeads norm{qkv.data(), weight.data(), weight.data(), type,     rows,
                                heads,      kv_heads,      kHeadSize,     together, 1e-6};
  const double bytes = 2.0 * static_cast<double>(copied.bytes());
  const std::string shape = "h" + std::to_string(heads) + "-kv" + std::to_string(kv_heads) +
                            (together ? "-together" : "");
  time_pair(
      context,
      {"norm_heads", shape, name_of(type), std::to_string(rows), "",
       bytes / context.ceilings.copy_gbs * 1e-3, bytes, 0},
      "copy", [&] { return kernels::norm_heads(norm, context.stream) == cudaSuccess; },
      [&] {
        return cudaMemcpyAsync(copied.data(), qkv.data(), static_cast<size_t>(copied.bytes()),
                               cudaMemcpyDeviceToDevice, context.stream) == cudaSuccess;
      });
}

// Baseline: a copy that moves as many bytes.
void bench_gated_activation(const Context& context, const shapes::ModelShape& model,
                            kernels::Gate gate, int64_t rows) {
  const DataType type = DataType::kBFloat16;
  const int64_t count = rows * model.ffn;
  const DeviceBuffer pairs = random_buffer(type, 2 * count, 1, context);
  const DeviceBuffer h(count * kernels::size_of(type)), copied(h.bytes() / 2 * 3);
  const double bytes = 3.0 * static_cast<double>(h.bytes());
  const std::string shape =
      (gate == kernels::Gate::kSilu ? "silu-F" : "gelu-tanh-F") + std::to_string(model.ffn);
  time_pair(
      context,
      {"gated_activation", shape, name_of(type), std::to_string(rows), "",
       bytes / context.ceilings.copy_gbs * 1e-3, bytes, 0},
      "copy",
      [&] {
        return kernels::gated_activation(h.data(), pairs.data(), gate, type, count,
                                         context.stream) == cudaSuccess;
      },
      [&] {
        return cudaMemcpyAsync(copied.data(), pairs.data(), static_cast<size_t>(copied.bytes()),
                               cudaMemcpyDeviceToDevice, context.stream) == cudaSuccess;
      });
}

// Baseline: the whole square by cuBLAS, into a master of the GEMM's own output type.
void bench_covariance(const Context& context, const shapes::ModelShape& model, DataType type) {
  const int64_t d = model.hidden;
  const int64_t tokens = kernels::kCovarianceBlockTokens;
  const bool exact = type == DataType::kFloat32;  // runs in float64, and so does its baseline
  const DeviceBuffer z = random_buffer(type, tokens * d, 1, context);
  const DeviceBuffer wide = random_buffer(DataType::kFloat64, exact ? tokens * d : 0, 1, context);
  DeviceBuffer C(d * d * 8);
  const DeviceBuffer full(d * d * (exact ? 8 : 4));
  const DeviceBuffer workspace(static_cast<int64_t>(kernels::covariance_workspace_bytes(type, d)));
  const double one_d = 1, zero_d = 0;
  const float one_f = 1, zero_f = 0;
  const auto ours = [&] {
    return kernels::accumulate_covariance(C.as<double>(), z.data(), type, 0, tokens, d, d,
                                          workspace.data(), static_cast<size_t>(workspace.bytes()),
                                          context.cublas) == CUBLAS_STATUS_SUCCESS;
  };
  const auto theirs = [&] {
    const auto size = static_cast<int>(d);
    const cudaDataType in = exact ? CUDA_R_64F : cuda_type(type);
    const void* one = exact ? static_cast<const void*>(&one_d) : &one_f;
    const void* zero = exact ? static_cast<const void*>(&zero_d) : &zero_f;
    const void* source = exact ? wide.data() : z.data();
    return cublasGemmEx(context.cublas, CUBLAS_OP_N, CUBLAS_OP_T, size, size,
                        static_cast<int>(tokens), one, source, in, size, source, in, size, zero,
                        full.data(), exact ? CUDA_R_64F : CUDA_R_32F, size,
                        exact ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                        CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS;
  };
  C.fill(0);
  if (!ours() || !theirs()) throw std::runtime_error("covariance: failed to start");
  check_cuda(kernels::mirror_covariance(C.as<double>(), d, context.stream), "mirror");
  require_agreement(C.read<double>(),
                    values_of(full, exact ? DataType::kFloat64 : DataType::kFloat32), 1e-6,
                    "covariance");
  const auto dd = static_cast<double>(d);
  const double flops = dd * dd * static_cast<double>(tokens);  // the triangle's
  const double tflops = exact ? context.ceilings.fp64_tflops : context.ceilings.bf16_tflops;
  time_pair(context,
            {"covariance", "D" + std::to_string(d), name_of(type), std::to_string(tokens), "",
             flops / tflops * 1e-6, static_cast<double>(z.bytes()) + 8 * dd * dd, flops},
            "cublas-full", ours, theirs);
}

void run(const std::string& path, const std::string& subject) {
  const bench::Stream stream;
  const DeviceBuffer workspace(32 << 20);  // as LibTorch gives it on Hopper
  cublasHandle_t cublas = nullptr;
  check_cublas(cublasCreate(&cublas), "cublasCreate");
  check_cublas(cublasSetStream(cublas, stream.get()), "cublasSetStream");
  check_cublas(cublasSetWorkspace(cublas, workspace.data(), static_cast<size_t>(workspace.bytes())),
               "cublasSetWorkspace");
  bench::Timer timer(stream.get());
  bench::Csv csv(path);
  const bench::Ceilings ceilings = bench::measure_ceilings(timer, cublas, stream.get());
  std::printf("ceilings: read %.0f GB/s, copy %.0f GB/s, bf16 %.1f, fp32 %.1f, fp64 %.1f TFLOP/s\n",
              ceilings.read_gbs, ceilings.copy_gbs, ceilings.bf16_tflops, ceilings.fp32_tflops,
              ceilings.fp64_tflops);
  const Context context{stream.get(), cublas, timer, csv, ceilings};
  const auto wanted = [&](const char* name) { return subject.empty() || subject == name; };
  for (const auto& model : shapes::kModels) {
    for (const DataType type : {DataType::kBFloat16, DataType::kFloat32}) {
      for (const int64_t n : {int64_t{1}, int64_t{64}, int64_t{2048}, int64_t{16384}}) {
        if (wanted("rms_norm")) bench_rms_norm(context, model, type, n);
      }
      if (wanted("covariance")) bench_covariance(context, model, type);
    }
  }
  for (const int64_t n : {int64_t{1}, int64_t{64}, int64_t{2048}, int64_t{16384}}) {
    if (wanted("norm_heads")) {
      bench_norm_heads(context, 16, 8, false, n);
      bench_norm_heads(context, 32, 32, true, n);
    }
    for (const kernels::Gate gate : {kernels::Gate::kSilu, kernels::Gate::kGeluTanh})
      if (wanted("gated_activation")) bench_gated_activation(context, shapes::kModels[2], gate, n);
  }
  cublasDestroy(cublas);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (!bench::has_gpu()) {
      std::fprintf(stderr, "bench_kernels: no CUDA device\n");
      return 4;
    }
    run(argc > 1 ? argv[1] : "kernels.csv", argc > 2 ? argv[2] : "");
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_kernels: %s\n", error.what());
    return 1;
  }
}
