#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <vector>

#include "cuda/sample_token.h"
#include "libslice/decode/detail/sample.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"
#include "tests/support/sample_reference.h"

using namespace slice::test;
using slice::detail::philox;
using slice::detail::sample_scale;
using slice::kernels::NextToken;
using slice::kernels::sample_token;
using slice::kernels::TokenSampling;

namespace {

constexpr DataType kTypes[] = {DataType::kFloat16, DataType::kBFloat16, DataType::kFloat32};
constexpr int64_t kCapacity = 6, kWidth = 35, kOffset = 2, kSteps = 3;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// How a row is sampled, by what a person says and by what the kernel is given.
struct Sampling {
  double temperature = 1, top_p = 1;
  uint64_t seed = 0, sequence = 0;

  TokenSampling kernel_sampling() const {
    const auto scale = sample_scale(temperature, top_p);
    return {seed, sequence, scale.top_p, scale.steps};
  }
};

struct Result {
  std::vector<int64_t> history;    // (batch, kCapacity)
  std::vector<int32_t> positions;  // (batch)
  std::vector<double> x;           // (batch, kWidth)
};

/// kSteps samples from the same logits (B, V), B = samplings.size(); row b begins at position b % 2.
Result run(const std::vector<double>& logits, const std::vector<Sampling>& samplings, int64_t V,
           DataType type, const std::vector<double>& E, const std::vector<double>& P,
           const Stream& stream, int64_t offset = 0) {
  const auto batch = static_cast<int64_t>(samplings.size());
  const DeviceBuffer device_logits = upload(logits, type, offset), embedding = upload(E, type),
                     rows = upload(P, type);
  DeviceBuffer ids(batch * kCapacity * 8), where(batch * 4),
      device_samplings(batch * static_cast<int64_t>(sizeof(TokenSampling)));
  std::vector<int32_t> positions;
  std::vector<TokenSampling> how;
  for (int64_t b = 0; b < batch; ++b) {
    positions.push_back(static_cast<int32_t>(b % 2) - 1);
    how.push_back(samplings[static_cast<size_t>(b)].kernel_sampling());
  }
  ids.fill(77);
  where.write(positions.data());
  device_samplings.write(how.data());
  const Output x(batch * kWidth, type);
  NextToken next;
  next.x = x.data();
  next.history = ids.as<int64_t>();
  next.positions = where.as<int32_t>();
  next.logits = at(device_logits, offset, type);
  next.embedding = embedding.data();
  next.position_rows = rows.data();
  next.type = type;
  next.batch = batch;
  next.vocabulary = V;
  next.width = kWidth;
  next.capacity = kCapacity;
  next.position_offset = kOffset;
  for (int64_t step = 0; step < kSteps; ++step)
    REQUIRE(sample_token(next, device_samplings.as<TokenSampling>(), stream.get()) == cudaSuccess);
  check_cuda(cudaStreamSynchronize(stream.get()), "sample_token");
  CHECK(x.guards_are_whole());
  return {ids.read<int64_t>(), where.read<int32_t>(), x.values()};
}

bool has_nan(const std::vector<double>& row) {
  return std::any_of(row.begin(), row.end(), [](double value) { return std::isnan(value); });
}

/// The kernel's tokens against the CPU's, which must be the same, and both against the oracle; the
/// rows of x against those of E and P.
void check_samples(const std::vector<double>& logits, const std::vector<Sampling>& samplings,
                   int64_t V, DataType type, bool with_positions, const Stream& stream,
                   int64_t offset = 0) {
  const auto E = rounded(random_values(V * kWidth, 1.0, 4), type);
  const auto P = with_positions
                     ? rounded(random_values((kCapacity + kOffset) * kWidth, 1.0, 5), type)
                     : std::vector<double>();
  const Result got = run(logits, samplings, V, type, E, P, stream, offset);
  std::vector<double> x;
  int64_t different = 0, missed = 0;
  for (size_t b = 0; b < samplings.size(); ++b) {
    const Sampling& s = samplings[b];
    const auto first = logits.begin() + static_cast<int64_t>(b) * V;
    const std::vector<double> row(first, first + V);
    const std::vector<float> narrow(row.begin(), row.end());
    const auto scale = sample_scale(s.temperature, s.top_p);
    int64_t token = 0;
    for (int64_t step = 0; step < kSteps; ++step) {
      const auto position = static_cast<uint64_t>(b % 2) + static_cast<uint64_t>(step);
      token = got.history[b * kCapacity + position];
      const bool is_broken = has_nan(row);
      different +=
          token !=
          (is_broken ? -1 : slice::detail::sample_id(narrow, scale, s.seed, s.sequence, position));
      if (is_broken || s.temperature == 0 || token < 0 || token >= V) continue;
      const auto bits =
          philox({static_cast<uint32_t>(position), 0, static_cast<uint32_t>(s.sequence),
                  static_cast<uint32_t>(s.sequence >> 32)},
                 {static_cast<uint32_t>(s.seed), static_cast<uint32_t>(s.seed >> 32)});
      const uint64_t random = uint64_t{bits[1]} << 32 | bits[0];
      missed += sample_miss(row, s.temperature, s.top_p, random, token) > 0;
    }
    CHECK(got.positions[b] == static_cast<int32_t>(b % 2) + kSteps - 1);
    const int64_t place = got.positions[b] + kOffset;
    for (int64_t i = 0; i < kWidth; ++i)
      x.push_back(E[std::max<int64_t>(token, 0) * kWidth + i] +
                  (P.empty() ? 0 : P[place * kWidth + i]));
  }
  CHECK(different == 0);
  CHECK(missed == 0);
  check_within(got.x, x, [&](double y) {
    return epsilon(type) * std::abs(y) + 2 * epsilon(DataType::kFloat32);
  });
}

/// B rows that are sampled in turn by every temperature and every top_p.
std::vector<Sampling> samplings(int64_t B, uint64_t seed) {
  constexpr double kTemperatures[] = {1, 0.3, 2, 0, 10, 1e-3, 1e300, 1e-320};
  constexpr double kTopP[] = {1, 0.9, 0.5, 1e-6, 0.999, 0.1};
  std::vector<Sampling> all;
  for (int64_t b = 0; b < B; ++b) {
    const auto turn = static_cast<uint64_t>(b) + seed;
    all.push_back({kTemperatures[turn % 8], kTopP[turn % 6], seed * 0x100000001u,
                   turn % 3 == 0 ? 0 : turn << 31});
  }
  return all;
}

}  // namespace

