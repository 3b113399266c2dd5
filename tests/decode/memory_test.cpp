#include "libslice/decode/memory.h"

#include <catch2/catch_all.hpp>

#include "libslice/method/plan.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using namespace tests;

TEST_CASE("what inference takes grows with weights, context and batch") {
  const ModelConfig config = tiny_config();
  const int64_t bytes = inference_bytes(config, 2, 64, 1);
  CHECK(bytes > 2 * count_parameters(config).total + kCudaContextBytes);
  CHECK(inference_bytes(config, 4, 64, 1) > bytes);
  CHECK(inference_bytes(config, 2, 128, 1) > bytes);
  CHECK(inference_bytes(config, 2, 64, 2) > bytes);
}

TEST_CASE(
    "a prompt's activations are those of a chunk by the graph, of all tokens by the modules") {
  ModelConfig config = tiny_config();
  const auto activations = [&](int64_t weight_bytes, int64_t context, int64_t batch) {
    const int64_t row = 2 * config.layers * config.kv_heads * config.head_size;
    const int64_t kept = count_parameters(config).total + row * context * batch;
    return inference_bytes(config, weight_bytes, context, batch) - kCudaContextBytes -
           4 * batch * config.vocabulary_size - weight_bytes * kept;
  };
  const int64_t F = 3 * config.ffn_size, D = config.hidden_size, h = config.heads;
  config.head_size = 8;  // flash attention has it in half precision
  CHECK(activations(2, 64, 2) == 2 * 128 * (F + 7 * D));
  CHECK(activations(2, 20000, 1) == 2 * 8192 * (F + 7 * D));
  CHECK(activations(4, 64, 2) == 4 * 128 * (F + 7 * D + 2 * h * 8));
  CHECK(activations(4, 9000, 1) ==
        4 * (8192 * (F + 7 * D) + 9000 * 2 * h * 8 + 2 * int64_t{8192} * 9000));
  config.head_size = 264;  // of which there is no graph
  CHECK(activations(2, 20000, 1) == 2 * 20000 * (F + 13 * D + 2 * h * 264));
}

}  // namespace
}  // namespace slice
