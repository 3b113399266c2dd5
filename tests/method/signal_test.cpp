#include "libslice/method/signal.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/base/error.h"
#include "libslice/device/device.h"
#include "libslice/method/detail/split_basis.h"
#include "tests/support/error_bounds.h"
#include "tests/support/file_limit.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"
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

constexpr SignalPlace kPlaces[] = {SignalPlace::kDevice, SignalPlace::kHost, SignalPlace::kDisk};

Tensor whole(Signal& signal) {
  std::vector<Tensor> chunks;
  signal.visit([&](const Tensor& chunk) { chunks.push_back(chunk.clone()); });
  return at::cat(chunks);
}

TEST_CASE("passes run over whole windows in order, as many as a chunk holds") {
  const Tensor tokens = at::arange(35, at::kLong).remainder(11).view({7, 5});
  for (const auto& [chunk_tokens, windows] :
       std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {5, 1}, {14, 2}, {15, 3}, {1000, 7}}) {
    CAPTURE(chunk_tokens);
    Signal signal(tokens, chunk_tokens, embed);
    CHECK(signal.tokens() == 35);
    CHECK(signal.width() == 6);
    int64_t seen = 0;
    signal.visit([&](const Tensor& chunk) {
      CHECK(chunk.size(0) == std::min(windows, 7 - seen));
      seen += chunk.size(0);
    });
    CHECK(bit_difference(whole(signal), embed(tokens)) == "");
  }
}

TEST_CASE("a saved signal is restored as it was") {
  const Tensor tokens = at::arange(35, at::kLong).remainder(11).view({7, 5});
  Signal signal(tokens, 10, embed);
  signal.project(orthonormal(6, 4, 2));
  const Tensor kept = whole(signal);  // (7, 5, 4)
  for (const int64_t chunk : {1, 10, 1000}) {
    CAPTURE(chunk);
    Signal again({7, 5, 6}, kept.options(), 4, chunk,
                 [&](int64_t begin, int64_t end) { return kept.slice(0, begin, end); });
    CHECK(again.width() == 4);
    CHECK(again.chunk_tokens() == std::max<int64_t>(1, chunk / 5) * 5);
    CHECK(bit_difference(whole(again), kept) == "");
    again.transform([](const Tensor& z) { return at::matmul(z, at::ones({4, 6}, z.options())); });
    CHECK(again.width() == 6);  // there is room
  }
}

TEST_CASE("a signal lives in the first place that has room for it") {
  const auto place = [](int64_t signal, int64_t beside, FreeMemory free) {
    return signal_place(signal, beside, free);
  };
  CHECK(place(60, 40, {.device = 100, .host = 0}) == SignalPlace::kDevice);
  CHECK(place(61, 40, {.device = 100, .host = 100}) == SignalPlace::kHost);
  CHECK(place(1, 200, {.device = 100, .host = 100}) == SignalPlace::kHost);
  CHECK(place(80, 40, {.device = 100, .host = 100}) == SignalPlace::kHost);  // a fifth stays free
  CHECK(place(81, 40, {.device = 100, .host = 100}) == SignalPlace::kDisk);
  CHECK(place(61, 40, {.device = 100, .host = 0}) == SignalPlace::kDisk);
}

/// All that the loops do with a signal, with chunks of several sizes; what every step shows.
std::vector<Tensor> walk(SignalPlace place, int64_t chunk_windows, at::Device device,
                         at::ScalarType dtype, int64_t N, int64_t T, int64_t D) {
  const auto options = at::TensorOptions(device).dtype(dtype);
  const Tensor rows = gaussian({101, D}, 1).to(options);
  const Tensor tokens = at::arange(N * T, at::kLong).remainder(101).view({N, T}).to(device);
  const int64_t k = D * 3 / 4;
  const Tensor down = orthonormal(D, k, 2).to(device),
               narrower = orthonormal(k, k - 1, 3).to(device),
               up = gaussian({k - 1, D}, 4).to(options);
  std::vector<Tensor> shown;
  const auto keep = [&](const Tensor& chunk) { shown.push_back(chunk.cpu().clone()); };
  Signal x(tokens, chunk_windows * T, [&](const Tensor& ids) { return at::embedding(rows, ids); },
           {.place = place});
  CHECK(x.place() == place);
  Signal dense = x.clone();
  x.visit(keep);
  x.project(down);
  x.transform([](const Tensor& z) { return z; });  // its own rows
  x.visit_beside(dense, 1, N - 1, [&](const Tensor& own, const Tensor& other) {
    keep(own);
    keep(other);
  });
  x.project(narrower);
  dense.transform([](const Tensor& z) { return z.tanh(); });
  for (int pass = 0; pass < 3; ++pass)  // what went out a moment ago comes in again
    x.transform([&](const Tensor& z) { return z + z.flip(0).mean(); });
  keep(x.rows(N / 2, N / 2 + 1));
  CHECK(x.width() == k - 1);
  CHECK(x.bytes() == N * T * (k - 1) * rows.element_size());
  Signal kept({N, T, D}, options, k - 1, 2 * T,
              [&](int64_t begin, int64_t end) { return x.rows(begin, end).cpu(); },
              {.place = place});
  x.set_chunk_tokens(2 * chunk_windows * T);
  x.transform([&](const Tensor& z) { return at::matmul(z, up); });
  for (Signal* signal : {&kept, &x, &dense}) signal->visit(keep);
  return shown;
}

