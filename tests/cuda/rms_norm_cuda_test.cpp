#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "benchmarks/shapes.h"
#include "cuda/rms_norm.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

using namespace slice::test;
using slice::kernels::rms_norm;

namespace {

constexpr double kEps = 1e-5;

// A thread's partial sum has at most 40 terms here and the tree 10; the square root halves the
// relative error.
auto bound_for(DataType type) {
  return [type](double y) {
    return (epsilon(type) + 32 * accumulator_epsilon(type)) * std::abs(y) + smallest_step(type);
  };
}

// Kept columns k of an original hidden size D > k.
int64_t hidden_of(int64_t columns) { return columns + columns / 3 + 1; }

struct View {
  int64_t rows;
  int64_t columns;
  int64_t stride;
  int64_t offset;  // elements before x and y
};

std::vector<double> run(const std::vector<double>& x, DataType type, const View& view,
                        const Stream& stream) {
  const DeviceBuffer input = upload(x, type, view.offset);
  const Output y(view.rows * view.columns, type, view.offset);
  REQUIRE(rms_norm(y.data(), at(input, view.offset, type), nullptr, nullptr, type, view.rows,
                   view.columns, view.stride, hidden_of(view.columns), kEps,
                   stream.get()) == cudaSuccess);
  CHECK(y.guards_are_whole());
  return y.values();
}

void check_against_oracle(DataType type, const View& view, const Stream& stream) {
  INFO(name_of(type) << " (" << view.rows << ", " << view.columns << ") stride " << view.stride
                     << " offset " << view.offset);
  const auto x = rounded(random_values(view.rows * view.stride, 3.0, 1), type);
  check_within(
      run(x, type, view, stream),
      rms_norm_reference(x, view.rows, view.columns, view.stride, hidden_of(view.columns), kEps),
      bound_for(type));
}

}  // namespace

TEST_CASE("rms_norm matches the float64 oracle", "[cuda][rms_norm]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    for (const int64_t rows : slice::shapes::kAwkwardRows) {
      for (const int64_t columns : slice::shapes::kAwkwardColumns) {
        check_against_oracle(type, {rows, columns, columns, 0}, stream);
      }
      check_against_oracle(type, {rows, 1, 1, 0}, stream);
    }
    for (const auto& model : slice::shapes::kModels) {
      check_against_oracle(type, {19, model.hidden, model.hidden, 0}, stream);
      check_against_oracle(type, {19, model.kept, model.kept, 0}, stream);
    }
    check_against_oracle(type, {3, 40000, 40000, 0}, stream);  // longer than the registers hold
    check_against_oracle(type, {3, 39999, 39999, 0}, stream);
  }
}

TEST_CASE("rms_norm reads strided and unaligned views", "[cuda][rms_norm]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    for (const int64_t columns : {int64_t{111}, int64_t{500}, int64_t{576}, int64_t{4096}}) {
      check_against_oracle(type, {19, columns, columns + 16, 0}, stream);
      check_against_oracle(type, {19, columns, columns + 1, 0}, stream);
      check_against_oracle(type, {19, columns, columns, 1}, stream);
      check_against_oracle(type, {19, columns, columns + 16, 3}, stream);
    }
  }
}

TEST_CASE("rms_norm works in place", "[cuda][rms_norm]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    for (const int64_t columns : {int64_t{111}, int64_t{4096}, int64_t{40000}}) {
      const View view{19, columns, columns, 0};
      const auto x = rounded(random_values(view.rows * columns, 3.0, 2), type);
      Output y(view.rows * columns, type);
      y.write(x);
      REQUIRE(rms_norm(y.data(), y.data(), nullptr, nullptr, type, view.rows, columns, columns,
                       hidden_of(columns), kEps, stream.get()) == cudaSuccess);
      CHECK(y.guards_are_whole());
      CHECK(y.values() == run(x, type, view, stream));
    }
  }
}

TEST_CASE("rms_norm multiplies by a weight before it rounds", "[cuda][rms_norm]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    for (const int64_t columns : {int64_t{1}, int64_t{111}, int64_t{4096}, int64_t{40000}}) {
      for (const int64_t offset : {int64_t{0}, int64_t{1}}) {  // of the weight
        INFO(name_of(type) << " " << columns << " columns, offset " << offset);
        const auto x = rounded(random_values(19 * columns, 3.0, 5), type);
        const auto weight = rounded(random_values(columns, 2.0, 6), type);
        const DeviceBuffer input = upload(x, type), by = upload(weight, type, offset);
        const Output y(19 * columns, type);
        REQUIRE(rms_norm(y.data(), input.data(), at(by, offset, type), nullptr, type, 19, columns,
                         columns, columns, kEps, stream.get()) == cudaSuccess);
        CHECK(y.guards_are_whole());
        check_within(y.values(), rms_norm_reference(x, 19, columns, columns, columns, kEps, weight),
                     bound_for(type));
      }
    }
  }
}

