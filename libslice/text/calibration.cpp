#include "libslice/text/calibration.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "libslice/base/detail/check.h"

namespace slice {
namespace {

void check_samples(const WindowOptions& options) {
  SLICE_ARGUMENT_CHECK(!options.samples || *options.samples >= 1, "samples {}: want at least 1",
                       options.samples.value_or(0));
}

/// Puts the beginning-of-sequence token in front where it belongs there.
void begin_text(const Tokenizer& tokenizer, std::vector<int64_t>& tokens,
                std::optional<bool> asked) {
  if (!asked.value_or(tokenizer.adds_bos())) return;
  const auto bos = tokenizer.bos_token();
  SLICE_FORMAT_CHECK(bos, "bos is asked for, but the tokenizer has no such token");
  // A conversation may begin with it already.
  if (tokens.empty() || tokens.front() != *bos) tokens.insert(tokens.begin(), *bos);
}

std::string name_of(const std::string& path) { return path == "-" ? "standard input" : path; }

at::Tensor cut_windows(const Tokenizer& tokenizer, std::vector<int64_t> tokens,
                       const WindowOptions& options, const std::string& name) {
  const int64_t context = options.context;
  begin_text(tokenizer, tokens, options.bos);
  const int64_t available = static_cast<int64_t>(tokens.size()) / context;
  SLICE_ARGUMENT_CHECK(available >= 1, "{} has {} tokens, want at least one context of {}", name,
                       tokens.size(), context);
  at::Tensor windows = at::empty({available, context}, at::kLong);  // (N, T)
  std::copy_n(tokens.begin(), available * context, windows.mutable_data_ptr<int64_t>());
  return select_windows(windows, options);
}

void check_windows(const WindowOptions& options) {
  SLICE_ARGUMENT_CHECK(options.context >= 2, "context {}: want at least 2 tokens", options.context);
  check_samples(options);
}

}  // namespace

at::Tensor tokenize_file(const Tokenizer& tokenizer, const std::string& path,
                         const WindowOptions& options) {
  check_windows(options);
  return cut_windows(tokenizer, encode_file(tokenizer, path), options, name_of(path));
}

at::Tensor tokenize_whole_file(const Tokenizer& tokenizer, const std::string& path,
                               std::optional<bool> bos) {
  std::vector<int64_t> tokens = encode_file(tokenizer, path);
  begin_text(tokenizer, tokens, bos);
  SLICE_ARGUMENT_CHECK(tokens.size() >= 2, "{} has {} tokens, want at least 2", name_of(path),
                       tokens.size());
  return at::tensor(tokens, at::kLong);  // (n)
}

at::Tensor tokenize_text(const Tokenizer& tokenizer, std::string_view text,
                         const WindowOptions& options) {
  check_windows(options);
  return cut_windows(tokenizer, tokenizer.encode(text), options, "the text");
}

at::Tensor select_windows(const at::Tensor& windows, const WindowOptions& options) {
  check_samples(options);
  const int64_t available = windows.size(0);
  const int64_t count = std::min(options.samples.value_or(available), available);
  if (count == available || options.order == WindowOrder::kFirst) return windows.slice(0, 0, count);
  at::Tensor chosen = at::empty({count}, at::kLong);
  for (int64_t i = 0; i < count; ++i) {
    chosen.mutable_data_ptr<int64_t>()[i] = i * available / count;
  }
  return windows.index_select(0, chosen.to(windows.device()));  // (count, T)
}

MixedWindows mix_windows(const Tokenizer& tokenizer, std::span<const std::string> paths,
                         const WindowOptions& options, std::optional<int64_t> blank) {
  SLICE_ARGUMENT_CHECK(!paths.empty(), "calibration: want at least one text");
  check_samples(options);
  const auto texts = std::ssize(paths);
  MixedWindows mixed;
  std::vector<at::Tensor> windows;  // of each text (n, T)
  for (int64_t i = 0; i < texts; ++i) {
    WindowOptions share = options;
    if (options.samples)
      share.samples = *options.samples / texts + (i < *options.samples % texts ? 1 : 0);
    const bool unread = share.samples == 0 || blank == i;
    windows.push_back(unread ? at::zeros({share.samples.value_or(0), options.context}, at::kLong)
                             : tokenize_file(tokenizer, paths[i], share));
    mixed.found.push_back(windows.back().size(0));
    mixed.wanted.push_back(share.samples.value_or(mixed.found.back()));
  }
  std::vector<at::Tensor> turns;
  for (int64_t row = 0; row < *std::ranges::max_element(mixed.found); ++row) {
    for (int64_t i = 0; i < texts; ++i) {
      if (row >= mixed.found[i]) continue;
      turns.push_back(windows[i].slice(0, row, row + 1));
      mixed.text_of.push_back(i);
    }
  }
  mixed.tokens = at::cat(turns);  // (N, T)
  return mixed;
}

}  // namespace slice
