#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "cuda/norm_heads.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

using namespace slice::test;
using slice::kernels::norm_heads;
using slice::kernels::NormHeads;

namespace {

constexpr DataType kTypes[] = {DataType::kFloat16, DataType::kBFloat16, DataType::kFloat32};
constexpr double kEps = 1e-6;

struct Shape {
  int64_t rows, heads, kv_heads, head_size;
  bool together;

  int64_t row() const { return (heads + 2 * kv_heads) * head_size; }
};

struct Inputs {
  std::vector<double> qkv, q_weight, k_weight;
};

Inputs inputs_of(const Shape& s, DataType type) {
  const int64_t d = s.head_size;
  return {rounded(random_values(s.rows * s.row(), 3.0, 1), type),
          rounded(random_values(s.together ? s.heads * d : d, 2.0, 2), type),
          rounded(random_values(s.together ? s.kv_heads * d : d, 2.0, 3), type)};
}

/// What the kernel leaves of qkv, `offset` elements after an aligned place.
std::vector<double> run(const Shape& s, const Inputs& in, DataType type, int64_t offset,
                        const Stream& stream) {
  Output qkv(static_cast<int64_t>(in.qkv.size()), type, offset);
  qkv.write(in.qkv);
  const DeviceBuffer q = upload(in.q_weight, type, offset), k = upload(in.k_weight, type, offset);
  const NormHeads norm{qkv.data(), at(q, offset, type), at(k, offset, type), type,       s.rows,
                       s.heads,    s.kv_heads,          s.head_size,         s.together, kEps};
  REQUIRE(norm_heads(norm, stream.get()) == cudaSuccess);
  CHECK(qkv.guards_are_whole());
  return qkv.values();
}

std::vector<double> reference(const Shape& s, const Inputs& in) {
  std::vector<double> qkv = in.qkv;
  const auto norm = [&](int64_t begin, int64_t size, const std::vector<double>& weight) {
    const std::vector<double> part(qkv.begin() + begin, qkv.begin() + begin + size);
    const auto normed = rms_norm_reference(part, 1, size, size, size, kEps, weight);
    std::copy(normed.begin(), normed.end(), qkv.begin() + begin);
  };
  const int64_t d = s.head_size, q_heads = s.together ? s.heads : 1,
                k_heads = s.together ? s.kv_heads : 1;
  for (int64_t r = 0; r < s.rows; ++r) {
    for (int64_t h = 0; h < s.heads; h += q_heads)
      norm(r * s.row() + h * d, q_heads * d, in.q_weight);
    for (int64_t h = 0; h < s.kv_heads; h += k_heads)
      norm(r * s.row() + (s.heads + h) * d, k_heads * d, in.k_weight);
  }
  return qkv;
}

/// A thread adds n / 256 terms and the tree 8 at most; a block of a warp n / 32 and 5. The root
/// halves the relative error.
void check_against_oracle(const Shape& s, DataType type, int64_t offset, const Stream& stream) {
  INFO(name_of(type) << " rows " << s.rows << " h " << s.heads << " kv " << s.kv_heads << " d "
                     << s.head_size << (s.together ? " together" : "") << " offset " << offset);
  const Inputs in = inputs_of(s, type);
  check_within(run(s, in, type, offset, stream), reference(s, in), [&](double y) {
    return (epsilon(type) + 48 * accumulator_epsilon(type)) * std::abs(y) + smallest_step(type);
  });
}

}  // namespace

TEST_CASE("norm_heads matches the float64 oracle and leaves the values", "[cuda][norm_heads]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes) {
    for (const bool together : {false, true}) {
      for (const int64_t rows : {1, 3, 257}) {
        for (const int64_t d : {1, 6, 40, 64, 80, 111, 128, 256}) {
          for (const int64_t kv : {1, 2, 8})
            check_against_oracle({rows, 8, kv, d, together}, type, 0, stream);
        }
      }
      check_against_oracle({5, 64, 8, 128, together}, type, 0, stream);
      for (const int64_t offset : {1, 4, 8})
        check_against_oracle({3, 4, 2, 64, together}, type, offset, stream);
    }
  }
}

TEST_CASE("norm_heads runs on the stream it is given, without waiting", "[cuda][norm_heads]") {
  require_gpu();
  const Stream stream;
  const DataType type = DataType::kBFloat16;
  const Shape s{1, 4, 2, 64, false};
  const Inputs in = inputs_of(s, type);
  const auto want = run(s, in, type, 0, stream);  // loads the kernel, which a capture may not
  Output qkv(s.row(), type);
  qkv.write(in.qkv);
  const DeviceBuffer q = upload(in.q_weight, type), k = upload(in.k_weight, type);
  const NormHeads norm{qkv.data(), q.data(), k.data(), type, 1, 4, 2, 64, false, kEps};
  run_captured(stream, [&] { return norm_heads(norm, stream.get()); });
  CHECK(qkv.values() == want);
}

TEST_CASE("norm_heads refuses bad arguments and accepts no rows", "[norm_heads]") {
  alignas(16) float memory[64] = {};  // never touched: the checks come first
  NormHeads good{memory, memory, memory, DataType::kFloat32, 1, 2, 1, 8, false, kEps};
  const auto refuses = [&](auto change) {
    NormHeads bad = good;
    change(bad);
    return norm_heads(bad, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refuses([](auto& n) { n.rows = -1; }));
  CHECK(refuses([](auto& n) { n.heads = 0; }));
  CHECK(refuses([](auto& n) { n.kv_heads = 0; }));
  CHECK(refuses([](auto& n) { n.head_size = 0; }));
  CHECK(refuses([](auto& n) { n.qkv = nullptr; }));
  CHECK(refuses([](auto& n) { n.q_weight = nullptr; }));
  CHECK(refuses([](auto& n) { n.k_weight = nullptr; }));
  CHECK(refuses([](auto& n) { n.eps = -1; }));
  CHECK(refuses([](auto& n) { n.type = DataType::kFloat64; }));
  CHECK(refuses([&](auto& n) { n.qkv = reinterpret_cast<char*>(memory) + 2; }));
  good.rows = 0;
  CHECK(norm_heads(good, nullptr) == cudaSuccess);
}
