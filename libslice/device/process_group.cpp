#include "libslice/device/process_group.h"

#include <ATen/ATen.h>
#include <c10/util/ScopeExit.h>
#ifdef LIBSLICE_GLOO
#ifndef USE_C10D_GLOO
#define USE_C10D_GLOO
#endif
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#endif
#ifdef LIBSLICE_NCCL
#ifndef USE_C10D_NCCL
#define USE_C10D_NCCL
#endif
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include <charconv>
#include <cstdlib>
#include <functional>

#include "libslice/base/detail/check.h"

namespace slice {

using at::Tensor;

namespace {

std::optional<int64_t> number_in_environment(const char* name, int64_t least, int64_t most) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  int64_t number = 0;
  const std::string_view all(text);
  const auto [end, problem] = std::from_chars(all.data(), all.data() + all.size(), number);
  SLICE_CHECK_AS(
      Error,
      problem == std::errc() && end == all.data() + all.size() && number >= least && number <= most,
      "environment variable {}: want a number in [{}, {}], got {}", name, least, most, text);
  return number;
}

}  // namespace

std::optional<Rendezvous> rendezvous_from_environment() {
  constexpr int64_t kMostRanks = 1 << 20, kMostPorts = 65535;
  const auto size = number_in_environment("WORLD_SIZE", 1, kMostRanks);
  if (!size) return std::nullopt;
  Rendezvous meeting;
  meeting.size = *size;
  const auto rank = number_in_environment("RANK", 0, *size - 1);
  SLICE_CHECK_AS(Error, rank || *size == 1, "environment: WORLD_SIZE is {} and RANK is missing",
                 *size);
  meeting.rank = rank.value_or(0);
  meeting.local_rank = number_in_environment("LOCAL_RANK", 0, kMostRanks).value_or(meeting.rank);
  meeting.port = number_in_environment("MASTER_PORT", 1, kMostPorts).value_or(meeting.port);
  if (const char* address = std::getenv("MASTER_ADDR")) meeting.address = address;
  // torchrun's agent runs the store at that address, and counts how often it started the ranks.
  const char* agent = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  meeting.launcher_serves = agent != nullptr && std::string_view(agent) == "True";
  if (const char* attempt = std::getenv("TORCHELASTIC_RESTART_COUNT"))
    meeting.prefix = std::string("/worker/attempt_") + attempt;
  return meeting;
}

#ifdef LIBSLICE_GLOO

struct ProcessGroup::Connections {
  using Backend = c10::intrusive_ptr<c10d::Backend>;
  using Call = std::function<c10::intrusive_ptr<c10d::Work>(c10d::Backend&, std::vector<Tensor>&)>;

  Connections(const Rendezvous& meeting, at::Device device, std::chrono::milliseconds patience);
  ~Connections();
  Connections(const Connections&) = delete;

  /// Runs a collective on t, in place.
  void run(const char* what, Tensor& t, const Call& call, bool all_take_part = true);
  /// Runs calls with one check before and one after all of them.
  void together(const std::function<void()>& calls);

  int64_t rank, size;
  std::chrono::milliseconds timeout;

 private:
  void guard(const char* what, const std::function<void()>& body) const;
  void check_presence(const char* what) const;

  Backend gloo_, nccl_;
  /// Makes nccl_, which ranks that exchange numbers of the host alone never need: they may share a
  /// GPU, and none looks for it when another has died.
  std::function<Backend()> make_nccl_;
  bool together_ = false;  // within `together`: presence is checked before and after all calls
};

