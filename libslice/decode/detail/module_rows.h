#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "libslice/decode/detail/row_decoding.h"
#include "libslice/decode/generator.h"

namespace slice::detail {

/// Rows by modules, one after the other: all but what runs the tokens of one.
class ModuleRows : public RowDecoding {
 public:
  void enter(int64_t row, const std::vector<int64_t>& prompt,
             const GenerateOptions& options) override;
  void feed_row(int64_t row, int64_t position, std::span<const int64_t> tokens,
                const SeeLogits& see) override;
  void take_prompt(int64_t row, int64_t length, const at::Tensor& logits) override;
  at::Tensor logits(int64_t row) override { return texts_.at(row).logits; }
  std::vector<std::vector<int64_t>> continue_rows(const std::vector<DecodingRow>& rows,
                                                  const std::vector<DecodingRow>& waiting,
                                                  int64_t n) override;

 protected:
  /// What a model has of one text.
  class Tokens {
   public:
    virtual ~Tokens() = default;
    virtual int64_t length() const = 0;
    /// From now on it has the first `length` tokens, which it was fed or which were copied to it.
    virtual void set_length(int64_t length) = 0;
    /// Tokens after those it has → logits (V) of the one that follows. Where this throws, it has
    /// what it had.
    virtual at::Tensor run(std::span<const int64_t> tokens, const SeeLogits& see) = 0;
  };

  /// @throws ArgumentError  an id of the prompt is outside the vocabulary
  virtual std::unique_ptr<Tokens> start(int64_t row, const std::vector<int64_t>& prompt) = 0;

 private:
  struct Text {
    GenerateOptions options;
    std::unique_ptr<Tokens> tokens;
    at::Tensor logits;  // (V) of the next token
  };

  std::vector<int64_t> continue_row(const DecodingRow& row, int64_t n);

  std::map<int64_t, Text> texts_;  // by row; one that ended stays until its row is entered again
};

}  // namespace slice::detail
