#pragma once

#include <ATen/core/Tensor.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "libslice/device/process_group.h"

namespace slice::tests {

/// A port of this machine that nobody listens on, as far as one can know.
inline int64_t free_port() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  const bool found = bind(listener, any, size) == 0 && getsockname(listener, any, &size) == 0;
  close(listener);
  if (!found) throw std::runtime_error("no free port");
  return ntohs(address.sin_port);
}

/// Runs `body` as every rank of a group of n, each on a thread of its own: Gloo does not care.
/// @return  what each rank threw, "" for nothing
inline std::vector<std::string> run_ranks(int64_t n,
                                          const std::function<void(const ProcessGroup&)>& body) {
  // c10d's flight recorder, one a process, takes the groups of several threads without a lock.
  setenv("TORCH_FR_BUFFER_SIZE", "0", /*replace=*/0);
  const int64_t port = free_port();
  std::vector<std::string> thrown(n);
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < n; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        const Rendezvous meeting{.rank = rank, .size = n, .local_rank = rank, .port = port};
        body(ProcessGroup(meeting, at::kCPU, std::chrono::seconds(60)));
      } catch (const std::exception& error) {
        thrown[rank] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

}  // namespace slice::tests