TEST_CASE("sample_token samples the CPU's tokens, which are the oracle's", "[cuda][sample_token]") {
  require_gpu();
  const Stream stream;
  uint64_t seed = 0;
  for (const DataType type : kTypes) {
    for (const int64_t V : {1, 2, 19, 53, 99, 1000, 8192, 32000, 128256}) {
      for (const int64_t B : {1, 3, 16}) {
        if (V > 10000 && B == 3) continue;
        INFO(name_of(type) << " V " << V << " B " << B);
        ++seed;
        // A language model's: a few likely tokens above many unlikely ones.
        auto logits = random_values(B * V, 4.0, seed);
        for (int64_t i = 0; i < B * V; i += 97) logits[i] *= 3;
        check_samples(rounded(logits, type), samplings(B, seed), V, type, seed % 2 == 0, stream);
      }
    }
  }
}

TEST_CASE("sample_token: ties, infinities, signed zeros and NaN", "[cuda][sample_token]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes) {
    for (const int64_t V : {3, 99, 2048, 32000}) {
      INFO(name_of(type) << " V " << V);
      // Row by row: all equal; two values in turn; signed zeros; −∞ but for three; all −∞; two of
      // +∞; a NaN; a far outlier; extremes.
      constexpr int64_t kRows = 9;
      std::vector<double> logits(static_cast<size_t>(kRows * V), 0.25);
      for (int64_t i = 0; i < V; ++i) {
        logits[V + i] = i % 2 == 0 ? 1 : 1.5;
        logits[2 * V + i] = i % 2 == 0 ? -0.0 : 0.0;
        logits[3 * V + i] = i < V / 2 || i > V / 2 + 2 ? -kInfinity : -3;
        logits[4 * V + i] = -kInfinity;
        logits[5 * V + i] = i % (V - 1) == 0 ? kInfinity : 2;
        logits[7 * V + i] = i == V - 1 ? 100 : 0;
        logits[8 * V + i] = i % 2 == 0 ? -60000 : 60000;
      }
      logits[6 * V + V - 1] = std::numeric_limits<double>::quiet_NaN();
      logits = rounded(logits, type);
      for (uint64_t seed = 1; seed < 9; ++seed) {
        const auto how = samplings(kRows, seed);
        check_samples(logits, how, V, type, false, stream);
      }
    }
  }
}