void check_same_bits(at::Device device, at::ScalarType dtype, int64_t N, int64_t T, int64_t D) {
  for (const int64_t windows : {int64_t{1}, int64_t{3}, N}) {
    const auto want = walk(SignalPlace::kDevice, windows, device, dtype, N, T, D);
    for (const SignalPlace place : kPlaces) {
      CAPTURE(device.str(), c10::toString(dtype), windows, signal_place_name(place));
      const auto got = walk(place, windows, device, dtype, N, T, D);
      REQUIRE(got.size() == want.size());
      for (size_t i = 0; i < want.size(); ++i) CHECK(bit_difference(got[i], want[i]) == "");
    }
  }
}

TEST_CASE("the bits do not depend on where the rows live") {
  for (const at::ScalarType dtype : {at::kHalf, at::kFloat, at::kDouble})
    check_same_bits(at::kCPU, dtype, 11, 5, 24);
}

TEST_CASE("on a GPU the bits do not depend on where the rows live", "[cuda]") {
  if (choose_device().is_cpu()) SKIP("no CUDA device");
  const at::Device device(at::kCUDA, 0);
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16, at::kFloat, at::kDouble})
    check_same_bits(device, dtype, 11, 19, 40);
  check_same_bits(device, at::kHalf, 23, 512, 1024);  // copies that take their time: 24 MiB
}

TEST_CASE("a signal for which the disk has no room is refused by name, and leaves nothing") {
  const TemporaryDirectory scratch;
  const Tensor tokens = at::zeros({4, 5}, at::kLong);
  const auto on_disk = [&](const std::filesystem::path& where) {
    return Signal(tokens, 10, embed, {.place = SignalPlace::kDisk, .scratch = where});
  };
  {
    const FileLimit limit(4 * 5 * 6 * 8 - 1);
    CHECK_THROWS_NAMING(on_disk(scratch.path()), Error,
                        scratch.path().string() + ": no room for a file");
  }
  CHECK_THROWS_NAMING(on_disk(scratch.path() / "no"), Error, "no: cannot create a file");
  const Signal there = on_disk(scratch.path());
  CHECK(std::filesystem::is_empty(scratch.path()));  // while it is there
  CHECK(there.place() == SignalPlace::kDisk);
}

TEST_CASE("rows that could not be written are lost to everybody who comes for them") {
  const TemporaryDirectory scratch;
  Signal x(at::zeros({4, 5}, at::kLong), 20, embed,
           {.place = SignalPlace::kDisk, .scratch = scratch.path()});
  x.rows(0, 4);  // waits for the embeddings' rows
  const FileLimit limit(0);
  x.transform([](const Tensor& z) { return z + 1; });  // one chunk, whose writing nobody waits for
  CHECK_THROWS_NAMING(x.rows(0, 4), Error, scratch.path().string());
  CHECK_THROWS_NAMING(x.rows(0, 4), Error, scratch.path().string());
  CHECK_THROWS_NAMING(x.visit([](const Tensor&) {}), Error, scratch.path().string());
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
                      rounding_bound(want, dtype) + terms * left_out +
                          sum_bound(terms, 2 * 96 + 1, at::kFloat)) == "");
    }
  }
}

