#include "libslice/decode/detail/module_rows.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "libslice/base/error.h"
#include "libslice/decode/detail/stop_token.h"

namespace slice::detail {

using at::Tensor;

void ModuleRows::enter(int64_t row, const std::vector<int64_t>& prompt,
                       const GenerateOptions& options) {
  texts_.insert_or_assign(row, Text{options, start(row, prompt), /*logits=*/{}});
}

void ModuleRows::feed_row(int64_t row, int64_t position, std::span<const int64_t> tokens,
                          const SeeLogits& see) {
  const at::NoGradGuard no_grad;
  Text& text = texts_.at(row);
  text.tokens->set_length(position);
  text.logits = text.tokens->run(tokens, see);
}

void ModuleRows::take_prompt(int64_t row, int64_t length, const Tensor& logits) {
  Text& text = texts_.at(row);
  text.tokens->set_length(length);
  text.logits = logits.clone();
}

std::vector<std::vector<int64_t>> ModuleRows::continue_rows(
    const std::vector<DecodingRow>& rows, const std::vector<DecodingRow>& /*waiting*/, int64_t n) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<int64_t>> ids(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    try {
      ids[i] = continue_row(rows[i], n);
    } catch (...) {
      if (i == 0) throw;
      break;
    }
  }
  return ids;
}

/// At least one id. The last one of a text is not fed, nor is one after which an error came.
std::vector<int64_t> ModuleRows::continue_row(const DecodingRow& row, int64_t n) {
  Text& text = texts_.at(row.row);
  std::vector<int64_t> ids;
  while (static_cast<int64_t>(ids.size()) < n) {
    try {
      ids.push_back(sample_token(
          text.logits, text.options.sampling,
          {text.options.seed, text.options.sequence, /*position=*/text.tokens->length()}));
    } catch (const NumericError&) {
      ids.push_back(-1);
    }
    const bool is_last = static_cast<int64_t>(ids.size()) == row.room;
    if (is_last || ids.back() < 0 || is_stop(ids.back(), text.options)) break;
    try {
      text.logits = text.tokens->run({&ids.back(), 1}, {});
    } catch (...) {
      ids.pop_back();
      if (ids.empty()) throw;
      break;
    }
  }
  return ids;
}

}  // namespace slice::detail
