#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "libslice/sampling.h"

namespace slice {

class Model;
class KvCache;

/// Decoding with a KV cache: a prompt once, then a token at a time. One batch, all of one length.
class Generator {
 public:
  /// @param capacity  positions in all, prompt included    @throws ShapeError  capacity or batch
  /// < 1.
  Generator(const Model& model, int64_t capacity, int64_t batch = 1);
  ~Generator();
  Generator(Generator&&) noexcept;

  /// Continues with tokens (B, T) int64. @return  logits (B, V) of the token that follows.
  /// @throws ShapeError  the capacity is exceeded, or another batch than the constructor's.
  at::Tensor feed(const at::Tensor& tokens);
  /// Positions fed so far.
  int64_t length() const;
  /// Forgets everything behind `length` positions.
  void truncate(int64_t length);

 private:
  std::shared_ptr<const Model> model_;
  std::unique_ptr<KvCache> cache_;
};

struct GenerateOptions {
  int64_t max_tokens = 128;
  SamplingOptions sampling = {};
  uint64_t seed = 0;
  std::vector<int64_t> stop_tokens = {};  ///< ends the text and is not part of it
};

/// Continues a prompt. @param on_token  called with every new id; returning false ends the text.
/// @return  the new ids. @throws ShapeError  an empty prompt.
std::vector<int64_t> generate(const Model& model, const std::vector<int64_t>& prompt,
                              const GenerateOptions& options = {},
                              const std::function<bool(int64_t)>& on_token = {});

}  // namespace slice
