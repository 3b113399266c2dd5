#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <vector>

#include "cuda/next_token.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

using namespace slice::test;
using slice::kernels::next_token;
using slice::kernels::next_token_workspace_bytes;
using slice::kernels::NextToken;

namespace {

constexpr DataType kTypes[] = {DataType::kFloat16, DataType::kBFloat16, DataType::kFloat32};
constexpr int64_t kCapacity = 7, kWidth = 35, kOffset = 2;

struct Result {
  std::vector<int64_t> history;    // (batch, kCapacity)
  std::vector<int32_t> positions;  // (batch)
  std::vector<double> x;           // (batch, kWidth)
};

/// Two steps from the same logits, from position p of each sequence on; without logits, of the
/// tokens in `history`.
Result run(const std::vector<double>& logits, const std::vector<int64_t>& history,
           const std::vector<int32_t>& positions, int64_t vocabulary, DataType type,
           const std::vector<double>& E, const std::vector<double>& P, const Stream& stream) {
  const auto batch = static_cast<int64_t>(positions.size());
  const DeviceBuffer device_logits = upload(logits, type), embedding = upload(E, type),
                     rows = upload(P, type);
  DeviceBuffer ids(batch * kCapacity * 8), where(batch * 4),
      workspace(static_cast<int64_t>(next_token_workspace_bytes(batch)));
  ids.write(history.data());
  where.write(positions.data());
  workspace.fill(0);
  const Output x(batch * kWidth, type);
  const NextToken next{x.data(),
                       ids.as<int64_t>(),
                       where.as<int32_t>(),
                       device_logits.data(),
                       embedding.data(),
                       rows.data(),
                       workspace.data(),
                       type,
                       batch,
                       vocabulary,
                       kWidth,
                       kCapacity,
                       kOffset};
  for (int step = 0; step < 2; ++step) REQUIRE(next_token(next, stream.get()) == cudaSuccess);
  check_cuda(cudaStreamSynchronize(stream.get()), "next_token");
  CHECK(x.guards_are_whole());
  return {ids.read<int64_t>(), where.read<int32_t>(), x.values()};
}

int64_t argmax(const std::vector<double>& logits, int64_t row, int64_t vocabulary) {
  int64_t best = 0;
  for (int64_t i = 0; i < vocabulary; ++i) {
    if (std::isnan(logits[row * vocabulary + i])) return -1;
    if (logits[row * vocabulary + i] > logits[row * vocabulary + best]) best = i;
  }
  return best;
}

void check_rows(const Result& got, const std::vector<int64_t>& tokens,
                const std::vector<int32_t>& from, const std::vector<double>& E,
                const std::vector<double>& P, DataType type) {
  std::vector<double> x;
  for (size_t b = 0; b < tokens.size(); ++b) {
    const int32_t position = from[b] + 2;
    CHECK(got.positions[b] == position);
    CHECK(got.history[b * kCapacity + position] == tokens[b]);
    CHECK(got.history[b * kCapacity + position - 1] == tokens[b]);
    for (int64_t i = 0; i < kWidth; ++i) {
      const double position_part = P.empty() ? 0 : P[(position + kOffset) * kWidth + i];
      x.push_back(E[std::max<int64_t>(tokens[b], 0) * kWidth + i] + position_part);
    }
  }
  check_within(got.x, x, [&](double y) {
    return epsilon(type) * std::abs(y) + 2 * epsilon(DataType::kFloat32);
  });
}

}  // namespace

TEST_CASE("next_token takes the most likely id and its embedding", "[cuda][sample]") {
  require_gpu();
  const Stream stream;
  const std::vector<int32_t> from = {-1, 0, 4};
  const std::vector<int64_t> empty(from.size() * kCapacity, 77);
  const double infinity = std::numeric_limits<double>::infinity();
  for (const DataType type : kTypes) {
    for (const int64_t V : {1, 2, 53, 1000, 32000, 151936}) {
      INFO(name_of(type) << " V " << V);
      auto logits = rounded(random_values(3 * V, 4.0, 3), type);
      const auto E = rounded(random_values(V * kWidth, 1.0, 4), type),
                 P = rounded(random_values((kCapacity + kOffset) * kWidth, 1.0, 5), type);
      const auto check = [&] {
        const std::vector<int64_t> tokens = {argmax(logits, 0, V), argmax(logits, 1, V),
                                             argmax(logits, 2, V)};
        check_rows(run(logits, empty, from, V, type, E, P, stream), tokens, from, E, P, type);
        check_rows(run(logits, empty, from, V, type, E, {}, stream), tokens, from, E, {}, type);
      };
      check();
      // Ties; minus zero and zero; the ends; infinities.
      for (int64_t i = 0; i < V; ++i) {
        logits[i] = -1;
        logits[V + i] = i % 2 == 0 ? -0.0 : 0.0;
        logits[2 * V + i] = -infinity;
      }
      logits[V - 1] = 5;
      check();
      logits[V / 2] = 5;
      logits[2 * V + V / 3] = infinity;
      check();
      logits[V / 2] = std::numeric_limits<double>::quiet_NaN();
      check();
    }
  }
}

TEST_CASE("next_token looks up the tokens it is given", "[cuda][sample]") {
  require_gpu();
  const Stream stream;
  const std::vector<int32_t> from = {-1, 3};
  std::vector<int64_t> history(2 * kCapacity, 0);
  history[0] = history[1] = 52;
  history[kCapacity + 4] = history[kCapacity + 5] = 17;
  for (const DataType type : kTypes) {
    const auto E = rounded(random_values(53 * kWidth, 1.0, 4), type),
               P = rounded(random_values((kCapacity + kOffset) * kWidth, 1.0, 5), type);
    check_rows(run({}, history, from, 53, type, E, P, stream), {52, 17}, from, E, P, type);
  }
}

TEST_CASE("next_token refuses bad arguments and accepts no sequence", "[sample]") {
  alignas(16) float memory[64] = {};  // never touched: the checks come first
  int64_t history[4] = {};
  int32_t position = 0;
  NextToken good{memory, history, &position, memory, memory, nullptr, memory, DataType::kFloat32,
                 1,      8,       4,         4,      0};
  const auto refuses = [&](auto change) {
    NextToken bad = good;
    change(bad);
    return next_token(bad, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refuses([](auto& n) { n.batch = -1; }));
  CHECK(refuses([](auto& n) { n.vocabulary = 0; }));
  CHECK(refuses([](auto& n) { n.capacity = 0; }));
  CHECK(refuses([](auto& n) { n.x = nullptr; }));
  CHECK(refuses([](auto& n) { n.embedding = nullptr; }));
  CHECK(refuses([](auto& n) { n.workspace = nullptr; }));
  CHECK(refuses([](auto& n) { n.type = DataType::kFloat64; }));
  good.batch = 0;
  CHECK(next_token(good, nullptr) == cudaSuccess);
}