TEST_CASE("sample_token takes logits that are not aligned", "[cuda][sample_token]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes)
    check_samples(rounded(random_values(4 * 1024, 5.0, 8), type), samplings(4, 5), 1024, type, true,
                  stream, /*offset=*/1);
}

TEST_CASE("sample_token runs as part of a graph", "[cuda][sample_token]") {
  require_gpu();
  const Stream stream;
  constexpr int64_t kIds = 500;
  const auto logits = random_values(2 * kIds, 4.0, 3), E = random_values(kIds * kWidth, 1.0, 4);
  const auto how = samplings(2, 1);
  const Result want = run(logits, how, kIds, DataType::kFloat32, E, {}, stream);
  const DeviceBuffer device_logits = upload(logits, DataType::kFloat32),
                     embedding = upload(E, DataType::kFloat32);
  DeviceBuffer ids(2 * kCapacity * 8), where(2 * 4), device_samplings(2 * sizeof(TokenSampling));
  const int32_t positions[] = {-1, 0};
  const TokenSampling host[] = {how[0].kernel_sampling(), how[1].kernel_sampling()};
  ids.fill(77);
  where.write(positions);
  device_samplings.write(host);
  const Output x(2 * kWidth, DataType::kFloat32);
  NextToken next;
  next.x = x.data();
  next.history = ids.as<int64_t>();
  next.positions = where.as<int32_t>();
  next.logits = device_logits.data();
  next.embedding = embedding.data();
  next.type = DataType::kFloat32;
  next.batch = 2;
  next.vocabulary = kIds;
  next.width = kWidth;
  next.capacity = kCapacity;
  run_captured(stream, [&] {
    for (int64_t step = 0; step < kSteps; ++step) {
      const cudaError_t status =
          sample_token(next, device_samplings.as<TokenSampling>(), stream.get());
      if (status != cudaSuccess) return status;
    }
    return cudaSuccess;
  });
  const auto got = ids.read<int64_t>();
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t step = 0; step < kSteps; ++step)
      CHECK(got[b * kCapacity + b + step] == want.history[b * kCapacity + b + step]);
}

TEST_CASE("sample_token refuses bad arguments and accepts no sequence", "[sample_token]") {
  alignas(16) float memory[64] = {};  // never touched: the checks come first
  int64_t history[4] = {};
  int32_t position = 0;
  const TokenSampling sampling = {};
  NextToken good{memory, history, &position, memory, memory, nullptr, nullptr, DataType::kFloat32,
                 1,      8,       4,         4,      0};
  const auto refuses = [&](auto change) {
    NextToken bad = good;
    change(bad);
    return sample_token(bad, &sampling, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refuses([](auto& n) { n.batch = -1; }));
  CHECK(refuses([](auto& n) { n.vocabulary = 0; }));
  CHECK(refuses([](auto& n) { n.vocabulary = (int64_t{1} << 24) + 1; }));
  CHECK(refuses([](auto& n) { n.capacity = 0; }));
  CHECK(refuses([](auto& n) { n.logits = nullptr; }));
  CHECK(refuses([](auto& n) { n.positions = nullptr; }));
  CHECK(refuses([](auto& n) { n.type = DataType::kFloat64; }));
  CHECK(sample_token(good, nullptr, nullptr) == cudaErrorInvalidValue);
  good.batch = 0;
  CHECK(sample_token(good, &sampling, nullptr) == cudaSuccess);
}
