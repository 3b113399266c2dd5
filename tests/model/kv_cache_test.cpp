#include "libslice/model/kv_cache.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/base/error.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

const auto kOptions = at::TensorOptions().dtype(at::kDouble);

TEST_CASE("pieces appended to every layer come back whole") {
  const ModelConfig config = tiny_config();
  KvCache cache(config, 2, 9, kOptions);
  const Tensor k = gaussian({2, config.kv_heads, 9, config.head_size}, 1),
               v = gaussian(k.sizes(), 2);
  int64_t begin = 0;
  for (const int64_t T : {4, 1, 3, 1}) {
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      const double mark = static_cast<double>(layer + 1);
      const auto [keys, values] = cache.append(layer, k.slice(2, begin, begin + T) * mark,
                                               v.slice(2, begin, begin + T) * mark);
      CHECK(bit_difference(keys, k.slice(2, 0, begin + T) * mark) == "");
      CHECK(bit_difference(values, v.slice(2, 0, begin + T) * mark) == "");
    }
    cache.advance(T);
    begin += T;
    CHECK(cache.length() == begin);
  }
  CHECK(cache.capacity() == 9);
  CHECK(cache.batch() == 2);
}

TEST_CASE("truncated positions are overwritten") {
  const ModelConfig config = tiny_config();
  KvCache cache(config, 1, 4, kOptions);
  const Tensor k = gaussian({1, config.kv_heads, 4, config.head_size}, 1);
  cache.append(0, k, k);
  cache.advance(4);
  cache.truncate(1);
  const Tensor other = gaussian({1, config.kv_heads, 2, config.head_size}, 2);
  const auto [keys, values] = cache.append(0, other, other);
  CHECK(bit_difference(keys, at::cat({k.slice(2, 0, 1), other}, 2)) == "");
}

TEST_CASE("a row of a cache is a cache of its own in the same memory") {
  const ModelConfig config = tiny_config();
  const KvCache cache(config, 3, 4, kOptions);
  KvCache row = cache.row(1);
  CHECK(row.batch() == 1);
  CHECK(row.capacity() == 4);
  CHECK(row.length() == 0);
  const Tensor k = gaussian({1, config.kv_heads, 4, config.head_size}, 1);
  for (const int64_t begin : {0, 2}) {
    const Tensor piece = k.slice(2, begin, begin + 2);
    for (int64_t layer = 0; layer < config.layers; ++layer) row.append(layer, piece, 2 * piece);
    row.advance(2);
  }
  CHECK(bit_difference(cache.keys(1).slice(0, 1, 2), k) == "");
  CHECK(bit_difference(cache.values(0).slice(0, 1, 2), 2 * k) == "");
  CHECK_THROWS_NAMING(cache.row(3), ArgumentError, "no sequence 3 of 3");
  CHECK_THROWS_AS(cache.row(-1), ArgumentError);
}

TEST_CASE("a cache refuses what does not fit and stays as it was") {
  const ModelConfig config = tiny_config();
  CHECK_THROWS_AS(KvCache(config, 0, 4, kOptions), ArgumentError);
  CHECK_THROWS_NAMING(KvCache(config, 1, 0, kOptions), ArgumentError, "capacity");
  KvCache cache(config, 1, 4, kOptions);
  const auto piece = [&](int64_t B, int64_t heads, int64_t T, int64_t d) {
    return at::ones({B, heads, T, d}, kOptions);
  };
  const int64_t h = config.kv_heads, d = config.head_size;
  CHECK_THROWS_NAMING(cache.append(0, piece(1, h, 5, d), piece(1, h, 5, d)), ShapeError,
                      "5 positions");
  CHECK_THROWS_AS(cache.append(0, piece(2, h, 1, d), piece(2, h, 1, d)), ShapeError);
  CHECK_THROWS_AS(cache.append(0, piece(1, h + 1, 1, d), piece(1, h + 1, 1, d)), ShapeError);
  CHECK_THROWS_AS(cache.append(0, piece(1, h, 1, d), piece(1, h, 2, d)), ShapeError);
  CHECK_THROWS_NAMING(cache.append(config.layers, piece(1, h, 1, d), piece(1, h, 1, d)),
                      ArgumentError, "no layer 2");
  CHECK_THROWS_AS(cache.append(-1, piece(1, h, 1, d), piece(1, h, 1, d)), ArgumentError);
  CHECK_THROWS_NAMING(cache.truncate(1), ArgumentError, "truncate 0");
  CHECK_THROWS_AS(cache.truncate(-1), ArgumentError);
  CHECK(cache.length() == 0);
}

}  // namespace
}  // namespace slice
