#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace slice::detail {

/// A thread for each of some devices, which is its current one. What one launches may wait for what
/// another launches, so that no thread may launch for two.
class RankThreads {
 public:
  /// @param devices    of the ranks
  /// @param on_failure called, by its thread, when a rank throws: so that others do not wait for it
  RankThreads(const std::vector<at::Device>& devices, std::function<void()> on_failure);
  ~RankThreads();
  RankThreads(const RankThreads&) = delete;

  int64_t size() const { return static_cast<int64_t>(threads_.size()); }
  /// Runs task(rank) on every thread, and waits for all. By one caller at a time. Throws what the
  /// first rank that failed threw.
  void run(const std::function<void(int64_t rank)>& task);

 private:
  void serve(int64_t rank, at::Device device);
  void stop();

  std::function<void()> on_failure_;
  std::mutex mutex_;  // of what follows
  std::condition_variable begins_, ends_;
  const std::function<void(int64_t)>* task_ = nullptr;
  uint64_t calls_ = 0;
  int64_t working_ = 0;
  bool stopping_ = false;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

}  // namespace slice::detail