TEST_CASE("rms_norm adds to a residual before it rounds", "[cuda][rms_norm]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    for (const int64_t columns : {int64_t{1}, int64_t{111}, int64_t{4096}, int64_t{40000}}) {
      INFO(name_of(type) << " " << columns << " columns");
      const auto x = rounded(random_values(5 * columns, 3.0, 5), type);
      const auto weight = rounded(random_values(columns, 2.0, 6), type);
      const auto residual = rounded(random_values(5 * columns, 4.0, 7), type);
      auto want = rms_norm_reference(x, 5, columns, columns, columns, kEps, weight);
      std::vector<double> bounds;
      for (size_t i = 0; i < want.size(); ++i) {
        // As without a residual but for the rounding to the type, which is that of the sum.
        const double normed = 33 * accumulator_epsilon(type) * std::abs(want[i]);
        want[i] += residual[i];
        bounds.push_back(normed + (epsilon(type) + accumulator_epsilon(type)) * std::abs(want[i]) +
                         smallest_step(type));
      }
      const DeviceBuffer input = upload(x, type), by = upload(weight, type),
                         to = upload(residual, type);
      const auto add = [&](const Output& y, const void* onto) {
        REQUIRE(rms_norm(y.data(), input.data(), by.data(), onto, type, 5, columns, columns,
                         columns, kEps, stream.get()) == cudaSuccess);
        CHECK(y.guards_are_whole());
        return y.values();
      };
      const Output y(5 * columns, type);
      Output in_place(5 * columns, type);
      const auto got = add(y, to.data());
      check_within(got, want, bounds);
      in_place.write(residual);
      CHECK(add(in_place, in_place.data()) == got);
    }
  }
}

TEST_CASE("rms_norm gives a row the same bits in any batch", "[cuda][rms_norm]") {
  require_gpu();
  const Stream stream;
  constexpr int64_t kRow = 57;
  for (const DataType type : kAllTypes) {
    for (const int64_t columns : {int64_t{111}, int64_t{3072}}) {
      const auto x = rounded(random_values(99 * columns, 3.0, 3), type);
      const auto all = run(x, type, {99, columns, columns, 0}, stream);
      const std::vector<double> row(x.begin() + kRow * columns, x.begin() + (kRow + 1) * columns);
      const auto alone = run(row, type, {1, columns, columns, 0}, stream);
      CHECK(std::equal(alone.begin(), alone.end(), all.begin() + kRow * columns));
    }
  }
}

TEST_CASE("rms_norm runs on the stream it is given, without waiting", "[cuda][rms_norm]") {
  require_gpu();
  const Stream stream;
  const DataType type = DataType::kBFloat16;
  const auto x = rounded(random_values(19 * 576, 3.0, 4), type);
  const DeviceBuffer input = upload(x, type);
  const Output y(19 * 576, type);
  run(x, type, {19, 576, 576, 0}, stream);  // loads the kernel, which a capture may not
  run_captured(stream, [&] {
    return rms_norm(y.data(), input.data(), nullptr, nullptr, type, 19, 576, 576, 768, kEps,
                    stream.get());
  });
  check_within(y.values(), rms_norm_reference(x, 19, 576, 576, 768, kEps), bound_for(type));
}

TEST_CASE("rms_norm refuses bad arguments and accepts empty ones", "[rms_norm]") {
  const DataType type = DataType::kFloat32;
  alignas(16) float memory[64] = {};  // never touched: the checks come first
  const auto call = [&](void* y, const void* x, int64_t rows, int64_t columns, int64_t stride,
                        int64_t hidden) {
    return rms_norm(y, x, nullptr, nullptr, type, rows, columns, stride, hidden, kEps, nullptr);
  };
  CHECK(call(nullptr, nullptr, 0, 8, 8, 8) == cudaSuccess);
  CHECK(call(nullptr, nullptr, 8, 0, 0, 8) == cudaSuccess);
  CHECK(call(memory, memory + 32, -1, 8, 8, 8) == cudaErrorInvalidValue);
  CHECK(call(memory, memory + 32, 2, 8, -8, 8) == cudaErrorInvalidValue);
  CHECK(call(memory, memory + 32, 2, 8, 8, 0) == cudaErrorInvalidValue);
  CHECK(call(nullptr, memory, 2, 8, 8, 8) == cudaErrorInvalidValue);
  CHECK(call(memory, memory + 8, 2, 8, 8, 8) == cudaErrorInvalidValue);  // overlaps
  CHECK(call(memory, memory, 2, 8, 16, 8) == cudaErrorInvalidValue);     // in place, strided
  CHECK(call(reinterpret_cast<char*>(memory) + 2, memory + 32, 2, 8, 8, 8) ==
        cudaErrorInvalidValue);  // not even element-aligned
  const auto parts = [&](const void* weight, const void* residual) {
    return rms_norm(memory, memory + 32, weight, residual, type, 2, 8, 8, 8, kEps, nullptr);
  };
  CHECK(parts(memory + 8, nullptr) == cudaErrorInvalidValue);      // the weight lies in y
  CHECK(parts(nullptr, memory) == cudaErrorInvalidValue);          // a residual without a weight
  CHECK(parts(memory + 48, memory + 8) == cudaErrorInvalidValue);  // overlaps y
}
