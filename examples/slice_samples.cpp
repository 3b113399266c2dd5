#include "slice_samples.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "cli.h"
#include "libslice/model/decoder.h"
#include "libslice/model/kv_cache.h"

namespace cli {
namespace {

using at::Tensor;

constexpr int64_t kPromptTokens = 16, kWrittenTokens = 48;

std::vector<int64_t> beginning(const Tensor& window) {
  const Tensor ids = window.slice(0, 0, kPromptTokens).contiguous();
  return {ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel()};
}

std::vector<int64_t> continued(const slice::Model& model, const slice::Tokenizer& tokenizer,
                               const std::vector<int64_t>& prompt) {
  const slice::DecoderImpl& decoder = model.decoder();
  const std::vector<int64_t> ends = tokenizer.eos_tokens();
  const auto length = static_cast<int64_t>(prompt.size());
  const int64_t room = std::min(kWrittenTokens, decoder.positions() - length);
  slice::KvCache cache(model.config(), 1, length + room,
                       at::TensorOptions(decoder.device()).dtype(decoder.dtype()));
  std::vector<int64_t> ids;
  Tensor next = at::tensor(prompt, at::kLong).to(decoder.device()).unsqueeze(0);  // (1, T)
  while (std::ssize(ids) < room) {
    const Tensor stream = decoder.stream(next, &cache).select(1, -1);  // (1, k)
    next = decoder.logits(stream).argmax(1, /*keepdim=*/true);         // (1, 1)
    ids.push_back(next.item<int64_t>());
    if (std::ranges::count(ends, ids.back()) > 0) break;
    check_interrupted();
  }
  return ids;
}

}  // namespace

std::vector<std::vector<int64_t>> sample_prompts(const Arguments& a, const Plan& plan,
                                                 const Tensor& windows) {
  std::vector<std::vector<int64_t>> prompts;
  for (const std::string& prompt : a.prompts) {
    prompts.push_back(slice::encode_prompt(*plan.tokenizer, prompt));
    const int64_t most = plan.dense().context_length;
    if (std::ssize(prompts.back()) >= most)
      throw CLI::ValidationError("--prompt", "want fewer than " + std::to_string(most) +
                                                 " tokens, got " +
                                                 std::to_string(prompts.back().size()));
  }
  if (!prompts.empty()) return prompts;
  prompts.push_back(beginning(windows[0]));
  if (const int64_t middle = windows.size(0) / 2; middle > 0)
    prompts.push_back(beginning(windows[middle]));
  return prompts;
}

std::vector<std::string> written_after(const slice::Model& model, const slice::Tokenizer& tokenizer,
                                       const std::vector<std::vector<int64_t>>& prompts) {
  const at::NoGradGuard no_grad;
  std::vector<std::string> texts;
  for (const auto& prompt : prompts)
    texts.push_back(tokenizer.decode(continued(model, tokenizer, prompt)));
  return texts;
}

}  // namespace cli
