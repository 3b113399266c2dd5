#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <vector>

#include "benchmarks/shapes.h"
#include "cuda/gated_activation.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

using namespace slice::test;
using slice::kernels::Gate;
using slice::kernels::gated_activation;

namespace {

constexpr DataType kTypes[] = {DataType::kFloat16, DataType::kBFloat16, DataType::kFloat32};
constexpr Gate kGates[] = {Gate::kSilu, Gate::kGeluTanh};

// expf and the division are good to 2 units in the last place each, sum and product to half of one.
// tanhf is good to 2 of 1, and so is its argument to 4 of it, of which tanh' passes at most x / 4 on:
// where 1 + tanh is small, that is what is left of the gate, times up.
auto bound_for(DataType type, Gate gate, double largest) {
  const double single = accumulator_epsilon(type);
  const double lost = gate == Gate::kSilu ? 0 : 4 * single * largest * largest;
  return [=](double h) {
    return (epsilon(type) + 6 * single) * std::abs(h) + lost + smallest_step(type);
  };
}

double gate_reference(Gate gate, double g) {
  if (gate == Gate::kSilu) return g / (1 + std::exp(-g));
  return 0.5 * g * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (g + 0.044715 * g * g * g)));
}

std::vector<double> reference(const std::vector<double>& pairs, Gate gate) {
  std::vector<double> h(pairs.size() / 2);
  for (size_t i = 0; i < h.size(); ++i)
    h[i] = gate_reference(gate, pairs[2 * i]) * pairs[2 * i + 1];
  return h;
}

/// @param offset  elements before h and before the pairs
std::vector<double> run(const std::vector<double>& pairs, Gate gate, DataType type, int64_t offset,
                        const Stream& stream) {
  const int64_t count = static_cast<int64_t>(pairs.size()) / 2;
  const DeviceBuffer input = upload(pairs, type, offset);
  const Output h(count, type, offset);
  REQUIRE(gated_activation(h.data(), at(input, offset, type), gate, type, count, stream.get()) ==
          cudaSuccess);
  CHECK(h.guards_are_whole());
  return h.values();
}

void check_against_oracle(DataType type, int64_t count, int64_t offset, const Stream& stream) {
  INFO(name_of(type) << " count " << count << " offset " << offset);
  const auto pairs = rounded(random_values(2 * count, 8.0, 1), type);
  for (const Gate gate : kGates) {
    check_within(run(pairs, gate, type, offset, stream), reference(pairs, gate),
                 bound_for(type, gate, 8.0));
  }
}

}  // namespace

TEST_CASE("gated_activation matches the float64 oracle", "[cuda][gated_activation]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes) {
    for (const int64_t rows : slice::shapes::kAwkwardRows) {
      for (const int64_t channels : slice::shapes::kAwkwardColumns)
        check_against_oracle(type, rows * channels, 0, stream);
      check_against_oracle(type, rows, 0, stream);
    }
    for (const auto& model : slice::shapes::kModels)
      check_against_oracle(type, 19 * model.ffn, 0, stream);
  }
}

TEST_CASE("gated_activation reads and writes unaligned views", "[cuda][gated_activation]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes) {
    for (const int64_t offset : {1, 2, 3, 4, 8}) {
      for (const int64_t count : {1, 5, 111, 4096, 4099})
        check_against_oracle(type, count, offset, stream);
    }
  }
}

TEST_CASE("gated_activation is right where the exponential over- or underflows",
          "[cuda][gated_activation]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes) {
    const auto pairs = rounded({-200, 2, -90, 2, -17, 1, 0, 5, 17, 1, 90, 2, 200, 2}, type);
    // From g = −88.7 on exp overflows in float32, and silu is 0 instead of g · exp(g).
    constexpr double kLost = 2 * 88.8 / std::numeric_limits<float>::max();  // times up
    check_within(run(pairs, Gate::kSilu, type, 0, stream), reference(pairs, Gate::kSilu),
                 [&](double h) { return bound_for(type, Gate::kSilu, 0)(h) + kLost; });
    check_within(run(pairs, Gate::kGeluTanh, type, 0, stream), reference(pairs, Gate::kGeluTanh),
                 bound_for(type, Gate::kGeluTanh, 8.0));  // past 8 the tanh is ±1
    for (const Gate gate : kGates)
      CHECK(std::isnan(run(rounded({NAN, 1}, type), gate, type, 0, stream)[0]));
  }
}

TEST_CASE("gated_activation runs on the stream it is given, without waiting",
          "[cuda][gated_activation]") {
  require_gpu();
  const Stream stream;
  const DataType type = DataType::kBFloat16;
  const auto pairs = rounded(random_values(2 * 19 * 38, 8.0, 4), type);
  const DeviceBuffer input = upload(pairs, type);
  const Output h(19 * 38, type);
  run(pairs, Gate::kSilu, type, 0, stream);  // loads the kernel, which a capture may not
  run_captured(stream, [&] {
    return gated_activation(h.data(), input.data(), Gate::kSilu, type, 19 * 38, stream.get());
  });
  check_within(h.values(), reference(pairs, Gate::kSilu), bound_for(type, Gate::kSilu, 8.0));
}

TEST_CASE("gated_activation refuses bad arguments and accepts empty ones", "[gated_activation]") {
  const DataType type = DataType::kFloat32;
  alignas(16) float memory[64] = {};  // never touched: the checks come first
  const auto call = [&](void* h, const void* pairs, int64_t count, DataType of) {
    return gated_activation(h, pairs, Gate::kSilu, of, count, nullptr);
  };
  CHECK(call(nullptr, nullptr, 0, type) == cudaSuccess);
  CHECK(call(memory, memory + 32, -1, type) == cudaErrorInvalidValue);
  CHECK(call(memory, memory + 32, 2, DataType::kFloat64) == cudaErrorInvalidValue);
  CHECK(call(nullptr, memory, 2, type) == cudaErrorInvalidValue);
  CHECK(call(memory, nullptr, 2, type) == cudaErrorInvalidValue);
  CHECK(call(memory, memory, 2, type) == cudaErrorInvalidValue);           // in place
  CHECK(call(memory + 16, memory + 8, 6, type) == cudaErrorInvalidValue);  // overlaps
  CHECK(call(reinterpret_cast<char*>(memory) + 2, memory + 32, 2, type) ==
        cudaErrorInvalidValue);  // not even element-aligned
}
