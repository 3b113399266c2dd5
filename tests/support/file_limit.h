#pragma once

#include <signal.h>
#include <sys/resource.h>

#include <cstdint>

namespace slice::tests {

/// While it lives no file of this process grows longer: writing more fails as on a full disk.
class FileLimit {
 public:
  explicit FileLimit(uint64_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = signal(SIGXFSZ, SIG_IGN);
    const rlimit little{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &little);
  }
  FileLimit(const FileLimit&) = delete;
  ~FileLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

}  // namespace slice::tests
