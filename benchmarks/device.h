#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// Owners of raw CUDA objects, for benchmarks and for the tests of cuda/. No LibTorch.

namespace slice::bench {

inline void check_cuda(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

inline bool has_gpu() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess && count > 0) return true;
  cudaGetLastError();
  return false;
}

/// Device memory. Its transfers wait for the whole device, so a non-blocking stream cannot overtake
/// them.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(int64_t bytes) : bytes_(bytes) {
    if (bytes_ > 0) check_cuda(cudaMalloc(&data_, static_cast<size_t>(bytes_)), "cudaMalloc");
  }
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  void* data() const { return data_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  int64_t bytes() const { return bytes_; }

  void fill(int byte) {
    if (bytes_ == 0) return;
    check_cuda(cudaMemset(data_, byte, static_cast<size_t>(bytes_)), "cudaMemset");
    check_cuda(cudaDeviceSynchronize(), "cudaMemset");
  }
  void write(const void* source) {
    if (bytes_ == 0) return;
    check_cuda(cudaMemcpy(data_, source, static_cast<size_t>(bytes_), cudaMemcpyHostToDevice),
               "copy to the device");
    check_cuda(cudaDeviceSynchronize(), "copy to the device");
  }
  template <typename T>
  std::vector<T> read() const {
    std::vector<T> values(static_cast<size_t>(bytes_) / sizeof(T));
    check_cuda(cudaDeviceSynchronize(), "kernel");
    if (values.empty()) return values;
    check_cuda(cudaMemcpy(values.data(), data_, values.size() * sizeof(T), cudaMemcpyDeviceToHost),
               "copy from the device");
    return values;
  }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

/// A stream that does not wait for the default one.
class Stream {
 public:
  Stream() {
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace slice::bench
