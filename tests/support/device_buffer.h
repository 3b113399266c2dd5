#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <cstring>
#include <vector>

#include "benchmarks/device.h"
#include "cuda/data_type.h"

// Raw CUDA for the kernels' tests: transfers by way of double, poisoned outputs, captured runs. No
// LibTorch.

namespace slice::test {

using bench::check_cuda;
using bench::DeviceBuffer;
using bench::has_gpu;
using bench::Stream;
using kernels::DataType;
using kernels::size_of;

inline constexpr DataType kAllTypes[] = {DataType::kFloat16, DataType::kBFloat16,
                                         DataType::kFloat32, DataType::kFloat64};

inline const char* name_of(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return "float16";
    case DataType::kBFloat16:
      return "bfloat16";
    case DataType::kFloat32:
      return "float32";
    default:
      return "float64";
  }
}

inline void require_gpu() {
  if (!has_gpu()) SKIP("no CUDA device");
}

/// Runs `work` as a captured graph: anything it does on another stream, or any wait, fails.
template <typename Work>
void run_captured(const Stream& stream, Work&& work) {
  check_cuda(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeGlobal), "begin capture");
  const cudaError_t launched = work();
  cudaGraph_t graph = nullptr;
  const cudaError_t captured = cudaStreamEndCapture(stream.get(), &graph);
  check_cuda(launched, "captured launch");
  check_cuda(captured, "end capture");
  cudaGraphExec_t executable = nullptr;
  check_cuda(cudaGraphInstantiate(&executable, graph, 0), "instantiate graph");
  const cudaError_t status = cudaGraphLaunch(executable, stream.get());
  const cudaError_t finished = cudaStreamSynchronize(stream.get());
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  check_cuda(status, "launch graph");
  check_cuda(finished, "run graph");
}

inline double widen(__half value) { return __half2float(value); }
inline double widen(__nv_bfloat16 value) { return __bfloat162float(value); }
inline double widen(float value) { return value; }
inline double widen(double value) { return value; }

inline void narrow(double value, __half& out) { out = __double2half(value); }
inline void narrow(double value, __nv_bfloat16& out) { out = __double2bfloat16(value); }
inline void narrow(double value, float& out) { out = static_cast<float>(value); }
inline void narrow(double value, double& out) { out = value; }

/// Calls `function` with a value of the element type.
template <typename Function>
auto with_element(DataType type, Function&& function) {
  switch (type) {
    case DataType::kFloat16:
      return function(__half{});
    case DataType::kBFloat16:
      return function(__nv_bfloat16{});
    case DataType::kFloat32:
      return function(float{});
    default:
      return function(double{});
  }
}

/// The values, each rounded to `type`: what the kernel and the oracle both get.
inline std::vector<double> rounded(std::vector<double> values, DataType type) {
  with_element(type, [&](auto element) {
    for (double& value : values) {
      narrow(value, element);
      value = widen(element);
    }
  });
  return values;
}

/// The values as `type` on the device, after `offset` elements of poison (an odd offset unaligns a
/// view).
inline DeviceBuffer upload(const std::vector<double>& values, DataType type, int64_t offset = 0) {
  return with_element(type, [&](auto element) {
    using T = decltype(element);
    std::vector<T> host(values.size() + static_cast<size_t>(offset));
    std::memset(static_cast<void*>(host.data()), 0xff, host.size() * sizeof(T));
    for (size_t i = 0; i < values.size(); ++i) {
      narrow(values[i], host[i + static_cast<size_t>(offset)]);
    }
    DeviceBuffer buffer(static_cast<int64_t>(host.size() * sizeof(T)));
    buffer.write(host.data());
    return buffer;
  });
}

inline std::vector<double> download(const DeviceBuffer& buffer, DataType type) {
  return with_element(type, [&](auto element) {
    using T = decltype(element);
    const std::vector<T> host = buffer.read<T>();
    std::vector<double> values(host.size());
    for (size_t i = 0; i < host.size(); ++i) values[i] = widen(host[i]);
    return values;
  });
}

inline void* at(const DeviceBuffer& buffer, int64_t element, DataType type) {
  return buffer.data() == nullptr ? nullptr : buffer.as<char>() + element * size_of(type);
}

/// An output full of NaN, between guards that a kernel must leave alone.
class Output {
 public:
  Output(int64_t count, DataType type, int64_t offset = 0)
      : count_(count),
        offset_(kGuard + offset),
        type_(type),
        buffer_((offset_ + count_ + kGuard) * size_of(type)) {
    buffer_.fill(0xff);
  }

  void* data() const { return at(buffer_, offset_, type_); }

  /// Puts values there first: an argument that is changed in place.
  void write(const std::vector<double>& values) {
    std::vector<double> all = download(buffer_, type_);
    std::copy(values.begin(), values.end(), all.begin() + offset_);
    with_element(type_, [&](auto element) {
      std::vector<decltype(element)> host(all.size());
      for (size_t i = 0; i < all.size(); ++i) narrow(all[i], host[i]);
      std::memset(static_cast<void*>(host.data()), 0xff, offset_ * sizeof(element));
      std::memset(static_cast<void*>(host.data() + offset_ + count_), 0xff,
                  kGuard * sizeof(element));
      buffer_.write(host.data());
    });
  }

  std::vector<double> values() const {
    const std::vector<double> all = download(buffer_, type_);
    return {all.begin() + offset_, all.begin() + offset_ + count_};
  }
  bool guards_are_whole() const {
    const std::vector<unsigned char> bytes = buffer_.read<unsigned char>();
    const auto first = bytes.begin() + offset_ * size_of(type_);
    const auto last = first + count_ * size_of(type_);
    const auto poison = [](unsigned char byte) { return byte == 0xff; };
    return std::all_of(bytes.begin(), first, poison) && std::all_of(last, bytes.end(), poison);
  }

 private:
  static constexpr int64_t kGuard = 64;
  int64_t count_;
  int64_t offset_;
  DataType type_;
  DeviceBuffer buffer_;
};

}  // namespace slice::test
