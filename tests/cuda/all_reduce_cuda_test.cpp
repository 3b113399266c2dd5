#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <vector>

#include "cuda/all_reduce.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

using namespace slice::test;
using namespace slice::kernels;

namespace {

constexpr DataType kTypes[] = {DataType::kFloat16, DataType::kBFloat16, DataType::kFloat32};
constexpr int64_t kPatienceNs = 10'000'000'000;

/// Ranks that are streams of one device.
class Ranks {
 public:
  explicit Ranks(int count) {
    check_cuda(cudaHostAlloc(reinterpret_cast<void**>(&lost_), sizeof *lost_, cudaHostAllocMapped),
               "cudaHostAlloc");
    *lost_ = 0;
    for (int rank = 0; rank < count; ++rank) {
      mailboxes_.emplace_back(static_cast<int64_t>(peer_mailbox_bytes(count)));
      counters_.emplace_back(static_cast<int64_t>(peer_counter_bytes()));
      mailboxes_.back().fill(0);
      counters_.back().fill(0);
      streams_.push_back(std::make_unique<Stream>());
    }
  }
  ~Ranks() { cudaFreeHost(lost_); }
  Ranks(const Ranks&) = delete;

  int count() const { return static_cast<int>(streams_.size()); }
  const Stream& stream(int rank) const { return *streams_[static_cast<size_t>(rank)]; }
  PeerLoss lost() const { return static_cast<PeerLoss>(*static_cast<volatile int32_t*>(lost_)); }
  PeerRanks peers(int rank, int64_t patience_ns = kPatienceNs) const {
    PeerRanks peers;
    peers.ranks = count();
    peers.rank = rank;
    for (int other = 0; other < count(); ++other)
      peers.mailboxes[other] = mailboxes_[static_cast<size_t>(other)].data();
    peers.counters = counters_[static_cast<size_t>(rank)].data();
    peers.lost = lost_;
    peers.patience_ns = patience_ns;
    return peers;
  }
  void wait() const {
    for (int rank = 0; rank < count(); ++rank)
      check_cuda(cudaStreamSynchronize(stream(rank).get()), "a rank");
  }

 private:
  int32_t* lost_ = nullptr;
  std::vector<DeviceBuffer> mailboxes_, counters_;
  std::vector<std::unique_ptr<Stream>> streams_;
};

struct Case {
  int64_t M, N, residual, stride, offset;
  bool diagonal;
};

/// Two reductions, one after the other, against sums in float64.
void check_sums(const Ranks& ranks, DataType type, const Case& c) {
  const int64_t count = c.M * c.N, residual_count = c.M * c.stride;
  std::vector<std::vector<double>> parts;
  for (int rank = 0; rank < ranks.count(); ++rank)
    parts.push_back(rounded(random_values(count, 1.0, 10 + static_cast<uint64_t>(rank)), type));
  const auto R = rounded(random_values(residual_count, 2.0, 3), type),
             d = rounded(random_values(c.residual, 1.5, 4), type);
  std::vector<double> want(static_cast<size_t>(count)), bounds(want.size());
  for (int64_t i = 0; i < count; ++i) {
    double sum = 0, sizes = 0;
    for (const auto& part : parts) {
      sum += part[i];
      sizes += std::abs(part[i]);
    }
    if (i % c.N < c.residual) {
      const double x = R[i / c.N * c.stride + i % c.N] * (c.diagonal ? d[i % c.N] : 1);
      sum += x;
      sizes += std::abs(x);
    }
    want[i] = sum;
    bounds[i] = epsilon(type) * std::abs(sum) + smallest_step(type) +
                (ranks.count() + 1) * epsilon(DataType::kFloat32) * sizes;
  }
  const DeviceBuffer residual = upload(R, type, c.offset), diagonal = upload(d, type, c.offset);
  std::vector<DeviceBuffer> X;
  std::vector<std::unique_ptr<Output>> Y;
  for (const auto& part : parts) {
    X.push_back(upload(part, type, c.offset));
    Y.push_back(std::make_unique<Output>(count, type));
  }
  for (int call = 0; call < 2; ++call) {
    for (int rank = 0; rank < ranks.count(); ++rank) {
      AllReduce reduce;
      reduce.Y = Y[static_cast<size_t>(rank)]->data();
      reduce.X = at(X[static_cast<size_t>(rank)], c.offset, type);
      reduce.R = c.residual > 0 ? at(residual, c.offset, type) : nullptr;
      reduce.diagonal = c.diagonal ? at(diagonal, c.offset, type) : nullptr;
      reduce.type = type;
      reduce.M = c.M;
      reduce.N = c.N;
      reduce.residual_columns = c.residual;
      reduce.r_row_stride = c.stride;
      REQUIRE(all_reduce(reduce, ranks.peers(rank), ranks.stream(rank).get()) == cudaSuccess);
    }
  }
  ranks.wait();
  REQUIRE(ranks.lost() == PeerLoss::kNone);
  for (const auto& y : Y) {
    CHECK(y->guards_are_whole());
    check_within(y->values(), want, bounds);
    CHECK(y->values() == Y[0]->values());  // the same bits
  }
}

}  // namespace