namespace {

c10::intrusive_ptr<c10d::Store> meeting_place(const Rendezvous& meeting,
                                              std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(meeting.port);
  options.isServer = meeting.rank == 0 && !meeting.launcher_serves;
  if (!meeting.launcher_serves) options.numWorkers = static_cast<std::size_t>(meeting.size);
  options.waitWorkers = !meeting.launcher_serves;
  options.timeout = timeout;
  options.useLibUV = false;  // not every LibTorch has it, and every server accepts this
  return c10::make_intrusive<c10d::PrefixStore>(
      meeting.prefix, c10::make_intrusive<c10d::TCPStore>(meeting.address, options));
}

c10::intrusive_ptr<c10d::Backend> gloo_among(const c10::intrusive_ptr<c10d::Store>& store,
                                             const Rendezvous& meeting,
                                             std::chrono::milliseconds timeout) {
  using Gloo = c10d::ProcessGroupGloo;
  const auto options = Gloo::Options::create(timeout);
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME")) {
    options->devices.push_back(Gloo::createDeviceForInterface(interface));
  } else if (meeting.address == "localhost" || meeting.address.starts_with("127.")) {
    // One machine, even if its own name resolves to something else.
    options->devices.push_back(Gloo::createDeviceForHostname(meeting.address));
  } else {
    options->devices.push_back(Gloo::createDefaultDevice());
  }
  return c10::make_intrusive<Gloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", store),
                                   static_cast<int>(meeting.rank), static_cast<int>(meeting.size),
                                   options);
}

#ifdef LIBSLICE_NCCL
c10::intrusive_ptr<c10d::Backend> nccl_among(const c10::intrusive_ptr<c10d::Store>& store,
                                             const Rendezvous& meeting,
                                             std::chrono::milliseconds timeout) {
  using Nccl = c10d::ProcessGroupNCCL;
  const auto options = Nccl::Options::create();
  options->timeout = timeout;
  return c10::make_intrusive<Nccl>(c10::make_intrusive<c10d::PrefixStore>("nccl", store),
                                   static_cast<int>(meeting.rank), static_cast<int>(meeting.size),
                                   options);
}
#endif

}  // namespace

ProcessGroup::Connections::Connections(const Rendezvous& meeting,
                                       [[maybe_unused]] at::Device device,
                                       std::chrono::milliseconds patience)
    : rank(meeting.rank), size(meeting.size), timeout(patience) {
  guard("connecting", [&] {
    const auto store = meeting_place(meeting, timeout);
    gloo_ = gloo_among(store, meeting, timeout);
#ifdef LIBSLICE_NCCL
    if (device.is_cuda())
      make_nccl_ = [store, meeting, patience] { return nccl_among(store, meeting, patience); };
#endif
  });
  check_presence("connecting");  // none leaves while others still connect to it
}

ProcessGroup::Connections::~Connections() {
  try {
    if (nccl_) nccl_->shutdown();
  } catch (const std::exception&) {  // the other ranks are gone, and the communicator with them
  }
}

/// Turns errors of the libraries into one readable message.
void ProcessGroup::Connections::guard(const char* what, const std::function<void()>& body) const {
  try {
    body();
  } catch (const std::exception& error) {
    const std::string_view words = error.what();
    throw Error(detail::formatted(
        "rank {} of {}: {}: lost contact with another rank (exited, or no reply for {} s): {}",
        rank, size, what, std::chrono::duration_cast<std::chrono::seconds>(timeout).count(),
        words.substr(0, words.find('\n'))));
  }
}

void ProcessGroup::Connections::run(const char* what, Tensor& t, const Call& call,
                                    bool all_take_part) {
  if (t.numel() == 0) return;
  const bool on_device = t.is_cuda() && make_nccl_;
  std::vector<Tensor> tensors = {t.is_cpu() || on_device ? t.contiguous() : t.cpu().contiguous()};
  if (on_device && all_take_part && !together_) check_presence(what);
  if (on_device && !nccl_) guard(what, [&] { nccl_ = make_nccl_(); });
  guard(what, [&] { call(on_device ? *nccl_ : *gloo_, tensors)->wait(); });
  if (!tensors[0].is_same(t)) t.copy_(tensors[0]);
}

/// NCCL rarely notices that a process died; Gloo does at once.
void ProcessGroup::Connections::check_presence(const char* what) const {
  std::vector<Tensor> present = {at::ones({1}, at::kInt)};
  guard(what, [&] { gloo_->allreduce(present)->wait(); });
}

