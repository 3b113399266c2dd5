#include "libslice/decode/detail/rank_sockets.h"

#include <ATen/ATen.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <random>
#include <string>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/device/process_group.h"

namespace slice::detail {

using at::Tensor;
using Clock = std::chrono::steady_clock;

Descriptor::Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(number_, other.number_);
  return *this;
}

Descriptor::~Descriptor() {
  if (number_ >= 0) close(number_);
}

namespace {

/// Ranks connect right after all of them listen.
constexpr std::chrono::seconds kConnecting{30};

/// A name of Linux's that is in no file system: a zero, then this.
constexpr size_t kNameBytes = 48;
using Name = std::array<char, kNameBytes>;

Name own_name() {
  std::random_device random;
  const std::string text =
      formatted("libslice-{}-{:08x}{:08x}{:08x}", getpid(), random(), random(), random());
  Name name = {};
  text.copy(name.data(), name.size() - 1);
  return name;
}

/// Those of all ranks.
std::vector<Name> names_of_ranks(const Name& own, const ProcessGroup& group) {
  Tensor all = at::zeros({group.size(), static_cast<int64_t>(own.size())}, at::kByte);
  std::memcpy(all[group.rank()].mutable_data_ptr(), own.data(), own.size());
  group.gather_rows_inplace(all);
  std::vector<Name> names(static_cast<size_t>(group.size()));
  std::memcpy(names.data(), all.const_data_ptr(), names.size() * own.size());
  return names;
}

sockaddr_un address_of(const Name& name) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  return address;
}

constexpr socklen_t kAddressBytes = offsetof(sockaddr_un, sun_path) + 1 + kNameBytes;

/// @return  why a call failed
std::string problem_of(const char* call) { return formatted("{}: {}", call, strerror(errno)); }

Descriptor new_socket() { return Descriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

std::string listen_as(const Name& name, int ranks, Descriptor& listener) {
  listener = new_socket();
  const sockaddr_un address = address_of(name);
  if (listener.get() < 0) return problem_of("socket");
  if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), kAddressBytes) != 0)
    return problem_of("bind");
  return listen(listener.get(), 2 * ranks) == 0 ? "" : problem_of("listen");
}

/// Connects to a rank, and says which one this is.
std::string connect_to(const Name& name, int32_t own, Descriptor& peer) {
  peer = new_socket();
  const sockaddr_un address = address_of(name);
  if (peer.get() < 0) return problem_of("socket");
  if (connect(peer.get(), reinterpret_cast<const sockaddr*>(&address), kAddressBytes) != 0)
    return problem_of("connect");
  return send(peer.get(), &own, sizeof own, MSG_NOSIGNAL) == sizeof own ? "" : problem_of("send");
}

/// Which rank has connected; −1 where it is none: any process of the host may connect.
int32_t rank_behind(const Descriptor& peer) {
  ucred who = {};
  socklen_t size = sizeof who;
  const timeval patience = {.tv_sec = 1, .tv_usec = 0};
  int32_t rank = -1;
  if (getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 || who.uid != geteuid() ||
      setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
      recv(peer.get(), &rank, sizeof rank, MSG_WAITALL) != sizeof rank)
    return -1;
  return rank;
}

/// Accepts the ranks after this one.
std::string accept_ranks(const Descriptor& listener, int64_t own, std::vector<Descriptor>& peers) {
  const auto end = Clock::now() + kConnecting;
  for (int64_t missing = std::ssize(peers) - 1 - own; missing > 0;) {
    pollfd waiting = {listener.get(), POLLIN, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) return formatted("{} ranks did not connect", missing);
    if (poll(&waiting, 1, static_cast<int>(left.count())) <= 0) continue;
    Descriptor peer(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (peer.get() < 0) continue;
    const int32_t rank = rank_behind(peer);
    if (rank <= own || rank >= std::ssize(peers) || peers[rank].get() >= 0) continue;
    peers[rank] = std::move(peer);
    --missing;
  }
  return "";
}

}  // namespace

std::vector<Descriptor> sockets_to_ranks(const ProcessGroup& group) {
  const Name own = own_name();
  Descriptor listener;
  std::vector<Descriptor> peers(static_cast<size_t>(group.size()));
  std::string problem = listen_as(own, static_cast<int>(group.size()), listener);
  const std::vector<Name> names = names_of_ranks(own, group);
  for (int64_t rank = 0; rank < group.rank() && problem.empty(); ++rank) {
    problem = connect_to(names[rank], static_cast<int32_t>(group.rank()), peers[rank]);
    if (!problem.empty()) problem = formatted("rank {}: {}", rank, problem);
  }
  // Who waits is not to wait for a rank that has given up.
  double failed = group.sum(problem.empty() ? 0.0 : 1.0);
  if (failed == 0) {
    problem = accept_ranks(listener, group.rank(), peers);
    failed = group.sum(problem.empty() ? 0.0 : 1.0);
  }
  SLICE_CHECK_AS(DeviceError, failed == 0,
                 "several GPUs: want all ranks to be processes of one user on one host: {}",
                 problem.empty() ? "another rank does not reach them" : problem);
  return peers;
}

}  // namespace slice::detail