TEST_CASE("all_reduce adds the parts of all ranks and the shortcut", "[cuda][ranks]") {
  require_gpu();
  for (const int count : {1, 2, 3, 5}) {
    const Ranks ranks(count);
    for (const DataType type : kTypes) {
      for (const Case& c : {Case{1, 4096, 4096, 4096, 0, false}, Case{1, 1, 0, 1, 0, false},
                            Case{1, 111, 111, 111, 0, true}, Case{3, 500, 400, 520, 0, true},
                            Case{8, 3072, 3072, 4096, 0, true}, Case{19, 432, 0, 432, 1, false},
                            Case{99, 4096, 4096, 4096, 0, false}, Case{7, 4096, 512, 4096, 1, true},
                            Case{700, 4096, 4096, 4096, 0, false}}) {
        if (count > 3 && c.M > 100) continue;  // not all that wait on one device would be resident
        INFO(count << " ranks " << name_of(type) << " M " << c.M << " N " << c.N << " residual "
                   << c.residual << " offset " << c.offset);
        check_sums(ranks, type, c);
      }
    }
  }
}

TEST_CASE("all_gather puts the columns of all ranks side by side", "[cuda][ranks]") {
  require_gpu();
  for (const int count : {1, 2, 3}) {
    const Ranks ranks(count);
    for (const auto& [M, N] :
         {std::pair<int64_t, int64_t>{1, 32000}, {8, 111}, {64, 32000}, {3, 2}}) {
      const DataType type = DataType::kFloat16;
      INFO(count << " ranks M " << M << " N " << N);
      const auto all = rounded(random_values(M * N, 1.0, 5), type);
      std::vector<DeviceBuffer> X;
      std::vector<std::unique_ptr<Output>> Y;
      AllGather gather;
      gather.M = M;
      gather.type = type;
      for (int rank = 0; rank <= count; ++rank) gather.begins[rank] = N * rank / count;
      for (int rank = 0; rank < count; ++rank) {
        std::vector<double> own;
        for (int64_t row = 0; row < M; ++row)
          own.insert(own.end(), all.begin() + row * N + gather.begins[rank],
                     all.begin() + row * N + gather.begins[rank + 1]);
        X.push_back(upload(own, type));
        Y.push_back(std::make_unique<Output>(M * N, type));
      }
      for (int call = 0; call < 3; ++call) {
        for (int rank = 0; rank < count; ++rank) {
          gather.X = X[static_cast<size_t>(rank)].data();
          gather.Y = Y[static_cast<size_t>(rank)]->data();
          REQUIRE(all_gather(gather, ranks.peers(rank), ranks.stream(rank).get()) == cudaSuccess);
        }
      }
      ranks.wait();
      for (const auto& y : Y) {
        CHECK(y->guards_are_whole());
        CHECK(y->values() == all);
      }
    }
  }
}

TEST_CASE("all_reduce ends when another rank does not come, and when it is told to",
          "[cuda][ranks]") {
  require_gpu();
  for (const bool told : {false, true}) {
    const Ranks ranks(2);
    const DeviceBuffer x = upload(random_values(64, 1.0, 6), DataType::kFloat16);
    const Output y(64, DataType::kFloat16);
    AllReduce reduce;
    reduce.X = x.data();
    reduce.Y = y.data();
    reduce.M = 1;
    reduce.N = 64;
    const PeerRanks peers = ranks.peers(0, told ? kPatienceNs : kPatienceNs / 100);
    for (int call = 0; call < 50; ++call)  // those that follow do not wait
      REQUIRE(all_reduce(reduce, peers, ranks.stream(0).get()) == cudaSuccess);
    if (told)
      *static_cast<volatile int32_t*>(peers.lost) = static_cast<int32_t>(PeerLoss::kStopped);
    ranks.wait();
    CHECK(ranks.lost() == (told ? PeerLoss::kStopped : PeerLoss::kTimeout));
  }
}

TEST_CASE("all_reduce and all_gather refuse what they cannot do", "[cuda][ranks]") {
  require_gpu();
  const Ranks ranks(2);
  const DeviceBuffer x(1024), y(1024);
  AllReduce good;
  good.X = x.data();
  good.Y = y.data();
  good.R = x.data();
  good.M = 2;
  good.N = good.residual_columns = good.r_row_stride = 64;
  const PeerRanks peers = ranks.peers(0);
  const auto refused = [&](auto&& change) {
    AllReduce reduce = good;
    PeerRanks among = peers;
    change(reduce, among);
    return all_reduce(reduce, among, ranks.stream(0).get()) == cudaErrorInvalidValue;
  };
  CHECK(refused([](AllReduce& r, PeerRanks&) { r.M = -1; }));
  CHECK(refused([](AllReduce& r, PeerRanks&) { r.type = DataType::kFloat64; }));
  CHECK(refused([](AllReduce& r, PeerRanks&) { r.X = nullptr; }));
  CHECK(refused([](AllReduce& r, PeerRanks&) { r.R = nullptr; }));
  CHECK(refused([](AllReduce& r, PeerRanks&) { r.residual_columns = 65; }));
  CHECK(refused([](AllReduce& r, PeerRanks&) { r.r_row_stride = 63; }));
  CHECK(refused([](AllReduce& r, PeerRanks&) { r.X = static_cast<char*>(r.Y) + 2; }));
  CHECK(refused([](AllReduce&, PeerRanks& p) { p.rank = 2; }));
  CHECK(refused([](AllReduce&, PeerRanks& p) { p.ranks = kMostPeerRanks + 1; }));
  CHECK(refused([](AllReduce&, PeerRanks& p) { p.mailboxes[1] = nullptr; }));
  CHECK(refused([](AllReduce&, PeerRanks& p) { p.lost = nullptr; }));
  AllGather gather;
  gather.X = x.data();
  gather.Y = y.data();
  gather.M = 1;
  gather.begins[1] = 9;
  gather.begins[2] = 8;
  CHECK(all_gather(gather, peers, ranks.stream(0).get()) == cudaErrorInvalidValue);
}
