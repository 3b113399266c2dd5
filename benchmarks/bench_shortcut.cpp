// decode_linear beside cuBLAS: the writers of a sliced decoder with their shortcuts, its readers
// and its head, for 1 to 16 rows.
//
//   bench_shortcut [rows.csv]     SLICE_COMMIT names the commit in the rows
//
// A "chain" is a CUDA graph of calls on distinct weights, more than the L2 holds, a writer reading
// what the one before wrote: a row says the time of one call. "alone" is one call after the L2 was
// flushed, with the launch of its graph. The floor is the bytes over the read bandwidth measured in
// the same run. cuBLAS makes the products alone: without norm, activation and diagonal.

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "benchmarks/bench.h"
#include "benchmarks/device.h"
#include "benchmarks/passes.h"
#include "benchmarks/shapes.h"
#include "cuda/decode_linear.h"

namespace {

using namespace slice;  // NOLINT(google-build-using-namespace): a program, not a header
using bench::check_cuda;
using bench::DeviceBuffer;
using bench::Timing;
using kernels::DataType;
using kernels::DecodeLinear;

constexpr int64_t kPoolBytes = int64_t{12} << 30;
constexpr int64_t kChainBytes = int64_t{1} << 30;
constexpr int64_t kRank = 64;

enum class Form { kNone, kDiagonal, kLowRank, kDense, kReader, kGatedReader };

const char* name_of(Form form) {
  switch (form) {
    case Form::kNone:
      return "none";
    case Form::kDiagonal:
      return "diagonal";
    case Form::kLowRank:
      return "lowrank64";
    case Form::kDense:
      return "dense";
    case Form::kReader:
      return "reader";
    default:
      return "gated-reader";
  }
}

struct Problem {
  std::string model;
  Form form;
  DataType type;
  int64_t M, N, K;

