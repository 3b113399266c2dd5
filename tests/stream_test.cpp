#include "libslice/stream.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/detail/split_basis.h"
#include "libslice/error.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

const Tensor& table() {
  static const Tensor rows = gaussian({11, 6}, 1);
  return rows;
}
Tensor embed(const Tensor& ids) { return at::embedding(table(), ids); }

Tensor whole(Stream& stream) {
  std::vector<Tensor> chunks;
  stream.visit([&](const Tensor& chunk) { chunks.push_back(chunk.clone()); });
  return at::cat(chunks);
}

TEST_CASE("passes run over whole windows in order, as many as a chunk holds") {
  const Tensor tokens = at::arange(35, at::kLong).remainder(11).view({7, 5});
  for (const auto& [chunk_tokens, windows] :
       std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {5, 1}, {14, 2}, {15, 3}, {1000, 7}}) {
    CAPTURE(chunk_tokens);
    Stream stream(tokens, chunk_tokens, embed);
    CHECK(stream.tokens() == 35);
    CHECK(stream.width() == 6);
    int64_t seen = 0;
    stream.visit([&](const Tensor& chunk) {
      CHECK(chunk.size(0) == std::min(windows, 7 - seen));
      seen += chunk.size(0);
    });
    CHECK(bit_difference(whole(stream), embed(tokens)) == "");
  }
}

TEST_CASE("a signal that was kept stands in a stream as it stood") {
  const Tensor tokens = at::arange(35, at::kLong).remainder(11).view({7, 5});
  Stream stream(tokens, 10, embed);
  stream.project(orthonormal(6, 4, 2));
  const Tensor kept = stream.signal().clone();  // (7, 5, 4)
  for (const int64_t chunk : {1, 10, 1000}) {
    CAPTURE(chunk);
    Stream again({7, 5, 6}, kept.options(), 4, chunk,
                 [&](int64_t begin, int64_t end) { return kept.slice(0, begin, end); });
    CHECK(again.width() == 4);
    CHECK(again.chunk_tokens() == std::max<int64_t>(1, chunk / 5) * 5);
    CHECK(bit_difference(whole(again), kept) == "");
    again.transform([](const Tensor& z) { return at::matmul(z, at::ones({4, 6}, z.options())); });
    CHECK(again.width() == 6);  // there is room
  }
}

TEST_CASE("a basis split in two half-precision terms gives the product to within its rounding") {
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
    for (const double size : {1.0, 1e-3, 300.0}) {
      CAPTURE(c10::toString(dtype), size);
      const Tensor P = orthonormal(96, 40, 3) * size;
      const Tensor z = gaussian({2, 7, 96}, 4, dtype), wide = z.to(at::kDouble);
      const Tensor want = at::matmul(wide, P), got = detail::SplitBasis(P, dtype).product(z);
      REQUIRE(got.scalar_type() == dtype);
      const Tensor terms = at::matmul(wide.abs(), P.abs());
      const double left_out = dtype == at::kHalf ? 0x1p-22 : 0x1p-16;  // by two terms
      CHECK(violation(got, want,
                      roundoff(dtype) * want.abs() +
                          terms * (left_out + 2 * 96 * roundoff(at::kFloat))) == "");
    }
  }
}

TEST_CASE("a pass for which the memory is too small goes on in halves, and says so") {
  const Tensor tokens = at::arange(80, at::kLong).remainder(11).view({16, 5});
  const Tensor A = gaussian({6, 6}, 2), x = embed(tokens);
  for (const int64_t room : {1, 2, 3, 15}) {  // windows
    CAPTURE(room);
    std::vector<int64_t> words;
    Stream stream(tokens, 1000, embed, [&](int64_t chunk) { words.push_back(chunk); });
    int64_t passed = 0;
    stream.transform([&](const Tensor& chunk) {
      if (chunk.size(0) > room) C10_THROW_ERROR(OutOfMemoryError, "no room. Advice.");
      passed += chunk.size(0);
      return at::matmul(chunk, A);
    });
    CHECK(passed == 16);
    REQUIRE_FALSE(words.empty());
    CHECK(words.back() <= room * 5);
    CHECK(stream.chunk_tokens() == words.back());
    CHECK(relative_difference(whole(stream), at::matmul(x, A)) < 1e-14);
    const size_t before = words.size();
    stream.transform([](const Tensor& chunk) { return chunk; });
    CHECK(words.size() == before);  // chunks stay small
  }
}

TEST_CASE("a single window for which the memory is too small is refused") {
  const Tensor tokens = at::zeros({4, 5}, at::kLong);
  Stream stream(tokens, 10, embed);
  const auto full = [](const Tensor&) -> Tensor {
    C10_THROW_ERROR(OutOfMemoryError, "CUDA out of memory. Tried much.");
  };
  CHECK_THROWS_NAMING(stream.transform(full), DeviceError,
                      "one window of 5 tokens: CUDA out of memory");
  CHECK_THROWS_NAMING(Stream(tokens, 10, full), DeviceError, "one window of 5 tokens");
}

TEST_CASE("steps that narrow and widen the signal give the same in every chunk size") {
  const Tensor tokens = at::arange(35, at::kLong).remainder(11).view({7, 5});
  const Tensor down = gaussian({6, 4}, 2), up = gaussian({4, 6}, 3), x = embed(tokens);
  for (const int64_t chunk_tokens : {1, 10, 100}) {
    Stream stream(tokens, chunk_tokens, embed);
    stream.project(down);
    CHECK(stream.width() == 4);
    const Tensor narrow = at::matmul(x, down);
    CHECK(violation(whole(stream), narrow, product_bound(narrow, x, down.t())) == "");
    stream.transform([&](const Tensor& chunk) { return at::matmul(chunk, up).tanh(); });
    CHECK(stream.width() == 6);
    CHECK(violation(whole(stream), at::matmul(narrow, up).tanh(), 1e-13) == "");
  }
}

TEST_CASE("half-precision signals are projected with float32 products") {
  const Tensor half = table().to(at::kHalf), P = orthonormal(6, 6, 4);
  Stream stream(at::arange(11, at::kLong).view({1, 11}), 64,
                [&](const Tensor& ids) { return at::embedding(half, ids); });
  stream.project(P);
  const Tensor want = half.to(at::kDouble).mm(P).unsqueeze(0);
  CHECK(violation(whole(stream), want, roundoff(at::kHalf) * want.abs() + 1e-5) == "");
}

TEST_CASE("a stream refuses tokens that are no windows of ids") {
  CHECK_THROWS_NAMING(Stream(at::zeros({4}, at::kLong), 8, embed), ShapeError, "(N, T)");
  CHECK_THROWS_NAMING(Stream(at::zeros({2, 2}), 8, embed), ShapeError, "float32");
  CHECK_THROWS_AS(Stream(at::zeros({0, 2}, at::kLong), 8, embed), ShapeError);
}

}  // namespace
}  // namespace slice
