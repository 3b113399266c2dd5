#include "libslice/text/calibration.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <limits>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/json.h"
#include "libslice/base/detail/unicode.h"

namespace slice {
namespace {

constexpr char kBetweenRecords[] = "\n\n";

void check_samples(const WindowOptions& options) {
  SLICE_ARGUMENT_CHECK(!options.samples || *options.samples >= 1, "samples {}: want at least 1",
                       options.samples.value_or(0));
}

std::string read_bytes(const std::string& path) {
  if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  return detail::read_text_file(path, std::numeric_limits<size_t>::max());
}

void append_record(std::string& text, std::string_view record) {
  if (!text.empty()) text += kBetweenRecords;
  text += record;
}

// One JSON object per line; empty lines are skipped.
std::string join_json_lines(std::string_view bytes, const std::string& path) {
  std::string text;
  for (size_t begin = 0, number = 1; begin < bytes.size(); ++number) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    const std::string_view line = bytes.substr(begin, end - begin);
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = detail::formatted("{}: line {}", path, number);
    append_record(text, detail::field<std::string>(detail::parse_json(line, where), "text", where));
  }
  return text;
}

// instruction, an input that may be empty or missing, output   (tatsu-lab/stanford_alpaca)
std::string join_alpaca(std::string_view bytes, const std::string& path) {
  const nlohmann::json records = detail::parse_json(bytes, path);
  SLICE_FORMAT_CHECK(records.is_array(), "{}: want an array of Alpaca records, got {}", path,
                     records.type_name());
  std::string text;
  for (size_t i = 0; i < records.size(); ++i) {
    const std::string where = detail::formatted("{}: record {}", path, i);
    const auto input = detail::find_field<std::string>(records[i], "input", where).value_or("");
    std::string record = detail::field<std::string>(records[i], "instruction", where);
    if (!input.empty()) record += "\n" + input;
    append_record(text, record + "\n" + detail::field<std::string>(records[i], "output", where));
  }
  return text;
}

}  // namespace

std::string read_text(const std::string& path) {
  const std::string name = path == "-" ? "standard input" : path;
  std::string text = read_bytes(path);
  detail::check_utf8(text, name);
  if (path.ends_with(".jsonl")) {
    text = join_json_lines(text, path);
  } else if (path.ends_with(".json")) {
    text = join_alpaca(text, path);
  }
  SLICE_FORMAT_CHECK(!text.empty(), "{}: no text in it", name);
  return text;
}

at::Tensor tokenize_text(const Tokenizer& tokenizer, std::string_view text,
                         const WindowOptions& options) {
  const int64_t context = options.context;
  SLICE_ARGUMENT_CHECK(context >= 2, "context {}: want at least 2 tokens", context);
  check_samples(options);
  std::vector<int64_t> tokens = tokenizer.encode(text);
  if (options.bos.value_or(tokenizer.adds_bos())) {
    const auto bos = tokenizer.bos_token();
    SLICE_FORMAT_CHECK(bos, "bos is asked for, but the tokenizer has no such token");
    tokens.insert(tokens.begin(), *bos);
  }
  const int64_t available = static_cast<int64_t>(tokens.size()) / context;
  SLICE_ARGUMENT_CHECK(available >= 1, "the text has {} tokens, want at least one context of {}",
                       tokens.size(), context);
  at::Tensor windows = at::empty({available, context}, at::kLong);  // (N, T)
  std::copy_n(tokens.begin(), available * context, windows.mutable_data_ptr<int64_t>());
  return select_windows(windows, options);
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
                         const WindowOptions& options) {
  SLICE_ARGUMENT_CHECK(!paths.empty(), "calibration: want at least one text");
  check_samples(options);
  const auto texts = std::ssize(paths);
  MixedWindows mixed;
  std::vector<at::Tensor> windows;  // of each text (n, T)
  for (int64_t i = 0; i < texts; ++i) {
    WindowOptions share = options;
    if (options.samples)
      share.samples = *options.samples / texts + (i < *options.samples % texts ? 1 : 0);
    windows.push_back(share.samples == 0 ? at::empty({0, options.context}, at::kLong)
                                         : tokenize_text(tokenizer, read_text(paths[i]), share));
    mixed.found.push_back(windows.back().size(0));
    mixed.wanted.push_back(share.samples.value_or(mixed.found.back()));
  }
  std::vector<at::Tensor> turns;
  for (int64_t row = 0; row < *std::ranges::max_element(mixed.found); ++row) {
    for (const at::Tensor& text : windows)
      if (row < text.size(0)) turns.push_back(text.slice(0, row, row + 1));
  }
  mixed.tokens = at::cat(turns);  // (N, T)
  return mixed;
}

}  // namespace slice
