#include "examples/serve/connection_threads.h"

#include <utility>

namespace serve {

bool& ConnectionThreads::is_refusing() {
  thread_local bool refusing = false;
  return refusing;
}

void ConnectionThreads::enqueue(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (takes(task)) {
      changed_.notify_one();
      return;
    }
  }
  is_refusing() = true;
  task();
  is_refusing() = false;
}

/// Whether a task is put among the others, locked; there is a thread for each. Where there is no
/// memory or no thread for it, it stays as it is.
bool ConnectionThreads::takes(std::function<void()>& task) {
  if (busy_ == most_) return false;
  try {
    if (threads_.size() <= busy_) threads_.emplace_back([this] { work(); });
    tasks_.push_back(std::move(task));
  } catch (const std::exception&) {
    return false;
  }
  ++busy_;
  return true;
}

void ConnectionThreads::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopped_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    lock.lock();
    --busy_;
  }
}

void ConnectionThreads::shutdown() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace serve
