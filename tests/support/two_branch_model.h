#pragma once

#include <ATen/ATen.h>

#include <cmath>

#include "libslice/model/adapter.h"
#include "libslice/model/linear.h"
#include "tests/support/tiny_model.h"

namespace slice::tests {

/// A user-defined transformer of a shape no family of the library has: learned positions
/// beside the token embedding, parallel blocks (two branches after one norm, writers with
/// biases), a head with a bias.
struct TwoBranchModel {
  static constexpr int64_t D = 20, F = 33, V = 31, kPositions = 16, kBlocks = 2;

  TwoBranchModel() {
    uint64_t seed = 100;
    const auto fill = [&seed](at::Tensor& tensor) {
      tensor.set_data(gaussian(tensor.sizes(), ++seed) /
                      std::sqrt(static_cast<double>(tensor.size(-1))));
    };
    fill(words->weight);
    fill(positions->weight);
    const auto linear = [&fill](int64_t in, int64_t out) {
      Linear made(in, out, true);
      fill(made->weight);
      fill(made->bias);
      return made;
    };
    for (int64_t block = 0; block < kBlocks; ++block) {
      Sublayer s;
      s.name = "block " + std::to_string(block);
      s.norm = RmsNorm(D, 1e-5);
      s.shortcut = Shortcut();
      s.norm->weight.set_data(1 + gaussian({D}, ++seed) / 3);
      for (int branch = 0; branch < 2; ++branch) {
        const Linear in = linear(D, F), out = linear(F, D);
        s.branches.push_back(
            {.readers = {{s.name + " in " + std::to_string(branch), in->weight, in->bias}},
             .hidden =
                 [in, branch](const at::Tensor& n, KvCache*) {
                   const at::Tensor h = in->forward(n);
                   return branch == 0 ? h.tanh()
                                      : h.cumsum(1).sigmoid();  // the second looks back in time
                 },
             .writer = {s.name + " out " + std::to_string(branch), out->weight, out->bias}});
      }
      s.tap = &taps[block];
      adapter.sublayers.push_back(std::move(s));
    }
    head = linear(D, V);
    adapter.hidden_size = D;
    adapter.embeddings = {{"words", words->weight, {}}, {"positions", positions->weight, {}}};
    adapter.embed = [this](const at::Tensor& ids) {
      return words->forward(ids) + positions->forward(at::arange(ids.size(1)));
    };
    adapter.final_norm = RmsNorm(D, 1e-5);
    adapter.final_norm->weight.set_data(1 + gaussian({D}, ++seed) / 3);
    adapter.head = {"head", head->weight, head->bias};
  }

  /// Gives the second branch of every block a norm of its own.
  void split_norms() {
    uint64_t seed = 900;
    for (Sublayer& s : adapter.sublayers) {
      s.branches[1].norm = RmsNorm(D, 1e-5);
      s.branches[1].norm->weight.set_data(1 + gaussian({D}, ++seed) / 3);
    }
  }

  at::Tensor logits(const at::Tensor& ids) const {
    at::Tensor x = adapter.embed(ids);
    for (const Sublayer& s : adapter.sublayers) x = s.forward(x);
    return head->forward(adapter.final_norm->forward(x));
  }
  static at::Tensor tokens(int64_t N, int64_t T) {
    ModelConfig config;
    config.vocabulary_size = V;
    return random_tokens(config, N, T);
  }

  Embedding words{V, D}, positions{kPositions, D};
  Tap taps[kBlocks];
  Linear head{nullptr};
  ModelAdapter adapter;
};

}  // namespace slice::tests
