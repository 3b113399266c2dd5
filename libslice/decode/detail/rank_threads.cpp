#include "libslice/decode/detail/rank_threads.h"

#include <c10/core/DeviceGuard.h>

#include <utility>

namespace slice::detail {

RankThreads::RankThreads(const std::vector<at::Device>& devices, std::function<void()> on_failure)
    : on_failure_(std::move(on_failure)) {
  try {
    for (const at::Device& device : devices)
      threads_.emplace_back([this, rank = size(), device] { serve(rank, device); });
  } catch (...) {
    stop();
    throw;
  }
}

RankThreads::~RankThreads() { stop(); }

void RankThreads::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  begins_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void RankThreads::run(const std::function<void(int64_t)>& task) {
  std::unique_lock lock(mutex_);
  task_ = &task;
  working_ = size();
  failure_ = nullptr;
  ++calls_;
  begins_.notify_all();
  ends_.wait(lock, [this] { return working_ == 0; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void RankThreads::serve(int64_t rank, at::Device device) {
  const c10::DeviceGuard guard(device);
  for (uint64_t done = 0;; ++done) {
    const std::function<void(int64_t)>* task = nullptr;
    {
      std::unique_lock lock(mutex_);
      begins_.wait(lock, [&] { return stopping_ || calls_ > done; });
      if (stopping_) return;
      task = task_;
    }
    std::exception_ptr failure;
    try {
      (*task)(rank);
    } catch (...) {
      failure = std::current_exception();
      on_failure_();
    }
    const std::lock_guard lock(mutex_);
    if (failure && !failure_) failure_ = failure;
    if (--working_ == 0) ends_.notify_all();
  }
}

}  // namespace slice::detail
