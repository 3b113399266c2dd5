#pragma once

#include <httplib.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace serve {

/// A thread a connection, as many as there may be at once, made when they are first needed. What
/// comes when all are taken, or the system has no more threads, runs on the thread that brings it,
/// with is_refusing() true.
class ConnectionThreads final : public httplib::TaskQueue {
 public:
  explicit ConnectionThreads(size_t most) : most_(most) {}

  void enqueue(std::function<void()> task) override;
  void shutdown() override;
  static bool& is_refusing();

 private:
  void work();
  bool takes(std::function<void()>& task);

  size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  size_t busy_ = 0;  // tasks that run or wait
  bool stopped_ = false;
};

}  // namespace serve