void ProcessGroup::Connections::together(const std::function<void()>& calls) {
  if (!make_nccl_) return calls();
  check_presence("a step");
  {
    together_ = true;
    const auto end = c10::make_scope_exit([this] { together_ = false; });
    calls();
  }
  check_presence("a step");
}

ProcessGroup::ProcessGroup(const Rendezvous& meeting, at::Device device,
                           std::chrono::milliseconds timeout) {
  SLICE_ARGUMENT_CHECK(meeting.size >= 1 && meeting.rank >= 0 && meeting.rank < meeting.size,
                       "process group: no rank {} of {}", meeting.rank, meeting.size);
  connections_ = std::make_shared<Connections>(meeting, device, timeout);
}

int64_t ProcessGroup::rank() const { return connections_ ? connections_->rank : 0; }
int64_t ProcessGroup::size() const { return connections_ ? connections_->size : 1; }

void ProcessGroup::sum_inplace(Tensor& t) const {
  if (!connections_) return;
  connections_->run("a sum", t, [](c10d::Backend& backend, std::vector<Tensor>& tensors) {
    return backend.allreduce(tensors);
  });
}

void ProcessGroup::copy_from_inplace(int64_t rank, Tensor& t) const {
  if (!connections_) return;
  c10d::BroadcastOptions options;
  options.rootRank = rank;
  connections_->run("a copy", t, [&](c10d::Backend& backend, std::vector<Tensor>& tensors) {
    return backend.broadcast(tensors, options);
  });
}

void ProcessGroup::together(const std::function<void()>& calls) const {
  connections_ ? connections_->together(calls) : calls();
}

void ProcessGroup::send(const Tensor& t, int64_t to) const {
  SLICE_CHECK_AS(Error, connections_, "process group: no other rank to send to");
  Tensor sent = t;
  connections_->run(
      "sending", sent,
      [&](c10d::Backend& backend, std::vector<Tensor>& tensors) {
        return backend.send(tensors, static_cast<int>(to), 0);
      },
      /*all_take_part=*/false);
}

void ProcessGroup::receive_inplace(Tensor& t, int64_t from) const {
  SLICE_CHECK_AS(Error, connections_, "process group: no other rank to receive from");
  connections_->run(
      "receiving", t,
      [&](c10d::Backend& backend, std::vector<Tensor>& tensors) {
        return backend.recv(tensors, static_cast<int>(from), 0);
      },
      /*all_take_part=*/false);
}

#else  // without the declarations of Gloo every process is alone

struct ProcessGroup::Connections {};

ProcessGroup::ProcessGroup(const Rendezvous& meeting, at::Device, std::chrono::milliseconds) {
  SLICE_CHECK_AS(Error, meeting.size == 1,
                 "this libslice was built without Gloo's headers: no groups of {} processes",
                 meeting.size);
}

int64_t ProcessGroup::rank() const { return 0; }
int64_t ProcessGroup::size() const { return 1; }
void ProcessGroup::sum_inplace(Tensor&) const {}
void ProcessGroup::copy_from_inplace(int64_t, Tensor&) const {}
void ProcessGroup::together(const std::function<void()>& calls) const { calls(); }
void ProcessGroup::send(const Tensor&, int64_t) const {}
void ProcessGroup::receive_inplace(Tensor&, int64_t) const {}

#endif

std::pair<int64_t, int64_t> ProcessGroup::share(int64_t n, int64_t of_rank) const {
  return {n * of_rank / size(), n * (of_rank + 1) / size()};
}

void ProcessGroup::gather_rows_inplace(Tensor& t) const {
  for (int64_t from = 0; from < size() && !alone(); ++from) {
    const auto [begin, end] = share(t.size(0), from);
    Tensor rows = t.slice(0, begin, end);
    copy_from_inplace(from, rows);
  }
}

double ProcessGroup::sum(double number) const {
  Tensor t = at::full({1}, number, at::kDouble);
  sum_inplace(t);
  return t.item<double>();
}

double ProcessGroup::copy_from(int64_t from, double number) const {
  Tensor t = at::full({1}, number, at::kDouble);
  copy_from_inplace(from, t);
  return t.item<double>();
}

}  // namespace slice