  bool is_reader() const { return form == Form::kReader || form == Form::kGatedReader; }
  int64_t K2() const { return form == Form::kDense ? N : form == Form::kLowRank ? kRank : 0; }
  int64_t columns() const { return form == Form::kGatedReader ? N / 2 : N; }
  int64_t weight_bytes() const { return N * (K + K2()) * 2; }
  // Weights, inputs and outputs, each once.
  double bytes() const {
    const int64_t stream = is_reader() ? 0 : N;  // the shortcut's input
    return static_cast<double>(weight_bytes() + 2 * M * (K + stream + columns()));
  }
};

class Bench {
 public:
  explicit Bench(const std::string& path)
      : timer_(stream_.get()),
        csv_(path),
        pool_(kPoolBytes),
        signals_(int64_t{64} << 20),
        outputs_(int64_t{64} << 20),
        workspace_(32 << 20) {
    if (cublasCreate(&cublas_) != CUBLAS_STATUS_SUCCESS ||
        cublasSetStream(cublas_, stream_.get()) != CUBLAS_STATUS_SUCCESS ||
        cublasSetWorkspace(cublas_, workspace_.data(), static_cast<size_t>(workspace_.bytes())) !=
            CUBLAS_STATUS_SUCCESS) {
      throw std::runtime_error("cuBLAS does not start");
    }
    fill(DataType::kFloat16);
    constexpr int64_t kBytes = int64_t{2} << 30;
    const Timing read = timer_.hot([&] {
      return bench::read_pass(outputs_.data(), pool_.data(), kBytes, stream_.get()) == cudaSuccess;
    });
    read_gbs_ = static_cast<double>(kBytes) / read.median_us * 1e-3;
    std::printf("read pass: %.0f GB/s\n", read_gbs_);
  }
  ~Bench() { cublasDestroy(cublas_); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  void run(const Problem& p) {
    fill(p.type);
    check(p);
    const int64_t calls = std::clamp<int64_t>(kChainBytes / p.weight_bytes(), 16, 128);
    const auto chain = [&](auto&& call) {
      return [&, call] {
        bool good = true;
        for (int64_t i = 0; i < calls; ++i) good = call(i) && good;
        return good;
      };
    };
    const auto ours = [&](int64_t i) { return enqueue_ours(p, i); };
    const auto theirs = [&](int64_t i) { return enqueue_cublas(p, i); };
    const auto count = static_cast<double>(calls);
    report(p, "chain", std::to_string(calls), timer_.hot(chain(ours)).median_us / count,
           timer_.hot(chain(theirs)).median_us / count);
    report(p, "alone", "1", timer_.cold([&] { return ours(0); }).median_us,
           timer_.cold([&] { return theirs(0); }).median_us);
  }

 private:
  void fill(DataType type) {
    if (filled_ && type == type_) return;
    for (const DeviceBuffer* buffer : {&pool_, &signals_, &outputs_}) {
      check_cuda(bench::fill_uniform(buffer->data(), type, buffer->bytes() / 2, 1, stream_.get()),
                 "fill");
    }
    type_ = type;
    filled_ = true;
  }

  const char* weights(const Problem& p, int64_t call) const {
    return pool_.as<char>() + call * p.weight_bytes();
  }
  // Every call has its own output, so that sums of cuBLAS's beta = 1 do not run away.
  char* output(int64_t call) const { return outputs_.as<char>() + call * (int64_t{1} << 19); }

  DecodeLinear layer(const Problem& p, int64_t call) const {
    DecodeLinear l;
    l.type = p.type;
    l.M = p.M;
    l.N = p.N;
    l.K = p.K;
    l.K2 = p.K2();
    l.W = weights(p, call);
    l.V = weights(p, call) + p.N * p.K * 2;
    l.X = signals_.data();
    l.Z = signals_.as<char>() + (8 << 20);
    l.Y = output(call);
    l.x_row_stride = p.K;
    l.z_row_stride = p.K2();
    l.y_row_stride = p.columns();
    const void* stream = call > 0 ? output(call - 1) : signals_.data();
    if (p.form == Form::kDense) l.Z = stream;
    if (p.form == Form::kNone || p.form == Form::kDiagonal || p.form == Form::kLowRank) {
      l.R = stream;
      l.residual_columns = p.N;
      l.r_row_stride = p.N;
      if (p.form == Form::kDiagonal) l.diagonal = signals_.as<char>() + (16 << 20);
    }
    if (p.is_reader()) {
      l.norm_hidden = p.K;
      l.eps = 1e-5;
      if (p.form == Form::kGatedReader) l.epilogue = kernels::Epilogue::kGatedSilu;
    }
    return l;
  }

  bool enqueue_ours(const Problem& p, int64_t call) const {
    return kernels::decode_linear(layer(p, call), stream_.get()) == cudaSuccess;
  }

  bool product(const Problem& p, void* Y, const void* X, const void* W, int64_t K,
               float beta) const {
    const cudaDataType type = p.type == DataType::kFloat16 ? CUDA_R_16F : CUDA_R_16BF;
    const float one = 1;
    const auto m = static_cast<int>(p.M), n = static_cast<int>(p.N), k = static_cast<int>(K);
    return cublasGemmEx(cublas_, CUBLAS_OP_T, CUBLAS_OP_N, n, m, k, &one, W, type, k, X, type, k,
                        &beta, Y, type, n, CUBLAS_COMPUTE_32F,
                        CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS;
  }

  // A residual is what Y holds already, so the last product adds to it.
  bool enqueue_cublas(const Problem& p, int64_t call) const {
    const DecodeLinear l = layer(p, call);
    const bool adds = l.R != nullptr;
    return product(p, l.Y, l.X, l.W, l.K, adds ? 1.0f : 0.0f) &&
           (l.K2 == 0 || product(p, l.Y, l.Z, l.V, l.K2, 1.0f));
  }

  template <typename T>
  std::vector<T> copied(size_t count) const {
    std::vector<T> values(count);
    check_cuda(cudaMemcpy(values.data(), output(0), count * sizeof(T), cudaMemcpyDeviceToHost),
               "read");
    return values;
  }

  std::vector<double> values(const Problem& p) const {
    check_cuda(cudaStreamSynchronize(stream_.get()), "run");
    std::vector<double> result;
    const auto count = static_cast<size_t>(p.M * p.columns());
    if (p.type == DataType::kFloat16) {
      for (const __half value : copied<__half>(count)) result.push_back(__half2float(value));
    } else {
      for (const __nv_bfloat16 value : copied<__nv_bfloat16>(count)) {
        result.push_back(__bfloat162float(value));
      }
    }
    return result;
  }

  // Where cuBLAS makes the same thing, both agree.
  void check(const Problem& p) {
    if (p.form != Form::kDense) return;
    if (!enqueue_ours(p, 0)) throw std::runtime_error("decode_linear does not start");
    const std::vector<double> ours = values(p);
    if (!enqueue_cublas(p, 0)) throw std::runtime_error("cuBLAS does not start");
    const std::vector<double> theirs = values(p);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < ours.size(); ++i) {
      difference += (ours[i] - theirs[i]) * (ours[i] - theirs[i]);
      norm += theirs[i] * theirs[i];
    }
    if (!(std::sqrt(difference) <= 1e-2 * std::sqrt(norm))) {
      throw std::runtime_error(p.model + ": differs from cuBLAS");
    }
  }

  void report(const Problem& p, const char* kind, const std::string& calls, double ours_us,
              double theirs_us) {
    bench::Row row;
    row.benchmark = "shortcut";
    row.model = p.model + " D" + std::to_string(p.N) + "xK" + std::to_string(p.K);
    row.form = name_of(p.form);
    row.dtype = p.type == DataType::kFloat16 ? "float16" : "bfloat16";
    row.batch = std::to_string(p.M);
    row.length = calls;
    row.metric = std::string("shortcut_") + kind + "_us";
    row.value = ours_us;
    row.unit = "us";
    row.floor = p.bytes() / read_gbs_ * 1e-3;
    row.baseline = "cublas";
    row.baseline_value = theirs_us;
    csv_.write(row);
    std::printf("%-36s %-12s %-8s M=%-2d %-5s %8.2f us = %.3f floors   cuBLAS %8.2f us (%.2fx)\n",
                row.model.c_str(), row.form.c_str(), row.dtype.c_str(), static_cast<int>(p.M), kind,
                ours_us, ours_us / row.floor, theirs_us, theirs_us / ours_us);
    std::fflush(stdout);
  }

  bench::Stream stream_;
  bench::Timer timer_;
  bench::Csv csv_;
  DeviceBuffer pool_, signals_, outputs_, workspace_;
  cublasHandle_t cublas_ = nullptr;
  double read_gbs_ = 0;
  bool filled_ = false;
  DataType type_ = DataType::kFloat16;
};

// Query, key and value rows of these models; key and value of 70B have an eighth.
int64_t qkv_rows(const shapes::ModelShape& model) {
  return model.hidden == 8192 ? model.hidden + model.hidden / 4 : 3 * model.hidden;
}

void run_all(Bench& bench) {
  constexpr DataType kHalf = DataType::kFloat16;
  const auto& seven = shapes::kModels[2];
  for (const int64_t M : {1, 2, 4, 8, 16}) {
    bench.run({"llama2-7b/attention", Form::kDense, kHalf, M, seven.kept, seven.hidden});
    bench.run({"llama2-7b/mlp", Form::kDense, kHalf, M, seven.kept, seven.ffn});
    bench.run({"llama2-7b/mlp", Form::kNone, kHalf, M, seven.hidden, seven.ffn});
    bench.run({"llama2-7b/gate-up", Form::kGatedReader, kHalf, M, 2 * seven.ffn, seven.kept});
  }
  for (const int64_t M : {1, 8, 16}) {
    constexpr DataType kBrain = DataType::kBFloat16;
    bench.run({"llama2-7b/attention", Form::kDense, kBrain, M, seven.kept, seven.hidden});
    bench.run({"llama2-7b/mlp", Form::kDense, kBrain, M, seven.kept, seven.ffn});
  }
  for (const auto& model : shapes::kModels) {
    const std::string name = model.name;
    for (const int64_t M : {1, 8}) {
      for (const Form form : {Form::kDense, Form::kLowRank, Form::kDiagonal, Form::kNone}) {
        const bool done = model.hidden == seven.hidden && form == Form::kDense;
        if (done || (M > 1 && form != Form::kDense)) continue;
        bench.run({name + "/attention", form, kHalf, M, model.kept, model.hidden});
        bench.run({name + "/mlp", form, kHalf, M, model.kept, model.ffn});
      }
      bench.run({name + "/qkv", Form::kReader, kHalf, M, qkv_rows(model), model.kept});
      bench.run({name + "/head", Form::kReader, kHalf, M, 32000, model.kept});
      if (model.hidden != seven.hidden) {
        bench.run({name + "/gate-up", Form::kGatedReader, kHalf, M, 2 * model.ffn, model.kept});
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (!bench::has_gpu()) {
      std::fprintf(stderr, "bench_shortcut: no CUDA device\n");
      return 4;
    }
    Bench bench(argc > 1 ? argv[1] : "shortcut.csv");
    run_all(bench);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_shortcut: %s\n", error.what());
    return 1;
  }
}
