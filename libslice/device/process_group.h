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

/// The place where the processes of a group find each other.
struct Rendezvous {
  int64_t rank = 0, size = 1;
  int64_t local_rank = 0;  ///< among the ranks of this machine: the index of its GPU
  std::string address = "127.0.0.1";
  int64_t port = 29500;
  std::string prefix = {};       ///< of the keys in the store
  bool launcher_serves = false;  ///< the launcher runs the store, else rank 0 does
};

/// The variables that torchrun sets: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT; the
/// last three default to RANK, 127.0.0.1 and 29500. Nothing without WORLD_SIZE.
/// @throws Error  not a number, or out of range (names the variable)
std::optional<Rendezvous> rendezvous_from_environment();

/// Processes that work on one model; all of them call the same members in the same order. A group
/// from the default constructor is one process, and its calls do nothing. Copies are the same
/// group; when the last copy is destroyed the process leaves it, and calls of the other ranks
/// throw.
///
/// Tensors on a GPU go through NCCL where libslice was built with it, else through host memory;
/// those on the CPU through Gloo. A call on a GPU is queued on the current stream. For NCCL every
/// rank needs a GPU of its own.
///
/// Every call throws Error when another rank has left or died: at once when its connection breaks,
/// else after the timeout.
class ProcessGroup {
 public:
  static constexpr std::chrono::minutes kTimeout{30};

  ProcessGroup() = default;
  /// Connects to the other ranks, on the network interfaces that GLOO_SOCKET_IFNAME and NCCL's
  /// variables name.
  /// @param device   the device that this process computes on
  /// @param timeout  of every wait for another rank, also in this constructor
  /// @throws ArgumentError  no such rank
  /// @throws Error          another rank did not connect, or libslice was built without Gloo
  ProcessGroup(const Rendezvous& meeting, at::Device device,
               std::chrono::milliseconds timeout = kTimeout);

  int64_t rank() const;
  int64_t size() const;
  bool alone() const { return size() == 1; }
  /// Begin and end of this rank's share of n items; shares differ by at most one.
  std::pair<int64_t, int64_t> share(int64_t n) const { return share(n, rank()); }
  std::pair<int64_t, int64_t> share(int64_t n, int64_t rank) const;

  /// t ← Σ over the ranks, the same bits on each. Cost: 2·bytes through every process.
  void sum_inplace(at::Tensor& t) const;
  /// t ← the t of one rank; shapes and dtypes are the same on all.
  void copy_from_inplace(int64_t rank, at::Tensor& t) const;
  /// Every rank has computed its share of the rows of t (n, …), and gets all others.
  void gather_rows_inplace(at::Tensor& t) const;
  double sum(double number) const;
  double copy_from(int64_t rank, double number) const;

  /// Runs `calls`, which may call this group. NCCL does not notice that a process has ended, and
  /// the device would wait for it forever. So every call on a GPU first checks over Gloo that all
  /// ranks are alive, which costs the host some 50 µs and cannot be captured in a graph. The calls
  /// within `calls` do not check; all ranks check once before and once after them. Until then the
  /// host must not wait for the device.
  void together(const std::function<void()>& calls) const;

  /// Sends t to a rank that calls receive_inplace with a tensor of the same shape and dtype.
  void send(const at::Tensor& t, int64_t to) const;
  void receive_inplace(at::Tensor& t, int64_t from) const;

 private:
  struct Connections;
  std::shared_ptr<Connections> connections_;
};

}  // namespace slice