TEST_CASE(
    "a step for which the memory is too small is tried again in halves, and that is reported") {
  const Tensor tokens = at::arange(80, at::kLong).remainder(11).view({16, 5});
  const Tensor A = gaussian({6, 6}, 2), x = embed(tokens);
  const SignalPlace place = GENERATE_COPY(from_range(std::begin(kPlaces), std::end(kPlaces)));
  for (const int64_t room : {1, 2, 3, 15}) {  // windows
    CAPTURE(room, signal_place_name(place));
    std::vector<int64_t> words;
    Signal signal(
        tokens, 1000, embed,
        {.on_smaller_chunks = [&](int64_t chunk) { words.push_back(chunk); }, .place = place});
    int64_t passed = 0;
    signal.transform([&](const Tensor& chunk) {
      if (chunk.size(0) > room) C10_THROW_ERROR(OutOfMemoryError, "no room. Advice.");
      passed += chunk.size(0);
      return at::matmul(chunk, A);
    });
    CHECK(passed == 16);
    REQUIRE_FALSE(words.empty());
    CHECK(words.back() <= room * 5);
    CHECK(signal.chunk_tokens() == words.back());
    const Tensor want = at::matmul(x, A);
    CHECK(violation(whole(signal), want, product_bound(want, x, A.t())) == "");
    const size_t before = words.size();
    signal.transform([](const Tensor& chunk) { return chunk; });
    CHECK(words.size() == before);  // chunks stay small
  }
}

TEST_CASE("a single window for which the memory is too small is refused") {
  const Tensor tokens = at::zeros({4, 5}, at::kLong);
  Signal signal(tokens, 10, embed);
  const auto full = [](const Tensor&) -> Tensor {
    C10_THROW_ERROR(OutOfMemoryError, "CUDA out of memory. Tried much.");
  };
  CHECK_THROWS_NAMING(signal.transform(full), DeviceError,
                      "one window of 5 tokens: CUDA out of memory");
  CHECK_THROWS_NAMING(Signal(tokens, 10, full), DeviceError, "one window of 5 tokens");
}

TEST_CASE("steps that narrow and widen the signal give the same in every chunk size") {
  const Tensor tokens = at::arange(35, at::kLong).remainder(11).view({7, 5});
  const Tensor down = gaussian({6, 4}, 2), up = gaussian({4, 6}, 3), x = embed(tokens);
  for (const int64_t chunk_tokens : {1, 10, 100}) {
    Signal signal(tokens, chunk_tokens, embed);
    signal.project(down);
    CHECK(signal.width() == 4);
    const Tensor narrow = at::matmul(x, down);
    CHECK(violation(whole(signal), narrow, product_bound(narrow, x, down.t())) == "");
    signal.transform([&](const Tensor& chunk) { return at::matmul(chunk, up).tanh(); });
    CHECK(signal.width() == 6);
    // tanh adds no more than a few roundings of numbers up to 1: its slope is no more than 1.
    const Tensor size = at::matmul(product_magnitudes(x, down.t()), up.abs());
    const Tensor bound = sum_bound(size, 6 + 4, at::kDouble) + gamma_n(8, at::kDouble);
    CHECK(violation(whole(signal), at::matmul(narrow, up).tanh(), bound) == "");
  }
}

TEST_CASE("half-precision signals are projected with float32 products") {
  const Tensor half = table().to(at::kHalf), P = orthonormal(6, 6, 4);
  Signal signal(at::arange(11, at::kLong).view({1, 11}), 64,
                [&](const Tensor& ids) { return at::embedding(half, ids); });
  signal.project(P);
  const Tensor want = half.to(at::kDouble).mm(P).unsqueeze(0);
  const Tensor terms = product_magnitudes(half, P.t()).unsqueeze(0);
  // P in two terms is P to 2^−22; their products are summed in float32.
  CHECK(violation(whole(signal), want,
                  rounding_bound(want, at::kHalf) + terms * 0x1p-22 +
                      sum_bound(terms, 2 * 6 + 1, at::kFloat)) == "");
}

TEST_CASE("a signal refuses tokens that are no windows of ids") {
  CHECK_THROWS_NAMING(Signal(at::zeros({4}, at::kLong), 8, embed), ShapeError, "(N, T)");
  CHECK_THROWS_NAMING(Signal(at::zeros({2, 2}), 8, embed), ShapeError, "float32");
  CHECK_THROWS_AS(Signal(at::zeros({0, 2}, at::kLong), 8, embed), ShapeError);
}

}  // namespace
}  // namespace slice
