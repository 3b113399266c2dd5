#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace slice {

/// Where the processes of a group meet.
struct Rendezvous {
  int64_t rank = 0, size = 1;
  int64_t local_rank = 0;  ///< among those on the same machine: which of its GPUs
  std::string address = "127.0.0.1";
  int64_t port = 29500;
  std::string prefix = {};       ///< of the keys under which they meet
  bool somebody_serves = false;  ///< the launcher runs the meeting place, else rank 0 does
};

/// What torchrun puts into the environment: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT;
/// of the last three the defaults are RANK, 127.0.0.1 and 29500. Nothing without WORLD_SIZE.
/// @throws Error  no number, or out of range (names the variable)
std::optional<Rendezvous> rendezvous_from_environment();

/// Processes that work on one model, each of which calls the same members in the same order. Made
/// by its default constructor a process is alone, and every call does nothing. Copies are the same
/// group; the last one leaves it, on which calls of the others throw.
///
/// Tensors on a GPU pass through NCCL where libslice was built with it, else through host memory;
/// those of the CPU through Gloo. A call on a GPU is queued on the current stream.
///
/// Every call throws Error when another rank has left or died, at once where its connection broke,
/// else when the timeout is over.
class ProcessGroup {
 public:
  static constexpr std::chrono::minutes kTimeout{30};

  ProcessGroup() = default;
  /// Meets the others, on the network interfaces that GLOO_SOCKET_IFNAME and NCCL's variables name.
  /// @param device   what this process computes on; each has a GPU of its own
  /// @param timeout  of every wait for the others, this one included
  /// @throws Error  they did not come, or libslice was built without Gloo
  ProcessGroup(const Rendezvous& meeting, at::Device device,
               std::chrono::milliseconds timeout = kTimeout);

  int64_t rank() const;
  int64_t size() const;
  bool alone() const { return size() == 1; }
  /// Begin and end of this rank's part of n things; parts differ by one at most.
  std::pair<int64_t, int64_t> share(int64_t n) const { return share(n, rank()); }
  std::pair<int64_t, int64_t> share(int64_t n, int64_t rank) const;

  /// t ← Σ over the ranks, the same bits on each. Cost: 2·bytes through every process.
  void sum_inplace(at::Tensor& t) const;
  /// t ← the t of one rank; shapes and dtypes are the same on all.
  void copy_from_inplace(int64_t rank, at::Tensor& t) const;
  /// Rows of t (n, …): every rank made its share of them, and then has all.
  void gather_rows_inplace(at::Tensor& t) const;
  double sum(double number) const;
  double copy_from(int64_t rank, double number) const;

  /// Runs `calls`, calls of this group among them. NCCL does not notice that a process ended, and a
  /// device waits for it for ever: a call on a GPU first asks over Gloo whether all are there,
  /// which costs the host some 50 µs and the graph it would be captured in. Within `calls` they do
  /// not; all ask once in front of them and once behind. Until then the host must not wait for the
  /// device.
  void together(const std::function<void()>& calls) const;

  /// From one rank to another, which calls receive_inplace with a t of the same shape and dtype.
  void send(const at::Tensor& t, int64_t to) const;
  void receive_inplace(at::Tensor& t, int64_t from) const;

 private:
  struct Connections;
  std::shared_ptr<Connections> connections_;
};

}  // namespace slice
