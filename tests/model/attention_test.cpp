#include "libslice/model/attention.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <cmath>

#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/reference.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

/// Random q, k and v layers of a configuration, and the attention over them.
struct Layers {
  explicit Layers(const ModelConfig& c)
      : q(c.hidden_size, c.heads * c.head_size, true),
        k(c.hidden_size, c.kv_heads * c.head_size, true),
        v(c.hidden_size, c.kv_heads * c.head_size, true),
        attention(c, 0, {.q = q, .k = k, .v = v}) {
    uint64_t seed = 10;
    for (const Linear& linear : {q, k, v}) {
      linear->weight.set_data(gaussian(linear->weight.sizes(), ++seed) / 4);
      linear->bias.set_data(gaussian(linear->bias.sizes(), ++seed) / 4);
    }
  }
  Linear q, k, v;
  Attention attention;
};

/// Two computations of softmax(q Kᵀ / √d) V, entry by entry, and of the d-products before it where
/// q, k and v come from the stream n (…, D). A score is a sum of d products of turned numbers (√2 of
/// what they were; an angle is a position times a frequency), a weight is off by its score's error
/// of itself, and the weights of T positions add up to one.
double attention_bound(const Layers& layers, const Tensor& n, const ModelConfig& c) {
  const auto largest = [](const Tensor& t) { return t.abs().max().item<double>(); };
  const auto size = [&](const Linear& linear) {
    return largest(product_magnitudes(n, linear->weight) + linear->bias.abs());
  };
  const int64_t T = n.size(1), inner = c.hidden_size + 1;
  const double root = std::sqrt(static_cast<double>(c.head_size));
  const double score = 2 * root * size(layers.q) * size(layers.k) *
                       gamma_n(2 * inner + c.head_size + 8 + 20 * T, at::kDouble);
  return 2 * size(layers.v) * (2 * score + gamma_n(inner + T + 8, at::kDouble));
}

TEST_CASE("attention equals the triple loop for every grouping of heads") {
  for (const int64_t kv_heads : {1, 2, 4}) {
    CAPTURE(kv_heads);
    ModelConfig c = tiny_config();
    c.kv_heads = kv_heads;
    const Layers layers(c);
    const Tensor n = gaussian({2, 9, c.hidden_size}, 5);
    const Tensor out = layers.attention.hidden(n, nullptr);
    for (int64_t b = 0; b < 2; ++b) {
      const auto heads = [&](const Linear& linear, int64_t count) {
        return linear->forward(n[b]).view({1, 9, count, c.head_size});
      };
      const Tensor want =
          attention_reference(rotary_reference(heads(layers.q, c.heads), 0, c.rope_theta)[0],
                              rotary_reference(heads(layers.k, kv_heads), 0, c.rope_theta)[0],
                              heads(layers.v, kv_heads)[0]);
      CHECK(violation(out[b], want, attention_bound(layers, n, c)) == "");
    }
  }
}

TEST_CASE("a position sees nothing after it") {
  const ModelConfig c = tiny_config();
  const Layers layers(c);
  const Tensor n = gaussian({1, 8, c.hidden_size}, 5), changed = n.clone();
  changed.slice(1, 5).add_(1.0);
  const Tensor a = layers.attention.hidden(n, nullptr),
               b = layers.attention.hidden(changed, nullptr);
  CHECK(violation(b.slice(1, 0, 5), a.slice(1, 0, 5), attention_bound(layers, n, c)) == "");
  CHECK(relative_difference(b.slice(1, 5), a.slice(1, 5)) > 1e-3);
}

TEST_CASE("attention fed in pieces through a cache equals attention fed whole") {
  ModelConfig c = tiny_config();
  c.layers = 1;
  const Layers layers(c);
  const Tensor n = gaussian({2, 10, c.hidden_size}, 5);
  const Tensor whole = layers.attention.hidden(n, nullptr);
  KvCache cache(c, 2, 10, at::TensorOptions().dtype(at::kDouble));
  int64_t begin = 0;
  for (const int64_t T :
       {3, 1, 4, 1, 1}) {  // a prompt, a token, several tokens after a full cache, tokens
    const Tensor piece = layers.attention.hidden(n.slice(1, begin, begin + T), &cache);
    cache.advance(T);
    CHECK(violation(piece, whole.slice(1, begin, begin + T), attention_bound(layers, n, c)) == "");
    begin += T;
  }
}

}  // namespace
}  // namespace slice
