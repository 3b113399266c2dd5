// Rows of a user's modules, which keep nothing of a text but its ids.

#include <ATen/ATen.h>

#include "libslice/base/detail/check.h"
#include "libslice/decode/detail/module_rows.h"
#include "libslice/decode/user_decoder.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// tokens (T) → logits (T', V) of those that follow the last T' of them
Tensor user_logits(const ModelAdapter& adapter, const std::vector<int64_t>& tokens, int64_t last) {
  Tensor x = adapter.embed(at::tensor(tokens, at::kLong).unsqueeze(0));  // (1, T, k)
  for (const Sublayer& sublayer : adapter.sublayers) x = sublayer.forward(x);
  x = x[0].slice(0, x.size(1) - last);  // (T', k)
  x = adapter.final_norm->forward(x);
  if (adapter.head_map.weight.defined())
    x = at::linear(x, adapter.head_map.weight, adapter.head_map.bias);
  return adapter.logit_form(at::linear(x, adapter.head.weight, adapter.head.bias));
}

class UserRows final : public ModuleRows {
 public:
  explicit UserRows(const UserDecoder& decoder) : decoder_(decoder) {}

  int64_t positions() const override { return decoder_.positions; }

 private:
  class UserTokens final : public Tokens {
   public:
    explicit UserTokens(const ModelAdapter& adapter) : adapter_(adapter) {}

    int64_t length() const override { return std::ssize(ids_); }
    void set_length(int64_t length) override { ids_.resize(static_cast<size_t>(length)); }
    Tensor run(std::span<const int64_t> tokens, const SeeLogits& see) override {
      std::vector<int64_t> all = ids_;
      all.insert(all.end(), tokens.begin(), tokens.end());
      const Tensor logits = user_logits(adapter_, all, see ? std::ssize(tokens) : 1);  // (T', V)
      ids_ = std::move(all);
      if (see) see(logits);
      return logits[-1].clone();
    }

   private:
    const ModelAdapter& adapter_;
    std::vector<int64_t> ids_;
  };

  std::unique_ptr<Tokens> start(int64_t /*row*/, const std::vector<int64_t>& prompt) override {
    const int64_t V = decoder_.vocabulary_size();
    for (const int64_t id : prompt)
      SLICE_ARGUMENT_CHECK(id >= 0 && id < V, "tokens: want ids in [0, {}), got {}", V, id);
    return std::make_unique<UserTokens>(decoder_.adapter);
  }

  const UserDecoder& decoder_;
};

}  // namespace

std::unique_ptr<RowDecoding> make_row_decoding(const UserDecoder& decoder) {
  return std::make_unique<UserRows>(decoder);
}

}  // namespace slice::detail
