#include "libslice/decode/detail/rank_share.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <map>

#include "libslice/base/error.h"
#include "libslice/decode/tensor_parallel.h"
#include "tests/support/decoding_layouts.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;
using detail::aligned_part;
using detail::RankShare;

TEST_CASE("aligned parts lie side by side, at multiples of 64 or 8 where there are enough") {
  for (const int64_t n : {1, 7, 64, 100, 111, 192, 4096, 5504, 11008, 32000, 32003}) {
    for (const int64_t ranks : {1, 2, 3, 5, 8}) {
      if (ranks > n) continue;
      INFO(n << " in " << ranks);
      int64_t end = 0;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const auto [first, last] = aligned_part(n, ranks, rank);
        CHECK(first == end);
        CHECK(last > first);
        for (const int64_t unit : {8, 64})
          if (n % unit == 0 && n / unit >= ranks) CHECK(first % unit == 0);
        end = last;
      }
      CHECK(end == n);
    }
  }
}

/// How often the ranks together hold each element of a parameter.
int64_t held(const std::string& name, const Tensor& whole, const DecoderImpl& decoder,
             int64_t ranks) {
  int64_t count = 0;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const RankShare share(decoder, ranks, rank, /*divides_vocabulary=*/false);
    const Tensor own = share.of(name, whole);
    CHECK(own.sizes() == at::IntArrayRef(share.shape(name, whole.sizes().vec())));
    count += own.numel();
  }
  return count;
}

TEST_CASE("ranks hold readers, writers and dense shortcuts once, all else each") {
  for (const auto& [name, config] : decoding_layouts()) {
    if (config.head_norm == HeadNorm::kAll || config.heads < 2) continue;
    INFO(describe(config) << " " << name);
    const Model model = random_model(config);
    const DecoderImpl& decoder = model.decoder();
    std::map<std::string, bool> divided;
    for (const Sublayer& s : decoder.adapter().sublayers) {
      for (const Branch& branch : s.branches) {
        divided[branch.writer.name + ".weight"] = true;
        // Of key/value heads there may be fewer than ranks.
        for (size_t i = 0; i < branch.readers.size(); ++i)
          if (branch.channels || i == 0 || config.kv_heads >= 2)
            divided[branch.readers[i].name + ".weight"] = true;
      }
    }
    for (const auto& parameter : decoder.named_parameters()) {
      const int64_t size = parameter.value().numel(),
                    count = held(parameter.key(), parameter.value(), decoder, 2);
      if (divided.contains(parameter.key())) CHECK(count == size);
      CHECK(count >= size);
      CHECK(count <= 2 * size);
    }
  }
}

TEST_CASE("models that ranks cannot share are refused") {
  ModelConfig config = tiny_config();
  const Model model = random_model(config);
  CHECK_THROWS_NAMING(RankShare(model.decoder(), config.heads + 1, 0, false), ArgumentError,
                      "query heads");
  for (const ModelConfig& mixture : tiny_families_with_experts())
    CHECK_THROWS_NAMING(RankShare(random_model(mixture).decoder(), 2, 0, false), ArgumentError,
                        "not supported");
}

}  // namespace
}  // namespace slice
